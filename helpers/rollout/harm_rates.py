"""How often candidate and control do harm, category by category, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas
from scipy import stats

from .eprocess import BadEvents


class Rate(NamedTuple):
    """A share from 0 to 1, with its 95 percent interval."""

    value: float
    interval: tuple[float, float]


class Harm(NamedTuple):
    """The harm rates of a category; None where an arm has not answered in it."""

    category: str
    candidate: Rate | None
    control: Rate | None

    @property
    def difference(self) -> float:
        """Candidate less control; 0 where one of them is not known."""
        if self.candidate is None or self.control is None:
            return 0.0
        return self.candidate.value - self.control.value


def wilson(hits: int, count: int, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of a share (Wilson 1927)."""
    found = stats.binomtest(int(hits), int(count)).proportion_ci(1 - alpha, method="wilson")
    return float(found.low), float(found.high)


def check_columns(events: pandas.DataFrame, needed: Sequence[str]) -> None:
    """Whether the telemetry can be read.

    Raises:
        BadEvents: a column is missing, or there is no row.
    """
    if missing := [name for name in needed if name not in events.columns]:
        raise BadEvents(f"The telemetry lacks {', '.join(missing)}; it needs {', '.join(needed)}.")
    if events.empty:
        raise BadEvents("There is no answer in the telemetry yet.")


def harm_of(category: str, rows: pandas.DataFrame) -> Harm:
    """The harm rates in rows with the columns arm and harm.

    Who is not the candidate's counts as the control's.
    """
    chosen, harm = rows["arm"].eq("candidate"), rows["harm"].eq(True)
    rates = []
    for arm in (chosen, ~chosen):
        hits, count = int((arm & harm).sum()), int(arm.sum())
        rates.append(Rate(hits / count, wilson(hits, count)) if count else None)
    return Harm(category, *rates)


def harm_by_category(events: pandas.DataFrame) -> list[Harm]:
    """The harm rates of every category, the largest difference first.

    Args:
        events: one row per answer, with the columns category, arm and harm.

    Raises:
        BadEvents: a column is missing, or there is no row.
    """
    check_columns(events, ("category", "arm", "harm"))
    found = [harm_of(str(name), rows) for name, rows in events.groupby("category")]
    return sorted(found, key=lambda row: -row.difference)
