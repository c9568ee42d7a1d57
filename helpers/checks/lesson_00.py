"""Checkers of the exercises in lesson 00."""

from __future__ import annotations

from ..evaluation import is_right
from ..snapshots import ItemResult
from ..suites import Item
from . import exercise


@exercise("0.1", reading="The model answers greedily: the likeliest token at every step.")
def first_answer(answer: str) -> str | None:
    if not isinstance(answer, str):
        return "Pass the text that `complete` returned, not the function or a list."
    if answer.strip().rstrip(".").casefold() == "oslo":
        return None
    return "Ask for the capital of Norway, and give check the answer itself."


def _results(pattern: str) -> list[ItemResult]:
    """One result a letter: r for right, w for wrong."""
    return [
        ItemResult(
            item=Item(str(number), "facts", "capital", "bare", "?", "Paris"),
            output="Paris" if letter == "r" else "Rome",
            correct=is_right("Paris" if letter == "r" else "Rome", "Paris"),
            nll=0.0,
            tokens=1,
        )
        for number, letter in enumerate(pattern)
    ]


@exercise("0.2", reading="Everything that follows in this course is built on this one number.")
def percent_right(function) -> str | None:
    for pattern, expected in (("rrrw", 75.0), ("w", 0.0), ("rr", 100.0), ("rww", 100 / 3)):
        found = function(_results(pattern))
        if not isinstance(found, (int, float)):
            return f"It returned a {type(found).__name__}; a number is asked for."
        if abs(found - expected) < 1e-6:
            continue
        if abs(found - expected / 100) < 1e-6:
            return "That is the share. Multiply by 100 to get percent."
        if abs(found - pattern.count("r")) < 1e-6:
            return "That is the count of right answers. Divide by the number of items."
        if abs(found - round(expected)) < 1e-6:
            return "It is rounded. Leave the rounding to whoever prints it."
        return f"For {len(pattern)} items with {pattern.count('r')} right it gave {found:g}."
    return None
