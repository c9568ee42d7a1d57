"""What a judge is, and how to ask a pairwise one so that the order of the answers cannot win."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

#: What a pairwise judge says of two answers. A tie is a verdict; "invalid" is the lack of one.
Preference = Literal["first", "second", "tie", "invalid"]

_OTHER_WAY: dict[Preference, Preference] = {"first": "second", "second": "first"}


@runtime_checkable
class Judge(Protocol):
    """A judge that gives every answer a number of its own; higher is better.

    Attributes:
        name: says which judge it is; judgements of differently named judges are not compared.
    """

    name: str

    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """One score per answer; NaN where the judge gave no readable verdict."""
        ...


@runtime_checkable
class PairwiseJudge(Protocol):
    """A judge that is shown two answers and says which is better."""

    name: str

    def prefer(
        self, prompts: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> list[Preference]:
        """One verdict per prompt."""
        ...


class LengthJudge:
    """Scores an answer by its number of characters: the judge every other one has to beat."""

    name = "length"

    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(len(answer)) for answer in answers]


@dataclass(frozen=True)
class ByScore:
    """Preferences of a scoring judge: the higher score wins.

    Attributes:
        margin: scores that differ by no more than this are a tie.
    """

    judge: Judge
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not self.margin >= 0:
            raise ValueError(f"The margin of a tie must be at least 0, not {self.margin}.")

    @property
    def name(self) -> str:
        return f"{self.judge.name}, margin {self.margin:g}"

    def prefer(
        self, prompts: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> list[Preference]:
        scores = self.judge.score(prompts, firsts), self.judge.score(prompts, seconds)
        return [self._verdict(first - second) for first, second in zip(*scores, strict=True)]

    def _verdict(self, lead: float) -> Preference:
        if math.isnan(lead):
            return "invalid"
        if abs(lead) <= self.margin:
            return "tie"
        return "first" if lead > 0 else "second"


@dataclass(frozen=True)
class BothOrders:
    """What a pairwise judge said when every pair was shown in both orders.

    Attributes:
        shown: its verdicts on the pairs as given.
        swapped: its verdicts on the pairs the other way round, named by the answers' places as
            given, so that a consistent judge has the same in both.
    """

    shown: tuple[Preference, ...]
    swapped: tuple[Preference, ...]

    @property
    def verdicts(self) -> list[Preference]:
        """What counts: the verdict both orders agree on, otherwise a tie.

        A pair without a readable verdict in one of the orders is invalid.
        """
        return [
            "invalid" if "invalid" in both else both[0] if both[0] == both[1] else "tie"
            for both in zip(self.shown, self.swapped, strict=True)
        ]

    @property
    def inconsistency(self) -> float:
        """Share of the readable pairs on which the two orders disagree; NaN without any."""
        readable = [both for both in self._pairs() if "invalid" not in both]
        return _share(sum(a != b for a, b in readable), len(readable))

    @property
    def for_the_first(self) -> float:
        """Of the flat contradictions, the share in which the answer shown first won both times.

        A half where the judge merely wavers, 1 where it follows the place. NaN without any.
        """
        flat = [both for both in self._pairs() if set(both) == {"first", "second"}]
        return _share(sum(shown == "first" for shown, _ in flat), len(flat))

    def _pairs(self) -> list[tuple[Preference, Preference]]:
        return list(zip(self.shown, self.swapped, strict=True))

    def __repr__(self) -> str:
        return f"BothOrders: {Tally.of(self.verdicts)}, {self.inconsistency:.0%} inconsistent"


@dataclass(frozen=True)
class Swapped:
    """A pairwise judge that is asked about every pair in both orders.

    Judges based on language models prefer an answer for its place; a win that does not survive
    the swap is none (Zheng et al. 2023, arXiv 2306.05685, section 3.4).
    """

    judge: PairwiseJudge

    @property
    def name(self) -> str:
        return f"{self.judge.name}, both orders"

    def ask(
        self, prompts: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> BothOrders:
        """Both orders' verdicts, from which the inconsistency can be read."""
        shown = self.judge.prefer(prompts, firsts, seconds)
        swapped = self.judge.prefer(prompts, seconds, firsts)
        return BothOrders(tuple(shown), tuple(_OTHER_WAY.get(said, said) for said in swapped))

    def prefer(
        self, prompts: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> list[Preference]:
        return self.ask(prompts, firsts, seconds).verdicts


def swapped(judge: PairwiseJudge) -> Swapped:
    """The judge, asked about every pair in both orders; disagreement counts as a tie."""
    return Swapped(judge)


@dataclass(frozen=True)
class Tally:
    """How often the first and the second answers won; ties are kept, never split or drawn."""

    first: int
    second: int
    ties: int = 0
    invalid: int = 0

    @classmethod
    def of(cls, verdicts: Sequence[Preference]) -> Tally:
        """Count verdicts."""
        found = Counter(verdicts)
        return cls(found["first"], found["second"], found["tie"], found["invalid"])

    @property
    def decided(self) -> int:
        """The number of pairs with a winner."""
        return self.first + self.second

    @property
    def win_rate(self) -> float:
        """Share of the decided pairs that the first answers won; NaN where none is decided."""
        return _share(self.first, self.decided)

    def __str__(self) -> str:
        unread = f", {self.invalid} invalid" if self.invalid else ""
        return f"first {self.first}, second {self.second}, {self.ties} ties{unread}"


def _share(count: int, n: int) -> float:
    return count / n if n else math.nan
