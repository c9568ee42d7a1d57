"""Figures of numbers over other numbers: curves over seeds, points, laws."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes

from .labels import label_line_ends, label_mark
from .style import FONT_SIZE, STYLES, Picture, finish, new_figure, styles

#: One curve: (x, y) points. Several curves of one label are seeds of the same thing.
Curve = Sequence[tuple[float, float]]


def lines(
    series: Mapping[str, Sequence[Curve]],
    x: str,
    y: str,
    zero: bool = False,
    whole_x: bool = False,
    log_x: bool = False,
    mark: tuple[float, str] | None = None,
) -> Picture:
    """A thick line of means per label, with a thin one for each seed behind it.

    Args:
        series: label to its curves; the curves of one label share their x values.
        x, y: what the axes show, with units.
        zero: draw a line at 0.
        whole_x: mark the x values themselves, as for layers.
        log_x: equal ratios of x at equal distances.
        mark: an x value to mark with a dotted line, and what stands beside it.
    """
    figure, (ax,) = new_figure(width=9, height=4.2)
    if log_x:
        ax.set_xscale("log")
    ends = []
    told = []
    chosen = styles(series)
    for label, curves in series.items():
        colour, dashes, marker = chosen[label]
        places = [place for place, _ in curves[0]]
        for curve in curves if len(curves) > 1 else ():
            ax.plot(*zip(*curve, strict=True), color=colour, linewidth=0.8, alpha=0.5)
        means = [
            sum(value for _, value in points) / len(points) for points in zip(*curves, strict=True)
        ]
        ax.plot(places, means, color=colour, linestyle=dashes, marker=marker, linewidth=2.2)
        ends.append((means[-1], label, colour))
        told.append(f"{label} goes from {means[0]:.3g} to {means[-1]:.3g}")
    if zero:
        ax.axhline(0, color="#333333", linewidth=1)
    if whole_x:
        places = sorted({place for curves in series.values() for place, _ in curves[0]})
        ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.minorticks_off()
    if mark:
        ax.axvline(mark[0], color="#333333", linestyle=":", linewidth=1.5)
        label_mark(ax, *mark)
    last = max(place for curves in series.values() for place, _ in curves[0])
    label_line_ends(ax, last, ends)
    ax.set_xlabel(x)
    begins = _begin(ax)
    ax.set_ylabel(f"{y}\n(axis begins at {begins:g})" if begins else y)
    seeds = max(len(curves) for curves in series.values())
    drawn = f"Thick lines are means of {seeds} seeds, thin lines the seeds. " if seeds > 1 else ""
    cut = f" The y axis begins at {begins:g}." if begins else ""
    return finish(figure, f"{y}, over {x}. {drawn}{'; '.join(told)}.{cut}")


def _begin(ax: Axes) -> float:
    """Let the y axis begin at 0 where that costs little room; else the first number on it."""
    low, high = ax.get_ylim()
    if 0 < low < high / 2:
        ax.set_ylim(bottom=0)
    shown = [tick for tick in ax.get_yticks() if low <= tick <= high]
    return min(shown) if low >= high / 2 > 0 and shown else 0.0


def points(
    groups: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
    downwards: bool = False,
) -> Picture:
    """Groups of points on one plane, each in its own colour and shape.

    A line joins the points of each group that no other of the group beats in both x and y.

    Args:
        downwards: y grows downwards, as for losses: the best corner is then the upper right one.
    """
    figure, (ax,) = new_figure(width=9, height=5)
    told = []
    chosen = styles(groups)
    for label, group in groups.items():
        colour, dashes, marker = chosen[label]
        ax.plot(*zip(*group, strict=True), linestyle="", marker=marker, color=colour, markersize=6,
                alpha=0.55, label=label)  # fmt: skip
        best = front(group, downwards)
        ax.plot(*zip(*best, strict=True), color=colour, linestyle=dashes, linewidth=2.2)
        first, last = (tuple(round(value) for value in best[end]) for end in (0, -1))
        told.append(f"{label}: {len(group)} points, its line goes from {first} to {last}")
    if downwards:
        ax.invert_yaxis()
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False,
              fontsize=FONT_SIZE)  # fmt: skip
    return finish(figure, f"{y}, against {x}. {'; '.join(told)}.")


def scatter(
    groups: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
) -> Picture:
    """Groups of points on one plane, each in its own colour and shape, the legend at the right.

    Args:
        groups: label to its (x, y) points.
        log_x, log_y: equal ratios at equal distances; what is not above zero is then left out, and
            the text of the figure says how many points that were.
    """
    figure, (ax,) = new_figure(width=9.5, height=5)
    told, left_out = [], 0
    chosen = styles(groups)
    for label, group in groups.items():
        shown = [(a, b) for a, b in group if (a > 0 or not log_x) and (b > 0 or not log_y)]
        left_out += len(group) - len(shown)
        if not shown:
            continue
        colour, _, marker = chosen[label]
        ax.plot(*zip(*shown, strict=True), linestyle="", marker=marker, color=colour, markersize=8,
                alpha=0.75, label=label)  # fmt: skip
        across, up = ([point[axis] for point in shown] for axis in (0, 1))
        told.append(f"{label} x {min(across):.2g} to {max(across):.2g}, "
                    f"y {min(up):.2g} to {max(up):.2g}")  # fmt: skip
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=FONT_SIZE)
    missing = f" Not drawn, because not above zero: {left_out} points." if left_out else ""
    return finish(figure, f"{y}, against {x}. {'; '.join(told)}.{missing}")


def paths(
    groups: Mapping[str, Sequence[Curve]],
    x: str,
    y: str,
    deepest: float,
    marks: Sequence[float] = (),
) -> Picture:
    """A thick path of means per label with thin ones for its seeds; y grows downwards.

    Args:
        groups: label to its paths, one a seed, whose points belong together by their order.
        deepest: where y ends; what lies beyond is not drawn.
        marks: x values with a dotted line.
    """
    figure, (ax,) = new_figure(width=8, height=4.6)
    told = []
    chosen = styles(groups)
    for mark in marks:
        ax.axvline(mark, color="#333333", linestyle=":", linewidth=1.2)
    for label, seeds in groups.items():
        colour, dashes, marker = chosen[label]
        for path in seeds if len(seeds) > 1 else ():
            ax.plot(*zip(*path, strict=True), color=colour, linewidth=0.8, alpha=0.45)
        means = [
            tuple(sum(values) / len(values) for values in zip(*points, strict=True))
            for points in zip(*seeds, strict=True)
        ]
        ax.plot(*zip(*means, strict=True), color=colour, linestyle=dashes, marker=marker,
                markersize=6, linewidth=2.2, label=label)  # fmt: skip
        shown = [point for point in means if point[1] <= deepest]
        told.append(f"{label}: " + ", ".join(f"({a:.0f}, {b:.1f})" for a, b in shown))
    ax.set(xlim=(-2, 101), ylim=(deepest, -1.5))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(loc="lower left", frameon=False, fontsize=FONT_SIZE)
    return finish(figure, f"{y}, against {x}; means over seeds: {'; '.join(told)}.")


def front(
    group: Sequence[tuple[float, float]], downwards: bool = False
) -> list[tuple[float, float]]:
    """The points that no other point beats in both coordinates, by rising x."""
    sign = -1 if downwards else 1
    best: list[tuple[float, float]] = []
    for point in sorted(group, key=lambda p: (-p[0], -sign * p[1])):
        if not best or sign * point[1] > sign * best[-1][1]:
            best.append(point)
    return best[::-1]


def spread(groups: Mapping[str, Sequence[float]], x: str, y: str) -> Picture:
    """One column of dots per group, with its mean and its range from the lowest to the highest."""
    figure, (ax,) = new_figure(width=9, height=4.2)
    told = []
    for number, (label, group) in enumerate(groups.items()):
        colour, _, marker = STYLES[0]
        ax.plot([number - 0.12] * len(group), group, linestyle="", marker=marker, color=colour,
                alpha=0.45)  # fmt: skip
        if len(group) > 1:
            mean, low, high = sum(group) / len(group), min(group), max(group)
            ax.errorbar(number + 0.12, mean, [[mean - low], [high - mean]], color="black",
                        marker="_", markersize=16, capsize=5, linewidth=2)  # fmt: skip
            told.append(f"{label} {mean:.1f} ({low:.1f} to {high:.1f})")
        else:
            told.append(f"{label} {', '.join(f'{value:.1f}' for value in group) or 'no run'}")
    ax.set_xticks(range(len(groups)), list(groups))
    ax.grid(axis="x", visible=False)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    return finish(figure, f"{y}, by {x}; means and ranges: {'; '.join(told)}.")


def law(
    data: Sequence[tuple[float, float]], curve: Callable[[float], float], x: str, y: str
) -> Picture:
    """Left, points and the law fitted to them; right, what the law leaves over."""
    figure, (left, right) = new_figure(width=11, height=4.2, columns=2)
    colour, _, marker = STYLES[0]
    places = [place for place, _ in data]
    low, high = min(places), max(places)
    fine = [low * (high / low) ** (step / 60) for step in range(61)]
    left.plot(*zip(*data, strict=True), linestyle="", marker=marker, color=colour, alpha=0.6)
    left.plot(fine, [curve(place) for place in fine], color=STYLES[1][0], linestyle="--",
              linewidth=2.2)  # fmt: skip
    rests = [value - curve(place) for place, value in data]
    unit = "".join(re.findall(r"\([^()]*\)$", y))
    right.axhline(0, color=STYLES[1][0], linestyle="--", linewidth=2.2)
    right.plot(places, rests, linestyle="", marker=marker, color=colour, alpha=0.6)
    for ax, title, name in (
        (left, "Runs and fitted law", y),
        (right, "What the law leaves over", f"run minus law {unit}".rstrip()),
    ):
        ax.set_xscale("log")
        ax.set_xticks(sorted(set(places)), [f"{place:g}" for place in sorted(set(places))])
        ax.minorticks_off()
        ax.set_title(title)
        ax.set_xlabel(x)
        ax.set_ylabel(name)
    largest = max(map(abs, rests))
    return finish(
        figure,
        f"{y}, over {x}, with a fitted curve from {curve(low):.2g} to {curve(high):.2g}; no run "
        f"lies farther from it than {largest:.2g}.",
    )
