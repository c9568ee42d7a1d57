"""What a margin and a number of items can tell: the power curve of the gate behind sliders."""

from __future__ import annotations

import functools
from typing import NamedTuple

import ipywidgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..audit.planning import chances, items_needed
from ..plotting.labels import label_line_ends, label_mark
from ..plotting.style import BLUE, FONT_SIZE, GREY, ORANGE, dress
from .controls import picture, row, slider, status
from .faces import show
from .frame import Frame

MARGINS = (1, 2, 3, 5, 10)
ITEMS = (50, 100, 250, 500, 700, 1000, 2000)
CHANGED = (0.05, 0.1, 0.2, 0.3)
#: True drops in points at which the curves are computed.
DROPS = tuple(step / 2 for step in range(0, 31))


class Plan(NamedTuple):
    """A margin in points, a number of items, and the share of them expected to change."""

    margin: int
    items: int
    changed: float


@functools.lru_cache(maxsize=256)
def curve(plan: Plan) -> tuple[tuple[float, float, float], ...]:
    """(true drop in points, chance of PASS, chance of BLOCK), chances in percent.

    It ends where the drop would exceed the share of changed answers.
    """
    drops = [drop for drop in DROPS if drop <= 100 * plan.changed]
    found = [chances(plan.items, plan.margin, plan.changed, drop) for drop in drops]
    return tuple((drop, 100 * p, 100 * b) for drop, (p, b) in zip(drops, found, strict=True))


def words(plan: Plan) -> str:
    """A plan in sentences."""
    harmless, _ = chances(plan.items, plan.margin, plan.changed, 0)
    text = (
        f"Margin {plan.margin} points, {plan.items:,} items, {plan.changed:.0%} of the answers "
        f"changed: a fine-tune that lost nothing passes in {100 * harmless:.0f} of 100 audits"
    )
    if plan.margin <= 100 * plan.changed:
        lost, _ = chances(plan.items, plan.margin, plan.changed, plan.margin)
        text += f", one that lost exactly the margin in {100 * lost:.0f}"
    twice = 2 * plan.margin
    if twice <= 100 * plan.changed:
        _, found = chances(plan.items, plan.margin, plan.changed, twice)
        text += f"; one that lost {twice} points is blocked in {100 * found:.0f}"
    needed = items_needed(plan.margin, plan.changed)
    return f"{text}. For 80 of 100 harmless fine-tunes to pass, {needed:,} items are needed."


class PowerLab:
    """Sliders for margin, items and the share of changed answers over the gate's power curve."""

    def __init__(self) -> None:
        self.margin = slider("margin (points)", MARGINS, 3)
        self.items = slider("items", ITEMS, 250)
        self.changed = slider("share changed", CHANGED, 0.1)
        self.told, self.image = ipywidgets.HTML(), picture()
        self.frame = self._frame()
        for knob in (self.margin, self.items, self.changed):
            knob.observe(self._moved, names="value")
        self.widget = ipywidgets.VBox(
            [row(self.margin, self.items, self.changed), self.told, self.image]
        )
        self.widget.add_class("course-power")
        self.draw()

    def plan(self) -> Plan:
        """What the sliders have chosen."""
        return Plan(self.margin.value, self.items.value, self.changed.value)

    def draw(self) -> None:
        """Bring figure and sentence up to date."""
        self.told.value = status(words(self.plan()))
        self.image.value = self._picture(self.plan())

    def _moved(self, _change: object) -> None:
        self.draw()

    def _frame(self) -> Frame:
        figure = Figure(figsize=(9, 4), facecolor="white")
        FigureCanvasAgg(figure)
        self.ax = ax = figure.add_axes((0.09, 0.16, 0.76, 0.80))
        dress(ax)
        ax.set(xlim=(0, DROPS[-1]), ylim=(-2, 102))
        ax.set_xlabel("points truly lost", size=FONT_SIZE)
        ax.set_ylabel("audits (%)", size=FONT_SIZE)
        return Frame(figure)

    def _picture(self, plan: Plan) -> bytes:
        drops, passed, blocked = zip(*curve(plan), strict=True)
        neither = [100 - p - b for p, b in zip(passed, blocked, strict=True)]
        artists = [self.ax.axvline(plan.margin, color="#333333", linewidth=1.5)]
        ends = []
        for name, values, colour, dashes in (
            ("PASS", passed, BLUE, "-"),
            ("BLOCK", blocked, ORANGE, "--"),
            ("cannot tell", neither, GREY, ":"),
        ):
            artists += self.ax.plot(drops, values, color=colour, linestyle=dashes, linewidth=2.6)
            ends.append((values[-1], name, colour))
        artists += label_line_ends(self.ax, drops[-1], ends)
        artists.append(label_mark(self.ax, plan.margin, "margin"))
        return self.frame.render(artists)

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, words(self.plan()))

    def __repr__(self) -> str:
        return words(self.plan())
