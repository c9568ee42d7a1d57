"""Hundreds of rollouts at once that go through the stages of a plan, each at its own pace.

Times in hours, margins in points, rates and shares from 0 to 1; every user asks once.
"""

from __future__ import annotations

from collections import deque

import numpy

from .canary import REACH, STEP
from .eprocess import BadEvents, Counts, Floats, check_alpha
from .looked import Came, believed, draw, gains
from .plan import Stage, Stages
from .rollouts import Outcomes


class Watch:
    """The monitors of many rollouts: their wealth at the margin and at what each stage asks for.

    Args:
        stages: of which `within` matters; as the monitor's bounds lie on a grid, it is the point of
            the grid at or below it that has to be ruled out.
    """

    def __init__(self, count: int, stages: list[Stage], margin: float, alpha: float) -> None:
        asked = numpy.array([numpy.inf if s.within is None else s.within for s in stages])
        self.asks = numpy.isfinite(asked)
        points = margin + STEP * numpy.floor(
            (numpy.where(self.asks, asked, margin) - margin) / STEP
        )
        points = numpy.minimum(points, min(margin + REACH, 99.0))
        self.points = numpy.append(margin, points) / 100
        self.needed = -numpy.log(check_alpha(alpha))
        self.seen = Counts(*(numpy.zeros(count) for _ in range(4)))
        self.wealth, self.largest = (numpy.zeros((2, count, len(self.points))) for _ in range(2))

    def see(self, new: Counts, share: Floats) -> None:
        """Count what has settled since the last look; `share` is that of each rollout."""
        columns = Counts(*(part[:, None] for part in vars(new).values()))
        known = tuple(rate[:, None] for rate in believed(self.seen))
        self.wealth += gains(columns, share[:, None], known, self.points)
        self.largest = numpy.maximum(self.largest, self.wealth)
        both = zip(vars(self.seen).values(), vars(new).values(), strict=True)
        self.seen = Counts(*(before + now for before, now in both))

    @property
    def beyond(self) -> numpy.ndarray:
        """Of which rollouts harm beyond the margin is proven."""
        return self.largest[0, :, 0] >= self.needed

    @property
    def within(self) -> numpy.ndarray:
        """Of which rollouts it is ruled out."""
        return self.largest[1, :, 0] >= self.needed

    def satisfied(self, stage: numpy.ndarray) -> numpy.ndarray:
        """In which rollouts as much harm is ruled out as the stage that they are in asks for."""
        enough = self.largest[1, numpy.arange(len(stage)), stage + 1] >= self.needed
        return enough | ~self.asks[stage]


def staged(
    stages: Stages,
    rates: tuple[float, float],
    margin: float,
    alpha: float = 0.05,
    per_hour: int = 400,
    hours: float = 168,
    window: float = 2.0,
    delay: float = 0.5,
    every: float = 0.5,
    count: int = 200,
    seed: int = 0,
) -> Outcomes:
    """Many rollouts from the first stage to their ends, as `simulate.rollout` is one.

    Every answer is one of a new user, and the monitor learns at its looks (see `looked`).

    Args:
        rates: harm rates of candidate and control.
        hours: after which a rollout is given up.
        window, delay: hours that feedback may take, and takes on average.
        every: hours between looks.

    Returns:
        With "widen" where the candidate went live.

    Raises:
        BadEvents: the plan begins with everybody, or a setting is impossible.
    """
    if not all(0 <= rate <= 1 for rate in rates) or not 0 <= margin < 100:
        raise BadEvents("Harm rates lie from 0 to 1, and the margin from 0 to below 100 points.")
    if not 0 < every <= hours or window < 0 or delay < 0 or per_hour * every < 1 or count < 1:
        raise BadEvents("There must be a rollout, a look, and an answer between two looks.")
    steps = [stage for stage in stages.stages if stage.share < 1]
    if not steps:
        raise BadEvents("The first stage must be below 100 percent: nobody is left to compare.")
    shares, least_hours, least_answers = (
        numpy.array([getattr(stage, name) for stage in steps], float)
        for name in ("share", "hours", "answers")
    )
    rng, watch = numpy.random.default_rng(seed), Watch(count, steps, margin, alpha)
    in_time = 1 - numpy.exp(-window / delay) if delay > 0 else 1.0
    waits = int(numpy.ceil(window / every - 1e-9))
    coming: deque[tuple[Came, Floats]] = deque()
    stage, since, answers = numpy.zeros(count, int), numpy.zeros(count), numpy.zeros(count)
    served, harmed, ended = numpy.zeros(count), numpy.zeros(count), numpy.full(count, numpy.inf)
    verdict = numpy.full(count, "hold", dtype="<U9")
    for look in range(1, int(hours / every + 1e-9) + 1):
        now, share, going = look * every, shares[stage], numpy.isinf(ended)
        arrived = int(per_hour * now + 1e-9) - int(per_hour * (now - every) + 1e-9)
        came = draw(rng, arrived, share, rates, in_time, (count,))
        served += going * came.counts.candidate
        harmed += going * (came.counts.candidate_harmed + came.late)
        answers += came.counts.candidate
        coming.append((came, share))
        if len(coming) > waits:
            settled, then = coming.popleft()
            watch.see(settled.counts, then)
        back = going & watch.beyond
        done = (now - since >= least_hours[stage] - 1e-9) & (answers >= least_answers[stage])
        done &= going & ~back & watch.satisfied(stage)
        last = stage == len(steps) - 1
        live = done & last & watch.within
        verdict[back], verdict[live], ended[back | live] = "roll back", "widen", now
        wider = done & ~last
        stage[wider] += 1
        since[wider], answers[wider] = now, 0
        if numpy.isfinite(ended).all():
            break
    taken = numpy.minimum(ended, hours)
    return Outcomes(verdict, taken, served, harmed, served * (rates[0] - rates[1]))
