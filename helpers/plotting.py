"""Every figure of the course, in one style, each with a text for those who cannot see it.

Figures are drawn without pyplot, so they can be made in any thread and leave nothing behind.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .snapshots import Snapshot
from .training import Run

#: Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6B6B6B",
)  # fmt: skip
#: Colour, line and marker are used together: each alone tells the lines apart.
STYLES = [
    (BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"),
    (SKY, (0, (5, 1)), "v"), (GREY, (0, (3, 1, 1, 1)), "P"), ("#E69F00", (0, (1, 1)), "X"),
]  # fmt: skip
FONT_SIZE = 12


@dataclass(frozen=True)
class Picture:
    """A finished figure: a PNG for the eye, a sentence for the ear."""

    png: bytes
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None):
        image = base64.b64encode(self.png).decode()
        return {"image/png": image, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}

    def _ipython_display_(self) -> None:
        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        # JupyterLab passes no alt text on to the browser, so the words also stand below.
        words = f"<details><summary>The figure in words</summary>{html.escape(self.alt)}</details>"
        display({"text/html": words, "text/plain": self.alt}, raw=True)

    def __repr__(self) -> str:
        return self.alt


def new_figure(width: float = 9, height: float = 4, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure in the course's style; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, number + 1) for number in range(columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="both", color="#E5E5E5", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.tick_params(labelsize=FONT_SIZE)
    return figure, axes


def finish(figure: Figure, alt: str) -> Picture:
    """Render a figure."""
    for ax in figure.axes:
        ax.xaxis.label.set_size(FONT_SIZE)
        ax.yaxis.label.set_size(FONT_SIZE)
        ax.title.set_size(FONT_SIZE + 1)
    buffer = io.BytesIO()
    # No software version in the file: the same figure is then the same bytes everywhere.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return Picture(buffer.getvalue(), alt)


def capability_bars(
    before: Snapshot, after: Snapshot | None = None, labels: tuple[str, str] = ("before", "after")
) -> Picture:
    """Scores per capability with 95 % intervals: one bar each, or two when `after` is given."""
    names = [name for name in before.results if not before.is_text(name)]
    snapshots = [before] if after is None else [before, after]
    height = 0.72 / len(snapshots)
    figure, (ax,) = new_figure(height=0.8 + 0.5 * len(names))
    for number, snapshot in enumerate(snapshots):
        scores = [snapshot.score(name) for name in names]
        bounds = [snapshot.interval(name) for name in names]
        spread = [
            [max(0, s - low) for s, (low, _) in zip(scores, bounds, strict=True)],
            [max(0, high - s) for s, (_, high) in zip(scores, bounds, strict=True)],
        ]
        offset = (number - (len(snapshots) - 1) / 2) * 0.38
        ax.barh(
            [place + offset for place in range(len(names))], scores, height=height,
            color=(BLUE, ORANGE)[number], hatch=("", "///")[number], edgecolor="white",
            linewidth=0, label=labels[number], xerr=spread, ecolor="#333333", capsize=2,
        )  # fmt: skip
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.invert_yaxis()
    ax.set_xlim(0, 105)
    ax.set_xlabel("held-out items right (%), with 95 % interval")
    ax.grid(axis="y", visible=False)
    if after is None:
        told = "; ".join(f"{name} {before.score(name):.0f} percent" for name in names)
        return finish(figure, f"One bar per capability: {told}.")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False,
              fontsize=FONT_SIZE)  # fmt: skip
    told = "; ".join(
        f"{name} {before.score(name):.0f} to {after.score(name):.0f} percent" for name in names
    )
    return finish(figure, f"Bars of {labels[0]} and {labels[1]} per capability: {told}.")


def learning_and_forgetting(
    run: Run, target: str, others: Sequence[str], stop: int | None = None
) -> Picture:
    """Left, the losses along training; right, the scores at each evaluation step.

    Args:
        target: the suite that is being learned.
        others: suites of old skills.
        stop: a step to mark, such as the one at which training should have stopped.
    """
    figure, (left, right) = new_figure(width=11, height=4.4, columns=2)
    steps = [probe.step for probe in run.probes]
    x, y = zip(*run.losses, strict=True)
    left.plot(x, y, color=GREY, linewidth=1, label="training batches")
    left.plot(steps, [p.nll[target] for p in run.probes], color=BLUE, marker="o", linewidth=2,
              label=f"{target}, held out")  # fmt: skip
    left.set_xlabel("optimizer step")
    left.set_ylabel("loss (nats per answer token)")
    left.set_title("What the dashboard shows")
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize=FONT_SIZE)

    right.plot(steps, [p.scores[target] for p in run.probes], color="black", linewidth=2.5)
    ends = [(run.probes[-1].scores[target], target, "black")]
    for number, name in enumerate(others):
        colour, line, marker = STYLES[number % len(STYLES)]
        values = [p.scores[name] for p in run.probes]
        right.plot(steps, values, color=colour, linestyle=line, marker=marker, markersize=5)
        ends.append((values[-1], name, colour))
    _label_line_ends(right, steps[-1], ends)
    right.set_xlabel("optimizer step")
    right.set_ylabel("held-out items right (%)")
    right.set_title("What it does not show")
    right.set_ylim(-3, 105)
    for ax in (left, right):
        if stop is not None:
            ax.axvline(stop, color="#333333", linestyle=":", linewidth=1.5)
    if stop is not None:
        right.annotate("stop here", (stop, 2), xytext=(4, 0), textcoords="offset points",
                       fontsize=FONT_SIZE)  # fmt: skip
    first, last = run.probes[0], run.probes[-1]
    told = "; ".join(
        f"{name} {first.scores[name]:.0f} to {last.scores[name]:.0f} percent"
        for name in (target, *others)
    )
    return finish(
        figure,
        f"Two panels over {steps[-1]} optimizer steps. Left: the loss on {target} falls from "
        f"{first.nll[target]:.2f} to {last.nll[target]:.2f} nats. Right: scores move: {told}."
        + (f" A dotted line marks step {stop}." if stop is not None else ""),
    )


def _label_line_ends(
    ax: Axes, x: float, ends: Sequence[tuple[float, str, str]], gap: float = 6.5
) -> None:
    """Write each line's name at its end, at least `gap` apart where lines end close together."""
    lowest = -float("inf")
    for value, name, colour in sorted(ends):
        lowest = max(value, lowest + gap)
        ax.annotate(f" {name.replace('_', ' ')}", (x, value), xytext=(x, lowest), color=colour,
                    fontsize=FONT_SIZE, va="center", annotation_clip=False)  # fmt: skip


