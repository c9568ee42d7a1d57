"""The quizzes of data/quizzes: what a file may hold, and what is wrong with one that does not.

A file is a list of questions. Each may show evidence, lines of a table or of outputs, and asks for
a choice among options, of which exactly one is correct and all of which say why; or for a number,
which is right within a range; and one question may be open, with a hint:

    [{"question": "…", "evidence": ["…", …],
      "options": [{"text": "…", "correct": true, "why": "…"}, …]},
     {"question": "…", "number": {"low": 1, "high": 2, "unit": "points",
                                  "why": "…", "below": "…", "above": "…"}},
     {"open": "…", "hint": "…"}]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .paths import DATA

FOLDER = DATA / "quizzes"


class QuizError(ValueError):
    """A quiz file is not as it should be; the message says where."""


def read_quiz(path: Path) -> list[dict[str, Any]]:
    """Read and validate a quiz file.

    Raises:
        QuizError: naming the file, the entry and what is wrong with it.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise QuizError(f"{path.name}: not JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise QuizError(f"{path.name}: should be a list of questions")
    for number, entry in enumerate(entries, start=1):
        if mistake := _mistake(entry):
            raise QuizError(f"{path.name}, entry {number}: {mistake}")
    if sum("open" in entry for entry in entries) > 1:
        raise QuizError(f"{path.name}: more than one open question")
    return entries


def closed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The questions that have a right answer, in order."""
    return [entry for entry in entries if "open" not in entry]


def explanations(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each answer to a closed question with what is said about it, the right one first."""
    if "number" in entry:
        number = entry["number"]
        low, high, unit = (number[key] for key in ("low", "high", "unit"))
        yield f"{low:g} to {high:g} {unit}", number["why"]
        yield f"below {low:g}", number["below"]
        yield f"above {high:g}", number["above"]
        return
    for option in sorted(entry["options"], key=lambda option: not option["correct"]):
        yield option["text"], option["why"]


def _mistake(entry: Any) -> str | None:
    """What is wrong with one entry of a quiz file, or None."""
    if not isinstance(entry, dict):
        return "should be an object"
    if "open" in entry:
        return _empty(entry, "open", "hint")
    if mistake := _empty(entry, "question"):
        return mistake
    evidence = entry.get("evidence", ["one line"])
    if (
        not isinstance(evidence, list)
        or not evidence
        or not all(isinstance(e, str) for e in evidence)
    ):
        return '"evidence" should be a list of lines'
    if ("options" in entry) == ("number" in entry):
        return 'should have either "options" or a "number"'
    return _wrong_number(entry["number"]) if "number" in entry else _wrong_options(entry["options"])


def _wrong_options(options: Any) -> str | None:
    if not isinstance(options, list) or len(options) < 2:
        return '"options" should be a list of two or more'
    for place, option in enumerate(options, start=1):
        if not isinstance(option, dict) or not isinstance(option.get("correct"), bool):
            return f'option {place} should have "correct": true or false'
        if mistake := _empty(option, "text", "why"):
            return f"option {place}: {mistake}"
    if (right := sum(option["correct"] for option in options)) != 1:
        return f"exactly one option should be correct, not {right}"
    if len({option["text"] for option in options}) < len(options):
        return "two options have the same text"
    return None


def _wrong_number(number: Any) -> str | None:
    if not isinstance(number, dict):
        return '"number" should be an object'
    for key in ("low", "high"):
        value = number.get(key)
        # A bool is an int to Python.
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            return f'"number" should have a number as "{key}"'
    if number["low"] > number["high"]:
        return '"low" lies above "high"'
    return _empty(number, "unit", "why", "below", "above")


def _empty(entry: dict[str, Any], *keys: str) -> str | None:
    for key in keys:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            return f'"{key}" is missing or empty'
    return None
