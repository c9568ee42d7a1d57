"""False alarms: of the monitor, and of a fixed test that is peeked at or looked at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy

from .eprocess import BadEvents
from .fixed import FIRST
from .rollouts import Method, rollouts
from .traffic import USUAL

#: What each way of testing is called in figures.
NAMES: dict[Method, str] = {
    "peeking": "fixed test, peeked at",
    "anytime": "monitor",
    "once": "fixed test, once",
}
PER_HOUR = 1000


@dataclass(frozen=True, repr=False)
class Alarms:
    """When each simulated rollout was rolled back, though nothing was wrong.

    Attributes:
        at: by the names in `NAMES`, the number of the answer at which each rollout raised its
            alarm; infinite where it raised none.
        answers: of each rollout, both arms together.
        alpha: how many false alarms each test is meant to raise at most, from 0 to 1.
    """

    at: Mapping[str, numpy.ndarray]
    answers: int
    alpha: float

    def rate(self, name: str, answers: int | None = None) -> float:
        """The share of the rollouts with an alarm by that answer, by the last when left out."""
        return float((self.at[name] <= (answers or self.answers)).mean())

    def __repr__(self) -> str:
        count = len(next(iter(self.at.values())))
        told = ", ".join(f"{name} {100 * self.rate(name):.1f} %" for name in self.at)
        return f"False alarms in {count} rollouts of {self.answers:,} answers: {told}"


def false_alarms(
    count: int = 500,
    answers: int = 10_000,
    share: float = 0.5,
    control: float = USUAL,
    margin: float = 1.0,
    alpha: float = 0.05,
    peeks: int | None = None,
    seed: int = 0,
) -> Alarms:
    """Rollouts whose candidate harms by just the margin, so that every roll-back is a false alarm.

    Less harm gives fewer alarms. The three tests see the same users; peeking is after every answer
    from the hundredth on.

    Args:
        share: of the users who get the candidate.
        control: the old version's harm rate; the candidate's is the margin more.
        margin: in points.
        peeks: a fourth test to add, the fixed one looked at so many times, at equal distances; it
            sees other users.

    Raises:
        BadEvents: a setting is impossible.
    """
    if answers < FIRST:
        raise BadEvents(f"Nobody peeks before answer {FIRST}; {answers} answers are too few.")
    if peeks is not None and not 2 <= peeks <= answers // FIRST:
        raise BadEvents(f"Peeks are 2 to {answers // FIRST} in {answers} answers, not {peeks!r}.")
    hours = answers / PER_HOUR
    tests = [(name, method, None) for method, name in NAMES.items()]
    if peeks is not None:
        tests.insert(1, (f"fixed test, {peeks} peeks", "peeking", hours / peeks))
    found = {}
    for name, method, every in tests:
        outcomes = rollouts(
            share, control, control + margin / 100, margin, alpha, per_hour=PER_HOUR, hours=hours,
            window=0, method=method, count=count, seed=seed, every=every,
        )  # fmt: skip
        alarm = outcomes.verdict == "roll back"
        found[name] = numpy.where(alarm, numpy.round(outcomes.hours * PER_HOUR), numpy.inf)
    return Alarms(found, answers, alpha)
