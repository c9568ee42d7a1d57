"""One style for every figure of the course, each with a text for those who cannot see it.

Figures are drawn without pyplot, so they can be made in any thread and leave nothing behind.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6B6B6B",
)  # fmt: skip
#: Colour, line and marker are used together: each alone tells the lines apart.
STYLES = [
    (BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"),
    (SKY, (0, (5, 1)), "v"), (GREY, (0, (3, 1, 1, 1)), "P"), ("#E69F00", (0, (1, 1)), "X"),
    ("black", (0, (6, 2)), "*"),
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
    buffer = io.BytesIO()
    # No software version in the file: the same figure is then the same bytes everywhere.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return Picture(buffer.getvalue(), alt)


def label_line_ends(
    ax: Axes, x: float, ends: Sequence[tuple[float, str, str]], gap: float = 6.5
) -> None:
    """Write each line's name at its end, at least `gap` apart where lines end close together."""
    lowest = -float("inf")
    for value, name, colour in sorted(ends):
        lowest = max(value, lowest + gap)
        ax.annotate(f" {name.replace('_', ' ')}", (x, value), xytext=(x, lowest), color=colour,
                    fontsize=FONT_SIZE, va="center", annotation_clip=False)  # fmt: skip
