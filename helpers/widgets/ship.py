"""A game: pick the run you would ship from the audit of one seed, and see what others would get."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ipywidgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..plotting.style import BLUE, FONT_SIZE, GREY, ORANGE, dress
from ..runs import GRID, BadRuns, Rank, StoredRun, read_runs, values
from ..tables import head
from ..tradeoff import learned, points_lost, worst_loss
from .controls import knobs, picture, row, status
from .faces import show
from .frame import Frame

#: What a point of an old skill is worth, in points of the target.
PRICE = 2.0


class Choice(NamedTuple):
    """A setting and where its training was stopped."""

    lr: float
    rank: Rank
    step: int


@dataclass(frozen=True)
class Result:
    """What a choice is worth: target score minus `PRICE` times the points lost.

    Attributes:
        promised: on the first seed, the one that can be seen before choosing.
        kept: on the other seeds, on average.
        place: 1 for the choice that keeps most of all.
    """

    promised: float
    kept: float
    place: int


class Market:
    """What every choice of a grid is worth, seed by seed."""

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self.looks: dict[Choice, list[tuple[float, float]]] = {}
        self.worst: dict[Choice, tuple[str, float]] = {}
        for run in sorted(runs, key=lambda run: run.setting.seed):
            for look in run.checkpoints[1:]:
                choice = Choice(run.setting.lr, run.setting.rank, look.step)
                self.looks.setdefault(choice, []).append(
                    (learned(look), points_lost(run.base, look))
                )
                self.worst.setdefault(choice, worst_loss(run.base, look))
        # A seed that diverged leaves nothing to compare with.
        self.looks = {choice: looks for choice, looks in self.looks.items() if len(looks) > 1}
        if not self.looks:
            raise BadRuns("The game needs runs of two seeds or more. Make them with `make runs`.")
        self.kept = {choice: statistics.fmean(self.worth(choice)[1:]) for choice in self.looks}

    def worth(self, choice: Choice) -> list[float]:
        """The worth of a choice on each seed."""
        return [target - PRICE * lost for target, lost in self.looks[choice]]

    def result(self, choice: Choice) -> Result:
        """How a choice turns out."""
        kept = self.kept[choice]
        place = 1 + sum(value > kept for value in self.kept.values())
        return Result(self.worth(choice)[0], kept, place)

    def best(self) -> Choice:
        """The choice that keeps most on the seeds one cannot see."""
        return max(self.kept, key=self.kept.__getitem__)


class ShipGame:
    """Pick rate, rank and step; see one seed; press *Ship it*; see the others.

    Args:
        runs: the runs of a grid; those the course ships when left out.

    Raises:
        BadRuns: the file of runs is missing or damaged, or holds one seed only; the message says
            what to do.
    """

    def __init__(self, runs: Sequence[StoredRun] | None = None) -> None:
        runs = read_runs(GRID) if runs is None else runs
        self.market = Market(runs)
        steps = sorted({choice.step for choice in self.market.looks})
        self.lr, self.rank, self.step = knobs(values(runs, "lr"), values(runs, "rank"), steps)
        self.told, self.verdict = ipywidgets.HTML(), ipywidgets.HTML()
        self.button = ipywidgets.Button(description="Ship it", button_style="primary")
        self.image = picture()
        self.shipped: list[tuple[Choice, Result]] = []
        self.frame = self._frame()
        for knob in (self.lr, self.rank, self.step):
            knob.observe(self._moved, names="value")
        self.button.on_click(self.ship)
        self.widget = ipywidgets.VBox(
            [
                row(self.lr, self.rank, self.step),
                self.told,
                row(self.button),
                self.verdict,
                self.image,
            ]
        )
        self.widget.add_class("course-ship")
        self.draw()

    def choice(self) -> Choice:
        """What the sliders have chosen."""
        return Choice(self.lr.value, self.rank.value, self.step.value)

    def words(self) -> str:
        """What the audit of the first seed says of the choice."""
        choice = self.choice()
        name = f"Rate {choice.lr:g}, rank {choice.rank}, step {choice.step}"
        if choice not in self.market.looks:
            return f"{name}: this run diverged. Choose another."
        target, lost = self.market.looks[choice][0]
        skill, points = self.market.worst[choice]
        worth = self.market.worth(choice)[0]
        worst = f", most in {skill} ({points:.0f})" if points > 0 else ""
        return (
            f"{name}, audit of one seed: support {target:.0f} percent, old skills lose "
            f"{lost:.1f} points on average{worst}. Worth {worth:.0f}."
        )

    def ship(self, _button: ipywidgets.Button | None = None) -> None:
        """Score the choice on the other seeds and keep it in the list."""
        choice = self.choice()
        if choice in self.market.looks:
            self.shipped.append((choice, self.market.result(choice)))
        self.draw()

    def draw(self) -> None:
        """Bring sentence, verdict and figure up to date."""
        self.told.value = status(self.words())
        self.verdict.value = self._verdict()
        self.image.value = self._picture()

    def _moved(self, _change: object) -> None:
        self.draw()

    def _verdict(self) -> str:
        if not self.shipped:
            return ""
        heads = ("rate", "rank", "step", "promised", "kept on other seeds", "place")
        rows = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(text)}</td>" for text in self._row(*entry))
            + "</tr>"
            for entry in self.shipped
        )
        best = self.market.best()
        told = (
            f"The best choice keeps {self.market.kept[best]:.0f}: rate {best.lr:g}, "
            f"rank {best.rank}, step {best.step}."
        )
        table = f"<table>{head(heads)}<tbody>{rows}</tbody></table>"
        return f"{table}{status(told) if len(self.shipped) >= 3 else ''}"

    def _row(self, choice: Choice, result: Result) -> list[str]:
        texts = [f"{choice.lr:g}", str(choice.rank), str(choice.step)]
        texts += [f"{result.promised:.0f}", f"{result.kept:.0f}"]
        return [*texts, f"{result.place} of {len(self.market.looks)}"]

    def _frame(self) -> Frame:
        figure = Figure(figsize=(9, 4.2), facecolor="white")
        FigureCanvasAgg(figure)
        self.ax = ax = figure.add_axes((0.09, 0.15, 0.89, 0.75))
        dress(ax)
        ax.grid(False)  # its lines would cross those of equal worth
        seen = [looks[0] for looks in self.market.looks.values()]
        deepest = max(lost for _, lost in seen)
        ax.set(xlim=(-4, 103), ylim=(max(deepest, 10) * 1.05, -6))
        for worth in range(-200, 101, 20):  # lines of equal worth
            ax.plot([-4, 103], [(x - worth) / PRICE for x in (-4, 103)], color="#DDDDDD", zorder=0)
        ax.plot(*zip(*seen, strict=True), linestyle="", marker="o", color=GREY, markersize=5)
        ax.set_xlabel("support: items right (%)", size=FONT_SIZE)
        ax.set_ylabel("old skills: points lost", size=FONT_SIZE)
        title = "Every choice, on the seed you can see; along a grey line all are worth the same"
        ax.set_title(title, size=FONT_SIZE, loc="left")
        return Frame(figure)

    def _picture(self) -> bytes:
        artists = []
        for choice, _ in self.shipped:
            others = self.market.looks[choice][1:]
            artists += self.ax.plot(*zip(*others, strict=True), linestyle="", marker="x",
                                    color=ORANGE, markersize=9, markeredgewidth=2.5)  # fmt: skip
        if self.choice() in self.market.looks:
            place = self.market.looks[self.choice()][0]
            artists += self.ax.plot(*place, marker="o", color=BLUE, markersize=13,
                                    markeredgecolor="black")  # fmt: skip
        return self.frame.render(artists)

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, self.words())

    def __repr__(self) -> str:
        return self.words()
