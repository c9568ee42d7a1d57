"""How far a judge agrees with what is known, and what its verdicts say about the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..snapshots import wilson

if TYPE_CHECKING:
    from .calibration import Calibration

Z = 1.96  # 95 % intervals


class JudgeBelowChance(ValueError):
    """A judge that tells nothing about the truth cannot be corrected for its errors."""


@dataclass(frozen=True)
class Share:
    """A count out of `n`, as a share between 0 and 1 with its 95 % interval (Wilson 1927).

    The interval takes the items as independent; it is (0, 1) where there are none.
    """

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.n:
            return 0.0, 1.0
        low, high = wilson(self.hits, self.n, Z)
        return low / 100, high / 100

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.0%} ({low:.0%} to {high:.0%}), {self.hits} of {self.n}"


def kappa(sensitivity: float, specificity: float, good: float) -> float:
    """Agreement beyond chance between a judge and the truth (Cohen 1960).

    Args:
        good: the share of good answers among those judged; κ depends on it.

    Returns:
        1 for full agreement, 0 for what two independent raters with these habits would reach.
    """
    says_good = good * sensitivity + (1 - good) * (1 - specificity)
    observed = good * sensitivity + (1 - good) * specificity
    by_chance = good * says_good + (1 - good) * (1 - says_good)
    return (observed - by_chance) / (1 - by_chance)


def kappa_interval(sensitivity: Share, specificity: Share) -> tuple[float, float]:
    """A 95 % interval for κ where the numbers of good and bad answers were fixed beforehand.

    κ grows with both shares. How far it moves when each goes to the end of its interval is added
    in quadrature (Zou and Donner 2008), which needs no large sample and has a width even where
    the judge made no mistake.
    """
    good = sensitivity.n / (sensitivity.n + specificity.n)
    centre = kappa(sensitivity.value, specificity.value, good)
    ends = []
    for end in (0, 1):
        by_sensitivity = kappa(sensitivity.interval[end], specificity.value, good) - centre
        by_specificity = kappa(sensitivity.value, specificity.interval[end], good) - centre
        ends.append(math.hypot(by_sensitivity, by_specificity))
    return max(-1.0, centre - ends[0]), min(1.0, centre + ends[1])


@dataclass(frozen=True)
class CorrectedRate:
    """A rate that a judge observed, and what it says about the true one.

    Attributes:
        observed: share of the answers the judge calls good (of the pairs, won by the first).
        rate: the true share it points to, between 0 and 1.
        interval: 95 % interval of the true share.
    """

    observed: float
    rate: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.rate:.0%} ({low:.0%} to {high:.0%}); the judge alone says {self.observed:.0%}"
        )


def bias_corrected_win_rate(wins: int, n: int, calibration: Calibration) -> CorrectedRate:
    """Correct a judge's win rate, or its rate of good answers, for the errors it is known to make.

    The judge calls a share (1 - specificity) of the bad answers good and misses a share
    (1 - sensitivity) of the good ones; solving for the true share is the correction of Rogan and
    Gladen (1978). The interval is that of Lang and Reiczigel (2014): by the delta method, with
    pseudo-counts that keep it honest in small samples; it includes that the judge's error rates
    were themselves estimated. Lee et al. (2025, arXiv 2511.21140) recommend the pair for judges.

    It holds where the judge errs as it did in the calibration: on the same kinds of defect, in
    the same mix. For pairs, count decided pairs only and report the ties beside it.

    Args:
        wins: answers judged good, or decided pairs won by the first answer.
        n: all judged answers, or all decided pairs.

    Raises:
        JudgeBelowChance: sensitivity and specificity add up to 1 or less.
        ValueError: the counts are impossible.
    """
    if not 0 <= wins <= n or n == 0:
        raise ValueError(f"{wins} wins of {n} is no win rate. Give counts, with at least one.")
    sensitivity, specificity = calibration.sensitivity, calibration.specificity
    observed = wins / n
    rate = _solve(observed, sensitivity.value, specificity.value)
    # From here on with pseudo-counts: one on either side per error rate, z²/2 for the observed.
    total, sick, well = n + Z * Z, sensitivity.n + 2, specificity.n + 2
    seen = (wins + Z * Z / 2) / total
    se, sp = (sensitivity.hits + 1) / sick, (specificity.hits + 1) / well
    centre = _solve(seen, se, sp)
    from_se = centre * se * (1 - se) / sick
    from_sp = (1 - centre) * sp * (1 - sp) / well
    shift = 2 * Z * Z * (from_se - from_sp)
    variance = seen * (1 - seen) / total + centre * from_se + (1 - centre) * from_sp
    half = Z * math.sqrt(max(0.0, variance)) / (se + sp - 1)
    return CorrectedRate(
        observed, _clip(rate), (_clip(centre + shift - half), _clip(centre + shift + half))
    )


def _solve(observed: float, sensitivity: float, specificity: float) -> float:
    information = sensitivity + specificity - 1
    if not information > 0:
        raise JudgeBelowChance(
            f"With a sensitivity of {sensitivity:.0%} and a specificity of {specificity:.0%} the "
            "judge calls bad answers good at least as often as good ones: what it says holds no "
            "information about the truth. Use another judge."
        )
    return (observed + specificity - 1) / information


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))
