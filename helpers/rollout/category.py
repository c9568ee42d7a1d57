"""What a request is about: the capability of the map whose items look most like it.

Items are found by BM25 (Robertson et al. 1994; by the package bm25s, Lù 2024, arXiv 2407.03618), as
help articles are in lesson 06. It is a guess, made in less than a millisecond and without a model,
for each request. What looks like nothing on the map is "other", and worth reading.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import bm25s
import numpy

from ..audit.capability_map import CapabilityMap
from .errors import BadSetting

#: What is called so is like nothing on the map.
OTHER = "other"
#: The nearest items that vote.
NEIGHBOURS = 5
#: So many examples of a category settle how unlike its items are.
SETTLED_BY = 100


class Categories:
    """Guesses the category of a request.

    Args:
        examples: prompts by category; twenty or more of each for a floor that means something.
        missed: how many of a category's own items may be called "other": a share, such as 0.02. It
            sets the category's floor. Each example is compared with the others of its category,
            and what is less like them than all but this share of the examples is "other".

    Attributes:
        floors: the least score that each category asks for. A score is the BM25 weight of the
            nearest item per word of the request.

    Raises:
        BadSetting: there are no examples, a category has none with a word in it, or `missed` is
            no share.
    """

    def __init__(self, examples: Mapping[str, Sequence[str]], missed: float = 0.02) -> None:
        if not 0 <= missed < 1:
            raise BadSetting(f"missed is a share of a category's items, not {missed}.")
        if not examples:
            raise BadSetting("There are no examples to tell categories by.")
        self._names: list[str] = []
        texts: list[list[str]] = []
        for name, prompts in examples.items():
            words = [found for found in map(_words, prompts) if found]
            if not words:
                raise BadSetting(f"The category {name!r} has no example with a word in it.")
            self._names += [name] * len(words)
            texts += words
        self._bm25 = bm25s.BM25()
        self._bm25.index(texts, show_progress=False)
        self.floors = {
            name: float(numpy.quantile(scores, missed)) if scores else 0.0
            for name in examples
            for scores in [list(self._among_its_own(name, texts))]
        }

    @classmethod
    def from_map(
        cls,
        capability_map: CapabilityMap,
        examples: Mapping[str, Sequence[str]],
        missed: float = 0.02,
    ) -> Categories:
        """Categories for the rows of a map.

        Args:
            examples: prompts by category or by task of the map; what is on no row is left out.

        Raises:
            BadSetting: a row has no examples; the message names it.
        """
        found = {}
        for row in capability_map.categories:
            prompts = examples.get(row.name) or examples.get(row.task)
            if not prompts:
                raise BadSetting(
                    f"There are no examples of {row.name!r}. Give some prompts for every row of "
                    "the map, such as those of its suite."
                )
            found[row.name] = prompts
        return cls(found, missed)

    def guess(self, prompt: str) -> tuple[str, float]:
        """The category of a prompt, and its score.

        The nearest items vote, each with its weight. Where the category that wins asks for a higher
        score than the prompt has, the prompt is "other". A prompt without a word that is on the map
        scores 0 and is "other" too.
        """
        words = _words(prompt)
        scores = self._bm25.get_scores(words) if words else numpy.zeros(1)
        if scores.max() <= 0:
            return OTHER, 0.0
        nearest = numpy.argsort(-scores, kind="stable")[:NEIGHBOURS]
        votes: dict[str, float] = defaultdict(float)
        for place in nearest:
            votes[self._names[place]] += float(scores[place])
        name = max(votes, key=votes.__getitem__)
        best = next(place for place in nearest if self._names[place] == name)
        score = float(scores[best]) / len(words)
        return (name if score >= self.floors[name] else OTHER), score

    def _among_its_own(self, name: str, texts: Sequence[list[str]]) -> Iterator[float]:
        """How much examples of a category look like the others of it."""
        places = numpy.array([place for place, its in enumerate(self._names) if its == name])
        for place in places[:SETTLED_BY]:
            others = self._bm25.get_scores(texts[place])[places[places != place]]
            if len(others):
                yield float(others.max()) / len(texts[place])


def _words(text: str) -> list[str]:
    """Words in lower case. All numbers count as one word: 17 + 34 looks like 48 + 46."""
    text = re.sub(r"\d+(?:[.,]\d+)*", " number ", text)
    text = re.sub(r"[+−*/×÷=]|(?<=\s)-(?=\s)", " sign ", text)
    return bm25s.tokenize(text, stopwords=[], return_ids=False, show_progress=False)[0]
