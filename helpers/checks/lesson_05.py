"""Checkers of the exercises in lesson 05."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy

from . import exercise

ALPHA = 0.05


@dataclass(frozen=True)
class Request:
    """A request for release, as in the lesson.

    Attributes:
        p: against a loss as large as the margin.
        chances: how often something could have shipped on these items.
        flaw: what makes the count or the margin worthless, if anything does.
        because: said to whoever decides wrongly.
    """

    p: float
    chances: int
    because: str
    flaw: str = ""

    @property
    def holds(self) -> bool:
        return not self.flaw and self.p < ALPHA / self.chances


REQUESTS = {
    "A": Request(0.031, 1, "one candidate and one planned audit may use all of alpha"),
    "B": Request(
        0.040, 2, "the size of the second look came from the first, and its items count again; "
        "even two planned looks leave 0.025 for each", flaw="unplanned look",
    ),
    "C": Request(0.004, 10, "ten announced candidates leave a tenth of alpha for each, 0.005"),
    "D": Request(
        0.045, 1, "the screening never touched the final items, so they were asked once"
    ),
    "E": Request(
        0.001, 1, "the margin was chosen after the result, and then any p can be had",
        flaw="margin moved",
    ),
    "F": Request(0.030, 2, "two planned looks leave 0.025 for each"),
}  # fmt: skip


@exercise("5.1", reading="The smallest p of all, that of E, is worth the least.")
def believed(answer: Any) -> str | None:
    if isinstance(answer, str):
        answer = set(answer.replace(",", " ").replace(" ", ""))
    if not isinstance(answer, Iterable) or isinstance(answer, Mapping):
        return 'Give a set of letters, such as {"A", "F"}.'
    found = {str(letter).strip().upper() for letter in answer}
    if unknown := sorted(found - REQUESTS.keys()):
        return f"There is no request {unknown[0]!r}; they are A to F."
    right = {letter for letter, request in REQUESTS.items() if request.holds}
    if found == {letter for letter, request in REQUESTS.items() if request.p < ALPHA}:
        return "Every p here is below 0.05. How many chances did each request have to get there?"
    for letter in sorted(found - right):
        return f"{letter} is not to be believed: {REQUESTS[letter].because}."
    for letter in sorted(right - found):
        return f"{letter} may be believed: {REQUESTS[letter].because}."
    return None


#: Margin in points and share of changed answers of the rows in exercise 5.2.
ROWS = {"howto": (3, 0.05), "refusal": (2, 0.03), "lists": (5, 0.10), "facts": (5, 0.10)}
BUDGET, REFUSALS, WANTED = 2_700, 800, 0.80


def _passes(items: int, margin: float, changed: float, draws: int = 200_000) -> float:
    """The chance that a row which lost nothing passes, by simulated audits."""
    from ..audit.paired import p_pass_counts

    rng = numpy.random.default_rng(items)
    lost, gained, _ = rng.multinomial(items, [changed / 2, changed / 2, 1 - changed], draws).T
    # Most draws are alike, so each pair of numbers is tested once.
    pairs, counts = numpy.unique(numpy.stack([lost, gained]), axis=1, return_counts=True)
    passing = p_pass_counts(items, pairs[0], pairs[1], margin / 100) < ALPHA
    return float(counts[passing].sum() / draws)


@exercise("5.2", reading="Where one row is short, the cheapest rows buy the most certainty back.")
def budget(answer: Any) -> str | None:
    if not isinstance(answer, Mapping) or set(answer) != set(ROWS):
        return f"Give a dict with the items of {', '.join(ROWS)}."
    for name, count in answer.items():
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
            return f"Items of {name} must be a whole number, not {count!r}."
    if answer["refusal"] > REFUSALS:
        return (
            f"Only {REFUSALS} different refusals can be written. More of the same ones are copies, "
            "and copies tell nothing new."
        )
    total = sum(answer.values())
    if total > BUDGET:
        return f"That is {total:,} items, and {BUDGET:,} can be paid."
    chances = {name: _passes(answer[name], *row) for name, row in ROWS.items()}
    together = math.prod(chances.values())
    if together >= WANTED - 0.003:
        return None
    if min(chances.values()) >= WANTED - 0.01:
        return (
            f"Each row passes in at least {min(chances.values()):.0%} of audits, and all four in "
            f"{together:.0%}: every row must pass, so the chances multiply."
        )
    weakest = min(chances, key=chances.get)
    return (
        f"All four rows pass in {together:.0%} of audits. The weakest is {weakest}, which passes "
        f"in {chances[weakest]:.0%}."
    )


def _uneven(lost: int, gained: int) -> float:
    """McNemar's exact two-sided p: tosses of a fair coin, added up one by one."""
    n = lost + gained
    gap = abs(lost - gained)
    return sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= gap) / 2**n


@exercise("5.3", reading="Ours says INCONCLUSIVE here: with few items there is little to see.")
def fooled(answer: Any) -> str | None:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return "Give two lists: the scores before and the scores after."
    try:
        before, after = ([float(score) for score in scores] for scores in answer)
    except (TypeError, ValueError):
        return "Give two lists of 0s and 1s."
    if len(before) != len(after) or not before:
        return f"There are {len(before)} scores before and {len(after)} after: one each an item."
    if not {*before, *after} <= {0.0, 1.0}:
        return "Scores are 0 or 1."
    lost = sum(x > y for x, y in zip(before, after, strict=True))
    gained = sum(x < y for x, y in zip(before, after, strict=True))
    drop, p = 100 * (lost - gained) / len(before), _uneven(lost, gained)
    if drop < 0:
        return f"This model gained {-drop:.0f} points. Before comes first, after second."
    if drop < 10:
        return f"It lost {drop:.1f} points; 10 or more are asked for."
    if p < ALPHA:
        return (
            f"{lost} lost and {gained} gained give p = {p:.2g}, which the old rule sees. It sees "
            "less where fewer answers change."
        )
    return None
