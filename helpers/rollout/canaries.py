"""A canary for each category of the traffic, beside the one for all of it.

Ten points of harm in a fifth of the traffic are two points of all of it, and in a twentieth half a
point. A monitor of everything may never see them; one of that category does.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from ..audit import CapabilityMap
from ..tables import Table
from .canary import Look, Monitor
from .category import OTHER
from .eprocess import BadEvents, check_alpha

#: What the monitor of all answers is called.
ALL = "all answers"
HEADS = ("category", "candidate harmed", "control harmed", "difference (points)", "margin", "")


class Looks(dict[str, Look]):
    """What each monitor says; those that roll back first, then the busiest."""

    def __init__(self, looks: Mapping[str, Look], margins: Mapping[str, float]) -> None:
        order = sorted(looks, key=lambda name: (looks[name].verdict != "roll back",
                                                -looks[name].events))  # fmt: skip
        super().__init__((name, looks[name]) for name in order)
        self.margins = dict(margins)

    @property
    def red(self) -> tuple[str, ...]:
        """The categories whose monitor says "roll back"."""
        return tuple(name for name, look in self.items() if look.verdict == "roll back")

    @property
    def table(self) -> Table:
        rows = (
            (
                name,
                f"{look.candidate_harmed:,} of {look.candidate:,}",
                f"{look.control_harmed:,} of {look.control:,}",
                _span(look),
                f"{self.margins[name]:g}",
                look.verdict,
            )
            for name, look in self.items()
        )
        return Table(HEADS, tuple(rows))

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def _span(look: Look) -> str:
    low, high = (
        f"{end:.1f}" if abs(end) < float("inf") else "?" for end in (look.lower, look.upper)
    )
    return "not yet known" if low == high == "?" else f"{low} to {high}"


class Canaries:
    """One monitor per category, and one of all answers. Alpha is shared out evenly (Bonferroni), so
    that the chance of ever rolling back a candidate that keeps all margins is at most alpha.

    Args:
        margins: points of harm, candidate less control, by category. What the telemetry calls
            otherwise is counted with "other".
        alpha: of all of them together.

    Raises:
        BadEvents: there is no category.
    """

    def __init__(self, margins: Mapping[str, float], alpha: float = 0.05) -> None:
        if not margins:
            raise BadEvents("There is no category to watch.")
        check_alpha(alpha)
        self.margins = dict(margins)
        self.monitors = {
            name: Monitor(margin, alpha / len(self.margins)) for name, margin in margins.items()
        }

    @classmethod
    def from_map(
        cls, capability_map: CapabilityMap, whole: float = 1.0, alpha: float = 0.05
    ) -> Canaries:
        """Monitors with a map's margins. Rows without one, and what is on no row, get the least.

        Args:
            whole: margin of the monitor of all answers.
        """
        known = {row.name: row.margin for row in capability_map.categories}
        least = min((margin for margin in known.values() if margin), default=whole)
        margins = {name: margin or least for name, margin in known.items()} | {OTHER: least}
        return cls({ALL: whole} | margins, alpha)

    def look(
        self, events: pandas.DataFrame, window: float, now: float, holdout: float = 0.0
    ) -> Looks:
        """What every monitor says by now.

        Args:
            events, window, now, holdout: see `Monitor.look`; with the column `category`.

        Raises:
            BadEvents: see `settled`; or there is no category in the events.
        """
        if "category" not in events.columns:
            raise BadEvents("The events lack the column category, by which they are watched.")
        named = events["category"].where(events["category"].isin(self.margins), OTHER)
        groups = dict(list(events.groupby(named)))
        looks = {}
        for name, monitor in self.monitors.items():
            rows = events if name == ALL else groups.get(name, events.iloc[:0])
            looks[name] = monitor.look(rows, window, now, holdout) if len(rows) else monitor.now()
        return Looks(looks, self.margins)
