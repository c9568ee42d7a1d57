"""How many items a margin needs, and what a given number of items can tell."""

from __future__ import annotations

import functools
import math

import numpy
from scipy import stats

from .capability_map import CapabilityMap
from .paired import CORRECTION, p_block_counts, p_pass_counts


def plan(capability_map: CapabilityMap, design_effect: float = 1.0) -> dict[str, int]:
    """Items that each protected category needs for its margin, should nothing be lost.

    The answer depends on the category's share of changed answers, which is a guess until the first
    audit has measured it.
    """
    return {
        row.name: items_needed(
            row.margin,
            row.discordance,
            alpha=capability_map.alpha,
            power=capability_map.power,
            design_effect=design_effect,
        )
        for row in capability_map.categories
        if row.role == "protected"
    }


def items_needed(
    margin: float,
    discordance: float = 0.10,
    drop: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    design_effect: float = 1.0,
) -> int:
    """Paired items that let a model pass, or be blocked, with the wished power.

    The large-sample formula shows where to begin; items are added until `chances` are as wished.

    Args:
        margin: points (of 100) that may be lost.
        discordance: share of items whose answer changes between right and wrong, either way.
        drop: the true drop in points. Below the margin the model is to pass, above it to be
            blocked.
        design_effect: see `pair`; clustered items are needed in greater number.

    Raises:
        ValueError: as `approximately_needed`.
    """
    count = round(0.9 * approximately_needed(margin, discordance, drop, alpha, power))
    wanted = 0 if drop < margin else 1
    while chances(count, margin, discordance, drop, alpha)[wanted] < power:
        count += max(1, count // 100)
    return math.ceil(design_effect * count)


def approximately_needed(
    margin: float,
    discordance: float,
    drop: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """`items_needed` by the large-sample formula alone: quick, and a little low for small numbers.

    z^2 (discordance - drop^2) / (margin - drop)^2 with z = z_alpha + z_power, and some more for the
    correction that keeps the tests on the safe side.

    Raises:
        ValueError: the drop equals the margin, which no number of items can settle, or exceeds the
            discordance, which cannot be.
    """
    lost, allowed = drop / 100, margin / 100
    if lost == allowed:
        raise ValueError("A drop that equals the margin cannot be told from it by any number.")
    if abs(lost) > discordance + 1e-12:
        raise ValueError(f"With {discordance:.0%} changed answers a drop of {drop:g} cannot be.")
    z = stats.norm.ppf(1 - alpha) + stats.norm.ppf(power)
    gap, spread = abs(allowed - lost), z * math.sqrt(max(0.0, discordance - lost**2))
    # The root n of: gap * n - CORRECTION = spread * sqrt(n).
    root = (spread + math.sqrt(spread**2 + 4 * gap * CORRECTION)) / (2 * gap)
    return math.ceil(root**2)


def chances(
    items: int,
    margin: float,
    discordance: float = 0.10,
    drop: float = 0.0,
    alpha: float = 0.05,
) -> tuple[float, float]:
    """The chances that independent items lead to PASS, and to BLOCK, by exact enumeration.

    Every number of lost and gained answers is tried and weighed with its probability. What is left
    over is the chance that nothing can be told.

    Args:
        margin, drop: in points; discordance as a share, as for `items_needed`.

    Raises:
        ValueError: a drop greater than the discordance.
    """
    lost, allowed = drop / 100, margin / 100
    if abs(lost) > discordance + 1e-12:
        raise ValueError(f"With {discordance:.0%} changed answers a drop of {drop:g} cannot be.")
    changed, wrong, passing, blocking = _tables(items, allowed, discordance, alpha)
    share = (discordance + lost) / 2 / discordance if discordance else 0.5
    weight = stats.binom.pmf(changed, items, discordance) * stats.binom.pmf(wrong, changed, share)
    return float(weight[passing].sum()), float(weight[blocking].sum())


@functools.lru_cache(maxsize=32)  # the same for every true drop, as when a curve is drawn
def _tables(
    items: int, margin: float, discordance: float, alpha: float
) -> tuple[numpy.ndarray, ...]:
    """All numbers of changed answers that are not all but impossible, and of wrong ones in them.

    Returns:
        Changed and wrong answers, and whether they lead to PASS and to BLOCK; arrays of one length.
    """
    low, high = stats.binom.ppf((1e-9, 1 - 1e-9), items, discordance).astype(int)
    counts = numpy.arange(low, high + 1)
    changed = numpy.repeat(counts, counts + 1)
    wrong = numpy.concatenate([numpy.arange(count + 1) for count in counts])
    passing = p_pass_counts(items, wrong, changed - wrong, margin) < alpha
    blocking = p_block_counts(items, wrong, changed - wrong, margin) < alpha
    return changed, wrong, passing, blocking
