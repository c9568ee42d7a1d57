"""From base to fine-tune by a slider: target and old skills at each alpha, and new ones scored."""

from __future__ import annotations

import html
import statistics
from collections.abc import Callable, Iterator, Mapping

import ipywidgets
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..plotting.labels import label_line_ends
from ..plotting.style import FONT_SIZE, dress, styles
from ..snapshots import Snapshot
from ..suites import TARGET
from ..tables import head
from .controls import picture, row, slider, status
from .faces import show
from .frame import Frame

#: What the mean line is called.
MEAN = "old skills"
#: What the slider offers where models can be scored on the spot.
GRID = tuple(round(0.05 * step, 2) for step in range(21))


class Route:
    """What is known of the models between a base (alpha 0) and a fine-tune (alpha 1).

    Attributes:
        scored: alpha to snapshot, as `helpers.merging.sweep` returns them.
        target: the suite the fine-tune is for.
        old: all other suites that are scored by right and wrong.

    Raises:
        ValueError: base, fine-tune, the target or the old skills are missing, or the snapshots
            are not of the same suites.
    """

    def __init__(self, scored: Mapping[float, Snapshot], target: str = TARGET) -> None:
        if not {0, 1} <= set(scored):
            raise ValueError("Base and fine-tune are missing: sweep alpha 0 and 1 as well.")
        self.scored, self.target = {}, target
        base = scored[0]
        self.names = tuple(base.results)
        if target not in self.names:
            raise ValueError(f"No suite is called {target!r}. There are {', '.join(self.names)}.")
        self.old = tuple(n for n in self.names if n != target and not base.is_text(n))
        if not self.old:
            raise ValueError("There is no old skill to keep: score one besides the target.")
        for alpha, snapshot in scored.items():
            self.put(alpha, snapshot)

    def put(self, alpha: float, snapshot: Snapshot) -> None:
        """Add what was found at an alpha.

        Raises:
            ValueError: the snapshot is not of the same suites.
        """
        if tuple(snapshot.results) != self.names:
            raise ValueError(
                f"The snapshot at alpha {alpha:g} is of {', '.join(snapshot.results)}, and the "
                f"others are of {', '.join(self.names)}. Score the same suites everywhere."
            )
        self.scored[float(alpha)] = snapshot

    def lost(self, alpha: float) -> dict[str, float]:
        """Points that each old skill has lost at an alpha."""
        return {
            name: self.scored[0].score(name) - self.scored[alpha].score(name) for name in self.old
        }

    def curve(self, names: tuple[str, ...]) -> list[tuple[float, float]]:
        """(alpha, percent right, averaged over some suites) in the order of alpha."""
        return [
            (alpha, statistics.fmean(self.scored[alpha].score(name) for name in names))
            for alpha in sorted(self.scored)
        ]

    def words(self, alpha: float) -> str:
        """What is known at an alpha, in a sentence."""
        if alpha not in self.scored:
            return f"alpha {alpha:g} has not been scored. Press the button to do it now."
        now, base, tuned = (self.scored[place].score(self.target) for place in (alpha, 0.0, 1.0))
        lost = self.lost(alpha)
        worst = max(lost, key=lost.__getitem__)
        text = (
            f"alpha {alpha:g}: {self.target} {now:.0f} percent (base {base:.0f}, fine-tune "
            f"{tuned:.0f}); old skills lose {statistics.fmean(lost.values()):.1f} points on average"
        )
        return f"{text}, most in {worst} ({lost[worst]:.0f})." if lost[worst] > 0 else f"{text}."

    def table(self, alpha: float) -> str:
        """Base, alpha and fine-tune side by side, as HTML."""
        cell = '<td style="text-align:right">{}</td>'
        rows = []
        for name in self.names:
            found = [self.scored.get(place) for place in (0.0, alpha, 1.0)]
            texts = [f"{snapshot.score(name):.0f}" if snapshot else "?" for snapshot in found]
            unit = " (perplexity)" if self.scored[0].is_text(name) else ""
            rows.append(
                f'<tr><th scope="row" style="text-align:left">{html.escape(name)}{unit}</th>'
                f"{''.join(map(cell.format, texts))}</tr>"
            )
        heads = ("", "base", f"alpha {alpha:g}", "fine-tune")
        caption = "<caption>Held-out items right (%)</caption>"
        return f"<table>{caption}{head(heads)}<tbody>{''.join(rows)}</tbody></table>"


