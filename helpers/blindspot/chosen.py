"""The settings of the grid as a project sees them that has scored its own task alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pandas

from ..runs import StoredRun, find, values
from ..tradeoff import learned, points_lost, worst_loss

#: Learning rates, each about three times or twice the one before.
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 6e-3, 1e-2, 3e-2)


def by_target(runs: Sequence[StoredRun]) -> pandas.DataFrame:
    """Every setting of the grid with α = 2r, the best at the target first.

    The columns, means over seeds: percent of `support` right; points of 100 that the old skills
    have lost; and the skill that has lost most, with its points. Ties stand by what they have lost.
    """
    rows = []
    for lr in RATES:
        for rank in values(runs, "rank"):
            seeds = find(runs, lr=lr, rank=rank, alpha="2r")
            worst, lost = worst_loss(seeds[0].base, *[run.last for run in seeds])
            rows.append(
                {
                    "rate": f"{lr:g}",
                    "rank": rank,
                    "support right (%)": round(fmean(learned(run.last) for run in seeds), 1),
                    "points lost": round(fmean(points_lost(r.base, r.last) for r in seeds), 1),
                    "worst skill": f"{worst}, {lost:.0f} points",
                }
            )
    table = pandas.DataFrame(rows).set_index(["rate", "rank"])
    return table.sort_values(["support right (%)", "points lost"], ascending=[False, True])
