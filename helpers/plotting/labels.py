"""Where the words inside a figure stand: apart from each other, inside, and off the lines.

A figure's helpers say what is to be named (`label_line_ends`, `label_point`, `label_mark`);
`place_labels` finds the places once the layout of the figure is known. All boxes are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

#: Kinds of labels, as the `gid` of their artists: how `place_labels` knows them.
LINE_END, POINT, MARK = "label of a line's end", "label of a point", "label of a marked value"
LEADER = "from a label to what it names"
#: Pixels between two labels, and between a label and the end of its line.
GAP, BESIDE = 2.0, 9.0
#: More room beside the lines where thin lines lead to names that had to move.
LEAD = 13.0
#: Lines at least as wide are the ones that a figure is about; thinner ones are its background.
THICK = 1.3


class Box(NamedTuple):
    """An upright rectangle, y upwards."""

    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: Box) -> float:
        """The shared area, in square pixels."""
        across = min(self.right, other.right) - max(self.left, other.left)
        up = min(self.high, other.high) - max(self.low, other.low)
        return max(0.0, across) * max(0.0, up)

    def outside(self, frame: Box) -> float:
        """The area that lies outside a frame."""
        return (self.right - self.left) * (self.high - self.low) - self.overlap(frame)

    def grown(self, by: float) -> Box:
        """The rectangle with a rim."""
        return Box(self.left - by, self.low - by, self.right + by, self.high + by)


def apart(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Centres as near as possible to the wanted ones, between two bounds and without overlap.

    Least squares under the given order, by pooling adjacent violators (Barlow et al. 1972). What
    is too much for the room between the bounds is stacked about their middle.

    Args:
        wanted: a centre for each label; equal ones keep their order.
        sizes: room that each label needs, in the unit of the centres.
    """
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    total = sum(sizes)
    if total > high - low:
        middle = (low + high) / 2
        low, high = middle - total / 2, middle + total / 2
    # Less what stands below it, each centre may only not fall; a pool shares its mean.
    below, start = [], 0.0
    for place in order:
        below.append(start + sizes[place] / 2)
        start += sizes[place]
    pools: list[tuple[float, int]] = []
    for place, offset in zip(order, below, strict=True):
        mean, count = wanted[place] - offset, 1
        while pools and pools[-1][0] >= mean:
            other, many = pools.pop()
            mean, count = (mean * count + other * many) / (count + many), count + many
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    centres = [0.0] * len(wanted)
    for place, offset, value in zip(order, below, flat, strict=True):
        centres[place] = min(max(value, low), high - total) + offset
    return centres


def place(
    candidates: Sequence[Sequence[tuple[Box, float]]], frame: Box, dots: np.ndarray
) -> list[int]:
    """For each label one of its candidates, so that all stand apart, inside, and off the dots.

    Each label in turn takes its cheapest place beside the others, until none moves any more.

    Args:
        candidates: places of each label, each with what it costs by itself, in pixels of distance.
        frame: where labels may stand.
        dots: what they should not hide, shape (dots, 3): x, y and the cost of hiding it.

    Returns:
        The number of the chosen candidate for each label.
    """
    own = [
        [cost + _hidden(box, dots) + 10 * box.outside(frame) for box, cost in places]
        for places in candidates
    ]
    chosen = [min(range(len(costs)), key=costs.__getitem__) for costs in own]
    for _ in range(20):
        before = list(chosen)
        for label, places in enumerate(candidates):
            others = [
                candidates[other][chosen[other]][0].grown(GAP)
                for other in range(len(candidates))
                if other != label
            ]
            costs = [
                cost + 10 * sum(box.overlap(other) for other in others)
                for (box, _), cost in zip(places, own[label], strict=True)
            ]
            chosen[label] = min(range(len(costs)), key=costs.__getitem__)
        if chosen == before:
            break
    return chosen


def _hidden(box: Box, dots: np.ndarray) -> float:
    if not len(dots):
        return 0.0
    left, low, right, high = box.grown(3)
    inside = (dots[:, 0] > left) & (dots[:, 0] < right) & (dots[:, 1] > low) & (dots[:, 1] < high)
    return float(dots[inside, 2].sum())


