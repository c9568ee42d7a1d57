"""The figure of the laboratory of knobs: curves, capabilities, and the plane of all runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..plotting.style import BLUE, FONT_SIZE, GREEN, GREY, ORANGE, dress
from ..runs import Checkpoint, StoredRun
from ..suites import TARGET
from ..tradeoff import OLD, learned, points_lost
from .frame import Frame

ROWS = (TARGET, *OLD)


@dataclass(frozen=True)
class View:
    """What the figure shows.

    Attributes:
        runs: the chosen setting, one run per seed.
        step: the chosen step.
        others: (target score, points lost) of every setting at this step, means over seeds.
        same_rank: the same for the settings of the chosen rank, from the lowest rate up.
        live: a run of the learner's own at this setting.
    """

    runs: Sequence[StoredRun]
    step: int
    others: Sequence[tuple[float, float]]
    same_rank: Sequence[tuple[float, float]]
    live: Checkpoint | None = None

    @property
    def base(self) -> Checkpoint:
        return self.runs[0].base

    @property
    def now(self) -> list[Checkpoint]:
        """The chosen setting at the chosen step, one checkpoint per seed."""
        return [run.latest(self.step) for run in self.runs]

    @property
    def ends(self) -> list[Checkpoint]:
        """The last checkpoint of every seed."""
        return [run.last for run in self.runs]


def old_score(checkpoint: Checkpoint) -> float:
    """Percent of old items right, averaged over the capabilities."""
    return statistics.fmean(checkpoint.scores[name] for name in OLD)


class KnobsFigure:
    """Draws a `View`; the axes are fixed, so that settings can be compared by eye."""

    def __init__(self, steps: Sequence[int], deepest: float) -> None:
        """Args: steps of the checkpoints; the largest number of points any run has lost."""
        figure = Figure(figsize=(12.6, 4.6), facecolor="white")
        FigureCanvasAgg(figure)
        places = ((0.055, 0.18, 0.25, 0.73), (0.485, 0.18, 0.19, 0.73), (0.745, 0.18, 0.245, 0.73))
        self.curves, self.bars, self.plane = (figure.add_axes(place) for place in places)
        for ax in (self.curves, self.bars, self.plane):
            dress(ax)

        def title(ax: Axes, text: str, x: str, y: str = "") -> None:
            ax.set_title(text, size=FONT_SIZE + 1, loc="left")
            ax.set_xlabel(x, size=FONT_SIZE)
            ax.set_ylabel(y, size=FONT_SIZE)

        title(self.curves, "Learning and forgetting", "optimizer step", "held-out items right (%)")
        self.curves.set(xlim=(0, steps[-1]), ylim=(-3, 103), xticks=[0, *steps])
        title(
            self.bars,
            "Each capability",
            "held-out items right (%)\nbar: mean of seeds, line: range, | base",
        )
        self.bars.set(xlim=(0, 103), ylim=(len(ROWS) - 0.4, -0.6))
        self.bars.set_yticks(range(len(ROWS)), ROWS)
        title(self.plane, "All settings at this step",
              "support: items right (%)\ngrey: all, blue: this rank, x: seeds",
              "old skills: points lost")  # fmt: skip
        # Losses grow downwards, so that the best corner is the upper right one.
        self.plane.set(xlim=(-4, 103), ylim=(max(deepest, 10) * 1.05, -6))
        self.plane.annotate("better", (0.99, 0.98), xycoords="axes fraction", ha="right",
                            va="top", size=FONT_SIZE, color=GREY, style="italic")  # fmt: skip
        self.frame = Frame(figure)

    def draw(self, view: View) -> bytes:
        """The figure as PNG."""
        artists = [*self._curves(view), *self._bars(view), *self._plane(view)]
        return self.frame.render(artists)

    def _curves(self, view: View) -> Iterator[Artist]:
        ax = self.curves
        yield ax.axvline(view.step, color="#333333", linestyle=":", linewidth=1.5)
        heights = [statistics.fmean(map(value, view.ends)) for value in (learned, old_score)]
        # Names stand at the ends of their lines, and make room for each other.
        gap = max(0.0, 7 - abs(heights[0] - heights[1])) / 2
        shifts = (gap, -gap) if heights[0] >= heights[1] else (-gap, gap)
        for name, value, colour, dashes, shift in (
            ("support", learned, "black", "-", shifts[0]),
            ("old skills", old_score, ORANGE, "--", shifts[1]),
        ):
            paths = [[(c.step, value(c)) for c in run.checkpoints] for run in view.runs]
            for path in paths:
                yield from ax.plot(*zip(*path, strict=True), color=colour, linewidth=0.8, alpha=0.5)
            shared = min(map(len, paths))  # a run that diverged is shorter
            mean = [statistics.fmean(path[i][1] for path in paths) for i in range(shared)]
            steps = [step for step, _ in paths[0][:shared]]
            yield from ax.plot(steps, mean, color=colour, linestyle=dashes, linewidth=2.6)
            place = steps[-1], mean[-1] + shift
            yield ax.annotate(f" {name}", place, color=colour, va="center",
                              size=FONT_SIZE, annotation_clip=False)  # fmt: skip
            if view.live:
                yield from ax.plot(view.live.step, value(view.live), color=GREEN, marker="D",
                                   markersize=9, clip_on=False)  # fmt: skip

    def _bars(self, view: View) -> Iterator[Artist]:
        ax = self.bars
        for row, name in enumerate(ROWS):
            scores = [checkpoint.scores[name] for checkpoint in view.now]
            colour = BLUE if name == TARGET else ORANGE
            bar = ax.barh(row, statistics.fmean(scores), height=0.62, color=colour)
            ax.containers.remove(bar)  # it would stay there without its parts
            yield from bar
            yield from ax.plot([min(scores), max(scores)], [row, row], color="#333333",
                               linewidth=1.6)  # fmt: skip
            base = view.base.scores[name]
            yield from ax.plot([base, base], [row - 0.4, row + 0.4], color="black", linewidth=2.4)
            if view.live:
                yield from ax.plot(view.live.scores[name], row, color=GREEN, marker="D",
                                   markersize=7, clip_on=False)  # fmt: skip

    def _plane(self, view: View) -> Iterator[Artist]:
        ax = self.plane
        yield from ax.plot(*zip(*view.others, strict=True), color="#B5B5B5", marker="o",
                           markersize=6, linestyle="")  # fmt: skip
        yield from ax.plot(*zip(*view.same_rank, strict=True), color=BLUE, linewidth=1.2,
                           linestyle="-", marker=".", markersize=7)  # fmt: skip
        points = [(learned(c), points_lost(view.base, c)) for c in view.now]
        yield from ax.plot(*zip(*points, strict=True), color=ORANGE, marker="x", markersize=7,
                           linestyle="", markeredgewidth=2)  # fmt: skip
        middle = [statistics.fmean(values) for values in zip(*points, strict=True)]
        yield from ax.plot(*middle, color=ORANGE, marker="o", markersize=13, linestyle="",
                           markeredgecolor="black")  # fmt: skip
        if view.live:
            point = learned(view.live), points_lost(view.base, view.live)
            yield from ax.plot(*point, color=GREEN, marker="D", markersize=10, linestyle="",
                               markeredgecolor="black")  # fmt: skip
