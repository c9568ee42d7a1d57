"""The laboratory of knobs: learning rate, rank, α and step over stored runs, and live training."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence

import ipywidgets

from ..runs import (
    ALPHA_RULES,
    ASKED,
    GRID,
    Rank,
    Setting,
    StoredRun,
    read_runs,
    values,
)
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
#: What the rules for α are called in the menu.
RULES = {"2r": "2 × rank", "16": "16", "rs": "16·√(rank/8), rsLoRA"}

#: What the sliders choose: learning rate, rank, and rule for α.
Cell = tuple[float, Rank, str]


class Stored:
    """The runs of a grid by learning rate, rank and α, and what a setting looks like."""

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self.rates: list[float] = values(runs, "lr")
        self.ranks: list[Rank] = values(runs, "rank")
        longest = max(runs, key=lambda r: len(r.checkpoints))
        self.base, self.length = longest.base, longest.setting.steps
        self.steps = [look.step for look in longest.checkpoints[1:]]
        self.cells: dict[Cell, list[StoredRun]] = {}
        for run in runs:
            for rule in ALPHA_RULES:
                if run.setting.obeys(rule):
                    cell = (run.setting.lr, run.setting.rank, rule)
                    self.cells.setdefault(cell, []).append(run)
        #: Points of the plane by step: they are the same wherever the sliders stand.
        self.points = {
            step: {cell: self.point(cell, step) for cell in self.cells} for step in self.steps
        }

    def view(
        self, lr: float, rank: Rank, step: int, alpha: str = "2r", own: Sequence[StoredRun] = ()
    ) -> View:
        """What there is to see at a setting.

        Args:
            alpha: the rule for α, a key of `ALPHA_RULES`.
            own: runs that were trained live.
        """
        points = self.points[step]
        paths = {
            rule: [points[rate, rank, rule] for rate in self.rates if (rate, rank, rule) in points]
            for rule in ALPHA_RULES
        }
        road = paths.pop(alpha)
        at_end = [run for run in own if run.last.step == step]
        here = [run for run in at_end if (run.setting.lr, run.setting.rank) == (lr, rank)]
        live = [run.last for run in here if run.setting.obeys(alpha)]
        return View(
            base=self.base,
            runs=self.reached((lr, rank, alpha), step),
            step=step,
            others=list(points.values()),
            road=road,
            # Full fine-tuning and rank 8 have one road, whatever the rule.
            other_roads=[path for path in paths.values() if len(path) > 1 and path != road],
            own=[(learned(run.last), points_lost(run.base, run.last)) for run in at_end],
            live=live[-1] if live else None,
        )

    def reached(self, cell: Cell, step: int) -> list[StoredRun]:
        """The seeds of a setting that came to a step without diverging; else all, at their end.

        None where no run of the setting is stored.
        """
        runs = self.cells.get(cell, [])
        return [run for run in runs if any(c.step == step for c in run.checkpoints)] or runs

    def point(self, cell: Cell, step: int) -> tuple[float, float]:
        """Target score and points lost of a setting at a step, means over seeds."""
        found = [(run.base, run.latest(step)) for run in self.reached(cell, step)]
        return (
            statistics.fmean(learned(now) for _, now in found),
            statistics.fmean(points_lost(base, now) for base, now in found),
        )

    def rates_of(self, rank: Rank, alpha: str) -> list[float]:
        """The learning rates that are stored for a rank and a rule for α."""
        return [rate for rate in self.rates if (rate, rank, alpha) in self.cells]

    def deepest(self) -> float:
        """The most points any checkpoint has lost."""
        runs = [run for cell in self.cells.values() for run in cell]
        return max(points_lost(run.base, c) for run in runs for c in run.checkpoints)


def name(lr: float, rank: Rank, alpha: str) -> str:
    """A setting in words, such as "rate 0.01, rank 8, α 16"."""
    if rank == "full":
        return f"rate {lr:g}, full fine-tuning"
    return f"rate {lr:g}, rank {rank}, α {ALPHA_RULES[alpha](rank):.3g}"


def words(view: View, setting: str) -> str:
    """A view in a sentence; `setting` is what its runs are called."""
    lost = [points_lost(view.base, now) for now in view.now]
    target = statistics.fmean(map(learned, view.now))
    skill, points = worst_loss(view.base, *view.now)
    text = (
        f"{setting[0].upper()}{setting[1:]}, step {view.step}: support "
        f"{learned(view.base):.0f} to {target:.0f} percent; old skills lose "
        f"{statistics.fmean(lost):.1f} points on average over {len(lost)} "
        f"seed{'s' * (len(lost) > 1)} ({min(lost):.1f} to {max(lost):.1f})"
    )
    if points > 0:
        text += f", most in {skill} ({points:.0f} points)"
    if all(now.step < view.step for now in view.now):
        text += "; every seed diverged before, and this is the last that was seen"
    return f"{text}."


def words_of_live(view: View) -> str:
    """The learner's own run in a sentence, where there is one."""
    if not view.live:
        return ""
    lost = points_lost(view.base, view.live)
    return f" Your run: support {learned(view.live):.0f} percent, {lost:.1f} points lost."