def label_line_ends(
    ax: Axes, x: float, ends: Sequence[tuple[float, str, str]], size: float = 12
) -> list[Annotation]:
    """Name lines right of their ends; each entry is (y of the end, name, colour).

    The names stand apart from each other and within the height of the axes; one that had to move
    is joined to its end by a thin line.
    """
    return [
        ax.annotate(
            name.replace("_", " "),
            (x, value),
            xytext=(BESIDE, 0),
            gid=LINE_END,
            textcoords="offset pixels",
            color=colour,
            fontsize=size,
            va="center",
            annotation_clip=False,
        )
        for value, name, colour in ends
    ]


def label_point(
    ax: Axes, point: tuple[float, float], text: str, colour: str, size: float
) -> Annotation:
    """Name one point of the plane, near it and where it hides little."""
    label = ax.annotate(text, point, xytext=(0, 0), textcoords="offset pixels", gid=POINT,
                        color=colour, fontsize=size, va="center", ha="center")  # fmt: skip
    return _with_halo(label)


def label_mark(ax: Axes, x: float, text: str, size: float = 12) -> Annotation:
    """Name a marked x value, beside its upright line and where it hides little."""
    label = ax.annotate(text, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 0), gid=MARK,
                        textcoords="offset pixels", fontsize=size, va="center", ha="center",
                        annotation_clip=False)  # fmt: skip
    return _with_halo(label)


def _with_halo(label: Annotation) -> Annotation:
    label.set_path_effects([withStroke(linewidth=3, foreground="white")])
    return label


def place_labels(figure: Figure, laid_out: bool = False) -> list[Annotation]:
    """Put all labels of a figure into their places; the figure must be otherwise complete.

    Args:
        laid_out: its axes stand where they will stand, so it need not be laid out for this.

    Returns:
        Thin lines that were added, from names to what they name.
    """
    found = {
        ax: [text for text in ax.texts if text.get_gid() in (LINE_END, POINT, MARK)]
        for ax in figure.axes
    }
    if not any(found.values()):
        return []
    if not laid_out:
        figure.draw_without_rendering()  # the layout is known only now
    renderer = figure.canvas.get_renderer()
    ends = [[text for text in labels if text.get_gid() == LINE_END] for labels in found.values()]
    leaders = [leader for labels in ends for leader in _place_ends(labels, renderer)]
    if any(ends) and not laid_out:
        figure.draw_without_rendering()  # names that moved may have made the axes narrower
    for labels in found.values():
        inside = [text for text in labels if text.get_gid() != LINE_END]
        leaders += _place_inside(inside, renderer)
    return leaders


def _place_ends(labels: Sequence[Annotation], renderer: RendererBase) -> list[Annotation]:
    if not labels:
        return []
    frame = _box(labels[0].axes, renderer)
    sizes = [_box(label, renderer).high - _box(label, renderer).low + GAP for label in labels]
    wanted = [_anchor(label)[1] for label in labels]
    found = apart(wanted, sizes, frame.low, frame.high)
    moved = [abs(there - here) > 5 for here, there in zip(wanted, found, strict=True)]
    leaders = []
    beside = BESIDE + LEAD * any(moved)  # all names begin at the same place
    for label, here, there, far in zip(labels, wanted, found, moved, strict=True):
        label.set_position((beside, there - here))
        if far:
            leaders.append(_lead(label, (beside - 2, there - here), start=4))
    return leaders


def _place_inside(labels: Sequence[Annotation], renderer: RendererBase) -> list[Annotation]:
    if not labels:
        return []
    ax = labels[0].axes
    candidates = [list(_around(label, renderer)) for label in labels]
    dots = np.array(list(_dots(ax, renderer)), dtype=float).reshape(-1, 3)
    leaders = []
    chosen = place(candidates, _box(ax, renderer).grown(-2), dots)
    for label, places, number in zip(labels, candidates, chosen, strict=True):
        box = places[number][0]
        x, y = _anchor(label)
        middle = ((box.left + box.right) / 2 - x, (box.low + box.high) / 2 - y)
        label.set_position(middle)
        near = (min(max(0, box.left - x), box.right - x), min(max(0, box.low - y), box.high - y))
        if label.get_gid() == POINT and math.hypot(*near) > 18:
            leaders.append(_lead(label, near, start=5))
    return leaders


