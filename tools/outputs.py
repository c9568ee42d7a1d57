"""Running a notebook, what is kept of its outputs, and what they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import nbformat
from address import PLACEHOLDER
from nbclient import NotebookClient
from nbformat import NotebookNode
from percent import METADATA, code_cells

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
CELL_SECONDS = 600


def execute(notebook: NotebookNode, folder: Path) -> dict[str, float]:
    """Run a notebook in `folder`, offline, in a fresh kernel; outputs are stored in its cells.

    Returns:
        Seconds that its cells took: "setup" those above the first section, which load libraries,
        then "core" those above `# Deeper`, and "whole" all but the setup.
    """
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        startup_timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        coalesce_streams=True,
    )
    client.execute(env={**os.environ, **OFFLINE})
    notebook.metadata = nbformat.from_dict(METADATA)
    took = seconds(notebook)
    clean(notebook)
    return took


def seconds(notebook: NotebookNode) -> dict[str, float]:
    """How long the cells took by the timing that running them has left, as `execute` returns it."""
    took = {"setup": 0.0, "core": 0.0, "deeper": 0.0}
    part = "setup"
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# Deeper"):
            part = "deeper"
        elif part == "setup" and cell.cell_type == "markdown" and cell.source.startswith("## "):
            part = "core"
        timing = cell.metadata.get("execution", {})
        ends = [timing.get(key) for key in ("iopub.execute_input", "iopub.status.idle")]
        if all(ends):
            start, end = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in ends)
            took[part] += (end - start).total_seconds()
    took["whole"] = took["core"] + took.pop("deeper")
    return {name: round(value, 1) for name, value in took.items()}


def clean(notebook: NotebookNode) -> None:
    """Remove what should not be saved: widget state, timings, progress bars, library frames."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            data = output.get("data", {})
            if {"text/html", "image/png", "text/plain"} & set(data):
                data.pop(WIDGET_VIEW, None)
            if output.output_type == "error":
                # Frames in files name folders of this machine; the cell and the message remain.
                output.traceback = [
                    frame
                    for frame in output.traceback
                    if not re.sub(r"\x1b\[[\d;]*m", "", frame).startswith("File ")
                ]


def problems(notebook: NotebookNode, root: Path) -> Iterator[str]:
    """What is wrong with a notebook's outputs, one message each."""
    if "widgets" in notebook.metadata:
        yield "holds widget state"
    private = "|".join(re.escape(str(path)) for path in (root, Path.home()) if path.parts[1:])
    for number, cell in code_cells(notebook):
        if cell.execution_count is None:
            yield f"cell {number}: has not been run, outputs are missing"
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in (
                cell.metadata.get("tags", [])
            ):
                yield f"cell {number}: ends in an error ({output.ename}: {output.evalue})"
            if WIDGET_VIEW in output.get("data", {}):
                yield f"cell {number}: holds a widget view, which nothing can show once saved"
        found = re.search(
            rf"(?<!\w)(?:{private})(?![\w-])", json.dumps(cell.outputs, ensure_ascii=False)
        )
        if private and found:
            yield f"cell {number}: an output names a folder of this machine ({found.group()})"
    if code_cells(notebook) and not any(cell.outputs for _, cell in code_cells(notebook)):
        yield "no cell has an output: outputs are missing"


def folder_digest(*folders: Path) -> str:
    """A hash of all files in the folders, caches and hidden files left out."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
            if path.is_file() and not hidden:
                total.update("/".join((folder.name, *parts)).encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def digest(notebook: NotebookNode, surroundings: str, repository: str) -> str:
    """What the outputs depend on: the code and the surroundings, not the prose or the address."""
    code = [[c.source, c.metadata.get("tags", [])] for _, c in code_cells(notebook)]
    text = json.dumps([code, surroundings]).replace(repository, PLACEHOLDER)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_current(old: NotebookNode, new: NotebookNode, mark: str, root: Path) -> bool:
    """Whether the outputs of `old` are those of `new`."""
    same_code = [c.source for _, c in code_cells(old)] == [c.source for _, c in code_cells(new)]
    same_mark = old.metadata.get("course", {}).get("digest") == mark
    return same_mark and same_code and not any(problems(old, root))
