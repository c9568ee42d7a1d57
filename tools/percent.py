"""From a lesson's script (jupytext's percent format) to its two notebooks, not yet run."""

from __future__ import annotations

import hashlib
import html
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from address import PLACEHOLDER, badge
from nbformat import NotebookNode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.quiz_files import closed, explanations, read_quiz

# The same on every machine, whatever the kernel there calls itself.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


class SourceError(ValueError):
    """A script in source/ cannot be turned into notebooks."""


def strip_solution(code: str, kind: str) -> str:
    """The code of a cell as `kind` shows it.

    Raises:
        SourceError: the markers do not come in pairs.
    """
    lines, inside, stub = [], False, []
    for line in code.split("\n"):
        text = line.strip()
        indent = line[: len(line) - len(line.lstrip())]
        if text == "# BEGIN SOLUTION":
            if inside:
                raise SourceError("BEGIN SOLUTION inside a solution")
            inside, at_top, stub, stub_indent = True, True, [], indent
        elif text == "# END SOLUTION":
            if not inside:
                raise SourceError("END SOLUTION without BEGIN SOLUTION")
            inside = False
            if kind == "lessons":
                lines += [stub_indent + part for part in stub or ["..."]]
        elif inside and at_top and text.startswith("# STUB:"):
            stub.append(text.removeprefix("# STUB:").strip())
        else:
            at_top = False
            if not inside or kind == "solutions":
                lines.append(line)
    if inside:
        raise SourceError("BEGIN SOLUTION without END SOLUTION")
    return "\n".join(lines)


def generate(source: Path, kind: str, repository: str = PLACEHOLDER) -> NotebookNode:
    """The notebook of one script, not yet run.

    A cell's id is a hash of the lesson's name and the cell's text without its solution: building
    again changes nothing, and a new cell or another solution leaves the other ids alone.

    Raises:
        SourceError: with the script and the cell, when solution markers do not match.
    """
    cells, seen = [], Counter()
    script = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    for number, cell in enumerate(script.cells, start=1):
        blank = text = cell.source
        if cell.cell_type == "code":
            try:
                blank, text = strip_solution(text, "lessons"), strip_solution(text, kind)
            except SourceError as error:
                raise SourceError(f"source/{source.name}: cell {number}: {error}") from None
        elif cell.cell_type == "markdown":
            text = text.replace("{{badge}}", badge(repository, f"{kind}/{source.stem}.ipynb"))
        key = (source.stem, cell.cell_type, blank.replace(repository, PLACEHOLDER))
        seen[key] += 1
        if kind == "lessons" and "solution" in cell.metadata.get("tags", []):
            continue
        identifier = hashlib.sha256(repr((*key, seen[key])).encode()).hexdigest()[:12]
        make = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")
        # jupytext notes blank lines of the script, which a notebook has no use for.
        metadata = {k: v for k, v in cell.metadata.items() if not k.startswith("lines_to_")}
        if "predict" in metadata.get("tags", []):
            # Saved collapsed, so that nobody reads the result before having guessed it; running the
            # cell shows it.
            metadata["jupyter"] = {"outputs_hidden": True}
        cells.append(make(text, id=identifier, metadata=metadata))
        asked = re.search(r'^quiz\("(\w+)"\)', text, re.M) if cell.cell_type == "code" else None
        if asked and kind == "solutions":
            answers = quiz_answers(source.parents[1] / "data" / "quizzes" / f"{asked[1]}.json")
            cells.append(nbformat.v4.new_markdown_cell(answers, id=f"{identifier[:4]}-answers"))
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    notebook.nbformat_minor = 5
    return notebook


def quiz_answers(path: Path) -> str:
    """The answers to a quiz with their reasons, folded, as Markdown.

    They stand beside the outputs: a saved lesson is also read by people who have yet to answer.
    """
    parts = []
    for number, entry in enumerate(closed(read_quiz(path)), start=1):
        right, *wrong = [
            f"<b>{html.escape(answer)}</b>: {html.escape(why)}"
            for answer, why in explanations(entry)
        ]
        items = "".join(f"<li>{text}</li>" for text in (f"Right. {right}", *wrong))
        parts.append(
            f"<details><summary>Answers to question {number}</summary><ul>{items}</ul></details>"
        )
    return "\n".join(parts)


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """The code cells that do something, each with its number (from 1) among all cells."""
    return [
        (number, cell)
        for number, cell in enumerate(notebook.cells, start=1)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def differences(actual: NotebookNode, expected: NotebookNode) -> Iterator[str]:
    """The first difference between two notebooks in cells, text, tags or ids, if there is one."""
    for number, (is_, should) in enumerate(zip(actual.cells, expected.cells, strict=False), 1):
        if is_.cell_type != should.cell_type:
            yield f"cell {number}: is {is_.cell_type}, should be {should.cell_type}"
        elif is_.source != should.source:
            pairs = zip(
                is_.source.split("\n") + [""], should.source.split("\n") + [""], strict=False
            )
            line, wanted = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
            yield f"cell {number}: text differs: {line!r}, should be {wanted!r}"
        elif is_.metadata.get("tags", []) != should.metadata.get("tags", []):
            yield f"cell {number}: tags differ"
        elif is_.metadata.get("jupyter") != should.metadata.get("jupyter"):
            yield f"cell {number}: its outputs should be saved collapsed, or not"
        elif is_.get("id") != should.id:
            yield f"cell {number}: id differs"
        else:
            continue
        return
    if len(actual.cells) != len(expected.cells):
        yield f"has {len(actual.cells)} cells, should have {len(expected.cells)}"
