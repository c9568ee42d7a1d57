"""The notebook factory: one script per lesson in, two notebooks out.

    python tools/notebooks.py build [01 ...] [--only solutions] [--force] [--no-execute]
    python tools/notebooks.py check
    python tools/notebooks.py stamp OWNER/NAME

`source/NN_*.py` (jupytext's percent format) holds a lesson with its solutions. From it come
`lessons/NN_*.ipynb` with blank exercises and `solutions/NN_*.ipynb` with the answers, both run.
A solution stands between two marker lines inside a code cell:

    def mean(numbers):
        # BEGIN SOLUTION
        # STUB: return None          (optional; without it the lesson shows `...`)
        return sum(numbers) / len(numbers)
        # END SOLUTION

A cell tagged `solution` stands in `solutions/` only; the outputs of one tagged `predict` are saved
collapsed. `{{badge}}` in prose becomes a Colab link.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from address import KINDS, AddressError, read_repository, stamp
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from outputs import digest, execute, folder_digest, is_current, problems
from percent import SourceError, code_cells, differences, generate

ROOT = Path(__file__).resolve().parents[1]


def sources(root: Path, names: list[str] | None = None) -> list[Path]:
    """The scripts in source/, or those whose names begin with one of `names`."""
    found = sorted((root / "source").glob("[0-9][0-9]_*.py"))
    for name in names or []:
        if not any(path.stem.startswith(name) for path in found):
            raise SourceError(f"no script source/{name}*.py")
    return [path for path in found if not names or path.stem.startswith(tuple(names))]


def read_notebook(path: Path) -> NotebookNode | None:
    """The notebook at `path`, or None when there is none that can be read."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError):
        return None


def build(
    root: Path,
    names: list[str] | None = None,
    force: bool = False,
    run: bool = True,
    kinds: Sequence[str] = KINDS,
) -> list[str]:
    """Write the notebooks; run those whose code, helpers/ or data/ changed.

    A notebook that fails is not written. Returns the failures, one message each.
    """
    failures = []
    repository = read_repository(root)
    surroundings = folder_digest(root / "helpers", root / "data")
    for source in sources(root, names):
        for kind in kinds:
            path = root / kind / f"{source.stem}.ipynb"
            label = f"{kind}/{path.name}"
            notebook = generate(source, kind, repository)
            mark = digest(notebook, surroundings, repository)
            path.parent.mkdir(exist_ok=True)
            old = None if force else read_notebook(path)
            if old and is_current(old, notebook, mark, root):
                for (_, cell), (_, ran) in zip(code_cells(notebook), code_cells(old), strict=True):
                    cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
                notebook.metadata["course"] = old.metadata["course"]
                print(f"{label}: outputs are up to date")
            elif run:
                print(f"{label}: running", flush=True)
                try:
                    took = execute(notebook, path.parent)
                # RuntimeError: the kernel died, or did not start.
                except (CellExecutionError, CellTimeoutError, RuntimeError) as error:
                    failures.append(f"{label}: {error}")
                    continue
                if found := [f"{label}: {problem}" for problem in problems(notebook, root)]:
                    failures += found
                    continue
                notebook.metadata["course"] = {"digest": mark, "seconds": took}
                print(f"{label}: " + ", ".join(f"{part} {s:.0f} s" for part, s in took.items()))
            else:
                print(f"{label}: draft, not run")
            nbformat.validate(notebook)
            nbformat.write(notebook, path)
    return failures


def check(root: Path) -> list[str]:
    """What is wrong with lessons/ and solutions/, one message each; nothing is run."""
    found = []
    repository = read_repository(root)
    for kind in KINDS:
        expected = {f"{source.stem}.ipynb": source for source in sources(root)}
        for path in sorted((root / kind).glob("*.ipynb")):
            if path.name not in expected:
                found.append(f"{kind}/{path.name}: has no script in source/")
        for name, source in expected.items():
            notebook = read_notebook(root / kind / name)
            if notebook is None:
                found.append(f"{kind}/{name}: is missing or cannot be read")
                continue
            wrong = [*differences(notebook, generate(source, kind, repository))]
            found += [f"{kind}/{name}: {text}" for text in wrong + [*problems(notebook, root)]]
    return found


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """The command line. Returns the exit status: 0 when all is well, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="write and run the notebooks")
    builder.add_argument("names", nargs="*", help="such as 01; all when left out")
    builder.add_argument("--only", choices=KINDS, help="the notebooks of one folder")
    builder.add_argument("--force", action="store_true", help="run even what did not change")
    builder.add_argument("--no-execute", action="store_true", help="do not run (a draft)")
    commands.add_parser("check", help="compare the notebooks with source/")
    commands.add_parser("stamp", help="set the address of the course").add_argument("repository")
    options = parser.parse_args(arguments)
    try:
        if options.command == "build":
            kinds = [options.only] if options.only else KINDS
            failures = build(root, options.names, options.force, not options.no_execute, kinds)
        elif options.command == "check":
            failures = check(root)
        else:
            failures = []
            for path in stamp(root, options.repository):
                print(f"stamped {path.relative_to(root)}")
    except (SourceError, AddressError) as error:
        failures = [str(error)]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
