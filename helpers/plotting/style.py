"""One style for every figure of the course, each with a text for those who cannot see it.

Figures are drawn without pyplot, so they can be made in any thread and leave nothing behind.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .labels import place_labels

#: Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6B6B6B",
)  # fmt: skip


class Style(NamedTuple):
    """Colour, line and marker of one thing; a dash pattern is a name or (offset, lengths)."""

    colour: str
    dashes: str | tuple[int, tuple[int, ...]]
    marker: str


#: One thing, one colour, in every figure of the course. No two things share a colour; lines and
#: markers differ too, because thirty colours are more than anybody can tell apart.
THINGS: dict[str, Style] = {
    # models
    "base": Style(BLUE, "-", "o"),
    "fine-tune": Style(ORANGE, "--", "s"),
    "control": Style(GREY, (0, (3, 1, 1, 1)), "P"),
    "random": Style("#007C91", ":", "v"),
    # what is scored
    "support": Style("#000000", "-", "*"),
    "old skills": Style("#AA3377", "--", "D"),
    "worst skill": Style("#6E1A4B", ":", "v"),
    "facts": Style("#332288", "--", "o"),
    "arithmetic": Style("#CC6677", "-.", "^"),
    "reasoning": Style("#117733", ":", "D"),
    "lists": Style("#8A8A2B", (0, (5, 1)), "v"),
    "reading": Style("#2A8C82", (0, (3, 1, 1, 1)), "P"),
    "howto": Style("#882255", (0, (1, 1)), "X"),
    "sentiment": Style("#A67C00", (0, (6, 2)), "<"),
    "translation": Style("#4477AA", (0, (4, 1, 1, 1)), ">"),
    "rewriting": Style("#7B3F00", (0, (2, 1)), "p"),
    "refusal": Style("#7A5195", (0, (7, 1, 1, 1)), "h"),
    "stories": Style("#555555", (0, (1, 2)), "d"),
    # ways of training, and what is done afterwards; the plain run is the fine-tune above
    "plain": Style(ORANGE, "--", "s"),
    "lower rate": Style(SKY, "-", "v"),
    "early stop": Style("#998A77", ":", "x"),
    "freeze": Style("#94B447", "-.", "d"),
    "full": Style("#8C510A", "-", "D"),
    "replay": Style(GREEN, "-.", "^"),
    "EWC": Style("#E69F00", (0, (5, 1)), "P"),
    "L2-SP": Style(PURPLE, ":", "X"),
    "KL": Style("#5E3C99", (0, (3, 1, 1, 1)), "h"),
    "self replay": Style("#66A61E", "--", "<"),
    "verify": Style("#B2182B", (0, (2, 1)), ">"),
    "token mask": Style("#A6761D", (0, (1, 2)), "d"),
    "SAM": Style("#7FA6A6", (0, (1, 1)), "p"),
    "merge": Style("#1F78B4", (0, (6, 2)), "o"),
    "gentle merge": Style("#762A83", (0, (4, 1)), "s"),
    "search": Style("#2CA25F", "-", "8"),
    # refusing, and a desk of tickets
    "refusals begun": Style("#9E2A2B", "-", "o"),
    "refusals whole, rule": Style("#D1495B", "--", "s"),
    "refusals whole, harmful": Style("#00766C", "-.", "^"),
    "all questions, right": Style("#3A6B35", "-.", "^"),
    "customers let down": Style("#8F3B76", ":", "D"),
    # a rollout: who answers, and how it is tested
    "candidate": Style("#C2410C", "-", "o"),
    "monitor": Style("#0B5FA5", "-", "o"),
    "fixed test, peeked at": Style("#B03060", "--", "s"),
    "fixed test, once": Style("#5B6B1F", "-.", "^"),
    "fixed test": Style("#128C7E", (0, (5, 1)), "D"),  # looked at now and then
    # ranks, darker as they rise
    "rank 1": Style("#6BAED6", ":", "v"),
    "rank 8": Style("#3182BD", "-.", "o"),
    "rank 64": Style("#08519C", "--", "^"),
}
#: Other names of the same things.
SAME = {
    "before": "base", "after": "fine-tune", "tickets": "fine-tune", "target": "support",
    "full fine-tuning": "full", "how-to": "howto", "tickets resolved": "support",
    "repair": "early stop",
}  # fmt: skip
#: For names that the table does not know, in the order in which a figure brings them.
STYLES = [
    Style("#3B3B98", "-", "o"), Style("#B5483B", "--", "s"), Style("#2F6F4E", "-.", "^"),
    Style("#9C6ADE", ":", "D"), Style("#3E8EAA", (0, (5, 1)), "v"),
    Style("#7D7461", (0, (3, 1, 1, 1)), "P"), Style("#B07F1E", (0, (1, 1)), "X"),
    Style("#1A1A1A", (0, (6, 2)), "*"),
]  # fmt: skip


def style_of(label: str) -> Style | None:
    """The style of a thing by its label, or None for one that the table does not know.

    "replay, lower rate" and "facts (after)" are looked up whole, then by what stands before the
    comma or bracket. Of several variants in one figure at most one can have the thing's own style:
    see `styles`.
    """
    whole = label.replace("_", " ").strip()
    for name in (whole, re.split(r"\s*[,(\n]", whole)[0]):
        if found := THINGS.get(SAME.get(name, name)):
            return found
    return None


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """A style for each label of a figure: the things' own, and spare ones for all others.

    A label whose thing is in the figure already keeps its colour and gets a line and a marker of
    its own.
    """
    chosen: dict[str, Style] = {}
    spare = iter(STYLES * 4)
    for label in labels:
        style = style_of(label) or next(spare)
        taken = set(chosen.values())
        while style in taken:
            other = next(spare)
            style = Style(style.colour, other.dashes, other.marker)
        chosen[label] = style
    return chosen


FONT_SIZE = 12
#: Pixels per inch of every figure.
DPI = 100


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
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, number + 1) for number in range(columns)]
    for ax in axes:
        dress(ax)
    return figure, axes


def dress(ax: Axes) -> None:
    """Give axes the course's style."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#E5E5E5", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=FONT_SIZE)


def finish(figure: Figure, alt: str) -> Picture:
    """Render a figure."""
    for ax in figure.axes:
        ax.xaxis.label.set_size(FONT_SIZE)
        ax.yaxis.label.set_size(FONT_SIZE)
        ax.title.set_size(FONT_SIZE + 1)
    place_labels(figure)
    buffer = io.BytesIO()
    # No software version in the file: the same figure is then the same bytes everywhere.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Picture(buffer.getvalue(), alt)
