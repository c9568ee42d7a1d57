"""Rehearsing the gate: how often it errs when the truth is known, and when it is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy

from .capability_map import CapabilityMap, Category
from .paired import p_block_counts, p_pass_counts
from .planning import advised


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
    """Simulate pairs of runs with known drops, and see what the gate decides at one look.

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
        passes.append(p_pass_counts(count, lost, gained, margin) < capability_map.level)
        blocks.append(p_block_counts(count, lost, gained, margin))
    chosen = [rows.index(row) for row in gating]
    block = holds(numpy.array(blocks), capability_map.level)[chosen].any(axis=0)
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
    drawn = rng.multinomial(count, _shares(drop, row.discordance), size=repeats)
    return drawn[:, 0], drawn[:, 1]


def _shares(drop: float, discordance: float) -> list[float]:
    """Shares of items lost, gained and unchanged; a drop cannot exceed the share that changes."""
    changed = max(discordance, abs(drop))
    return [(changed + drop) / 2, (changed - drop) / 2, 1 - changed]


def holds(p_values: numpy.ndarray, alpha: float) -> numpy.ndarray:
    """Which p-values (rows: categories, columns: rehearsals) hold after Holm's correction."""
    order = numpy.argsort(p_values, axis=0)
    ranked = numpy.take_along_axis(p_values, order, axis=0)
    steps = (len(p_values) - numpy.arange(len(p_values)))[:, None]
    held = numpy.logical_and.accumulate(ranked * steps < alpha, axis=0)
    found = numpy.empty_like(held)
    numpy.put_along_axis(found, order, held, axis=0)
    return found


# Asking again. One row is enough to count how often a loss is shipped: with more rows in the map it
# is shipped less often, since every one of them must pass.


def ask_again(
    items: int | Sequence[int],
    looks: int = 1,
    more: int | None = None,
    fresh: bool = False,
    alpha: float = 0.05,
    margin: float = 5.0,
    drop: float | None = None,
    discordance: float = 0.10,
    repeats: int = 4_000,
    seed: int = 0,
) -> numpy.ndarray:
    """How often one model has shipped by each look, if it is asked again while nothing is told.

    Args:
        items: at the first look; or the sizes of all looks, fixed beforehand, each with the items
            of the looks before it.
        looks: after so many the model is given up. Ignored where sizes are given.
        more: items added for another look; None for as many as `advised` by what was found.
        fresh: whether a look counts its new items alone. Otherwise all items so far are counted.
        alpha: of each look.
        drop: true drop in points; the margin when left out, at which every SHIP is an error.

    Returns:
        Shares of the rehearsals that had shipped by the first, second, ... look.
    """
    rng = numpy.random.default_rng(seed)
    shares = _shares((margin if drop is None else drop) / 100, discordance)
    sizes = None if isinstance(items, int) else list(items)
    added = numpy.full(repeats, items if sizes is None else sizes[0])
    counts = numpy.zeros((repeats, 3), dtype=int)
    shipped, open_ = numpy.zeros(repeats, bool), numpy.ones(repeats, bool)
    found = []
    for look in range(looks if sizes is None else len(sizes)):
        drawn = rng.multinomial(added, shares)
        counts = drawn if fresh else counts + drawn
        passing, blocking = _told(counts, margin, alpha)
        shipped |= open_ & passing
        open_ &= ~(passing | blocking)
        found.append(shipped.mean())
        if sizes is not None:
            added = numpy.full(repeats, numpy.diff([*sizes, sizes[-1]])[look])
        else:
            added = _more(counts, margin, alpha, fresh) if more is None else added * 0 + more
    return numpy.array(found)


#: Nobody buys more items than this for one look.
MOST = 20_000


def _more(counts: numpy.ndarray, margin: float, alpha: float, fresh: bool) -> numpy.ndarray:
    """Items to be added according to what has been found."""
    n = counts.sum(axis=1)
    drop, changed = (counts[:, 0] - counts[:, 1]) / n, (counts[:, 0] + counts[:, 1]) / n
    wanted = numpy.minimum(advised(margin, changed, 100 * drop, alpha), MOST).astype(int)
    return numpy.maximum(wanted if fresh else wanted - n, 1)


def _told(
    counts: numpy.ndarray, margin: float, alpha: float
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Which rehearsals pass, and which are blocked; `counts` has lost, gained and unchanged."""
    n = counts.sum(axis=1)
    passing = p_pass_counts(n, counts[:, 0], counts[:, 1], margin / 100) < alpha
    blocking = p_block_counts(n, counts[:, 0], counts[:, 1], margin / 100) < alpha
    return passing, blocking


def try_candidates(
    items: int,
    candidates: int,
    final: int | None = None,
    alpha: float = 0.05,
    margin: float = 5.0,
    drop: float | None = None,
    discordance: float = 0.10,
    repeats: int = 4_000,
    seed: int = 0,
) -> float:
    """How often one of several models ships, all with the same true drop.

    The models make their mistakes independently, which is the worst case.

    Args:
        items: of the audit that all of them go through; the first that passes ships.
        final: items of a fresh set on which only the candidate that lost least is audited, whatever
            the first audit said. None: there is none.
        alpha: of each audit.
        drop: true drop of every candidate in points; the margin when left out.
    """
    rng = numpy.random.default_rng(seed)
    shares = _shares((margin if drop is None else drop) / 100, discordance)
    if final is not None:  # whichever is chosen, its fresh items know nothing of the choice
        passing, _ = _told(rng.multinomial(final, shares, size=repeats), margin, alpha)
        return float(passing.mean())
    counts = rng.multinomial(items, shares, size=repeats * candidates)
    passing, _ = _told(counts, margin, alpha)
    return float(passing.reshape(repeats, candidates).any(axis=1).mean())
