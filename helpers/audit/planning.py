"""How many items a margin needs, and what a given number of items can tell."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy
from scipy import stats

from ..snapshots import wilson
from .capability_map import CapabilityMap, Category
from .paired import CORRECTION, Paired, p_block_counts, p_pass_counts


@dataclass(frozen=True)
class Plan(Mapping[str, int]):
    """Items for every category, for it alone (as a mapping) and for the whole map to ship.

    With a power of 80 % for each of eleven rows, a model that lost nothing ships in 0.8^11 = 9 % of
    audits: every row must pass. Items are other items in every row, so that rows pass independently
    and the powers multiply; for 80 % together each row needs the eleventh root of 0.8.

    Attributes:
        alone: items that give the row by itself the map's power.
        together: items that give all rows on which the release depends the map's power as a whole;
            rows that only warn stay at `alone`.
        unplanned: categories without a number, and why.
    """

    capability_map: CapabilityMap
    alone: dict[str, int]
    together: dict[str, int]
    unplanned: dict[str, str]

    def __getitem__(self, name: str) -> int:
        return self.alone[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.alone)

    def __len__(self) -> int:
        return len(self.alone)

    def __repr__(self) -> str:
        rows = self.capability_map
        lines = [f"{'category':22} margin  changed  items alone  for the whole map"]
        for name, alone in self.alone.items():
            row = rows[name]
            margin = f"{row.margin:6g} {row.discordance:8.0%}" if row.margin else " " * 15
            lines.append(f"{name:22} {margin} {alone:12,} {self.together[name]:18,}")
        for counts, words in ((self.alone, "alone"), (self.together, "for the whole map")):
            share = ships(rows, counts) if counts else 1.0
            told = (
                f"with the items {words}, a model that lost nothing ships in {share:.0%} of audits"
            )
            lines.append(told)
        if rows.level < rows.alpha:
            lines.append(
                f"alpha {rows.alpha:g} is shared by {rows.looks} looks and {rows.candidates} "
                f"candidates: {rows.level:.2g} each"
            )
        lines += [f"{name}: not planned, {reason}" for name, reason in self.unplanned.items()]
        return "\n".join(lines)


def plan(capability_map: CapabilityMap, design_effect: float = 1.0) -> Plan:
    """Items that the map needs if nothing is lost: for each row alone, and to ship as a whole.

    The answer depends on the categories' shares of changed answers, which are guesses until the
    first audit has measured them, and on the looks and candidates that the map pays for.

    Args:
        design_effect: see `pair`; clustered items are needed in greater number.
    """
    rows, unplanned = _planned(capability_map)
    gating = [row for row in rows if row.severity == "block"]
    level, power = capability_map.level, capability_map.power
    each = power ** (1 / max(1, len(gating)))
    alone = {row.name: _items(row, level, power, design_effect) for row in rows}
    together = {row.name: _items(row, level, each, design_effect) for row in gating}
    return Plan(capability_map, alone, {**alone, **together}, unplanned)


def ships(capability_map: CapabilityMap, items: int | Mapping[str, int]) -> float:
    """The chance that a model which lost nothing ships, all planned rows together, exactly.

    Rows are taken to have other items each, and independent ones. Targets are expected to reach
    their `expected` points; what cannot be planned is taken to pass.

    Args:
        items: for every row, or by its name.
    """
    rows, _ = _planned(capability_map)
    counts = {row.name: items if isinstance(items, int) else items[row.name] for row in rows}
    gating = [row for row in rows if row.severity == "block"]
    return math.prod(_passes(row, counts[row.name], capability_map.level) for row in gating)


def _planned(capability_map: CapabilityMap) -> tuple[list[Category], dict[str, str]]:
    """Rows that can be planned, and why others cannot."""
    rows, unplanned = [], {}
    for row in capability_map.categories:
        if row.role == "target" and row.expected is None:
            unplanned[row.name] = "the target has no `expected` score in the map"
        elif row.role == "target" or (row.role == "protected" and row.metric not in LOSSES):
            rows.append(row)
        elif row.role == "protected":
            unplanned[row.name] = f"{row.metric} is no share of right answers"
    return rows, unplanned


#: Metrics whose spread nobody knows beforehand.
LOSSES = ("nll", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


def _items(row: Category, level: float, power: float, design_effect: float) -> int:
    if row.role == "protected":
        return items_needed(row.margin, row.discordance, 0.0, level, power, design_effect)
    count = 10
    while _passes(row, count, level) < power:
        count += max(1, count // 50)
    return math.ceil(design_effect * count)


def _passes(row: Category, count: int, level: float) -> float:
    """The chance that a row passes: nothing lost, or a target at what is expected of it."""
    if row.role == "protected":
        return chances(count, row.margin, row.discordance, 0.0, level)[0]
    z = float(stats.norm.ppf(1 - level))
    enough = bisect.bisect_left(
        range(count + 1), row.min_score, key=lambda right: wilson(right, count, z)[0]
    )
    return float(stats.binom.sf(enough - 1, count, row.expected / 100))


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


def advised(margin, changed, drop, alpha: float = 0.05, power: float = 0.8):
    """`approximately_needed` for arrays, with the drop's own spread where few answers changed.

    Args:
        margin, drop: in points; a drop at the margin needs infinitely many.
        changed: share of changed answers; at least the size of the drop is taken.
    """
    margin, changed, drop = numpy.broadcast_arrays(
        *(numpy.asarray(value, float) for value in (margin, changed, drop))
    )
    lost = drop / 100
    changed = numpy.minimum(1.0, numpy.maximum(changed, abs(lost) + 0.005))
    z = stats.norm.ppf(1 - alpha) + stats.norm.ppf(power)
    gap = abs(margin / 100 - lost)
    spread = z * numpy.sqrt(numpy.maximum(0.0, changed - lost**2))
    with numpy.errstate(divide="ignore"):
        root = (spread + numpy.sqrt(spread**2 + 4 * gap * CORRECTION)) / (2 * gap)
    return numpy.ceil(root**2)[()]


def settling(
    pair: Paired, margin: float, alpha: float = 0.05, power: float = 0.8
) -> tuple[int, int]:
    """From how many to how many items would settle what this pair could not.

    The number hangs on the true drop's distance from the margin, squared, and a pair that cannot
    tell hardly knows that distance. So the drop is spread as its standard error says, and the 10
    and 90 % points of the number are given; the lower one never exceeds what would do if nothing
    had been lost. In simulations of 300 items and drops of 0 to 8 points at a margin of 5 the right
    number lay inside in at least 80 % of the audits that could not tell.

    Args:
        margin: in points.

    Returns:
        Numbers of items as they are, clusters accounted for, to two digits.
    """
    n = pair.n
    changed = (pair.lost + pair.gained + 1) / (n + 2)
    error = math.sqrt((changed - min(pair.drop**2, changed / 2)) / n)
    spread = stats.norm.ppf((numpy.arange(1000) + 0.5) / 1000)
    numbers = advised(margin, changed, 100 * (pair.drop + error * spread), alpha, power)
    low, high = numpy.quantile(numbers, (0.1, 0.9))
    fewest = max(0.005, changed - 1.28 * math.sqrt(changed / n))
    low = min(low, advised(margin, fewest, 0.0, alpha, power))
    return _rounded(low * pair.design_effect, down=True), _rounded(high * pair.design_effect)


def _rounded(count: float, down: bool = False) -> int:
    """To two significant digits, outwards."""
    unit = 10 ** max(0, math.floor(math.log10(max(count, 1))) - 1)
    return (math.floor(count / unit) if down else math.ceil(count / unit)) * unit


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