def table(view: View) -> str:
    """The numbers of a view, and what its first seed says, as HTML."""
    cell = '<td style="text-align:{}">{}</td>'
    heads = ["", "base", "mean", "change", "seeds"] + (["yours"] if view.live else [])
    rows = []
    for name in ROWS:
        scores = [now.scores[name] for now in view.now]
        base = view.base.scores[name]
        mean = statistics.fmean(scores) if scores else None
        texts = [f"{base:.0f}"]
        texts += ["", ""] if mean is None else [f"{mean:.0f}", f"{round(mean - base):+d}"]
        texts.append(", ".join(f"{score:.0f}" for score in scores))
        if view.live:
            texts.append(f"{view.live.scores[name]:.0f}")
        cells = "".join(cell.format("right", text) for text in texts)
        rows.append(f'<tr><th scope="row" style="text-align:left">{name}</th>{cells}</tr>')
    if not view.runs:
        return f"<table>{head(heads)}<tbody>{''.join(rows)}</tbody></table>"
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
    """Sliders for learning rate, rank and step, a menu for α, and a button to train live.

    Args:
        runs: the runs of a grid; those the course ships when left out. A setting of which no run is
            stored can be chosen: it is then named as such.

    Raises:
        BadRuns: the file of runs is missing or damaged; the message says what to do.
    """

    def __init__(self, runs: Sequence[StoredRun] | None = None) -> None:
        self.stored = Stored(read_runs(GRID, alpha=None) if runs is None else runs)
        self.figure = KnobsFigure(self.stored.steps, self.stored.deepest())
        self.own: list[StoredRun] = []

        stored = self.stored
        self.lr, self.rank, self.step = knobs(stored.rates, stored.ranks, stored.steps)
        self.alpha = ipywidgets.Dropdown(
            options=[(label, rule) for rule, label in RULES.items()], value="2r",
            description="LoRA α", style={"description_width": "6.5em"},
            layout=ipywidgets.Layout(width="21em"),
        )  # fmt: skip
        self.images = [picture() for _ in self.figure.panels]
        self.told = ipywidgets.HTML()
        self.numbers = ipywidgets.HTML()
        self.panel = LivePanel(self._setting, self._alike, self._show_live)
        for knob in (self.lr, self.rank, self.alpha, self.step):
            knob.observe(self._moved, names="value")
        sliders = row(self.lr, self.rank, self.step, self.alpha)
        self.widget = ipywidgets.VBox(
            [sliders, self.told, row(*self.images), self.panel.widget, self.numbers]
        )
        self.widget.add_class("course-knobs")
        self.draw()

    def view(self) -> View:
        """What the knobs have chosen."""
        lr, rank, alpha = self.cell()
        return self.stored.view(lr, rank, self.step.value, alpha, self.own)

    def cell(self) -> Cell:
        """Rate, rank and rule for α that are chosen."""
        return self.lr.value, self.rank.value, self.alpha.value

    def words(self) -> str:
        """What is chosen, in a sentence or two."""
        view = self.view()
        if view.runs:
            return words(view, name(*self.cell())) + words_of_live(view)
        rank, alpha = self.rank.value, self.alpha.value
        rates = ", ".join(f"{rate:g}" for rate in self.stored.rates_of(rank, alpha))
        there = f"stored with this rank and α: the rates {rates}" if rates else (
            f"no run of rank {rank} is stored with this α; set it to {RULES['2r']}"
        )  # fmt: skip
        setting = name(*self.cell())
        return (
            f"{setting[0].upper()}{setting[1:]}: no stored run; {there}. "
            "You can train it live." + words_of_live(view)
        )

    def draw(self) -> None:
        """Bring pictures, sentence and table up to date."""
        view = self.view()
        for image, png in zip(self.images, self.figure.draw(view), strict=True):
            image.value = png
        self.told.value = status(self.words())
        self.numbers.value = table(view)

    def _moved(self, _change: object) -> None:
        self.draw()
        self.panel.prepare()

    def _chosen(self) -> list[StoredRun]:
        """The stored runs of the setting; those of the first run of lesson 01 where none is."""
        cells = self.stored.cells
        return cells.get(self.cell()) or next(iter(cells.values()))

    def _alike(self) -> list[StoredRun]:
        """Stored runs that take as long as a run of the setting: those of its rank."""
        rank = self.rank.value
        return [run for cell, runs in self.stored.cells.items() if cell[1] == rank for run in runs]

    def _setting(self, seed: int) -> Setting:
        lr, rank, alpha = self.cell()
        return self._chosen()[0].setting._replace(lr=lr, rank=rank, alpha=alpha, seed=seed)

    def _show_live(self, run: StoredRun) -> str | None:
        """Set a live run beside the stored ones. Knobs that have been moved since stay there.

        Returns:
            Where it is to be seen; None where it was not looked at.
        """
        if run.diverged:
            return None
        self.own.append(run)
        setting = run.setting
        lr, rank, alpha = self.cell()
        if (lr, rank) == (setting.lr, setting.rank) and setting.obeys(alpha):
            self.step.value = run.last.step
        self.draw()
        if self.view().live:
            return "It is the white diamond."
        return "It is a white diamond on the plane; set the knobs back to see its skills."

    def _ipython_display_(self) -> None:
        show(self.widget, self.figure.side_by_side(self.view()), self.words())

    def __repr__(self) -> str:
        return self.words()
