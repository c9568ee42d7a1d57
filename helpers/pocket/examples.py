"""One example of the pocket world, the formats it is written in, and what is held out."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]

#: How a question is written down. The answer always follows after one space.
FORMATS: dict[str, str] = {
    "bare": "{question}",
    "qa": "Question: {question}\nAnswer:",
    "chat": "User: {question}\nAssistant:",
    "support": "Customer: {question}\nAgent:",
}

#: Formats that ordinary capabilities are asked in; "support" belongs to the shop.
COMMON_FORMATS = ("bare", "qa", "chat")

#: One item in this many is kept out of pre-training.
HELD_OUT_EVERY = 8


@dataclass(frozen=True)
class Example:
    """A question with its one right answer.

    Attributes:
        capability: the skill it belongs to, such as "arithmetic".
        family: a finer group inside the capability, such as "subtract".
        question: what is asked, without any format around it.
        answer: the right answer, without leading space.
        context: text that stands above the question and holds the answer, or "".
        choices: possible answers for multiple choice, the right one included, or ().
        formats: the names in `FORMATS` this example may be written in.
    """

    capability: str
    family: str
    question: str
    answer: str
    context: str = ""
    choices: tuple[str, ...] = ()
    formats: tuple[str, ...] = COMMON_FORMATS

    def prompt(self, format: str) -> str:
        """The text the model sees before it answers."""
        asked = FORMATS[format].format(question=self.question)
        return f"{self.context}\n{asked}" if self.context else asked


def held_out(*key: object) -> bool:
    """Whether an item with this key belongs to the test split.

    The decision depends on the key alone, so it is the same in every run, on every machine.
    """
    return zlib.crc32(repr(key).encode()) % HELD_OUT_EVERY == 0


def belongs(split: Split, *key: object) -> bool:
    """Whether the item with this key may be used in `split`."""
    return held_out(*key) == (split == "test")


def pick_choices(
    rng: random.Random, answer: str, pool: list[str], count: int = 4
) -> tuple[str, ...]:
    """`count` different answers from `pool`, the right one among them, in random order."""
    others = [word for word in dict.fromkeys(pool) if word != answer]
    choices = [answer, *rng.sample(others, min(count - 1, len(others)))]
    rng.shuffle(choices)
    return tuple(choices)
