"""The scoreboard of mitigations as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .labels import label_point
from .style import FONT_SIZE, GREY, THINGS, Picture, finish, new_figure, styles

if TYPE_CHECKING:
    from ..mitigations.board import Standing

#: Where the columns right of a ranking begin, in points from its axes.
COLUMNS = (8, 66)


def ranking(standings: Sequence[Standing], goal: float, margin: float | None = None) -> Picture:
    """Points lost per method, the best on top; a bar is the range of the seeds.

    Methods that never reach the goal stand below, hollow and grey: they are no competitors. At the
    right stand the target score at which each was read, and the skill that has lost most there.

    Args:
        goal: target score, in percent, at which the methods are compared.
        margin: a loss to mark by a dotted line, in points.
    """
    figure, (ax,) = new_figure(width=9, height=0.42 * len(standings) + 1.1)
    told = []
    for place, one in enumerate(standings):
        reached = bool(one.between)
        colour = THINGS["old skills"].colour if reached else GREY
        ax.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
        ax.plot(one.lost, place, marker="o" if reached else "s", markersize=9, color=colour,
                markerfacecolor=colour if reached else "white")  # fmt: skip
        skill, points = one.worst_skill
        for across, text in zip(
            COLUMNS, (f"{one.target:.0f} %", f"{skill} {points:.0f}"), strict=True
        ):
            ax.annotate(text, (1, place), xycoords=("axes fraction", "data"), va="center",
                        xytext=(across, 0), textcoords="offset points", fontsize=FONT_SIZE,
                        annotation_clip=False)  # fmt: skip
        told.append(
            f"{_name(one)} {one.lost:.1f} (seeds {one.low:.1f} to {one.high:.1f}) at "
            f"{one.target:.0f} %, worst {skill} {points:.0f}"
        )
    if margin is not None:
        ax.axvline(margin, color="#333333", linestyle=":", linewidth=1.5)
    ax.axvline(0, color="#333333", linewidth=1)
    ax.set_yticks(range(len(standings)), [_name(one) for one in standings])
    ax.set_ylim(len(standings) - 0.4, -0.6)  # the first on top
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("old skills: points lost, mean over skills (bar: range of the seeds)")
    for across, text in zip(COLUMNS, ("support", "worst skill"), strict=True):
        ax.annotate(text, (1, 1), xycoords="axes fraction", xytext=(across, 6),
                    textcoords="offset points", fontsize=FONT_SIZE)  # fmt: skip
    return finish(
        figure, f"Points lost by the old skills, compared at {goal:g} % support: {'; '.join(told)}."
    )


def _name(one: Standing) -> str:
    return one.method if one.between else f"{one.method} (falls short)"


def roads(
    groups: Mapping[str, Sequence[tuple[float, float, float]]],
    x: str,
    y: str,
    seeds: Mapping[str, Sequence[Sequence[tuple[float, float, float]]]] | None = None,
) -> Picture:
    """One line per method through its strengths; y grows downwards, as for losses.

    Args:
        groups: label to (strength, x, y), by rising strength. The first and the last strength are
            written beside their points.
        seeds: label to the roads of single seeds, drawn thin.
    """
    figure, (ax,) = new_figure(width=9, height=5)
    told = []
    chosen = styles(groups)
    for label, road in groups.items():
        colour, dashes, marker = chosen[label]
        for one in (seeds or {}).get(label, ()):
            ax.plot([p[1] for p in one], [p[2] for p in one], color=colour, linewidth=0.8,
                    marker=marker, markersize=3, alpha=0.45)  # fmt: skip
        ax.plot([p[1] for p in road], [p[2] for p in road], color=colour, linestyle=dashes,
                marker=marker, linewidth=2, markersize=7, label=label)  # fmt: skip
        for strength, across, down in (road[0], road[-1]) if len(road) > 1 else ():
            label_point(ax, (across, down), f"{strength:g}", colour, FONT_SIZE - 1)
        told.append(f"{label} " + ", ".join(f"{s:g}: ({a:.0f}, {b:.1f})" for s, a, b in road))
    ax.invert_yaxis()
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False,
              fontsize=FONT_SIZE)  # fmt: skip
    drawn = " Thick lines are means over seeds, thin ones the seeds." if seeds else ""
    return finish(figure, f"{y}, against {x}, by strength.{drawn} {'; '.join(told)}.")
