"""Choosing an alpha of a road on one half of its items and reading it on the other."""

from __future__ import annotations

from statistics import fmean


def on_half(road, alpha, half):
    """Support in percent and the points lost by the worst skill, on every second item."""
    now, before = (
        {name: 100 * fmean(row[half::2]) for name, row in road[a].items()} for a in (alpha, 0)
    )
    return now["support"], max(before[name] - now[name] for name in now if name != "support")


def chosen(road, goal=85):
    """The alpha that the first half chooses, what that half says of it, and what the other does."""
    reached = [alpha for alpha in sorted(road) if on_half(road, alpha, 0)[0] >= goal]
    alpha = min(reached, key=lambda a: on_half(road, a, 0)[1])
    return alpha, on_half(road, alpha, 0), on_half(road, alpha, 1)
