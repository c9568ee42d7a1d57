"""The laboratory of mitigations: one method, its strength, and what it learned and lost."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import ipywidgets
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..mitigations.board import Entry, Setting, base_of, from_record, pick, read_board, strengths
from ..mitigations.methods import METHODS
from ..plotting.labels import label_point
from ..plotting.style import FONT_SIZE, GREY, dress, styles
from ..suites import TARGET
from ..tables import head
from ..tradeoff import OLD
from .controls import picture, row, slider, status
from .faces import show
from .frame import Frame
from .knobs_figure import OWN
from .live import LivePanel


def lost_by(base: Entry, entries: Sequence[Entry]) -> float:
    """Points that the old skills lose, mean over runs."""
    return statistics.fmean(entry.lost(base) for entry in entries)


def point(base: Entry, entries: Sequence[Entry]) -> tuple[float, float]:
    """Target score and points lost, means over runs."""
    return statistics.fmean(entry.target for entry in entries), lost_by(base, entries)


class StrengthLab:
    """A menu of methods, a slider for the strength of one, and a button to run it live.

    Args:
        board: the runs of the scoreboard; those the course ships when left out.

    Raises:
        BadRuns: the file of runs is missing or damaged; the message says what to do.
    """

    def __init__(self, board: Sequence[Entry] | None = None) -> None:
        self.board = list(read_board() if board is None else board)
        self.base = base_of(self.board)
        present = {entry.setting.method for entry in self.board}
        self.methods = [name for name in METHODS if name in present and name not in ("base",)]
        self.live: dict[tuple[str, float], Entry] = {}
        first = "replay" if "replay" in self.methods else self.methods[0]
        self.method = ipywidgets.Dropdown(
            options=self.methods, value=first, description="method",
            style={"description_width": "5em"}, layout=ipywidgets.Layout(width="17em"),
        )  # fmt: skip
        places = strengths(self.board, first)
        self.strength = slider("strength", places, _middle(places))
        self.told, self.numbers, self.image = ipywidgets.HTML(), ipywidgets.HTML(), picture()
        self.frame = self._frame()
        self.panel = BoardPanel(self._setting, self.chosen, self._show_live)
        self.method.observe(self._other_method, names="value")
        self.strength.observe(self._moved, names="value")
        self.widget = ipywidgets.VBox(
            [row(self.method, self.strength), self.told, self.image,
             self.panel.widget, self.numbers]
        )  # fmt: skip
        self.widget.add_class("course-strength")
        self.draw()

    def chosen(self) -> list[Entry]:
        """The stored runs of the chosen method and strength, one per seed."""
        return pick(self.board, self.method.value, self.strength.value)

    def words(self) -> str:
        """What is chosen, in a sentence."""
        method, entries = self.method.value, self.chosen()
        target, lost = point(self.base, entries)
        seeds = [entry.lost(self.base) for entry in entries]
        text = (
            f"{method}, {self._strength()}: support {target:.0f} percent; old skills lose "
            f"{lost:.1f} points on average over {len(entries)} seed{'s' * (len(entries) > 1)}"
        )
        if len(seeds) > 1:
            text += f" ({min(seeds):.1f} to {max(seeds):.1f})"
        if own := self.own():
            text += f". Your run: {own.target:.0f} percent, {own.lost(self.base):.1f} points lost"
        return f"{text}. {METHODS[method].does.capitalize()}."

    def own(self) -> Entry | None:
        """The learner's own run of what is chosen."""
        return self.live.get((self.method.value, self.strength.value))

    def table(self) -> str:
        """Every capability of base and chosen runs, as HTML."""
        entries, own = self.chosen(), self.own()
        cell = '<td style="text-align:right">{}</td>'
        heads = ["", "base", "mean", "change", "seeds"] + (["yours"] if own else [])
        rows = []
        for name in (TARGET, *OLD):
            scores = [entry.score(name) for entry in entries]
            base, mean = self.base.score(name), statistics.fmean(scores)
            texts = [f"{base:.0f}", f"{mean:.0f}", f"{round(mean - base):+d}"]
            texts.append(", ".join(f"{score:.0f}" for score in scores))
            texts += [f"{own.score(name):.0f}"] if own else []
            cells = "".join(map(cell.format, texts))
            rows.append(f'<tr><th scope="row" style="text-align:left">{name}</th>{cells}</tr>')
        caption = "<caption>Held-out items right (%)</caption>"
        return f"<table>{caption}{head(tuple(heads))}<tbody>{''.join(rows)}</tbody></table>"

    def draw(self) -> None:
        """Bring sentence, figure and table up to date."""
        self.told.value = status(self.words())
        self.numbers.value = self.table()
        self.image.value = self.frame.render(self._artists())

    def _strength(self) -> str:
        label = METHODS[self.method.value].slider
        return f"{html.escape(label)} {self.strength.value:g}" if label else "as it is"

    def _moved(self, _change: object) -> None:
        if self.strength.value is not None:
            self.draw()
            self.panel.prepare()

    def _other_method(self, _change: object) -> None:
        places = strengths(self.board, self.method.value)
        self.strength.unobserve(self._moved, names="value")
        self.strength.options = [(f"{place:g}", place) for place in places]
        self.strength.value = _middle(places)
        self.strength.observe(self._moved, names="value")
        self.draw()
        self.panel.prepare()

    def _setting(self, seed: int) -> Setting:
        return Setting(self.method.value, self.strength.value, seed)

    def _show_live(self, entry: Entry) -> None:
        """Set a live run beside the stored ones, and the controls to where it can be seen."""
        if entry.diverged:
            return
        self.live[entry.setting.method, entry.setting.strength] = entry
        self.method.value, self.strength.value = entry.setting.method, entry.setting.strength
        self.draw()

    def _frame(self) -> Frame:
        figure = Figure(figsize=(9, 4.6), facecolor="white")
        FigureCanvasAgg(figure)
        self.ax = ax = figure.add_axes((0.10, 0.15, 0.87, 0.81))
        dress(ax)
        lost = [entry.lost(self.base) for entry in self.board if entry.right]
        ax.set(xlim=(-3, 103), ylim=(max(lost) + 2, min(0.0, *lost) - 2))
        ax.set_xlabel("support right (%)", size=FONT_SIZE)
        ax.set_ylabel("points lost by old skills (mean)", size=FONT_SIZE)
        for name in self.methods:
            ax.plot(*zip(*self._path(name), strict=True), linestyle="", marker="o", markersize=4,
                    color=GREY, alpha=0.5)  # fmt: skip
        ax.annotate("all methods: small grey dots; best is up and right", (0, max(lost)),
                    color=GREY, size=FONT_SIZE - 1)  # fmt: skip
        return Frame(figure)

    def _path(self, method: str) -> list[tuple[float, float]]:
        """The method's points by rising strength, means over seeds."""
        return [
            point(self.base, pick(self.board, method, place))
            for place in strengths(self.board, method)
        ]

    def _artists(self) -> Iterator[Artist]:
        method = self.method.value
        colour, dashes, marker = styles([method])[method]
        path = self._path(method)
        yield from self.ax.plot(*zip(*path, strict=True), color=colour, linestyle=dashes,
                                marker=marker, linewidth=2, markersize=6)  # fmt: skip
        for entry in self.chosen():
            yield from self.ax.plot(entry.target, entry.lost(self.base), marker=marker,
                                    markersize=8, markerfacecolor="none", color=colour)  # fmt: skip
        here = point(self.base, self.chosen())
        edge = {} if marker == "x" else {"markeredgecolor": "black", "markeredgewidth": 1.5}
        yield from self.ax.plot(*here, marker=marker, markersize=13, color=colour, **edge)
        named = f"{method}, {self.strength.value:g}" if METHODS[method].slider else method
        yield label_point(self.ax, here, named, colour, FONT_SIZE)
        if own := self.own():
            bottom = self.ax.get_ylim()[0]  # below it there is no place: the words tell how far
            yield from self.ax.plot(own.target, min(own.lost(self.base), bottom), markersize=10,
                                    clip_on=False, **OWN)  # fmt: skip

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, self.words())

    def __repr__(self) -> str:
        return self.words()


def _middle(places: Sequence[float]) -> float:
    return places[len(places) // 2]


class BoardPanel(LivePanel):
    """The button that runs a method of the scoreboard live."""

    def name(self, setting: Setting) -> str:
        return f"{setting.method} {setting.strength:g}, seed {setting.seed}"

    def steps(self, setting: Setting) -> int:
        return max(entry.steps for entry in self.stored())

    def begin(self, setting: Setting) -> None:
        self.trainer.start(setting)

    def read(self, record: dict[str, Any]) -> Entry:
        return from_record(record)
