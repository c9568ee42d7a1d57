"""The capability retention brief: what must survive a fine-tune, and how a loss would be felt.

It is filled in before anything is trained, and written as the map that the audit goes by.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..audit import CapabilityMap, Category, items_needed
from ..snapshots import task_name
from ..suites import NAMES
from ..tables import head
from .needs import FELT, HARMLESS, RARE, RULE, BadBrief, Need

#: Items for a target: an interval of some 4 points to either side at 85 percent.
TARGET_ITEMS = 250

HEADS = ("capability", "role", "traffic", "level", "margin (points)", "items needed")


@dataclass(frozen=True, repr=False)
class Brief:
    """What must survive a fine-tune, capability by capability.

    Attributes:
        base: the base's scores in percent, where they are known.
        alpha, power: as in the capability map.

    Raises:
        BadBrief: there is nothing to protect, a capability is there twice, the traffic exceeds
            100 percent, or the base does not reach a level that is to survive.
    """

    needs: tuple[Need, ...]
    base: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.05
    power: float = 0.8

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", tuple(self.needs))
        names = [need.capability for need in self.needs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadBrief(f"{twice[0]} is in the brief twice.")
        if not any(need.role == "protected" for need in self.needs):
            raise BadBrief("The brief protects nothing. Which capability must survive?")
        if (total := self.traffic) > 100 + 1e-6:
            raise BadBrief(f"The traffic adds up to {total:g} percent. Each request counts once.")
        for need in self.needs:
            self.margin(need)

    @property
    def traffic(self) -> float:
        """Percent of the traffic that the brief covers."""
        return math.fsum(need.traffic for need in self.needs)

    def margin(self, need: Need) -> float | None:
        """The margin of a protected capability in points; None for targets and watched ones.

        Raises:
            BadBrief: the base leaves no room above the level that must survive.
        """
        if need.role == "target" or need.wished_margin is None:
            return None
        if need.capability not in self.base:
            return need.wished_margin
        score = self.base[need.capability]
        room = math.floor(10 * (score - need.level) + 1e-6) / 10
        if room < 1:
            raise BadBrief(
                f"{need.capability}: the base scores {score:.1f} percent and {need.level:g} must "
                "survive. That leaves less than 1 point to lose, which no suite of a reasonable "
                "size can tell from none. Lower the level, or begin with a better base."
            )
        return min(need.wished_margin, room)

    def items(self, need: Need) -> int:
        """Items that a capability needs for its margin; 1 where it is only watched."""
        if need.role == "target":
            return TARGET_ITEMS
        margin = self.margin(need)
        return 1 if margin is None else _planned(margin, need.changed, self.alpha, self.power)

    def missing_items(self, available: Mapping[str, int]) -> dict[str, int]:
        """How many items must still be written, by capability, where suites are too small."""
        lacking = {n.capability: self.items(n) - available.get(n.capability, 0) for n in self.needs}
        return {name: count for name, count in lacking.items() if count > 0}

    def to_map(self) -> CapabilityMap:
        """The map the audit goes by."""
        return CapabilityMap(tuple(map(self._category, self.needs)), self.alpha, self.power)

    def _category(self, need: Need) -> Category:
        known = task_name(need.capability) if need.capability in NAMES else need.capability
        margin, target = self.margin(need), need.role == "target"
        warns = margin is not None and need.traffic < RARE and need.at_5 in HARMLESS
        return Category(
            name=need.capability,
            task=need.task or known,
            role="target" if target else "protected" if margin else "watch",
            severity="warn" if warns else "block",
            margin=margin,
            min_items=self.items(need),
            min_score=need.level if target else None,
            discordance=need.changed,
            layer="business",
            cluster=need.cluster,
        )

    def dump(self) -> str:
        """The map as YAML text, with the answers it comes from as comments above it."""
        answers = [
            f"{n.capability}: {n.traffic:g} % of the traffic, {n.level:g} % right "
            + (
                "to be reached"
                if n.role == "target"
                else f"must survive; users {FELT[n.at_5]} at 5 lost points, {FELT[n.at_15]} at 15"
            )
            for n in self.needs
        ]
        lines = ["Written from a capability retention brief.", *answers, *RULE.split("\n")]
        return "".join(f"# {line}\n" for line in lines) + self.to_map().dump()

    def save(self, path: str | Path = "capability_map.yaml") -> Path:
        """Write the map; a file of that name is replaced.

        Raises:
            BadMap: what was written cannot be read back.
        """
        text = self.dump()
        CapabilityMap.parse(text, str(path))
        path = Path(path)
        path.write_text(text, encoding="utf-8")
        return path

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for need, category in zip(self.needs, self.to_map().categories, strict=True):
            margin = f"{category.margin:g}" if category.margin else "–"
            verb = category.role if category.severity == "block" else f"{category.role}, warns"
            keep, share = f"{need.level:g} %", f"{need.traffic:g} %"
            items = "–" if category.role == "watch" else f"{category.min_items:,}"
            rows.append((need.capability, verb, share, keep, margin, items))
        return rows

    def weighted(self, lost: Mapping[str, float]) -> float:
        """Points lost by the average request for something old.

        Args:
            lost: points lost, by capability; every one that is no target.
        """
        old = [need for need in self.needs if need.role != "target"]
        total = math.fsum(need.traffic for need in old)
        return math.fsum(need.traffic * lost[need.capability] for need in old) / total

    def broken(self, lost: Mapping[str, float]) -> dict[str, float]:
        """The capabilities that have lost more than their margin, with the points they lost.

        This compares numbers as they stand. Whether a loss is established is the audit's question.
        """
        margins = {need.capability: self.margin(need) for need in self.needs}
        return {
            name: lost[name]
            for name, margin in margins.items()
            if margin is not None and lost[name] > margin
        }

    @property
    def remark(self) -> str:
        """How much of the traffic the brief covers, and what the items are planned for."""
        left = 100 - self.traffic
        covers = "The brief covers all of the traffic."
        if left >= 0.05:
            where = "is in no row: nobody will notice what it loses."
            covers = f"{left:.3g} percent of the traffic {where}"
        shares: dict[float, list[str]] = {}
        for need in self.needs:
            if need.role != "target" and self.margin(need) is not None:
                shares.setdefault(need.changed, []).append(need.capability)
        usual = max(shares, key=lambda share: len(shares[share]))
        others = "".join(
            f", {100 * share:g} of {' and '.join(names)}"
            for share, names in shares.items()
            if share != usual
        )
        planned = f"Items are planned for {100 * usual:g} percent of the answers changing{others}"
        return (
            f"{covers} {planned}, and a verdict in {100 * self.power:g} of 100 audits, row by row."
        )

    def __repr__(self) -> str:
        rows = [HEADS, *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self.remark])

    def _repr_html_(self) -> str:
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>"
            for row in self._rows()
        )
        table = f"<table>{head(HEADS)}<tbody>{body}</tbody></table>"
        return f"{table}<p>{html.escape(self.remark)}</p>"


@functools.lru_cache(maxsize=256)  # a tight margin takes a second to plan
def _planned(margin: float, changed: float, alpha: float, power: float) -> int:
    return items_needed(margin, changed, alpha=alpha, power=power)
