"""Testing a judge on answers of known worth, and refusing to use one that has not passed."""

from __future__ import annotations

import html
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..tables import head
from .agreement import Share, kappa, kappa_interval
from .judge import Judge, PairwiseJudge
from .known import BadKnownAnswers, Known, Pair


class UncalibratedJudge(RuntimeError):
    """A judge was to decide something and has not been tested, or has not passed."""


@dataclass(frozen=True)
class Requirements:
    """What the lower ends of a judge's 95 % intervals must reach before it may decide anything.

    They are conventions, as every threshold is: set them before you look. 0.6 is where Landis and
    Koch (1977) begin to call agreement substantial.

    Attributes:
        kind: for every single kind of answer, good or bad: the share told rightly. A kind below
            it is a blind spot, which a good average may hide.
        undecided: the largest share of answers or pairs without a verdict (no lower end here).
    """

    kappa: float = 0.6
    sensitivity: float = 0.8
    specificity: float = 0.8
    kind: float = 0.5
    undecided: float = 0.2


@dataclass(frozen=True)
class Calibration:
    """How a judge did on answers of known worth that played no part in choosing its threshold.

    Attributes:
        judge: its name.
        threshold: an answer is judged good when its score is above it; None for pairs.
        sensitivity: of the good answers, the share judged good. For pairs: of those whose first
            answer is the good one and that were decided, the share the first won.
        specificity: of the bad answers, the share judged bad. It is an average over the kinds of
            defect in the mix they were given in. For pairs: the same for the second answer.
        kinds: for every kind of answer the share told rightly; what is undecided is not.
        undecided: ties and unreadable verdicts.
        required: the bounds it has to reach.
    """

    judge: str
    threshold: float | None
    sensitivity: Share
    specificity: Share
    kinds: dict[str, Share]
    undecided: Share
    required: Requirements = field(default_factory=Requirements)

    @property
    def kappa(self) -> float:
        """Cohen's κ (1960) at this mix of good and bad answers; NaN without verdicts."""
        if not (self.sensitivity.n and self.specificity.n):
            return math.nan
        good = self.sensitivity.n / (self.sensitivity.n + self.specificity.n)
        return kappa(self.sensitivity.value, self.specificity.value, good)

    @property
    def kappa_interval(self) -> tuple[float, float]:
        """Its 95 % interval; (-1, 1) without verdicts."""
        if math.isnan(self.kappa):
            return -1.0, 1.0
        return kappa_interval(self.sensitivity, self.specificity)

    @property
    def blind_spots(self) -> list[str]:
        """The kinds of answer that the judge is not known to tell rightly often enough."""
        return [k for k, share in self.kinds.items() if share.interval[0] < self.required.kind]

    @property
    def shortfalls(self) -> list[str]:
        """Every requirement that is not met, in words; empty for a usable judge."""
        need, found = self.required, []
        lows = {
            "κ": (self.kappa, self.kappa_interval[0], need.kappa),
            "sensitivity": (self.sensitivity.value, self.sensitivity.interval[0], need.sensitivity),
            "specificity": (self.specificity.value, self.specificity.interval[0], need.specificity),
        }
        for name, (value, low, bound) in lows.items():
            if low < bound:
                found.append(f"{name} is {value:.2f}, at least {low:.2f}; needed: {bound:.2f}")
        for kind in self.blind_spots:
            share = self.kinds[kind]
            found.append(f"blind spot {kind!r}: {share} told rightly; needed: {need.kind:.0%}")
        if self.undecided.n and self.undecided.value > need.undecided:
            found.append(f"{self.undecided} undecided; allowed: {need.undecided:.0%}")
        return found

    @property
    def usable(self) -> bool:
        """Whether every requirement is met."""
        return not self.shortfalls

    def _rows(self) -> list[tuple[str, str]]:
        low, high = self.kappa_interval
        return [
            ("judge", self.judge),
            ("threshold", "none (pairs)" if self.threshold is None else f"{self.threshold:.2f}"),
            ("Cohen's κ", f"{self.kappa:.2f} ({low:.2f} to {high:.2f})"),
            ("sensitivity", str(self.sensitivity)),
            ("specificity", str(self.specificity)),
            ("undecided", str(self.undecided)),
            *((f"told rightly: {kind}", str(share)) for kind, share in self.kinds.items()),
            ("usable", "yes" if self.usable else "no: " + "; ".join(self.shortfalls)),
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{name:30} {text}" for name, text in self._rows())

    def _repr_html_(self) -> str:
        cell = "<td style='text-align:left'>{}</td>"
        body = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            f"{cell.format(html.escape(text))}</tr>"
            for name, text in self._rows()
        )
        return f"<table>{head(('', 'value (95 % interval)'))}<tbody>{body}</tbody></table>"


