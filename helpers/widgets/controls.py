"""Controls that the laboratories share; only what ipywidgets 7.7 and 8.1 have in common."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets

from ..runs import STEPS, Rank


def slider(
    name: str, options: Sequence, value: object, follow: bool = False
) -> ipywidgets.SelectionSlider:
    """A slider over given values; the arrow keys move it. Without that value, the last is set.

    Args:
        follow: report every value that is passed while the slider is dragged, and not only where it
            is let go; for figures that are drawn in less than 100 ms.
    """
    labels = [
        (f"{option:g}" if isinstance(option, float) else str(option), option) for option in options
    ]
    return ipywidgets.SelectionSlider(
        options=labels,
        value=value if value in options else options[-1],
        description=name,
        continuous_update=follow,
        style={"description_width": "6.5em" if follow else "8em"},
        layout=ipywidgets.Layout(width="38em" if follow else "22.5em", max_width="100%"),
    )


def knobs(
    rates: Sequence[float], ranks: Sequence[Rank], steps: Sequence[int]
) -> tuple[ipywidgets.SelectionSlider, ...]:
    """Sliders for learning rate, rank and step, at first on the run of lesson 01."""
    return (
        slider("learning rate", rates, 1e-2, follow=True),
        slider("LoRA rank", ranks, 8, follow=True),
        slider("step", steps, STEPS, follow=True),
    )


def row(*widgets: ipywidgets.Widget) -> ipywidgets.HBox:
    """Widgets side by side; they wrap where the page is narrow."""
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
    return ipywidgets.HBox(widgets, layout=layout)


def status(text: str) -> str:
    """A sentence that screen readers announce when it changes."""
    return f'<div role="status">{html.escape(text)}</div>'


def picture() -> ipywidgets.Image:
    """A place for a figure, never wider than the page."""
    return ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))
