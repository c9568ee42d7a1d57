"""The figure of a door: what two routes keep and learn when only some requests go through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..scope.door import Behind
from .style import FONT_SIZE, Picture, finish, new_figure, styles


def doors(roads: Mapping[str, Sequence[Sequence[Behind]]], chosen: float) -> Picture:
    """Left, what is learned, right, what is lost, over the floor of the door.

    Args:
        roads: route to its roads over the same floors; several roads are seeds of one route.
        chosen: a floor to mark.
    """
    figure, (left, right) = new_figure(width=9, height=4.4, columns=2)
    told = []
    for label, style in styles(roads).items():
        seeds = roads[label]
        means = [Behind(*(sum(v) / len(v) for v in zip(*at, strict=True)))
                 for at in zip(*seeds, strict=True)]  # fmt: skip
        worst = f"{label}, worst skill"
        for ax, part, name in (
            (left, "right", label), (right, "lost", label), (right, "worst", worst)
        ):  # fmt: skip
            dashes = ":" if part == "worst" else style.dashes
            for road in seeds if len(seeds) > 1 else ():
                ax.plot([at.floor for at in road], [getattr(at, part) for at in road],
                        color=style.colour, linewidth=0.8, alpha=0.45)  # fmt: skip
            ax.plot([at.floor for at in means], [getattr(at, part) for at in means], label=name,
                    color=style.colour, linestyle=dashes, marker=style.marker, markersize=5,
                    linewidth=2)  # fmt: skip
        first = means[0]
        there = next(at for at in means if at.floor == chosen)
        told.append(
            f"{label}: from the lowest floor to {chosen:g} new questions go from {first.right:.0f} "
            f"to {there.right:.0f} percent right, points lost from {first.lost:.1f} to "
            f"{there.lost:.1f}, and those of the worst skill from {first.worst:.0f} to "
            f"{there.worst:.0f}"
        )
    for ax, place in ((left, "center left"), (right, "upper right")):
        ax.axvline(chosen, color="#333333", linestyle=":", linewidth=1.5)
        ax.set_xlabel("floor (BM25 score)")
        ax.set_ylim(bottom=-2)
        ax.legend(loc=place, edgecolor="none", framealpha=1, fontsize=FONT_SIZE)
    left.annotate("chosen ", (chosen, 2), ha="right", fontsize=FONT_SIZE)
    left.set_ylabel("new questions right (%)")
    right.set_ylabel("points lost (by traffic, and by the worst skill)")
    return finish(figure, f"Two panels over the floor of a door. {'; '.join(told)}.")
