"""The scoreboard of mitigations as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .style import BLUE, FONT_SIZE, GREY, Picture, finish, new_figure, styles

if TYPE_CHECKING:
    from ..mitigations.board import Standing


def ranking(standings: Sequence[Standing], goal: float, margin: float | None = None) -> Picture:
    """Points lost per method with their intervals, the best on top.

    Methods that never reach the goal stand below, hollow and grey: they are no competitors.

    Args:
        goal: target score, in percent, at which the methods are compared.
        margin: a loss to mark by a dotted line, in points.
    """
    figure, (ax,) = new_figure(width=9, height=0.42 * len(standings) + 1.1)
    told = []
    for place, one in enumerate(standings):
        reached = one.target >= goal
        colour = BLUE if reached else GREY
        ax.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
        ax.plot(one.lost, place, marker="o" if reached else "s", markersize=9, color=colour,
                markerfacecolor=colour if reached else "white")  # fmt: skip
        ax.annotate(f"{one.target:.0f} %", (1.01, place), xycoords=("axes fraction", "data"),
                    va="center", color=colour, fontsize=FONT_SIZE)  # fmt: skip
        interval = f"{one.low:.1f} to {one.high:.1f}"
        told.append(f"{_name(one, goal)} {one.lost:.1f} ({interval}) at {one.target:.0f} %")
    if margin is not None:
        ax.axvline(margin, color="#333333", linestyle=":", linewidth=1.5)
    ax.axvline(0, color="#333333", linewidth=1)
    ax.set_yticks(range(len(standings)), [_name(one, goal) for one in standings])
    ax.set_ylim(len(standings) - 0.4, -0.6)  # the first on top
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("old skills: points lost, mean over capabilities (95 % interval)")
    ax.annotate("support", (1.01, 1.0), xycoords="axes fraction", xytext=(0, 6),
                textcoords="offset points", fontsize=FONT_SIZE)  # fmt: skip
    return finish(
        figure, f"Points lost by the old skills, compared at {goal:g} % support: {'; '.join(told)}."
    )


def _name(one: Standing, goal: float) -> str:
    return one.method if one.target >= goal else f"{one.method} (falls short)"


def roads(groups: Mapping[str, Sequence[tuple[float, float, float]]], x: str, y: str) -> Picture:
    """One line per method through its strengths; y grows downwards, as for losses.

    Args:
        groups: label to (strength, x, y), by rising strength. The first and the last strength are
            written beside their points.
    """
    figure, (ax,) = new_figure(width=9, height=5)
    told = []
    chosen = styles(groups)
    for label, road in groups.items():
        colour, dashes, marker = chosen[label]
        ax.plot([p[1] for p in road], [p[2] for p in road], color=colour, linestyle=dashes,
                marker=marker, linewidth=2, markersize=7, label=label)  # fmt: skip
        for strength, across, down in {road[0], road[-1]} if len(road) > 1 else ():
            ax.annotate(f"{strength:g}", (across, down), xytext=(5, 5), fontsize=FONT_SIZE - 2,
                        textcoords="offset points", color=colour)  # fmt: skip
        told.append(f"{label} " + ", ".join(f"{s:g}: ({a:.0f}, {b:.1f})" for s, a, b in road))
    ax.invert_yaxis()
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False,
              fontsize=FONT_SIZE)  # fmt: skip
    return finish(figure, f"{y}, against {x}, by strength. {'; '.join(told)}.")
