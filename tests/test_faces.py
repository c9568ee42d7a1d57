"""The lessons without a kernel: what GitHub, nbconvert and a page without widgets show."""

from __future__ import annotations

import base64
import re

import nbformat
import pytest
from nbconvert import HTMLExporter

from helpers.paths import DATA
from helpers.widgets.faces import WIDGET_VIEW

LESSONS = sorted((DATA.parent / "lessons").glob("*.ipynb"))
#: Cells that show a laboratory, and words their page must have.
LABS = {"KnobsLab()": "old skills lose", "ShipGame()": "Which one would you ship?"}


def cells(path, source):
    notebook = nbformat.read(path, as_version=4)
    return [
        c for c in notebook.cells if c.cell_type == "code" and c.source.strip().endswith(source)
    ]


@pytest.mark.parametrize("source", LABS)
def test_a_laboratory_leaves_a_picture_and_words(source):
    (cell,) = [cell for path in LESSONS for cell in cells(path, source)]
    picture, fold = cell.outputs
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")
    assert LABS[source] in picture.data["text/plain"]
    assert picture.metadata["image/png"]["alt"] == picture.data["text/plain"]
    assert LABS[source] in fold.data["text/html"] and "<details>" in fold.data["text/html"]
    assert WIDGET_VIEW not in picture.data


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_page_without_widgets_has_every_figure_and_no_widget(path):
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert "jupyter.widget-view" not in page.split("<body", 1)[1]
    figures = sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )  # fmt: skip
    shown = re.findall(r"<img[^>]*data:image/png[^>]*>", page)
    assert len(shown) == figures
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in shown)
