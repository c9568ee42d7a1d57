"""The lessons as committed, and that a broken notebook is noticed."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest

from helpers.paths import DATA

ROOT = DATA.parent


def test_lessons_and_solutions_are_what_source_says():
    checked = subprocess.run(
        [sys.executable, "tools/notebooks.py", "check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_there_is_a_lesson_and_a_solution_per_script():
    scripts = {path.stem for path in (ROOT / "source").glob("*.py")}
    assert {"00_start_here", "01_regression_demo"} <= scripts
    for folder in ("lessons", "solutions"):
        assert {path.stem for path in (ROOT / folder).glob("*.ipynb")} == scripts


@pytest.mark.parametrize(("code", "status"), [("1 + 1", 0), ("1 / 0", 1)])
def test_a_broken_notebook_fails_the_run(tmp_path, code, status):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell(code)]
    )
    nbformat.write(notebook, tmp_path / "tiny.ipynb")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "tiny.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert ("ZeroDivisionError" in ran.stdout) == bool(status)