def require(calibration: Calibration | None) -> Calibration:
    """The calibration, if its judge may be used to decide something.

    Raises:
        UncalibratedJudge: there is none, or the judge fell short; the message says where.
    """
    if calibration is None:
        raise UncalibratedJudge(
            "This judge has not been calibrated, so nobody knows what its verdicts mean. Run "
            "calibrate(judge, known_good, known_bad) and pass the result on."
        )
    if not calibration.usable:
        raise UncalibratedJudge(
            f"The judge {calibration.judge!r} did not pass its calibration. "
            + "; ".join(calibration.shortfalls)
            + "."
        )
    return calibration


def calibrate(
    judge: Judge,
    known_good: Sequence[Known],
    known_bad: Sequence[Known],
    required: Requirements | None = None,
    seed: int = 0,
) -> Calibration:
    """Test a scoring judge on answers of known worth.

    The prompts are divided into two halves at random. On one the threshold is chosen that makes
    sensitivity + specificity largest (Youden 1950); everything reported is measured on the other.
    The intervals take answers as independent: give every prompt once per kind of answer.

    Raises:
        BadKnownAnswers: one of the halves has no good or no bad answers, or none with a score.
    """
    rows = [(known, True) for known in known_good] + [(known, False) for known in known_bad]
    prompts = sorted({known.prompt for known, _ in rows})
    random.Random(seed).shuffle(prompts)
    choosing = set(prompts[: len(prompts) // 2])
    scores = judge.score([known.prompt for known, _ in rows], [known.answer for known, _ in rows])
    halves: dict[bool, list[tuple[float, bool, str]]] = {True: [], False: []}
    for score, (known, good) in zip(scores, rows, strict=True):
        halves[known.prompt in choosing].append((score, good, known.kind))
    for half in halves.values():
        if {good for score, good, _ in half if not math.isnan(score)} != {True, False}:
            raise BadKnownAnswers(
                "Half of the prompts choose the threshold, the other half test it, and one of the "
                "halves has no good or no bad answers with a score. Give more prompts, with good "
                "and bad answers to each."
            )
    threshold = best_threshold([(score, good) for score, good, _ in halves[True]])
    told = [
        (good, None if math.isnan(score) else score > threshold, kind)
        for score, good, kind in halves[False]
    ]
    return _summary(judge.name, threshold, told, required)


def calibrate_pairs(
    judge: PairwiseJudge,
    pairs: Sequence[Pair],
    required: Requirements | None = None,
    seed: int = 0,
) -> Calibration:
    """Test a pairwise judge on pairs of a good and a bad answer, shown in random order.

    There is no threshold to choose, so all pairs are used.

    Raises:
        BadKnownAnswers: there are fewer than two pairs.
    """
    if len(pairs) < 2:
        raise BadKnownAnswers(f"{len(pairs)} pairs are too few to test a judge on.")
    good_first = [number % 2 == 0 for number in range(len(pairs))]
    random.Random(seed).shuffle(good_first)
    placed = list(zip(pairs, good_first, strict=True))
    verdicts = judge.prefer(
        [pair.prompt for pair in pairs],
        [pair.good if first else pair.bad for pair, first in placed],
        [pair.bad if first else pair.good for pair, first in placed],
    )
    says: dict[str, bool] = {"first": True, "second": False}
    told = [
        (first, says.get(verdict), pair.kind)
        for verdict, (pair, first) in zip(verdicts, placed, strict=True)
    ]
    return _summary(judge.name, None, told, required)


def best_threshold(scored: Sequence[tuple[float, bool]]) -> float:
    """The threshold with the largest sensitivity + specificity (Youden 1950).

    Args:
        scored: (score, whether the answer is good); NaN scores are left out.

    Returns:
        A value half-way between two neighbouring scores; the lowest of equally good ones.
    """
    scored = sorted(row for row in scored if not math.isnan(row[0]))
    goods = sum(good for _, good in scored)
    bads = len(scored) - goods
    best, threshold = 0.0, scored[0][0] - 1.0  # everything is called good
    missed = caught = 0
    for (score, good), (following, _) in pairwise(scored):
        missed, caught = missed + good, caught + (not good)
        gain = caught / bads - missed / goods
        if following > score and gain > best:
            best, threshold = gain, (score + following) / 2
    return threshold


def _summary(
    name: str,
    threshold: float | None,
    told: Sequence[tuple[bool, bool | None, str]],
    required: Requirements | None,
) -> Calibration:
    """Args: told: (the truth, the verdict or None, the kind) of every answer or pair."""

    def share(chosen: Callable[[bool, bool | None, str], bool]) -> Share:
        rows = [row for row in told if chosen(*row)]
        return Share(sum(truth == verdict for truth, verdict, _ in rows), len(rows))

    return Calibration(
        judge=name,
        threshold=threshold,
        sensitivity=share(lambda truth, verdict, _: truth and verdict is not None),
        specificity=share(lambda truth, verdict, _: not truth and verdict is not None),
        kinds={
            kind: share(lambda *row, kind=kind: row[2] == kind)
            for kind in dict.fromkeys(row[2] for row in told)
        },
        undecided=Share(sum(verdict is None for _, verdict, _ in told), len(told)),
        required=required or Requirements(),
    )
