"""Figures of scores: capabilities before and after, a run while it trains, several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..snapshots import Snapshot
from ..training import Run
from .labels import label_line_ends, label_mark
from .style import BLUE, FONT_SIZE, GREY, ORANGE, Picture, finish, new_figure, styles


def capability_bars(
    before: Snapshot, after: Snapshot | None = None, labels: tuple[str, str] = ("before", "after")
) -> Picture:
    """Scores per capability with 95 % intervals: one bar each, or two when `after` is given.

    Raises:
        ValueError: the two cannot be compared.
    """
    if after is not None:
        before.check_comparable(after)
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
    run: Run, target: str, others: Sequence[str], reached: int | None = None
) -> Picture:
    """Left, the losses along training; right, the scores at each evaluation step.

    Args:
        target: the suite that is being learned.
        others: suites of old skills.
        reached: a step to mark as the one at which the target was reached. That is no advice to
            stop there: the rate is still high then, and old skills may be at their lowest.

    Raises:
        ValueError: the run was not scored on the way.
    """
    if not run.probes:
        raise ValueError("This run was not scored on the way: give `finetune` a `probe`.")
    figure, (left, right) = new_figure(width=10, height=4.4, columns=2)
    steps = [probe.step for probe in run.probes]
    x, y = zip(*run.losses, strict=True)
    drawn = styles([target, *others])
    colour, line, marker = drawn[target]
    left.plot(x, y, color=GREY, linewidth=1, label="training batches")
    left.plot(steps, [p.nll[target] for p in run.probes], color=colour, linestyle=line,
              marker=marker, markersize=9, linewidth=2, label=f"{target}, held out")  # fmt: skip
    left.set_xlabel("optimizer step")
    left.set_ylabel("loss (nats per answer token)")
    left.set_title("What the dashboard shows")
    left.set_ylim(bottom=0)
    left.legend(edgecolor="none", framealpha=1, fontsize=FONT_SIZE)

    ends = []
    for name, (colour, line, marker) in drawn.items():
        values = [p.scores[name] for p in run.probes]
        size, width = (9, 2.5) if name == target else (5, 1.5)
        right.plot(steps, values, color=colour, linestyle=line, marker=marker, markersize=size,
                   linewidth=width)  # fmt: skip
        ends.append((values[-1], name, colour))
    label_line_ends(right, steps[-1], ends)
    right.set_xlabel("optimizer step")
    right.set_ylabel("held-out items right (%)")
    right.set_title("What it does not show")
    right.set_ylim(-3, 105)
    if reached is not None:
        for ax in (left, right):
            ax.axvline(reached, color="#333333", linestyle=":", linewidth=1.5)
        label_mark(right, reached, "target reached")
    first, last = run.probes[0], run.probes[-1]
    told = "; ".join(
        f"{name} {first.scores[name]:.0f} to {last.scores[name]:.0f} percent"
        for name in (target, *others)
    )
    return finish(
        figure,
        f"Two panels over {steps[-1]} optimizer steps. Left: the loss on {target} falls from "
        f"{first.nll[target]:.2f} to {last.nll[target]:.2f} nats. Right: scores move: {told}."
        + (
            f" A dotted line marks step {reached}, where the target was reached." if reached else ""
        ),
    )


def two_measures(
    measures: Mapping[str, Mapping[str, Sequence[float]]], digits: tuple[int, int] = (0, 2)
) -> Picture:
    """Two panels over the same rows, a dot a seed and a line at their mean.

    Args:
        measures: what is measured, with its unit, to the values of each row by its name; the rows
            of both measures have the same names and stand in the order of the first.
        digits: decimals of each measure in the words of the figure.
    """
    names = list(next(iter(measures.values())))
    figure, panels = new_figure(width=10, height=1.3 + 0.36 * len(names), columns=2)
    told = []
    for ax, (measure, rows), shown in zip(panels, measures.items(), digits, strict=True):
        for place, name in enumerate(names):
            colour, _, marker = styles([name])[name]
            mean = sum(rows[name]) / len(rows[name])
            ax.plot([0, mean], [place, place], color=colour, linewidth=6, alpha=0.3,
                    solid_capstyle="butt")  # fmt: skip
            ax.plot(rows[name], [place] * len(rows[name]), linestyle="", color=colour,
                    marker=marker, markersize=7)  # fmt: skip
        ax.axvline(0, color="#333333", linewidth=1)
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        ax.set_ylim(len(names) - 0.5, -0.5)  # the first on top
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(measure)
        means = (f"{name} {sum(rows[name]) / len(rows[name]):.{shown}f}" for name in names)
        told.append(f"{measure}: {', '.join(means)}")
    figure.supxlabel("dot: one seed; bar: mean of the seeds", fontsize=FONT_SIZE)
    return finish(figure, f"Means, with a dot for each seed. {'. '.join(told)}.")
