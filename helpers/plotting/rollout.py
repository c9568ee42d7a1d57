"""Figures of a rollout: false alarms, what the monitor has ruled out, and harm by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from .labels import label_line_ends, label_mark, label_point
from .style import FONT_SIZE, GREY, THINGS, Picture, Style, finish, new_figure, styles

if TYPE_CHECKING:  # none of them is needed to draw
    import pandas

    from ..audit import CapabilityMap
    from ..rollout.alarms import Alarms
    from ..rollout.canary import Look
    from ..rollout.harm_rates import Rate

DARK = "#333333"


def false_alarms(alarms: Alarms) -> Picture:
    """The share of rollouts at the margin that each test has rolled back, over answers seen.

    Args:
        alarms: see `helpers.rollout.alarms.false_alarms`.
    """
    figure, (ax,) = new_figure(width=9, height=4.2)
    level = 100 * alarms.alpha
    ax.axhline(level, color=DARK, linestyle=":", linewidth=1.5)
    seen = np.linspace(0, alarms.answers, 201)
    ends, told = [(level, f"alpha, {level:g} %", DARK)], []
    for name, style in styles(alarms.at).items():
        rates = [100 * float((alarms.at[name] <= answer).mean()) for answer in seen]
        ax.plot(seen, rates, color=style.colour, linestyle=style.dashes, linewidth=2.2)
        ax.plot(seen[-1], rates[-1], color=style.colour, marker=style.marker, markersize=7)
        ends.append((rates[-1], name, style.colour))
        told.append(f"{name} {rates[-1]:.1f} percent")
    label_line_ends(ax, alarms.answers, ends)
    ax.set(xlim=(0, alarms.answers * 1.01), ylim=(0, None))
    ax.set_xlabel("answers seen, both versions together")
    ax.set_ylabel("rollouts with a false alarm (%)")
    count = len(next(iter(alarms.at.values())))
    return finish(
        figure,
        f"Share of {count} rollouts at the margin with a false alarm, over answers seen. After "
        f"{alarms.answers:,} answers: {', '.join(told)}. Alpha is {level:g} percent.",
    )


def confidence_path(looks: Sequence[tuple[float, float, Look]], margin: float) -> Picture:
    """What a rollout's monitor had not yet ruled out at each look: between two lines.

    Args:
        looks: hour, share and what the monitor said, as in `simulate.Outcome.looks`.
        margin: points.

    Raises:
        ValueError: there is no look.
    """
    if not looks:
        raise ValueError("There is no look to draw; give the `looks` of a rollout.")
    figure, (ax,) = new_figure(width=9, height=4.4)
    hours = [hour for hour, _, _ in looks]
    lower, upper = ([getattr(look, side) for *_, look in looks] for side in ("lower", "upper"))
    low, high = _room(lower, upper, margin)
    colour = THINGS["monitor"].colour
    # What is not known yet is drawn to beyond the edge.
    below, above = (np.clip(side, low - 99, high + 99) for side in (lower, upper))
    ax.fill_between(hours, below, above, color=colour, alpha=0.15, linewidth=0)
    ax.plot(hours, above, color=colour, linewidth=2.2)
    ax.plot(hours, below, color=colour, linewidth=2.2, linestyle="--")
    ax.axhline(0, color=GREY, linewidth=1)
    ax.axhline(margin, color=DARK, linestyle="-.", linewidth=1.8)
    told, before = [], 0.0
    begins = [0.0, *hours]  # a share holds from the look before
    for number, (_, share, _) in enumerate(looks):
        if share != before:
            ax.axvline(begins[number], color=DARK, linestyle=":", linewidth=1.3)
            label_mark(ax, begins[number], f"{100 * share:g} %")
            told.append(f"{100 * share:g} percent from hour {begins[number]:g}")
            before = share
    last = looks[-1][2]
    names = [(margin, "margin", DARK), (0.0, "no difference", GREY)]
    for value, name in ((last.upper, "at most"), (last.lower, "at least")):
        if low <= value <= high:
            names.append((value, f"{name} {value:.1f}", colour))
    label_line_ends(ax, hours[-1], names)
    bound = last.lower if last.verdict == "roll back" else last.upper
    place = bound if low <= bound <= high else margin
    ax.plot(hours[-1], place, marker="o", markersize=9, color=colour, markeredgecolor="black",
            clip_on=False)  # fmt: skip
    label_point(ax, (hours[-1], place), f"{last.verdict}, hour {hours[-1]:g}", "black", FONT_SIZE)
    ax.set(xlim=(min(0.0, hours[0]), hours[-1]), ylim=(low, high))
    shares = "; at the dotted lines, the share of the users" if len(told) > 1 else ""
    ax.set_xlabel(f"hours since the rollout began{shares}")
    ax.set_ylabel("candidate's harm less control's\n(points not ruled out)")
    return finish(
        figure,
        f"Points of harm that the monitor had not ruled out, over hours. Shares: "
        f"{', '.join(told)}. At hour {hours[-1]:g} it said {last}",
    )


def _room(lower: Sequence[float], upper: Sequence[float], margin: float) -> tuple[float, float]:
    """Where the y axis ends: around what is known in the second half of the looks."""
    half = len(lower) // 2
    known = [value for value in [*lower[half:], *upper[half:]] if np.isfinite(value)]
    low, high = min([0.0, *known]), max([margin, *known])
    rim = max(1.0, 0.1 * (high - low))
    return max(low - rim, -40.0), min(high + rim, margin + 40.0)


def harm_by_category(
    events: pandas.DataFrame,
    capability_map: CapabilityMap | None = None,
    notes: Mapping[str, str] | None = None,
) -> Picture:
    """Harm rates of candidate and control in each category, with 95 percent intervals (Wilson).

    The category with the largest difference is at the top.

    Args:
        events: one row per answer, with the columns category, arm and harm. Who is not the
            candidate's counts as the control's, as in `helpers.rollout.gaps`.
        capability_map: a category that is not on it is said to be missing.
        notes: by category, what to write beside the candidate's dot.

    Raises:
        BadEvents: a column is missing, or there is no row.
    """
    from ..rollout.harm_rates import harm_by_category as rates  # pandas takes long to import

    rows = rates(events)[::-1]
    mapped = None if capability_map is None else {c.name for c in capability_map.categories}
    figure, (ax,) = new_figure(width=9, height=1.4 + 0.38 * len(rows))
    chosen = styles(["candidate", "control"])
    names, told = [], []
    for place, row in enumerate(rows):
        missing = mapped is not None and row.category not in mapped
        names.append(f"{row.category}\n(not on the map)" if missing else row.category)
        parts = []
        for arm, lift in (("candidate", 0.14), ("control", -0.14)):
            rate = getattr(row, arm)
            if rate is None:
                continue
            _dot(ax, rate, place + lift, chosen[arm])
            parts.append(f"{arm} {100 * rate.value:.1f}")
        told.append(f"{names[-1]} {', '.join(parts)}".replace("\n", " "))
    for place, row in enumerate(rows):
        for arm, lift in (("candidate", 0.14), ("control", -0.14)):
            rate = getattr(row, arm)
            note = (notes or {}).get(row.category) if arm == "candidate" else None
            words = ", ".join(filter(None, [arm if place == len(rows) - 1 else None, note]))
            if rate is not None and words:
                label_point(ax, (100 * rate.value, place + lift), words, chosen[arm].colour,
                            FONT_SIZE)  # fmt: skip
    ax.set_yticks(range(len(rows)), names)
    ax.set(ylim=(-0.6, len(rows) - 0.2))
    ax.set_xlim(-0.01 * ax.get_xlim()[1])  # a dot at 0 is seen whole
    ax.set_xlabel("answers that did harm (%), with 95 % intervals")
    return finish(figure, f"Harm by category, in percent: {'; '.join(reversed(told))}.")


def _dot(ax: Axes, rate: Rate, height: float, style: Style) -> None:
    low, high = (100 * end for end in rate.interval)
    ax.plot([low, high], [height, height], color=style.colour, linestyle=style.dashes, linewidth=2)
    ax.plot(100 * rate.value, height, color=style.colour, marker=style.marker, markersize=7)