class MergeLab:
    """A slider for alpha over scored merges, and a button that scores another one.

    Args:
        scored: alpha to snapshot, with 0 and 1 among them, as `helpers.merging.sweep` returns.
        score: makes and scores the model at an alpha, such as
            `lambda alpha: sweep(base, tuned, [alpha], suites)[alpha]`. Without it the slider
            offers what is scored, and there is no button.
        target: the suite the fine-tune is for.

    Raises:
        ValueError: base, fine-tune, the target or the old skills are missing, or the snapshots
            are not of the same suites.
    """

    def __init__(
        self,
        scored: Mapping[float, Snapshot],
        score: Callable[[float], Snapshot] | None = None,
        target: str = TARGET,
    ) -> None:
        self.route, self.score = Route(scored, target), score
        places = sorted({*self.route.scored, *(GRID if score else ())})
        middle = min(self.route.scored, key=lambda alpha: abs(alpha - 0.5))
        self.alpha = slider("alpha", places, middle)
        self.told, self.numbers, self.image = ipywidgets.HTML(), ipywidgets.HTML(), picture()
        self.button = ipywidgets.Button(description="Score this one", disabled=True)
        self.frame = self._frame(places)
        self.alpha.observe(self._moved, names="value")
        self.button.on_click(self.press)
        controls = row(self.alpha, self.button) if score else row(self.alpha)
        self.widget = ipywidgets.VBox([controls, self.told, self.image, self.numbers])
        self.widget.add_class("course-merge")
        self.draw()

    def press(self, _button: ipywidgets.Button | None = None) -> None:
        """Score the model at the slider's alpha, unless that is done."""
        alpha = self.alpha.value
        if self.score is None or alpha in self.route.scored:
            return
        self.button.disabled = self.alpha.disabled = True
        self.told.value = status(f"Merging and scoring at alpha {alpha:g}: some seconds.")
        failed = ""
        try:
            self.route.put(alpha, self.score(alpha))
        except Exception as error:  # to be shown beside the button, whatever it is
            failed = f"This did not work. {type(error).__name__}: {error}"
        self.alpha.disabled = False
        self.draw()
        if failed:
            self.told.value = status(failed)

    def draw(self) -> None:
        """Bring sentence, figure, table and button up to date."""
        alpha = self.alpha.value
        self.told.value = status(self.route.words(alpha))
        self.numbers.value = self.route.table(alpha)
        self.image.value = self.frame.render(self._artists(alpha))
        self.button.disabled = alpha in self.route.scored

    def _moved(self, _change: object) -> None:
        self.draw()

    def _frame(self, places: list[float]) -> Frame:
        figure = Figure(figsize=(9, 4), facecolor="white")
        FigureCanvasAgg(figure)
        self.ax = ax = figure.add_axes((0.09, 0.16, 0.74, 0.80))
        dress(ax)
        ax.set(xlim=(places[0] - 0.02, places[-1] + 0.02), ylim=(-3, 103))
        ax.set_xlabel("alpha (0: base, 1: fine-tune)", size=FONT_SIZE)
        ax.set_ylabel("items right (%)", size=FONT_SIZE)
        return Frame(figure)

    def _artists(self, alpha: float) -> Iterator[Artist]:
        yield self.ax.axvline(alpha, color="#333333", linewidth=1.5)
        drawn = {self.route.target: (self.route.target,), MEAN: self.route.old}
        if len(self.route.old) > 1:
            drawn |= {name: (name,) for name in self.route.old}
        chosen, ends = styles(drawn), []
        for name, names in drawn.items():
            colour, dashes, marker = chosen[name]
            single = name in self.route.old
            points = self.route.curve(names)
            yield from self.ax.plot(*zip(*points, strict=True), color=colour, linestyle=dashes,
                                    marker=marker, markersize=4 if single else 7,
                                    linewidth=1.2 if single else 2.6)  # fmt: skip
            ends.append((points[-1][1], name, colour))
        yield from label_line_ends(self.ax, points[-1][0], ends)

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, self.route.words(self.alpha.value))

    def __repr__(self) -> str:
        return self.route.words(self.alpha.value)