def _around(label: Annotation, renderer: RendererBase) -> Iterator[tuple[Box, float]]:
    """Places for a label, the best first, with what each costs by itself."""
    x, y = _anchor(label)
    own = _box(label, renderer)
    width, height = own.right - own.left, own.high - own.low
    if label.get_gid() == MARK:
        frame = _box(label.axes, renderer)
        for down in range(0, int(frame.high - frame.low - height), 6):
            for side in (1, -1):
                across, up = x + side * (5 + width / 2), frame.high - 3 - down - height / 2
                yield _around_middle(across, up, width, height), 0.1 * down + (side < 0)
        return
    for far in (8, 12, 18, 26, 36, 48, 62, 78, 96):
        for turn in range(16):
            angle = math.pi * (0.25 + turn / 8)  # the upper right first
            right, up = math.cos(angle), math.sin(angle)
            across, above = x + right * (far + width / 2), y + up * (far + height / 2)
            yield _around_middle(across, above, width, height), 0.4 * (far - 8) + 0.01 * turn


def _around_middle(x: float, y: float, width: float, height: float) -> Box:
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _lead(label: Annotation, end: tuple[float, float], start: float) -> Annotation:
    """A thin line from what is named to the label; its end is given from there, in pixels."""
    length = math.hypot(*end)
    begin = tuple(start * part / length for part in end)
    line = label.axes.annotate(
        "", label.xy, xycoords=label.xycoords, xytext=end, textcoords="offset pixels", gid=LEADER,
        annotation_clip=False, arrowprops={"arrowstyle": "-", "color": label.get_color(),
        "linewidth": 0.9, "alpha": 0.8, "shrinkA": 0, "shrinkB": math.hypot(*begin)},
    )  # fmt: skip
    line.set_in_layout(False)
    return line


def _anchor(label: Annotation) -> tuple[float, float]:
    """The pixel of what is named."""
    ax = label.axes
    x, y = label.xy
    if label.get_gid() == MARK:
        return ax.get_xaxis_transform().transform((x, y))
    return ax.transData.transform((x, y))


def _box(artist: Axes | Annotation, renderer: RendererBase) -> Box:
    return Box(*artist.get_window_extent(renderer).extents)


def _dots(ax: Axes, renderer: RendererBase) -> Iterator[tuple[float, float, float]]:
    """What labels should not hide: markers and lines as dots, and words that stand already."""
    for line in ax.lines:
        path = line.get_transform().transform_path(line.get_path())
        thick = line.get_linewidth() >= THICK
        if line.get_marker() not in ("", "None", None, " "):
            weight = 12.0 if line.get_markersize() > 4 else 1.5
            rim = ax.figure.dpi / 72 * line.get_markersize() / 2
            for x, y in path.vertices:
                yield from (
                    (x + dx, y + dy, weight) for dx in (-rim, 0, rim) for dy in (-rim, 0, rim)
                )
        if _drawn(line):
            for one, other in pairwise(path.vertices):
                yield from _along(one, other, 2.0 if thick else 0.4)
    legend = ax.get_legend()
    standing = [t for t in ax.texts if t.get_gid() not in (LINE_END, POINT, MARK, LEADER)]
    for words in ([legend] if legend else []) + [text for text in standing if text.get_text()]:
        left, low, right, high = _box(words, renderer)
        for x in np.arange(left, right + 4, 4):
            yield from ((x, y, 20.0) for y in np.arange(low, high + 4, 4))


def _drawn(line: Line2D) -> bool:
    return line.get_linestyle() not in ("", "None", " ")


def _along(
    one: Sequence[float], other: Sequence[float], weight: float
) -> Iterator[tuple[float, float, float]]:
    """Dots every four pixels from one point to another."""
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return
    steps = min(int(math.dist(one, other) // 4) + 1, 2000)
    for step in range(steps + 1):
        part = step / steps
        yield (one[0] + part * (other[0] - one[0]), one[1] + part * (other[1] - one[1]), weight)
