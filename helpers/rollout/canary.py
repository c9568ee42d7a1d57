"""The canary monitor: does the new version harm its users more often than the old one, by more than
the margin? It may be asked after every answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
import pandas

from .eprocess import BadEvents, Counts, Floats, believed, check_alpha, check_events, log_factors
from .window import settled

Verdict = Literal["widen", "hold", "roll back"]
#: Differences, in points to either side of the margin, for which the wealth is kept.
REACH, STEP = 30.0, 0.25
#: By how much the odds of the candidate may be off, as tried against the router's word, and the
#: chance of suspecting it falsely.
ODDS, SUSPICION = (0.5, 0.8, 1.25, 2.0), 0.001
#: Events taken at once; more only cost memory.
BLOCK = 2000


@dataclass(frozen=True)
class Look:
    """What the monitor says at one time.

    Attributes:
        verdict: "roll back" where harm beyond the margin is proven, "widen" where it is ruled out,
            "hold" where neither is.
        events: how many were counted.
        candidate, control: of these, answered by either.
        candidate_harmed, control_harmed: of these, with harm.
        beyond, within: the largest wealth so far of who bets on harm beyond the margin, and on harm
            within it.
        lower, upper: bounds of the difference in points; each errs, at any look ever, with a chance
            of at most alpha. Infinite where nothing within 30 points of the margin is ruled out.
        mismatch: whether the arms' sizes contradict the shares. Find out why; until then the
            verdict is never "widen".
    """

    verdict: Verdict
    events: int
    candidate: int
    control: int
    candidate_harmed: int
    control_harmed: int
    beyond: float
    within: float
    lower: float
    upper: float
    mismatch: bool

    def __str__(self) -> str:
        rates = [
            f"{name} {harmed} of {count} harmed"
            for name, harmed, count in (
                ("candidate", self.candidate_harmed, self.candidate),
                ("control", self.control_harmed, self.control),
            )
        ]
        text = f"{self.verdict}: {', '.join(rates)}; difference {_span(self.lower, self.upper)}"
        if self.mismatch:
            text += ". The arms' sizes contradict the shares: check the router and the telemetry"
        return text + "."


def _span(lower: float, upper: float) -> str:
    if numpy.isinf(lower) and numpy.isinf(upper):
        return "not yet known"
    if numpy.isinf(upper):
        return f"at least {lower:.2f} points"
    return (
        f"at most {upper:.2f} points"
        if numpy.isinf(lower)
        else f"{lower:.2f} to {upper:.2f} points"
    )


class Monitor:
    """Watches candidate against control with the e-process of `helpers.rollout.eprocess`.

    The chance of ever saying "roll back" of a candidate whose harm exceeds the control's by at most
    the margin is at most alpha, and so is that of ever saying "widen" of one that exceeds it. Looks
    are free: there is no number of them, and no time, at which it has to be asked.

    The wealth is kept for every difference on a grid: those that are not ruled out are the
    confidence sequence (Waudby-Smith and Ramdas 2024, arXiv 2010.09686).

    Args:
        margin: points (of 100) by which the candidate's harm rate may exceed the control's.
        alpha: see above.

    Raises:
        BadEvents: the margin or alpha is impossible.
    """

    def __init__(self, margin: float, alpha: float = 0.05) -> None:
        is_number = isinstance(margin, (int, float)) and not isinstance(margin, bool)
        if not is_number or not 0 <= margin < 100:
            raise BadEvents(f"margin must be points from 0 to below 100, not {margin!r}.")
        self.margin, self.alpha = float(margin), check_alpha(alpha)
        steps = numpy.arange(-round(REACH / STEP), round(REACH / STEP) + 1)
        points = self.margin + STEP * steps
        kept = numpy.abs(points) < 100
        self._points = points[kept]
        self._place = int(numpy.flatnonzero(steps[kept] == 0)[0])
        self._seen = Counts(0.0, 0.0, 0.0, 0.0)
        self._wealth = numpy.zeros((2, len(self._points)))  # "beyond" and "within", as logarithms
        self._largest = numpy.zeros_like(self._wealth)
        self._odds, self._doubt = numpy.zeros(len(ODDS)), 0.0
        self._until: tuple[float, object] | None = None

    def see(
        self,
        arm: str | Sequence[str],
        share: float | Sequence[float],
        harm: bool | Sequence[bool],
    ) -> Look:
        """Count one event, or several in their order, and say what follows.

        Each is one user's answer: whether "candidate" or "control" gave it, the chance that the
        candidate had of being the one, and whether it did harm. That chance must be the true one
        given everything counted before; `look` takes care of it for rows of the telemetry.

        Raises:
            BadEvents: an event is impossible. None of them has been counted then.
        """
        arms = numpy.atleast_1d(arm)
        if not numpy.isin(arms, ("candidate", "control")).all():
            raise BadEvents(f"arm must be candidate or control, not {arm!r}.")
        share = numpy.broadcast_to(numpy.asarray(share, float), arms.shape)
        chosen, share, harm = check_events(arms == "candidate", share, harm)
        for start in range(0, len(chosen), BLOCK):
            block = slice(start, start + BLOCK)
            self._count(chosen[block], share[block], harm[block])
        return self.now()

    def look(
        self, events: pandas.DataFrame, window: float, now: float, holdout: float = 0.0
    ) -> Look:
        """Count what has settled since the last look, and say what follows.

        Args:
            events, window, now, holdout: see `helpers.rollout.window.settled`. Give all events of
                the rollout each time: those that were counted are not counted again.

        Raises:
            BadEvents: see `settled`.
        """
        rows = settled(events, window, now, holdout)
        if self._until is not None:
            time, key = self._until
            rows = rows[(rows["time"] > time) | ((rows["time"] == time) & (rows["id"] > key))]
        if rows.empty:
            return self.now()
        found = self.see(rows["arm"].tolist(), rows["share"].to_numpy(), rows["harm"].to_numpy())
        self._until = (rows["time"].iloc[-1], rows["id"].iloc[-1])
        return found

    def _count(self, arm: numpy.ndarray, share: Floats, harm: Floats) -> None:
        c, k, self._seen = believed(arm, harm, self._seen)
        gains = log_factors(arm, share, harm, (c, k), self._points[:, None] / 100)
        path = self._wealth[..., None] + numpy.cumsum(gains, axis=-1)
        self._wealth = path[..., -1]
        self._largest = numpy.maximum(self._largest, path.max(axis=-1))
        # Sample ratio mismatch, as an e-process too (Lindon and Malek 2020, arXiv 2011.03567, mix
        # over a prior; here over four odds ratios).
        odds = numpy.array(ODDS)[:, None]
        told = numpy.where(arm, numpy.log(odds), 0) - numpy.log(share * odds + 1 - share)
        path = self._odds[:, None] + numpy.cumsum(told, axis=-1)
        self._odds = path[:, -1]
        mixed = numpy.logaddexp.reduce(path, axis=0) - numpy.log(len(ODDS))
        self._doubt = max(self._doubt, float(mixed.max()))

    def now(self) -> Look:
        """What follows from the events counted so far."""
        rich = self._largest >= -numpy.log(self.alpha)
        beyond, within = rich[:, self._place]
        mismatch = self._doubt >= -numpy.log(SUSPICION)
        verdict: Verdict = "hold"
        if beyond:
            verdict = "roll back"
        elif within and not mismatch:
            verdict = "widen"
        # From the outside inward, as long as every difference is ruled out.
        below = int(numpy.logical_and.accumulate(rich[0]).sum())
        above = int(numpy.logical_and.accumulate(rich[1][::-1]).sum())
        seen = self._seen
        largest = numpy.exp(numpy.minimum(self._largest[:, self._place], 700))
        return Look(
            verdict=verdict,
            events=int(seen.candidate + seen.control),
            candidate=int(seen.candidate),
            control=int(seen.control),
            candidate_harmed=int(seen.candidate_harmed),
            control_harmed=int(seen.control_harmed),
            beyond=float(largest[0]),
            within=float(largest[1]),
            lower=float(self._points[below - 1]) if below else -numpy.inf,
            upper=float(self._points[len(self._points) - above]) if above else numpy.inf,
            mismatch=bool(mismatch),
        )
