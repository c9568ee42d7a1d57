"""The same loss in every unit that such losses are reported in."""

from __future__ import annotations

from collections.abc import Collection

import numpy
import pandas

from ..mechanics import flips
from ..snapshots import Snapshot

#: Columns that could be printed with a % sign; a point is a hundredth too.
PERCENTAGES = (
    "points lost",
    "% of accuracy lost",
    "% of loss risen",
    "% of perplexity risen",
)


def headlines(
    before: Snapshot, after: Snapshot, leave_out: Collection[str] = ()
) -> pandas.DataFrame:
    """What lies between two snapshots, in five units; above zero is worse.

    The columns: accuracy before minus accuracy after, in points of 100; the same as a percentage of
    the accuracy before; the rise of the loss of the right answers, in nats per token; the same as a
    percentage of the loss before; and the rise of the perplexity, as a percentage of that before.
    Running text has no accuracy, and a score of 0 nothing to lose a share of: these are `nan`.

    Args:
        leave_out: capabilities that are to have no row, such as the target.

    Returns:
        One row per capability and a last one, "average", with the mean of each column.

    Raises:
        ValueError: the snapshots were taken with other settings or on other items.
    """
    flips(before, after)  # refuses what cannot be compared
    rows = {}
    for name in before.results:
        if name in leave_out:
            continue
        score = points = numpy.nan
        if not before.is_text(name):
            score = before.score(name)
            points = score - after.score(name)
        loss, nats = before.nll(name), after.nll(name) - before.nll(name)
        rows[name] = {
            "points lost": points,
            "% of accuracy lost": 100 * points / score if score else numpy.nan,
            "nats risen": nats,
            "% of loss risen": 100 * nats / loss if loss else numpy.nan,
            "% of perplexity risen": 100 * numpy.expm1(nats),
        }
    table = pandas.DataFrame.from_dict(rows, orient="index")
    table.loc["average"] = table.mean()
    return table


def percentages(table: pandas.DataFrame) -> pandas.Series:
    """Everything in a table of `headlines` that could be printed with a % sign, smallest first."""
    found = {}
    for column in PERCENTAGES:
        skills = table[column].drop("average")
        found[f"{column}, average"] = table.loc["average", column]
        found[f"{column}, {skills.idxmax()}"] = skills.max()
    return pandas.Series(found, name="%").sort_values()
