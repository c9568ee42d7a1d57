"""Hundreds of simulated rollouts at once, all with the same truth.

Rates and shares are from 0 to 1, times in hours, margins in points; every user asks once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy
from scipy import stats

from . import fixed
from .canary import Verdict
from .eprocess import BadEvents, Counts, check_alpha, e_processes, events_needed
from .looked import believed, draw, gains

#: How many answers are simulated at once, over all rollouts.
BLOCK = 100_000

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

    def error(self, verdict: Verdict) -> float:
        """Standard error of that share, from there being only so many rollouts."""
        rate = self.rate(verdict)
        return float(numpy.sqrt(rate * (1 - rate) / len(self.verdict)))

    def within(self, part: float, verdict: Verdict = "roll back") -> float:
        """Hours within which this part of all rollouts came to the verdict; infinite if fewer."""
        taken = numpy.sort(numpy.where(self.verdict == verdict, self.hours, numpy.inf))
        return float(taken[min(int(numpy.ceil(part * len(taken))), len(taken)) - 1])

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
    every: float | None = None,
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
        every: hours between looks, of which the window is made up too; after every answer when left
            out. With looks the time that this takes does not grow with the traffic.

    Raises:
        BadEvents: a setting is impossible.
    """
    if not all(0 <= rate <= 1 for rate in (control, candidate)) or not 0 < share < 1:
        raise BadEvents("Rates must lie from 0 to 1, and the share strictly between.")
    if not 0 <= window < hours or delay < 0 or per_hour < 1 or count < 1:
        raise BadEvents("There must be a rollout and an answer, and a window shorter than it all.")
    if every is not None and not 0 < every <= hours - window:
        raise BadEvents(f"There must be a look after the window, unlike every {every!r} hours.")
    check_alpha(alpha)
    if method not in get_args(Method):
        raise BadEvents(f"There is no method {method!r}.")
    rng = numpy.random.default_rng(seed)
    seen = 1 - numpy.exp(-window / delay) if delay > 0 else 1.0
    if every is not None:
        return _looked_at(
            rng, share, (candidate, control), margin / 100, alpha, per_hour, hours, window,
            seen, method, planned or candidate, count, every,
        )  # fmt: skip
    answered, counted = int(hours * per_hour), int((hours - window) * per_hour)
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
                _verdicts(ends),
                (last + 1) / per_hour,
                numpy.cumsum(arm, axis=1)[row, last],
                numpy.cumsum(arm & harm, axis=1)[row, last],
            )
        )
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


def _looked_at(
    rng: numpy.random.Generator,
    share: float,
    rates: tuple[float, float],
    margin: float,
    alpha: float,
    per_hour: int,
    hours: float,
    window: float,
    seen: float,
    method: Method,
    planned: float,
    count: int,
    every: float,
) -> Outcomes:
    """`rollouts` with looks; `rates` are those of candidate and control."""
    looks, waits = int(hours / every + 1e-9), int(numpy.ceil(window / every - 1e-9))
    answers = numpy.diff(numpy.floor(per_hour * every * numpy.arange(looks + 1) + 1e-9)).astype(int)
    came = draw(rng, answers, share, rates, seen, (count, looks))
    c = came.counts
    parts = (c.candidate, c.control, c.candidate_harmed, c.control_harmed)
    new = Counts(*(part[:, : looks - waits] for part in parts))
    so_far = Counts(*(numpy.cumsum(part[:, : looks - waits], axis=1) for part in parts))
    never = numpy.full(count, numpy.inf)
    if method in ("peeking", "once"):
        total = so_far.candidate + so_far.control
        high = fixed.z_score(so_far, margin) >= stats.norm.isf(alpha)
        if method == "peeking":
            high &= total >= fixed.FIRST
        else:
            size = total[0, -1]
            if planned * seen - rates[1] * seen > margin:
                told = (rates[1] * seen, planned * seen)
                size = min(size, fixed.horizon(*told, share, margin, alpha))
            at = int(numpy.searchsorted(total[0], size))
            high &= numpy.arange(high.shape[1]) == at
        first = numpy.where(high.any(axis=1), high.argmax(axis=1) + 1.0, numpy.inf)
        ends = numpy.array([first, never])
    else:
        before = Counts(*(getattr(so_far, n) - getattr(new, n) for n in vars(new)))
        known = (rates[0] * seen, rates[1] * seen) if method == "oracle" else believed(before)
        wealth = numpy.cumsum(gains(new, share, known, margin), axis=-1)
        ends = events_needed(wealth, alpha)
        ends = numpy.where(ends == ends.min(axis=0), ends, numpy.inf)
    last = numpy.minimum(ends.min(axis=0) + waits, looks).astype(int) - 1
    row = numpy.arange(count)
    served = numpy.cumsum(c.candidate, axis=1)[row, last]
    harmed = numpy.cumsum(c.candidate_harmed + came.late, axis=1)[row, last]
    return Outcomes(_verdicts(ends), (last + 1) * every, served, harmed,
                    served * (rates[0] - rates[1]))  # fmt: skip


def _verdicts(ends: numpy.ndarray) -> numpy.ndarray:
    back, on = ends < numpy.inf
    return numpy.where(back, "roll back", numpy.where(on, "widen", "hold"))
