"""What became of a model: item by item against its base, and several runs over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .audit.paired import mcnemar
from .snapshots import Snapshot
from .suites import TARGET
from .tables import Table
from .tradeoff import OLD

if TYPE_CHECKING:
    from .demo import Demo
    from .mitigations.board import Entry


def paired_counts(before: Snapshot, after: Snapshot) -> Table:
    """Scores before and after, with the answers that were lost and gained on the same items.

    The p-value is McNemar's exact one, two-sided, against "as many turned wrong as right"; it is
    not adjusted for the number of rows.

    Raises:
        ValueError: the two cannot be compared.
    """
    before.check_comparable(after)
    rows = []
    for name, items in before.results.items():
        if before.is_text(name):
            continue
        pairs = list(zip(items, after.results[name], strict=True))
        lost = sum(bool(a.correct and not b.correct) for a, b in pairs)
        gained = sum(bool(b.correct and not a.correct) for a, b in pairs)
        scores = (f"{snapshot.score(name):.0f} %" for snapshot in (before, after))
        counts = (str(lost), str(gained), told_p(mcnemar(lost, gained)))
        rows.append((name.replace("_", " "), *scores, *counts))
    return Table(("", "before", "after", "lost", "gained", "p"), tuple(rows))


def percent(run: Demo | Entry) -> dict[str, float]:
    """Percent right per suite of a stored run that keeps the verdict of every item."""
    return {name: 100 * statistics.fmean(row) for name, row in run.right.items()}


def told_p(p: float) -> str:
    """A p-value as it is printed, such as ".22" or "< .001"."""
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.1 else f"{p:.2f}".lstrip("0")


def over_seeds(
    base: Mapping[str, float], runs: Mapping[str, Sequence[Mapping[str, float]]]
) -> Table:
    """What each run has learned and lost: means over its seeds, and in brackets their range.

    Args:
        base: percent right per suite before.
        runs: label to the percent right per suite of each seed.

    Returns:
        A table of the target's score, the points that the old skills have lost on average, and the
        skill that has lost most on average over the seeds, with its score.
    """
    rows = []
    for label, seeds in runs.items():
        target = [scores[TARGET] for scores in seeds]
        lost = [statistics.fmean(base[name] - one[name] for name in OLD) for one in seeds]
        worst = max(OLD, key=lambda name: base[name] - statistics.fmean(s[name] for s in seeds))
        scores = [one[worst] for one in seeds]
        texts = (f"{_range(target)} %", _range(lost, 1), f"{worst} {_range(scores)} %")
        rows.append((label, *texts))
    return Table(("", "support", "old skills: points lost", "worst skill"), tuple(rows))


def _range(values: Sequence[float], digits: int = 0) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    low, high = min(values), max(values)
    return mean if len(values) == 1 else f"{mean} ({low:.{digits}f} to {high:.{digits}f})"
