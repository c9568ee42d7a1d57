"""The laboratory of knobs: learning rate, rank and step over stored runs, and live training."""

from __future__ import annotations

import html
import itertools
import statistics
from collections.abc import Sequence

import ipywidgets

from ..runs import ASKED, GRID, BadRuns, Checkpoint, Rank, Setting, StoredRun, read_runs, values
from ..tables import head
from ..tradeoff import learned, points_lost, worst_loss
from .controls import knobs, picture, row, status
from .faces import show
from .knobs_figure import ROWS, KnobsFigure, View
from .live import LivePanel

SAID = (
    '<td style="text-align:left;vertical-align:top;white-space:pre-wrap;line-height:1.3;'
    'padding:0.3em 0.6em">{}</td>'
)


class Stored:
    """The runs of a grid by learning rate and rank, and what a setting looks like."""

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self.rates: list[float] = values(runs, "lr")
        self.ranks: list[Rank] = values(runs, "rank")
        self.steps = [c.step for c in max(runs, key=lambda r: len(r.checkpoints)).checkpoints[1:]]
        self.cells: dict[tuple[float, Rank], list[StoredRun]] = {}
        for run in runs:
            self.cells.setdefault((run.setting.lr, run.setting.rank), []).append(run)
        for rate, rank in itertools.product(self.rates, self.ranks):
            if (rate, rank) not in self.cells:
                raise BadRuns(
                    f"The grid has no run at rate {rate:g} and rank {rank}. Make the missing runs "
                    "with `make runs`, or get data/runs/grid.jsonl again from the repository."
                )

    def view(self, lr: float, rank: Rank, step: int, live: Checkpoint | None = None) -> View:
        """What there is to see at a setting."""
        return View(
            runs=self.reached(lr, rank, step),
            step=step,
            others=[self.point(*cell, step) for cell in self.cells],
            same_rank=[self.point(rate, rank, step) for rate in self.rates],
            live=live,
        )

    def reached(self, lr: float, rank: Rank, step: int) -> list[StoredRun]:
        """The seeds of a setting that came to a step without diverging; else all, at their end."""
        runs = self.cells[lr, rank]
        return [run for run in runs if any(c.step == step for c in run.checkpoints)] or runs

    def point(self, lr: float, rank: Rank, step: int) -> tuple[float, float]:
        """Target score and points lost of a setting at a step, means over seeds."""
        found = [(run.base, run.latest(step)) for run in self.reached(lr, rank, step)]
        return (
            statistics.fmean(learned(now) for _, now in found),
            statistics.fmean(points_lost(base, now) for base, now in found),
        )

    def deepest(self) -> float:
        """The most points any checkpoint has lost."""
        runs = [run for cell in self.cells.values() for run in cell]
        return max(points_lost(run.base, c) for run in runs for c in run.checkpoints)


def words(view: View) -> str:
    """A view in a sentence."""
    setting = view.runs[0].setting
    lost = [points_lost(view.base, now) for now in view.now]
    target = statistics.fmean(map(learned, view.now))
    skill, points = worst_loss(view.base, *view.now)
    text = (
        f"Rate {setting.lr:g}, rank {setting.rank}, step {view.step}: support "
        f"{learned(view.base):.0f} to {target:.0f} percent; old skills lose "
        f"{statistics.fmean(lost):.1f} points on average over {len(lost)} "
        f"seed{'s' * (len(lost) > 1)} ({min(lost):.1f} to {max(lost):.1f})"
    )
    if points > 0:
        text += f", most in {skill} ({points:.0f} points)"
    if all(now.step < view.step for now in view.now):
        text += "; every seed diverged before, and this is the last that was seen"
    if view.live:
        text += (
            f". Your run: support {learned(view.live):.0f} percent, "
            f"{points_lost(view.base, view.live):.1f} points lost"
        )
    return text + "."


def table(view: View) -> str:
    """The numbers of a view, and what its first seed says, as HTML."""
    cell = '<td style="text-align:{}">{}</td>'
    heads = ["", "base", "mean", "change", "seeds"] + (["yours"] if view.live else [])
    rows = []
    for name in ROWS:
        scores = [now.scores[name] for now in view.now]
        base, mean = view.base.scores[name], statistics.fmean(scores)
        texts = [f"{base:.0f}", f"{mean:.0f}", f"{round(mean - base):+d}"]
        texts.append(", ".join(f"{score:.0f}" for score in scores))
        if view.live:
            texts.append(f"{view.live.scores[name]:.0f}")
        cells = "".join(cell.format("right", text) for text in texts)
        rows.append(f'<tr><th scope="row" style="text-align:left">{name}</th>{cells}</tr>')
    first = view.now[0]
    said = ""
    for texts in zip(ASKED, view.base.says, first.says, strict=True):
        said += f"<tr>{''.join(SAID.format(html.escape(text)) for text in texts)}</tr>"
    seed = view.runs[0].setting.seed
    asked = head(("prompt", "base", f"now (seed {seed})"))
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:2em;align-items:flex-start">'
        f"<table><caption>Held-out items right (%)</caption>{head(heads)}"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f'<table style="flex:1;min-width:26em"><caption>What it says</caption>'
        f"{asked}<tbody>{said}</tbody></table></div>"
    )


class KnobsLab:
    """Sliders for learning rate, rank and step over the stored runs, and a button to train live.

    Args:
        runs: the runs of a grid; those the course ships when left out.

    Raises:
        BadRuns: the file of runs is missing or damaged; the message says what to do.
    """

    def __init__(self, runs: Sequence[StoredRun] | None = None) -> None:
        self.stored = Stored(read_runs(GRID) if runs is None else runs)
        self.figure = KnobsFigure(self.stored.steps, self.stored.deepest())
        self.live: dict[tuple[float, Rank], Checkpoint] = {}

        stored = self.stored
        self.lr, self.rank, self.step = knobs(stored.rates, stored.ranks, stored.steps)
        self.image = picture()
        self.told = ipywidgets.HTML()
        self.numbers = ipywidgets.HTML()
        self.panel = LivePanel(self._setting, self._chosen, self._show_live)
        for knob in (self.lr, self.rank, self.step):
            knob.observe(self._moved, names="value")
        sliders = row(self.lr, self.rank, self.step)
        self.widget = ipywidgets.VBox(
            [sliders, self.told, self.image, self.panel.widget, self.numbers]
        )
        self.widget.add_class("course-knobs")
        self.draw()

    def view(self) -> View:
        """What the sliders have chosen."""
        live = self.live.get((self.lr.value, self.rank.value))
        shown = live if live and live.step == self.step.value else None
        return self.stored.view(self.lr.value, self.rank.value, self.step.value, shown)

    def draw(self) -> None:
        """Bring figure, sentence and table up to date."""
        view = self.view()
        self.image.value = self.figure.draw(view)
        self.told.value = status(words(view))
        self.numbers.value = table(view)

    def _moved(self, _change: object) -> None:
        self.draw()
        self.panel.prepare()

    def _chosen(self) -> list[StoredRun]:
        return self.stored.cells[self.lr.value, self.rank.value]

    def _setting(self, seed: int) -> Setting:
        return self._chosen()[0].setting._replace(seed=seed)

    def _show_live(self, run: StoredRun) -> None:
        """Set a live run beside the stored ones, and the sliders to where it can be seen."""
        if run.diverged:
            return  # it was not looked at but at the base
        setting = run.setting
        self.live[setting.lr, setting.rank] = run.last
        self.lr.value, self.rank.value, self.step.value = setting.lr, setting.rank, run.last.step
        self.draw()

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, words(self.view()))

    def __repr__(self) -> str:
        return words(self.view())
