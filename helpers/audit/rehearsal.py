"""Rehearsing the gate: how often it errs when the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy

from .capability_map import CapabilityMap, Category
from .paired import p_block_counts, p_pass_counts


@dataclass(frozen=True)
class Rates:
    """How often the gate decided what, as shares of the rehearsals.

    Attributes:
        passed: by category, how often it passed.
    """

    ship: float
    block: float
    inconclusive: float
    passed: dict[str, float]


def rehearse(
    capability_map: CapabilityMap,
    items: int | Mapping[str, int],
    drops: float | Mapping[str, float] = 0.0,
    repeats: int = 1_000,
    seed: int = 0,
) -> Rates:
    """Simulate pairs of runs with known drops, and see what the gate decides.

    Answers are lost and gained independently, with the map's shares of changed answers; a drop
    greater than that share is made of lost answers alone. Only protected categories take part.

    Args:
        items: items per category.
        drops: true drop in points, of all categories or by name; 0 where a name is missing.
    """
    rng = numpy.random.default_rng(seed)
    rows = [c for c in capability_map.categories if c.role == "protected"]
    gating = [row for row in rows if row.severity == "block"]
    passes, blocks = [], []
    for row in rows:
        count = items if isinstance(items, int) else items[row.name]
        drop = drops if isinstance(drops, (int, float)) else drops.get(row.name, 0.0)
        lost, gained = _changes(rng, row, count, drop / 100, repeats)
        margin = row.margin / 100
        passes.append(p_pass_counts(count, lost, gained, margin) < capability_map.alpha)
        blocks.append(p_block_counts(count, lost, gained, margin))
    chosen = [rows.index(row) for row in gating]
    block = holds(numpy.array(blocks), capability_map.alpha)[chosen].any(axis=0)
    ship = numpy.array(passes)[chosen].all(axis=0) & ~block
    return Rates(
        ship=float(ship.mean()),
        block=float(block.mean()),
        inconclusive=float((~ship & ~block).mean()),
        passed={row.name: float(found.mean()) for row, found in zip(rows, passes, strict=True)},
    )


def _changes(
    rng: numpy.random.Generator, row: Category, count: int, drop: float, repeats: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Numbers of lost and gained answers in each rehearsal."""
    changed = max(row.discordance, abs(drop))
    shares = [(changed + drop) / 2, (changed - drop) / 2, 1 - changed]
    drawn = rng.multinomial(count, shares, size=repeats)
    return drawn[:, 0], drawn[:, 1]


def holds(p_values: numpy.ndarray, alpha: float) -> numpy.ndarray:
    """Which p-values (rows: categories, columns: rehearsals) hold after Holm's correction."""
    order = numpy.argsort(p_values, axis=0)
    ranked = numpy.take_along_axis(p_values, order, axis=0)
    steps = (len(p_values) - numpy.arange(len(p_values)))[:, None]
    held = numpy.logical_and.accumulate(ranked * steps < alpha, axis=0)
    found = numpy.empty_like(held)
    numpy.put_along_axis(found, order, held, axis=0)
    return found
