"""Answers whose worth is known: what a judge learns from, and what it is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..jsonl import read_lines

#: The one kind of good answers, where nobody has named several.
GOOD = "good"


class BadKnownAnswers(ValueError):
    """Answers of known worth are missing or malformed."""


@dataclass(frozen=True)
class Known:
    """One answer of known worth.

    Attributes:
        prompt: the exact text the answering model was given.
        answer: what it said, without surrounding spaces.
        kind: the name of the defect; for a good answer "good" or a finer name.
    """

    prompt: str
    answer: str
    kind: str = GOOD


@dataclass(frozen=True)
class Pair:
    """A good and a bad answer to one prompt.

    Attributes:
        kind: the name of the bad one's defect.
    """

    prompt: str
    good: str
    bad: str
    kind: str


def read_known(path: str | Path) -> tuple[list[Known], list[Known]]:
    """Read answers that people have sorted into good and bad, one JSON object a line.

    Every line has a "prompt", an "answer", a "good" that is true or false, and, if known, the
    "kind" of its defect.

    Returns:
        The good answers and the bad ones.

    Raises:
        BadKnownAnswers: a line is malformed, or one of the two sorts is missing.
    """
    sorted_out: dict[bool, list[Known]] = {True: [], False: []}
    try:
        for number, row in read_lines(path):
            missing = [key for key in ("prompt", "answer", "good") if key not in row]
            if missing:
                raise ValueError(f"{path}, line {number} has no {missing[0]!r}.")
            if not isinstance(row["good"], bool):
                raise ValueError(
                    f'{path}, line {number}: "good" is {row["good"]!r} and must be true or false.'
                )
            kind = row.get("kind") or (GOOD if row["good"] else "bad")
            sorted_out[row["good"]].append(Known(row["prompt"], row["answer"], kind))
    except ValueError as error:
        raise BadKnownAnswers(str(error)) from error
    for good, rows in sorted_out.items():
        if not rows:
            raise BadKnownAnswers(
                f"{path} has no {'good' if good else 'bad'} answers. A judge is tested on both."
            )
    return sorted_out[True], sorted_out[False]
