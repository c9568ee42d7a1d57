"""A game: pick the run you would ship from an audit of one seed each, and see what others get."""

from __future__ import annotations

import html
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ipywidgets
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..plotting.labels import label_point
from ..plotting.style import FONT_SIZE, GREY, ORANGE, dress
from ..runs import GRID, BadRuns, Rank, StoredRun, read_runs
from ..tables import head
from ..tradeoff import learned, worst_loss
from .controls import picture, row, status
from .faces import show
from .frame import Frame
from .knobs import name

SEEDS = 3
LETTERS = "ABCDEFGHIJ"


class Choice(NamedTuple):
    """A setting and where its training was stopped."""

    lr: float
    rank: Rank
    alpha: str
    step: int


class Look(NamedTuple):
    """An audit: the target score, the skill that lost most, and the points it lost."""

    target: float
    skill: str
    lost: float

    @property
    def worth(self) -> float:
        return self.target - self.lost


@dataclass(frozen=True)
class Offer:
    """A choice as a sweep shows it, by the audit of one seed.

    Attributes:
        seen: that audit.
        others: the audits of the seeds that nobody looked at.
    """

    choice: Choice
    seen: Look
    others: tuple[Look, ...]

    @property
    def promised(self) -> float:
        return self.seen.worth

    @property
    def kept(self) -> float:
        """The worth on the other seeds, on average."""
        return statistics.fmean(look.worth for look in self.others)


class Market:
    """Every look of a grid that three seeds have reached, offered by one of its seeds.

    As in a sweep of one run per setting, each run has a seed of its own. A seed that is shared by
    all would be lucky or unlucky for all alike, and hide what is due to the choice. Only LoRA runs
    are offered: beside the gentlest full fine-tuning the others would hardly compete.
    """

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        looks: dict[Choice, dict[int, Look]] = {}
        for run in runs:
            lr, rank, _, _, seed, alpha = run.setting
            if rank == "full":
                continue
            for look in run.checkpoints[1:]:
                found = Look(learned(look), *worst_loss(run.base, look))
                looks.setdefault(Choice(lr, rank, alpha, look.step), {})[seed] = found
        self.looks = {
            choice: tuple(seeds[seed] for seed in sorted(seeds))
            for choice, seeds in looks.items()
            if len(seeds) == SEEDS
        }
        if not self.looks:
            raise BadRuns("The game needs runs of three seeds. Make them with `make runs`.")

    def sweep(self, turn: int, shuffle: int = 0) -> list[Offer]:
        """Every choice by the audit of one seed, the best-looking first.

        Args:
            turn: 0, 1 or 2; over the three turns every seed of a choice is seen once.
            shuffle: which seed of a choice is seen first is drawn anew for every number.
        """
        rng = random.Random(shuffle)
        offers = []
        for choice, looks in sorted(self.looks.items(), key=lambda entry: str(entry[0])):
            seen = (rng.randrange(SEEDS) + turn) % SEEDS
            offers.append(Offer(choice, looks[seen], looks[:seen] + looks[seen + 1 :]))
        return sorted(offers, key=lambda offer: -offer.promised)


