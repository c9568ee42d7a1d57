"""Simulated users and rollouts: what a monitor does when the truth is known.

Rates and shares are from 0 to 1, times in hours, margins in points. `answers` and `rollout` have
users who return and stay with their version; `rollouts` has one answer a user, and computes
hundreds of rollouts at once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
import pandas

from ..pocket.world import CAPABILITIES
from ..scope.brief import Brief
from . import fixed
from .canary import Look, Monitor, Verdict
from .eprocess import BadEvents, check_alpha, e_processes, events_needed
from .order_sums import NAME as UNMAPPED
from .order_sums import order_sums
from .plan import Stage, Stages

#: Who draws the questions of a category.
DRAWS = CAPABILITIES | {UNMAPPED: order_sums}
HOUR = 3600.0
#: The harm rate of a category in either version unless another is given.
USUAL = 0.03
#: How many answers are simulated at once, over all rollouts.
BLOCK = 100_000

#: Few users can rule out only great harm, and more need not be ruled out before few get it.
STAGES = Stages(
    (
        Stage(0.01, hours=4, within=20),
        Stage(0.05, hours=4, within=8),
        Stage(0.25, hours=4, within=3),
        Stage(0.5, hours=4),
        Stage(1.0),
    )
)


@dataclass(frozen=True)
class Kind:
    """A category of the traffic: its share, and how often either version does harm in it."""

    name: str
    share: float
    control: float
    candidate: float


@dataclass(frozen=True)
class Traffic:
    """What users ask.

    Raises:
        BadEvents: the shares do not add up to 1, or a rate is not from 0 to 1.
    """

    kinds: tuple[Kind, ...]

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if not all(0 <= rate <= 1 for rate in (kind.share, kind.control, kind.candidate)):
                raise BadEvents(f"{kind.name}: share and harm rates must lie from 0 to 1.")
        total = sum(kind.share for kind in self.kinds)
        if abs(total - 1) > 1e-6:
            raise BadEvents(f"The shares of the traffic add up to {total:g}, not to 1.")

    @classmethod
    def from_brief(
        cls,
        brief: Brief,
        harm: Mapping[str, tuple[float, float]] | None = None,
        unmapped: Mapping[str, float] | None = None,
    ) -> Traffic:
        """The mix of a brief, and on top of it what nobody has put into the brief.

        Args:
            harm: harm rates of control and candidate by category; 3 % and 3 % where it is not
                named.
            unmapped: percent of the traffic by category; 5 % order sums when left out. The
                brief's categories share what is left.

        Raises:
            BadEvents: a rate names no category, or there is too much unmapped traffic.
        """
        unmapped = {UNMAPPED: 5.0} if unmapped is None else dict(unmapped)
        harm = dict(harm or {})
        left = 100 - sum(unmapped.values())
        names = [need.capability for need in brief.needs]
        if strange := sorted(set(harm) - {*names, *unmapped}):
            raise BadEvents(f"There is no category {strange[0]!r} in this traffic.")
        if twice := sorted(set(names) & set(unmapped)):
            raise BadEvents(f"{twice[0]} is in the brief, and cannot be unmapped as well.")
        if left <= 0 or brief.traffic <= 0:
            raise BadEvents("Nothing of the traffic is left for what is in the brief.")
        shares = {n.capability: left * n.traffic / brief.traffic for n in brief.needs} | unmapped
        return cls(
            tuple(
                Kind(name, share / 100, *harm.get(name, (USUAL, USUAL)))
                for name, share in shares.items()
            )
        )

    @property
    def control(self) -> float:
        """Harm rate of the old version over all of the traffic."""
        return sum(kind.share * kind.control for kind in self.kinds)

    @property
    def candidate(self) -> float:
        """Harm rate of the new version over all of the traffic."""
        return sum(kind.share * kind.candidate for kind in self.kinds)


def prompts(categories: Sequence[str], seed: int = 0) -> list[str]:
    """A question of each of these categories, as a user would type it.

    Raises:
        BadEvents: nobody can draw questions of a category.
    """
    if strange := sorted(set(categories) - set(DRAWS)):
        raise BadEvents(f"There are no questions of {strange[0]!r}; there are {', '.join(DRAWS)}.")
    rng = random.Random(seed)
    found = []
    for category in categories:
        example = DRAWS[category](rng, "test")
        found.append(example.prompt(rng.choice(example.formats)))
    return found


def answers(
    traffic: Traffic,
    hours: float,
    per_hour: float,
    share: float | Sequence[tuple[float, float]],
    users: int = 10_000,
    delay: float = 1.0,
    start: float = 0.0,
    texts: bool = False,
    key: int = 0,
    seed: int = 0,
) -> pandas.DataFrame:
    """Answers of a rollout, as telemetry tells of them.

    Args:
        hours: how long it lasts.
        per_hour: answers per hour, on average.
        share: of the users who get the candidate; or pairs of the hour from which a share holds,
            and the share.
        users: who may ask. Each has a fixed place and stays with their version.
        delay: hours until harm is reported, on average; nobody reports that there was none.
        start: hour of the first answer.
        texts: whether to write the prompts.
        key: of the router; with another one the users' places are others.

    Returns:
        Columns id, time (seconds), user, version, arm, share, category, harm (reported, at some
        time), feedback_time (seconds), and prompt.
    """
    rng = numpy.random.default_rng(seed)
    count = rng.poisson(hours * per_hour)
    at = numpy.sort(rng.uniform(start, start + hours, count))
    place = numpy.random.default_rng(key).random(users)
    user = rng.integers(users, size=count)
    steps = [(start, share)] if isinstance(share, (int, float)) else sorted(share)
    begins, shares = numpy.array(steps, float).T
    now = shares[numpy.maximum(numpy.searchsorted(begins, at, side="right") - 1, 0)]
    chosen = place[user] < now
    which = rng.choice(len(traffic.kinds), size=count, p=[kind.share for kind in traffic.kinds])
    rates = numpy.array([(kind.control, kind.candidate) for kind in traffic.kinds])
    harm = rng.random(count) < rates[which, chosen.astype(int)]
    reported = numpy.where(harm, at + rng.exponential(delay, count), numpy.nan)
    names = numpy.array([kind.name for kind in traffic.kinds], object)[which]
    return pandas.DataFrame(
        {
            "id": [f"{start:g}-{number:07}" for number in range(count)],
            "time": at * HOUR,
            "user": [f"user {number}" for number in user],
            "version": numpy.where(chosen, "candidate", "live"),
            "arm": numpy.where(chosen, "candidate", "control"),
            "share": now,
            "category": names,
            "harm": harm,
            "feedback_time": reported * HOUR,
            "prompt": prompts(list(names), seed) if texts else None,
        }
    )


@dataclass(frozen=True)
class Outcome:
    """How one rollout ended.

    Attributes:
        verdict: "roll back", "widen" where it went live, "hold" where time ran out.
        hours: until then.
        share: the candidate's share then.
        served, harmed: answers that the candidate gave until then, and those that did harm,
            reported or not.
        looks: hour, share and what the monitor said, look by look.
    """

    verdict: Verdict
    hours: float
    share: float
    served: int
    harmed: int
    looks: tuple[tuple[float, float, Look], ...]


def rollout(
    traffic: Traffic,
    margin: float,
    alpha: float = 0.05,
    stages: Stages = STAGES,
    per_hour: float = 400,
    users: int = 20_000,
    hours: float = 72,
    window: float = 2.0,
    delay: float = 0.5,
    every: float = 1.0,
    seed: int = 0,
) -> Outcome:
    """One rollout from the first stage to its end, with the monitor in the loop.

    The share is widened when the plan allows it, and the candidate goes live when the monitor says
    "widen" as well; it is rolled back as soon as the monitor says so. All of the monitor's bounds
    hold together, so that each stage may ask for another one.

    Args:
        hours: after which the rollout is given up.
        window: hours that feedback may take to be counted.
        every: hours between looks.
        delay, per_hour, users: see `answers`.

    Raises:
        BadEvents: the plan begins with everybody, or a setting is impossible.
    """
    monitor = Monitor(margin, alpha)
    share = stages.next_share(0, 0, 0, 0).share
    if share == 1:
        raise BadEvents("The first stage must be below 100 percent: nobody is left to compare.")
    frames, looks, since, now = [], [], 0.0, 0.0
    verdict: Verdict = "hold"
    while now < hours and verdict == "hold":
        frames.append(
            answers(
                traffic,
                every,
                per_hour,
                share,
                users,
                delay,
                start=now,
                key=seed,
                seed=hash((seed, len(frames))) % 2**32,
            )
        )
        now += every
        events = pandas.concat(frames)
        look = monitor.look(events, window * HOUR, now * HOUR)
        looks.append((now, share, look))
        chosen = events["arm"].eq("candidate") & (events["time"] >= since * HOUR)
        wider = stages.next_share(share, since * HOUR, int(chosen.sum()), now * HOUR, look.upper)
        if look.verdict == "roll back":
            verdict = "roll back"
        elif wider.share == 1 and look.verdict == "widen":
            verdict = "widen"
        elif wider.share is not None and wider.share < 1 and not look.mismatch:
            share, since = wider.share, now
    served = events["arm"] == "candidate"
    harmed = int((served & events["harm"]).sum())
    return Outcome(verdict, now, looks[-1][1], int(served.sum()), harmed, tuple(looks))


Method = Literal["anytime", "peeking", "once", "oracle"]


@dataclass(frozen=True, repr=False)
class Outcomes:
    """How many simulated rollouts ended; every array has one entry per rollout.

    Attributes:
        verdict: "roll back", "widen" or "hold".
        hours: until the verdict, the attribution window included; all of them where it is "hold".
        served, harmed: answers that the candidate gave until then, and those that did harm.
        extra: of these, how many more than the old version would have harmed, on average.
    """

    verdict: numpy.ndarray
    hours: numpy.ndarray
    served: numpy.ndarray
    harmed: numpy.ndarray
    extra: numpy.ndarray

    def __repr__(self) -> str:
        told = ", ".join(
            f"{100 * self.rate(verdict):.1f} % {verdict}"
            for verdict in ("roll back", "widen", "hold")
        )
        return f"{len(self.verdict)} rollouts: {told}; {self.harmed.mean():.1f} harmed on average"

    def rate(self, verdict: Verdict) -> float:
        """The share of the rollouts with that verdict."""
        return float((self.verdict == verdict).mean())

    @property
    def median_hours(self) -> float:
        """Median of the hours until "roll back"; infinite where fewer than half come to it."""
        return float(numpy.median(numpy.where(self.verdict == "roll back", self.hours, numpy.inf)))


def rollouts(
    share: float,
    control: float,
    candidate: float,
    margin: float,
    alpha: float = 0.05,
    per_hour: int = 400,
    hours: float = 24,
    window: float = 1.0,
    delay: float = 0.0,
    method: Method = "anytime",
    planned: float | None = None,
    count: int = 200,
    seed: int = 0,
) -> Outcomes:
    """Many rollouts at one share, all with the same truth; the same seed gives the same users.

    Args:
        share: of the users who get the candidate.
        control, candidate: harm rates.
        margin: points by which the candidate's may exceed the control's.
        per_hour: users per hour, one answer each.
        window: hours that an answer waits for feedback before it counts.
        delay: hours until harm is reported, on average; what comes after the window is missed.
        method: "anytime" is the monitor, "peeking" the fixed test looked at after every event,
            "once" the same looked at when it is planned to be, and "oracle" the monitor of who
            knows the rates.
        planned: the candidate's harm rate for which "once" is planned, with a power of .8; the true
            one when left out. It is looked at when time runs out if that comes first.

    Raises:
        BadEvents: a setting is impossible.
    """
    if not all(0 <= rate <= 1 for rate in (control, candidate)) or not 0 < share < 1:
        raise BadEvents("Rates must lie from 0 to 1, and the share strictly between.")
    if not 0 <= window < hours or delay < 0 or per_hour < 1 or count < 1:
        raise BadEvents("There must be a rollout and an answer, and a window shorter than it all.")
    check_alpha(alpha)
    if method not in ("anytime", "peeking", "once", "oracle"):
        raise BadEvents(f"There is no method {method!r}.")
    rng = numpy.random.default_rng(seed)
    answered, counted = int(hours * per_hour), int((hours - window) * per_hour)
    seen = 1 - numpy.exp(-window / delay) if delay > 0 else 1.0
    parts = []
    rows = max(1, BLOCK // answered)
    for start in range(0, count, rows):
        size = (min(rows, count - start), answered)
        arm = rng.random(size) < share
        harm = rng.random(size) < numpy.where(arm, candidate, control)
        told = (harm & (rng.random(size) < seen))[:, :counted]
        ends = _ends(
            arm[:, :counted], share, told, margin / 100, alpha, method,
            (control * seen, candidate * seen), (planned or candidate) * seen,
        )  # fmt: skip
        last = numpy.minimum(ends.min(axis=0) + window * per_hour, answered).astype(int) - 1
        row = numpy.arange(size[0])
        parts.append(
            (
                numpy.where(ends[0] < numpy.inf, "roll back",
                            numpy.where(ends[1] < numpy.inf, "widen", "hold")),
                (last + 1) / per_hour,
                numpy.cumsum(arm, axis=1)[row, last],
                numpy.cumsum(arm & harm, axis=1)[row, last],
            )
        )  # fmt: skip
    verdict, taken, served, harmed = (numpy.concatenate(part) for part in zip(*parts, strict=True))
    return Outcomes(verdict, taken, served, harmed, served * (candidate - control))


def _ends(
    arm: numpy.ndarray,
    share: float,
    harm: numpy.ndarray,
    margin: float,
    alpha: float,
    method: Method,
    rates: tuple[float, float],
    planned: float,
) -> numpy.ndarray:
    """After how many counted events each rollout is rolled back (row 0) or widened (row 1).

    Infinite where it is not; the later of the two is, too, since the first verdict ends it.
    """
    never = numpy.full(len(arm), numpy.inf)
    if method == "peeking":
        return numpy.array([fixed.peeked(arm, harm, margin, alpha), never])
    if method == "once":
        count = arm.shape[1]
        if planned - rates[0] > margin:
            count = min(count, fixed.horizon(rates[0], planned, share, margin, alpha))
        found = fixed.p_value(fixed.tally(arm[:, :count], harm[:, :count]), margin) <= alpha
        return numpy.array([numpy.where(found, count, numpy.inf), never])
    known = (rates[1], rates[0]) if method == "oracle" else None
    ends = events_needed(e_processes(arm, share, harm, margin, known), alpha)
    return numpy.where(ends == ends.min(axis=0), ends, numpy.inf)