def compare_runs(
    scores: Mapping[str, Mapping[str, float]], target: str, others: Sequence[str]
) -> Picture:
    """One row of points per run: the target and each old skill, in percent.

    Args:
        scores: run label to its scores per suite.
    """
    figure, (ax,) = new_figure(width=10, height=1.6 + 0.55 * len(scores))
    labels = list(scores)
    for number, name in enumerate(others):
        colour, _, marker = STYLES[number % len(STYLES)]
        ax.plot([scores[label][name] for label in labels], range(len(labels)), linestyle="",
                color=colour, marker=marker, markersize=9, label=name)  # fmt: skip
    ax.plot([scores[label][target] for label in labels], range(len(labels)), linestyle="",
            color="black", marker="*", markersize=15, label=f"{target} (target)")  # fmt: skip
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.margins(y=0.12)
    ax.set_xlim(-2, 103)
    ax.set_xlabel("held-out items right (%)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, frameon=False,
              fontsize=FONT_SIZE)  # fmt: skip
    told = "; ".join(
        f"{label}: " + ", ".join(f"{name} {scores[label][name]:.0f}" for name in (target, *others))
        for label in labels
    )
    return finish(figure, f"Scores in percent per run. {told}.")


#: One curve: (x, y) points. Several curves of one label are seeds of the same thing.
Curve = Sequence[tuple[float, float]]


def lines(
    series: Mapping[str, Sequence[Curve]], x: str, y: str, zero: bool = False, whole_x: bool = False
) -> Picture:
    """A thick line of means per label, with a thin one for each seed behind it.

    Args:
        series: label to its curves; the curves of one label share their x values.
        x, y: what the axes show, with units.
        zero: draw a line at 0.
        whole_x: mark whole numbers only, as for layers.
    """
    figure, (ax,) = new_figure(width=9, height=4.2)
    ends = []
    told = []
    for number, (label, curves) in enumerate(series.items()):
        colour, dashes, marker = STYLES[number % len(STYLES)]
        places = [place for place, _ in curves[0]]
        for curve in curves if len(curves) > 1 else ():
            ax.plot(*zip(*curve, strict=True), color=colour, linewidth=0.8, alpha=0.5)
        means = [
            sum(value for _, value in points) / len(points) for points in zip(*curves, strict=True)
        ]
        ax.plot(places, means, color=colour, linestyle=dashes, marker=marker, linewidth=2.2)
        ends.append((means[-1], label, colour))
        told.append(f"{label} goes from {means[0]:.2g} to {means[-1]:.2g}")
    if zero:
        ax.axhline(0, color="#333333", linewidth=1)
    if whole_x:
        ax.set_xticks(sorted({place for curves in series.values() for place, _ in curves[0]}))
    low, high = ax.get_ylim()
    last = max(place for curves in series.values() for place, _ in curves[0])
    _label_line_ends(ax, last, ends, gap=0.065 * (high - low))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    seeds = max(len(curves) for curves in series.values())
    drawn = f"Thick lines are means of {seeds} seeds, thin lines the seeds. " if seeds > 1 else ""
    return finish(figure, f"{y}, over {x}. {drawn}{'; '.join(told)}.")


def plane(
    along: Sequence[float], across: Sequence[float], losses: Sequence[Sequence[float]], title: str
) -> Picture:
    """Contours of a loss on a plane; the base stands at (0, 0), the fine-tune at (1, 0)."""
    figure, (ax,) = new_figure(width=8, height=4.4)
    shown = ax.contourf(along, across, losses, levels=12, cmap="cividis")
    ax.contour(along, across, losses, levels=12, colors="white", linewidths=0.6)
    for place, name in ((0, "base"), (1, "fine-tune")):
        ax.plot(place, 0, marker="o", markersize=10, color="white", markeredgecolor="black")
        ax.annotate(name, (place, 0), xytext=(0, 10), textcoords="offset points", ha="center",
                    fontsize=FONT_SIZE, color="white", fontweight="bold")  # fmt: skip
    bar = figure.colorbar(shown, ax=ax)
    bar.set_label("loss (nats per answer token)", size=FONT_SIZE)
    ax.set_xlabel("along the update (0 = base, 1 = fine-tune)")
    ax.set_ylabel("a random direction, as long")
    ax.set_title(title)
    middle = losses[min(range(len(across)), key=lambda number: abs(across[number]))]
    told = ", ".join(f"{value:.2f} at {x:g}" for x, value in zip(along, middle, strict=True))
    return finish(figure, f"{title}: contours of the loss in nats. Along the update: {told}.")
