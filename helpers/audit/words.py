"""What every form of an audit report says in the same words."""

from __future__ import annotations

import math

from .gate import Row

DECISIONS = {
    "SHIP": "every gating category passes.",
    "BLOCK": "at least one gating category has lost more than its margin, or misses its goal.",
    "INCONCLUSIVE": "no loss beyond a margin is certain, but at least one cannot be ruled out.",
}


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
    more = f" About {row.needed:,} items would settle it." if row.needed else ""
    if row.design_effect >= 1.05:
        more += f" Alike items: {row.design_effect:.1f} count as one."
    return f"{row.reason}.{more}"
