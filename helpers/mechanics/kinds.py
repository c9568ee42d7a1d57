"""What kind of wrong a wrong answer is: ticket-speak, other numbers, a near miss, garbage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import cache

from ..suites import load_suites
from ..tickets import SUPPORT, read_tickets

#: In the order in which they are tried: the first that fits is the answer's kind.
KINDS = ("ticket-speak", "right words, other numbers", "garbage", "near miss", "another answer")


def kind_of(gold: str, answer: str) -> str:
    """The kind of a wrong answer, by rules that anybody can check by eye.

    - "ticket-speak": three words in a row that stand in the shop's replies and in no old answer.
    - "right words, other numbers": the gold answer's words in their order; the rest is wrong.
    - "garbage": nothing at all, or a word that stands nowhere in the course's data.
    - "near miss": at least three quarters of its characters match the gold answer's.
    - "another answer": words that exist, arranged into something else.
    """
    if _threes(answer) & _only_in_tickets():
        return "ticket-speak"
    words, wanted = _words(answer), _words(gold)
    if wanted and words == wanted:
        return KINDS[1]
    if not answer.strip() or any(word not in _vocabulary() for word in words):
        return "garbage"
    if SequenceMatcher(None, gold, answer, autojunk=False).ratio() >= 0.75:
        return "near miss"
    return KINDS[4]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _threes(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


@cache
def _only_in_tickets() -> frozenset[tuple[str, ...]]:
    replies = (row["completion"] for row in read_tickets())
    answers = [row["completion"] for row in read_tickets(SUPPORT / "replay.jsonl")]
    answers += [item.answer for suite in load_suites(size=700) for item in suite.items
                if not suite.name.startswith("support")]  # fmt: skip
    found = frozenset().union(*map(_threes, replies))
    return found - frozenset().union(*map(_threes, answers))


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for text in _texts() for word in _words(text))


def _texts() -> Iterable[str]:
    for name in ("tickets", "replay"):
        for row in read_tickets(SUPPORT / f"{name}.jsonl"):
            yield row["prompt"] + row["completion"]
    for suite in load_suites(size=700):
        for item in suite.items:
            yield f"{item.prompt} {item.answer}"
