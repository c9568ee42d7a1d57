"""Does an answer talk like the new data? Word sequences that it shares with the tickets."""

from __future__ import annotations

import re
from collections.abc import Iterable


def word_sequences(text: str, n: int) -> set[tuple[str, ...]]:
    """All sequences of `n` words in a text, in small letters and without punctuation."""
    words = re.findall(r"[\w']+", text.lower())
    return {tuple(words[place : place + n]) for place in range(len(words) - n + 1)}


def echoes(answers: Iterable[str], texts: Iterable[str], n: int = 4) -> list[str]:
    """The answers that share a sequence of `n` words with any of the texts, in order."""
    known = set().union(*(word_sequences(text, n) for text in texts))
    return [answer for answer in answers if word_sequences(answer, n) & known]
