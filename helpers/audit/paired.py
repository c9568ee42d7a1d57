"""Statistics of two models on the same items: did the score drop by more than a margin?

Everything here is about the drop, before minus after, as a share of the items. A positive drop is a
loss. The null hypothesis of a release gate is that something *was* lost: "not significant" is no
evidence of safety, so a model passes only when a loss beyond the margin is ruled out (a test of
non-inferiority; Blackwelder 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from scipy import stats
from scipy.optimize import brentq


@dataclass(frozen=True)
class Paired:
    """Two models' scores on the same items, boiled down to what the tests need.

    Attributes:
        n: the number of items, as many as independent ones would tell the same; may be fractional.
        lost: of these, right before and wrong after; for scores that are no 0 or 1, see `binary`.
        gained: wrong before and right after.
        degrees: degrees of freedom of the standard error; infinite for independent items.
        binary: whether every score is 0 or 1. If not, `drop` and `error` say it all.
        drop: mean of before minus after.
        error: standard error of the drop, clusters accounted for.
        design_effect: how many clustered items count as much as one independent item.
    """

    n: float
    lost: float
    gained: float
    degrees: float
    binary: bool
    drop: float
    error: float
    design_effect: float


def pair(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[object] | None = None
) -> Paired:
    """Compare two models item by item.

    Items of one family are alike, so a hundred of them tell less than a hundred unrelated ones
    (Miller 2024, arXiv 2411.00640). The variance of the drop is therefore taken over clusters, and
    the numbers of items are divided by the design effect, the ratio of that variance to the naive
    one (Korn and Graubard 1998 do so for a single share). It is never taken to be below one.

    Args:
        before, after: one score an item, in the same order.
        clusters: what each item belongs to; items without a common one are independent.

    Raises:
        ValueError: there is no item, or the lists differ in length.
    """
    if len(before) == 0 or len(before) != len(after):
        raise ValueError(f"Scores must come in pairs, not {len(before)} and {len(after)}.")
    x, y = numpy.asarray(before, float), numpy.asarray(after, float)
    n, difference = len(x), x - y
    drop = float(difference.mean())
    rest = difference - drop
    naive = float((rest**2).sum()) / n**2
    degrees, effect = math.inf, 1.0
    if clusters is not None:
        _, place = numpy.unique(numpy.asarray(list(map(str, clusters))), return_inverse=True)
        sums = numpy.bincount(place, weights=rest)
        count = len(sums)
        degrees = count - 1
        if naive > 0 and count > 1:
            effect = max(1.0, count / (count - 1) * float((sums**2).sum()) / n**2 / naive)
    binary = bool(numpy.isin(x, (0, 1)).all() and numpy.isin(y, (0, 1)).all())
    error = math.sqrt(naive * effect * n / max(1, n - 1))
    lost, gained = float((difference > 0).sum()), float((difference < 0).sum())
    if not binary and clusters is None:
        degrees = n - 1
    return Paired(n / effect, lost / effect, gained / effect, degrees, binary, drop, error, effect)


#: By how much of an item the tests err on the side of saying nothing. Counts move in whole items,
#: and without a correction up to 7 % of models at the margin would pass at 5 % asked. This is the
#: least quarter of an item that keeps the level at every size tried, by exact enumeration.
CORRECTION = 0.75


def score_statistic(n, lost, gained, margin, shift=0.0):
    """Tango's (1998) score statistic: how far the drop lies above a margin, in standard errors.

    Unlike the drop divided by its standard error it also holds where few answers changed: with no
    change at all on thirty items it says how little thirty items can rule out.

    Args:
        n, lost, gained: numbers of items, or arrays of them.
        margin: the drop of the null hypothesis, as a share in (-1, 1).
        shift: added to the number of lost items, in the distance only.
    """
    n, lost, gained, margin = numpy.broadcast_arrays(
        *(numpy.asarray(value, float) for value in (n, lost, gained, margin))
    )
    # The likeliest share of gains if the drop were exactly the margin: a quadratic equation.
    b = -lost - gained + (2 * n - lost + gained) * margin
    c = -gained * margin * (1 - margin)
    share = (numpy.sqrt(numpy.maximum(b**2 - 8 * n * c, 0)) - b) / (4 * n)
    variance = numpy.maximum(n * (2 * share + margin * (1 - margin)), 0)
    distance = lost - gained - n * margin + shift
    with numpy.errstate(divide="ignore", invalid="ignore"):
        found = distance / numpy.sqrt(variance)
    return numpy.where(numpy.isclose(distance, 0), 0.0, found)[()]


def p_pass_counts(n, lost, gained, margin, degrees=math.inf):
    """`p_pass` from numbers of items, or arrays of them, for scores of 0 and 1."""
    return _cdf(score_statistic(n, lost, gained, margin, CORRECTION), degrees)


def p_block_counts(n, lost, gained, margin, degrees=math.inf):
    """`p_block` from numbers of items, or arrays of them, for scores of 0 and 1."""
    return _cdf(-score_statistic(n, lost, gained, margin, -CORRECTION), degrees)


def p_pass(pair: Paired, margin: float) -> float:
    """One-sided p-value against "the drop is at least the margin"; small: the loss is ruled out.

    Args:
        margin: as a share, or in the unit of the scores.
    """
    if pair.binary:
        return float(p_pass_counts(pair.n, pair.lost, pair.gained, margin, pair.degrees))
    return _p_below(pair, margin)


def p_block(pair: Paired, margin: float) -> float:
    """One-sided p-value against "the drop is at most the margin"; small: the loss is certain."""
    if pair.binary:
        return float(p_block_counts(pair.n, pair.lost, pair.gained, margin, pair.degrees))
    return 1 - _p_below(pair, margin)


def _p_below(pair: Paired, margin: float) -> float:
    """Student's t; scores that never differ say nothing about how they would vary."""
    if pair.error == 0 or pair.degrees < 1:
        return 0.5
    return float(_cdf((pair.drop - margin) / pair.error, pair.degrees))


def _cdf(z, degrees: float):
    if degrees < 1:
        return numpy.full_like(z, 0.5)  # one cluster: no telling
    return stats.norm.cdf(z) if math.isinf(degrees) else stats.t.cdf(z, degrees)


def bounds(pair: Paired, alpha: float = 0.05) -> tuple[float, float]:
    """The drops that neither one-sided test rejects; each end holds with 1 - alpha.

    A pair passes a margin exactly when the upper bound lies below it, and is certain to be beyond
    the margin when the lower bound lies above it.
    """
    edge = 1 - 1e-9 if pair.binary else abs(pair.drop) + 1e3 * pair.error + 1e-9

    def passing(margin: float) -> float:
        return p_pass(pair, margin) - alpha

    def blocking(margin: float) -> float:
        return p_block(pair, margin) - alpha

    high = brentq(passing, pair.drop, edge) if passing(edge) < 0 < passing(pair.drop) else math.inf
    low = brentq(blocking, -edge, pair.drop) if blocking(-edge) < 0 else -math.inf
    return (max(low, -1.0), min(high, 1.0)) if pair.binary else (low, high)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value against "as many answers turned wrong as right" (McNemar 1947)."""
    return float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def p_changed(pair: Paired) -> float:
    """Two-sided p-value against "no drop at all"; McNemar's exact one for independent 0s and 1s."""
    if pair.binary and math.isinf(pair.degrees):
        return mcnemar(round(pair.lost), round(pair.gained))
    return min(1.0, 2 * min(p_pass(pair, 0.0), p_block(pair, 0.0)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for asking many questions at once (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted
