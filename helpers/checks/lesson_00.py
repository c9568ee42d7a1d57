"""Checkers of the exercises in lesson 00."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from ..evaluation import is_right
from ..generation import complete
from ..models import load_model
from ..snapshots import ItemResult
from ..suites import Item, load_suites
from . import exercise


@exercise(
    "0.1",
    reading="The answers followed your articles: the base reads. The section on what it knows and "
    "what it can read asks all questions of this kind.",
)
def false_article(function: Callable[[str], str]) -> str | None:
    articles, prompts = [], []
    for item in _with_numbers():
        article, question = item.prompt.split("\n", 1)
        made = function(article)
        if mistake := _no_control(article, made):
            return mistake
        articles.append(made)
        prompts.append(f"{made}\n{question}")
    answers = complete(load_model("pocket"), prompts)
    follows = [
        bool(_numbers(answer)) and set(_numbers(answer)) <= set(_numbers(made))
        for made, answer in zip(articles, answers, strict=True)
    ]
    if sum(follows) < 0.8 * len(follows):
        return (
            f"Only {sum(follows)} of {len(follows)} answers have numbers of your article. The "
            "control has to leave the article readable: replace each number by one of the same "
            "kind, and leave the words alone."
        )
    return None


def _no_control(article: str, made: object) -> str | None:
    """Why a changed article cannot tell a model that reads from one that recites, or None."""
    if not isinstance(made, str):
        return f"It returned a {type(made).__name__}; the changed article is asked for, as text."
    if made == article:
        return (
            "The article came back as it was. A model that reads and one that recites would answer "
            "alike."
        )
    old, new = _numbers(article), _numbers(made)
    if not new:
        return (
            "No number is left, so there is nothing false to be read: a model that reads and one "
            "that guesses look the same. Put other numbers in their place."
        )
    if len(new) != len(old):
        return (
            f"The article had {len(old)} numbers and has {len(new)} now. Replace each by another."
        )
    if len(set(old)) > 1 and len(set(new)) == 1:
        return (
            "One and the same number stands everywhere. A model that says this number for reasons "
            "of its own would pass for one that reads: give different numbers."
        )
    kept = sum(a == b for a, b in zip(old, new, strict=True))
    if kept:
        return (
            f"{kept} of {len(old)} numbers stayed as they were. A question about such a policy "
            "decides nothing: both kinds of model give the same answer."
        )
    if re.sub(r"\d+", "", article) != re.sub(r"\d+", "", made):
        return "Words have changed, not only numbers. Then a wrong answer has two possible causes."
    return None


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


@cache
def _with_numbers() -> list[Item]:
    """Twenty questions with their help articles whose answers hold a number."""
    (suite,) = load_suites("support_with_article")
    return [item for item in suite.items if _numbers(item.answer)][:20]


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
