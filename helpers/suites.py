"""Test suites: fixed, held-out items for every capability, kept as JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .jsonl import read_lines
from .paths import DATA

SUITES = DATA / "suites"

#: What the base model can do and a fine-tune should not cost.
PROTECTED = (
    "facts",
    "arithmetic",
    "reasoning",
    "lists",
    "reading",
    "howto",
    "sentiment",
    "translation",
    "rewriting",
    "refusal",
    "stories",
)
#: What the fine-tune is for, with the same questions asked over the right help article.
TARGET = "support"
WITH_ARTICLE = "support_with_article"
NAMES = (*PROTECTED, TARGET, WITH_ARTICLE)


class UnknownCapability(ValueError):
    """A capability that no suite measures was asked for."""


class BadItems(ValueError):
    """A file of items is empty or malformed."""


@dataclass(frozen=True)
class Item:
    """One question of a suite.

    Attributes:
        id: unique within the suite.
        prompt: the exact text the model is given.
        answer: the gold answer; the model is expected to produce it after one space.
        choices: possible answers for multiple choice, the gold one among them, or ().
        family: group of similar items, such as "capital"; items of one family are correlated.
        format: how the prompt is laid out ("bare", "qa", "chat", "support").
    """

    id: str
    capability: str
    family: str
    format: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Items of one capability, and how they are scored.

    Attributes:
        kind: "generate" compares the model's answer with the gold one; "text" scores the
            perplexity of `answer` as running text.
        extract: a regular expression whose first group is what counts of an answer, or None
            when the whole answer counts.
    """

    name: str
    items: tuple[Item, ...]
    kind: Literal["generate", "text"] = "generate"
    extract: str | None = None

    def __len__(self) -> int:
        return len(self.items)


#: In a worked problem only the last statement is scored.
EXTRACT = {"reasoning": r"The answer is ([^.\n]+)"}


def read_items(path: str | Path) -> tuple[Item, ...]:
    """Read and validate items from a JSON-lines file.

    Raises:
        BadItems: the file is empty or a line is malformed; the message names file and line.
    """
    items = []
    try:
        for number, record in read_lines(path):
            items.append(_item(record, f"{path}, line {number}"))
    except ValueError as error:
        raise BadItems(str(error)) from error
    if not items:
        raise BadItems(f"{path} holds no items.")
    repeated = len(items) - len({item.id for item in items})
    if repeated:
        raise BadItems(f"{path}: {repeated} item ids occur more than once.")
    return tuple(items)


def _item(record: dict, where: str) -> Item:
    try:
        item = Item(**{**record, "choices": tuple(record.get("choices") or ())})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
    if not (isinstance(item.prompt, str) and isinstance(item.answer, str)):
        raise ValueError(f"{where}: prompt and answer must be text")
    if item.prompt and item.answer != item.answer.strip().split("\n")[0]:
        raise ValueError(f"{where}: an answer is one line, without spaces around it")
    if item.choices and item.answer not in item.choices:
        raise ValueError(f"{where}: the answer is not among the choices")
    return item


def load_suites(names: str | Sequence[str] | None = None, size: int = 250) -> list[Suite]:
    """Load the course's suites.

    Args:
        names: one capability or several; all of them when left out.
        size: items per suite: 250 for a quick look, up to 700 for an audit.

    Raises:
        UnknownCapability: the message lists the known ones.
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"size is the number of items per suite, 1 to 700, not {size}.")
    wanted = NAMES if names is None else (names,) if isinstance(names, str) else names
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        raise UnknownCapability(
            f"No suite measures {', '.join(map(repr, unknown))}. Known: {', '.join(NAMES)}."
        )
    return [
        Suite(
            name=name,
            items=read_items(SUITES / f"{name}.jsonl")[:size],
            kind="text" if name == "stories" else "generate",
            extract=EXTRACT.get(name),
        )
        for name in wanted
    ]
