"""Runs of the scoreboard read with a brief: skill by skill, by the traffic, against the margins."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ..mitigations.board import Entry
from ..tradeoff import OLD
from .brief import Brief


def points_lost(base: Entry, *runs: Entry) -> dict[str, float]:
    """Points that each old skill has lost, on average over the runs."""
    return {name: base.score(name) - fmean(run.score(name) for run in runs) for name in OLD}


def span(values: Sequence[float], digits: int = 0) -> str:
    """The range of some values, or the one value there is."""
    low, high = (f"{end + 0.0:.{digits}f}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def reading(brief: Brief, base: Entry, runs: Sequence[Entry], digits: int = 0) -> dict[str, str]:
    """One row of a table: what some seeds of a run learned, and lost by the brief.

    Ranges are those of the seeds. A margin counts as broken where the mean of the seeds exceeds it.
    """
    lost = [points_lost(base, run) for run in runs]
    mean = points_lost(base, *runs)
    worst = max(mean, key=mean.__getitem__)
    return {
        "support right (%)": span([run.target for run in runs], digits),
        "lost, by traffic": span([brief.weighted(one) for one in lost], 1),
        "how-to lost, by seed": " / ".join(f"{one['howto']:.0f}" for one in lost),
        "worst skill": f"{worst} {span([one[worst] for one in lost], digits)}",
        "margins broken": ", ".join(sorted(brief.broken(mean))) or "none",
    }
