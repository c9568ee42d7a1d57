"""The pictures of the laboratory of knobs: curves, capabilities, and the plane of all runs."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..plotting.style import GREY, THINGS, dress
from ..runs import Checkpoint, StoredRun
from ..suites import TARGET
from ..tradeoff import OLD, learned, points_lost
from .frame import Frame

ROWS = (TARGET, *OLD)
#: As in every figure of the course.
NEW, PAST, TUNED = (THINGS[name].colour for name in ("support", "old skills", "fine-tune"))
#: The learner's own run: white with a black edge, on whatever it lies.
OWN = {"marker": "D", "color": "white", "markeredgecolor": "black", "markeredgewidth": 1.5}
SIZE = 10  # of letters; the panels are small and never scaled down


@dataclass(frozen=True)
class View:
    """What the pictures show.

    Attributes:
        base: the model before any of the runs.
        runs: the chosen setting, one run per seed; none where none is stored.
        step: the chosen step.
        others: (target score, points lost) of every setting at this step, means over seeds.
        road: the same for the settings of the chosen rank and α, from the lowest rate up.
        other_roads: the roads of the chosen rank with the other rules for α.
        own: the same for the runs that were trained live, at their ends.
        live: the one among them at this setting.
    """

    base: Checkpoint
    runs: Sequence[StoredRun]
    step: int
    others: Sequence[tuple[float, float]]
    road: Sequence[tuple[float, float]]
    other_roads: Sequence[Sequence[tuple[float, float]]] = ()
    own: Sequence[tuple[float, float]] = ()
    live: Checkpoint | None = None

    @property
    def now(self) -> list[Checkpoint]:
        """The chosen setting at the chosen step, one checkpoint per seed."""
        return [run.latest(self.step) for run in self.runs]


def old_score(checkpoint: Checkpoint) -> float:
    """Percent of old items right, averaged over the capabilities."""
    return statistics.fmean(checkpoint.scores[name] for name in OLD)


def beside(upper: float, lower: float) -> tuple[float, float]:
    """Heights for the names of two lines that end at these heights, in percent.

    The upper name stands above its line and the lower below, but inside the axes, and apart.
    """
    far = upper - lower > 20
    high = upper + 7 if upper < 92 else (upper - 7 if far else lower - 7)
    low = lower - 7 if lower > 8 else (lower + 7 if far else upper + 7)
    if high - low < 7:
        high, low = (low + 7, low) if upper < 92 else (high, high - 7)
    return high, low


class Panel:
    """One small picture with axes that stay as they are."""

    def __init__(
        self, title: str, x: str, y: str, left: float, place: tuple[float, float] = (3.6, 3.7)
    ) -> None:
        """Args: title and axes; the width of what stands left of the axes, and sizes, in inches."""
        width, height = place
        figure = Figure(figsize=place, facecolor="white")
        FigureCanvasAgg(figure)
        self.ax = figure.add_axes(
            (left / width, 0.62 / height, (width - left - 0.12) / width, (height - 0.95) / height)
        )
        dress(self.ax)
        self.ax.tick_params(labelsize=SIZE)
        figure.text(0.04 / width, 1 - 0.2 / height, title, size=SIZE + 1, va="center")
        self.ax.set_xlabel(x, size=SIZE)
        self.ax.set_ylabel(y, size=SIZE)
        self.figure = figure

    def finish(self) -> None:
        """Keep the pixels of what has been drawn so far."""
        self.frame = Frame(self.figure)


class KnobsFigure:
    """Draws a `View`; the axes are fixed, so that settings can be compared by eye.

    Three pictures and not one: they stand side by side where the page is wide and below each other
    where it is narrow, and are never scaled down.
    """

    def __init__(self, steps: Sequence[int], deepest: float) -> None:
        """Args: steps of the checkpoints; the largest number of points any run has lost."""
        right = "held-out items right (%)"
        curves = Panel("Learning and forgetting", "optimizer step", right, 0.62)
        curves.ax.set(xlim=(0, steps[-1]), ylim=(-3, 103), xticks=[0, *steps])
        bars = Panel("Each capability", f"{right}\nbar: mean, line: range, | base", "", 1.05)
        bars.ax.set(xlim=(0, 103), ylim=(len(ROWS) - 0.4, -0.6))
        bars.ax.set_yticks(range(len(ROWS)), ROWS)
        plane = Panel(
            "All settings at this step",
            "support: items right (%)\nline: this rank and α, dashed: other α",
            "old skills: points lost",
            0.62,
        )
        # Losses grow downwards, so that the best corner is the upper right one.
        plane.ax.set(xlim=(-4, 103), ylim=(max(deepest, 10) * 1.05, -6))
        plane.ax.annotate("better", (0.99, 0.98), xycoords="axes fraction", ha="right",
                          va="top", size=SIZE, color=GREY, style="italic")  # fmt: skip
        self.panels = (curves, bars, plane)
        for panel in self.panels:
            panel.finish()

    def draw(self, view: View) -> list[bytes]:
        """The three pictures as PNG."""
        drawn = (self._curves, self._bars, self._plane)
        return [
            panel.frame.render(list(draw(panel.ax, view)))
            for panel, draw in zip(self.panels, drawn, strict=True)
        ]

    def side_by_side(self, view: View) -> bytes:
        """The three pictures as one."""
        images = [Image.open(io.BytesIO(png)) for png in self.draw(view)]
        whole = Image.new("RGB", (sum(image.width for image in images), images[0].height), "white")
        left = 0
        for image in images:
            whole.paste(image, (left, 0))
            left += image.width
        buffer = io.BytesIO()
        whole.save(buffer, "png")
        return buffer.getvalue()

    def _curves(self, ax: Axes, view: View) -> Iterator[Artist]:
        yield ax.axvline(view.step, color="#333333", linestyle=":", linewidth=1.5)
        for value, colour, dashes in ((learned, NEW, "-"), (old_score, PAST, "--")):
            paths = [[(c.step, value(c)) for c in run.checkpoints] for run in view.runs]
            for path in paths:
                yield from ax.plot(*zip(*path, strict=True), color=colour, linewidth=0.8, alpha=0.5)
            if paths:
                shared = min(map(len, paths))  # a run that diverged is shorter
                mean = [statistics.fmean(path[i][1] for path in paths) for i in range(shared)]
                steps = [step for step, _ in paths[0][:shared]]
                yield from ax.plot(steps, mean, color=colour, linestyle=dashes, linewidth=2.6)
            if view.live:
                yield from ax.plot(view.live.step, value(view.live), markersize=8, clip_on=False,
                                   **OWN)  # fmt: skip
        yield from self._names(ax, view)

    def _names(self, ax: Axes, view: View) -> Iterator[Artist]:
        """The names of the two curves, near their last points."""
        ends = [run.last for run in view.runs]
        if not ends:
            yield ax.annotate("no stored run here", (0.5, 0.5), xycoords="axes fraction",
                              ha="center", size=SIZE)  # fmt: skip
            return
        target, old = (statistics.fmean(map(value, ends)) for value in (learned, old_score))
        names = [("support", target, NEW), ("old skills", old, PAST)]
        names.sort(key=lambda entry: -entry[1])
        places = beside(names[0][1], names[1][1])
        for (name, _, colour), place in zip(names, places, strict=True):
            yield ax.annotate(name, (ax.get_xlim()[1] * 0.98, place), color=colour,
                              ha="right", va="center", size=SIZE)  # fmt: skip

    def _bars(self, ax: Axes, view: View) -> Iterator[Artist]:
        for row, name in enumerate(ROWS):
            scores = [checkpoint.scores[name] for checkpoint in view.now]
            if scores:
                colour = NEW if name == TARGET else PAST
                bar = ax.barh(row, statistics.fmean(scores), height=0.62, color=colour)
                ax.containers.remove(bar)  # it would stay there without its parts
                yield from bar
                for colour, width in (("white", 4.5), ("#333333", 1.6)):  # seen on any bar
                    yield from ax.plot([min(scores), max(scores)], [row, row], color=colour,
                                       linewidth=width, solid_capstyle="butt")  # fmt: skip
            base = view.base.scores[name]
            yield from ax.plot([base, base], [row - 0.4, row + 0.4], color="black", linewidth=2.4)
            if view.live:
                yield from ax.plot(view.live.scores[name], row, markersize=6, clip_on=False, **OWN)

    def _plane(self, ax: Axes, view: View) -> Iterator[Artist]:
        yield from ax.plot(*zip(*view.others, strict=True), color="#C8C8C8", marker="o",
                           markersize=4, linestyle="")  # fmt: skip
        for road in view.other_roads:
            yield from ax.plot(*zip(*road, strict=True), color="#333333", linewidth=1,
                               linestyle=(0, (4, 2)))  # fmt: skip
        if view.road:
            yield from ax.plot(*zip(*view.road, strict=True), color="#333333", linewidth=1.6,
                               marker=".", markersize=6)  # fmt: skip
        points = [(learned(c), points_lost(view.base, c)) for c in view.now]
        if points:
            yield from ax.plot(*zip(*points, strict=True), color=TUNED, marker="x", markersize=6,
                               linestyle="", markeredgewidth=1.5)  # fmt: skip
            middle = [statistics.fmean(values) for values in zip(*points, strict=True)]
            yield from ax.plot(*middle, color=TUNED, marker="s", markersize=10, linestyle="",
                               markeredgecolor="black")  # fmt: skip
        for point in view.own:
            yield from ax.plot(*point, markersize=8, linestyle="", **OWN)
