"""Does training data ask what a test asks? Questions are compared without their format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..pocket.world import WRAPPERS
from ..suites import Suite

Row = Mapping[str, str]


class ReplayLeaks(ValueError):
    """Replay data holds questions of the test: what is measured after it is no retention."""


def question_of(prompt: str) -> str:
    """What a prompt asks, with the text it asks about and without the words of a format.

    "User: What is 3 + 4?\\nAssistant:" and "Question: What is 3 + 4?\\nAnswer:" ask the same.
    """
    asked = re.sub(r"\n(Answer|Assistant|Agent):$", "", prompt.strip())
    return re.sub(r"(^|\n)(Question|User|Customer): ", r"\1", asked)


def overlap(rows: Iterable[Row], suites: Sequence[Suite]) -> list[int]:
    """The places of rows that ask what an item of the suites asks, or hold its running text.

    Case, spacing and polite words around a question do not matter. The same sum in other words is
    not found: that takes data that was split before it was put into words.
    """
    held_out = set()
    for suite in suites:
        text = suite.kind == "text"
        held_out |= {
            _plain(item.answer if text else question_of(item.prompt)) for item in suite.items
        }
    return [
        place
        for place, row in enumerate(rows)
        if not held_out.isdisjoint(
            {
                _plain(question_of(row["prompt"])),
                _plain(_unwrapped(question_of(row["prompt"]))),
                _plain(row["completion"]),
            }
        )
    ]


def check_no_overlap(rows: Iterable[Row], suites: Sequence[Suite]) -> None:
    """Refuse rows that ask what the suites ask.

    Raises:
        ReplayLeaks: the message says how many do, shows one, and names the remedy.
    """
    rows = list(rows)
    if found := overlap(rows, suites):
        raise ReplayLeaks(
            f"{len(found)} of {len(rows)} old rows ask what the test asks, row {found[0]} first: "
            f"{question_of(rows[found[0]]['prompt'])[:80]!r}. Take them out with "
            "`without_overlap(replay, suites)`, and write other items if too few are left."
        )


def without_overlap(rows: Iterable[Row], suites: Sequence[Suite]) -> list[dict[str, str]]:
    """The rows that ask nothing the suites ask."""
    rows = list(rows)
    leaking = set(overlap(rows, suites))
    return [dict(row) for place, row in enumerate(rows) if place not in leaking]


def _unwrapped(question: str) -> str:
    """A question without the polite phrase around it."""
    for wrapper in WRAPPERS:
        before, after = wrapper.split("{q}")
        if question.startswith(before) and question.endswith(after):
            return question[len(before) : len(question) - len(after)]
    return question


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