class ShipGame:
    """Ten runs that look best in a sweep; pick one; press *Ship it*; see what other seeds keep.

    Args:
        runs: the runs of a grid; those the course ships when left out.

    Raises:
        BadRuns: the file of runs is missing or damaged, or has no setting of three seeds; the
            message says what to do.
    """

    def __init__(self, runs: Sequence[StoredRun] | None = None) -> None:
        self.market = Market(read_runs(GRID, alpha=None) if runs is None else runs)
        self.shuffle = 0
        self.shipped: list[tuple[int, Offer]] = []
        self.frame = self._frame()
        self.told, self.verdict, self.image = ipywidgets.HTML(), ipywidgets.HTML(), picture()
        self.pick = ipywidgets.RadioButtons(layout=ipywidgets.Layout(width="auto"))
        self.button = ipywidgets.Button(description="Ship it", button_style="primary")
        self.again = ipywidgets.Button(description="Another three sweeps", disabled=True,
                                       layout=ipywidgets.Layout(width="auto"))  # fmt: skip
        self.button.on_click(self.ship)
        self.again.on_click(self.restart)
        self.pick.observe(self._picked, names="value")
        self.widget = ipywidgets.VBox(
            [self.told, row(self.pick, self.image), row(self.button, self.again), self.verdict]
        )
        self.widget.add_class("course-ship")
        self.deal()

    @property
    def turn(self) -> int:
        """How many runs were shipped from these sweeps."""
        return len(self.shipped)

    def deal(self) -> None:
        """Lay out the next sweep, or the outcome after the last."""
        over = self.turn == SEEDS
        self.button.disabled, self.again.disabled, self.pick.disabled = over, not over, over
        if not over:
            self.offers = self.market.sweep(self.turn, self.shuffle)
            self.pick.options = [
                (f"{letter}: {_audit(offer.seen)}", place)
                for place, (letter, offer) in enumerate(zip(LETTERS, self.offers, strict=False))
            ]
            self.pick.value = 0
        self.draw()

    def words(self) -> str:
        """What is to be done, in a sentence."""
        if self.turn == SEEDS:
            return "You have shipped three runs. The table says what became of them."
        return (
            f"Sweep {self.turn + 1} of {SEEDS}: {len(self.offers)} runs, each with one seed of its "
            f"own. These {len(self.pick.options)} look best. Which one would you ship?"
        )

    def ship(self, _button: ipywidgets.Button | None = None) -> None:
        """Score the choice on the seeds that were not seen, and go on to the next sweep."""
        if self.turn < SEEDS:
            self.shipped.append((self.pick.value, self.offers[self.pick.value]))
            self.deal()

    def restart(self, _button: ipywidgets.Button | None = None) -> None:
        """Begin again; other seeds are seen."""
        self.shuffle += 1
        self.shipped = []
        self.deal()

    def draw(self) -> None:
        """Bring sentence, verdict and figure up to date."""
        self.told.value = status(self.words())
        self.verdict.value = self._verdict()
        self.image.value = self._picture()

    def _picked(self, _change: object) -> None:
        if self.pick.value is not None:
            self.image.value = self._picture()

    def _verdict(self) -> str:
        if not self.shipped:
            return ""
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in _row(*entry)) + "</tr>"
            for entry in self.shipped
        )
        heads = ("you shipped", "which was", "promised", "kept on other seeds")
        text = f"<table>{head(heads)}<tbody>{rows}</tbody></table>"
        if self.turn < SEEDS:
            return text
        promised, kept = (
            statistics.fmean(getattr(offer, what) for _, offer in self.shipped)
            for what in ("promised", "kept")
        )
        return text + status(f"On average promised {promised:.0f}, kept {kept:.0f}.")

    def _frame(self) -> Frame:
        figure = Figure(figsize=(5.6, 4.2), facecolor="white")
        FigureCanvasAgg(figure)
        self.ax = figure.add_axes((0.13, 0.15, 0.84, 0.75))
        dress(self.ax)
        self.ax.set(xlim=(38, 103), ylim=(65, -8))
        self.ax.set_xlabel("support: items right (%)", size=FONT_SIZE)
        self.ax.set_ylabel("points lost by the worst skill", size=FONT_SIZE)
        self.ax.set_title("The sweep; up and right is better", size=FONT_SIZE, loc="left")
        return Frame(figure)

    def _picture(self) -> bytes:
        ax: Axes = self.ax
        seen = [(offer.seen.target, offer.seen.lost) for offer in self.offers]
        artists = ax.plot(*zip(*seen, strict=True), linestyle="", marker="o", color="#C8C8C8",
                          markersize=4)  # fmt: skip
        ten = seen[: len(LETTERS)]
        artists += ax.plot(*zip(*ten, strict=True), linestyle="", marker="o", color=GREY,
                           markersize=6)  # fmt: skip
        artists += [
            label_point(ax, place, letter, "#333333", FONT_SIZE)
            for letter, place in zip(LETTERS, ten, strict=False)
        ]
        if self.turn < SEEDS and self.pick.value is not None:
            artists += ax.plot(*ten[self.pick.value], marker="o", markersize=13, color="black",
                               markerfacecolor="none", markeredgewidth=2)  # fmt: skip
        for _, offer in self.shipped:
            others = [(look.target, look.lost) for look in offer.others]
            artists += ax.plot(*zip(*others, strict=True), linestyle="", marker="x", color=ORANGE,
                               markersize=8, markeredgewidth=2)  # fmt: skip
        return self.frame.render(artists)

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, repr(self))

    def __repr__(self) -> str:
        options = "; ".join(label for label, _ in self.pick.options)
        return f"{self.words()} {options}."


def _audit(look: Look) -> str:
    return (
        f"support {look.target:.0f} percent, worst skill {look.skill} loses {look.lost:.0f} "
        f"points: worth {look.worth:.0f}"
    )


def _row(place: int, offer: Offer) -> list[str]:
    choice = offer.choice
    setting = f"{name(choice.lr, choice.rank, choice.alpha)}, step {choice.step}"
    return [LETTERS[place], setting, f"{offer.promised:.0f}", f"{offer.kept:.0f}"]
