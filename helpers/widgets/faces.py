"""One display, three faces: widgets in a live notebook, a picture or HTML in a saved one, words."""

from __future__ import annotations

import base64
import html
from typing import Any

import ipywidgets
from IPython.display import display

from .access import SCRIPT, UNRUN

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def bundle(widget: ipywidgets.Widget, words: str, **faces: str) -> dict[str, Any]:
    """What a front end chooses from: the widget where it is live, else the other faces.

    Built by hand: ipywidgets 7 displays by `_ipython_display_`, 8 by `_repr_mimebundle_`, and
    neither would add the other faces.

    Args:
        words: for a terminal or a screen reader.
        faces: by kind, such as `html="…"` or `png="…"` (in base64).
    """
    kinds = {"html": "text/html", "png": "image/png"}
    found: dict[str, Any] = {"text/plain": words}
    found |= {kinds[kind]: content for kind, content in faces.items()}
    if widget.model_id is not None:  # None where no kernel runs (ipywidgets 7)
        found[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return found


def show(widget: ipywidgets.Widget, png: bytes, words: str) -> None:
    """Display a widget, with the picture of its first setting for pages without widgets.

    A saved page shows the picture with the request to run the cell, which goes away where the
    widget is alive; the same script names the widget's sliders for screen readers.
    """
    image = base64.b64encode(png).decode()
    metadata = {"image/png": {"alt": words}}
    display(bundle(widget, words, png=image), metadata=metadata, raw=True)
    # JupyterLab and GitHub pass no alt text on to the browser, so the words also stand below.
    told = html.escape(words)
    fold = f"<details><summary>The first setting in words</summary>{told}</details>"
    display({"text/html": fold + UNRUN + SCRIPT, "text/plain": words}, raw=True)
