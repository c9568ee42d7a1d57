"""What every form of an audit report says in the same words."""

from __future__ import annotations

import math

from .gate import AuditReport, Row

DECISIONS = {
    "SHIP": "every gating category passes.",
    "BLOCK": "at least one gating category has lost more than its margin, or misses its goal.",
    "INCONCLUSIVE": "no loss beyond a margin is certain, but at least one cannot be ruled out.",
}


#: What asking again costs, said wherever nothing could be told.
AGAIN = (
    "Asking again on more items until it ships raises the chance of shipping a loss beyond alpha, "
    "unless the map has planned so many looks. A range of items is given because the true drop is "
    "not known: it holds the right number in about 80 % of such audits."
)


def shares(report: AuditReport) -> str:
    """How sure the ends of the intervals are, and what alpha was divided by."""
    told = f"Points of 100. Each end of an interval holds with {_percent(1 - report.level)}"
    if report.level == report.alpha:
        return f"{told}."
    chances = []
    for count, word in ((report.looks, "look"), (report.candidates, "candidate")):
        if count > 1:
            chances.append(f"{count} {word}s")
    return f"{told}: alpha, {_percent(report.alpha)}, is shared by {' at '.join(chances)}."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def interval(row: Row) -> str:
    """A drop with its interval, such as "2.4 (0.9 to 4.1)"."""
    ends = [f"{end:.1f}" if math.isfinite(end) else "?" for end in (row.low, row.high)]
    return f"{row.drop:.1f} ({ends[0]} to {ends[1]})"


def shown(row: Row) -> str:
    """A verdict, with what it means for the release where it means less than it says."""
    warns = row.category.severity == "warn" and row.verdict != "WATCHED"
    return f"{row.verdict} (warns only)" if warns else row.verdict


def p_value(p: float) -> str:
    """A p-value, such as "p = 0.0054"."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def flipped(row: Row) -> str:
    """How many items changed, and in which direction."""
    if row.binary:
        return f"{row.lost:,} answers turned wrong, {row.gained:,} right"
    return f"{row.lost:,} items scored lower, {row.gained:,} higher"


def why(row: Row) -> str:
    """The reason of a verdict, and what would settle it."""
    more = ""
    if row.needed:
        more = " From {:,} to {:,} items would settle it.".format(*row.needed)
    if row.design_effect >= 1.05:
        more += f" Alike items: {row.design_effect:.1f} count as one."
    return f"{row.reason}.{more}"
