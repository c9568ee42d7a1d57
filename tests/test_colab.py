"""A lesson the way Colab runs it: its package versions, its first cell, a fresh clone.

Colab's image cannot be had here, so a fresh environment is given the versions that matter. Building
it takes minutes and a package index; without an index there is nothing to test (in CI, that fails).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv

import pytest

from helpers.paths import DATA

sys.path.insert(0, str(DATA.parent / "tools"))

from address import read_repository

pytestmark = pytest.mark.slow

ROOT = DATA.parent
#: What Colab had installed in August 2026. trl and lm-eval are not among it.
COLAB = (
    "torch==2.13.0",
    "transformers==5.15.0",
    "peft==0.20.0",
    "datasets==4.0.0",
    "ipywidgets==7.7.1",
    "ipykernel==6.17.1",
    "matplotlib",
    "pandas",
    "nbconvert",
)
LESSONS = sorted(path.stem for path in (ROOT / "solutions").glob("*.ipynb"))
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
hello = nbformat.v4.new_code_cell(
    "import sys, types, importlib.machinery as m; colab = types.ModuleType('google.colab');"
    "colab.__spec__ = m.ModuleSpec('google.colab', None); sys.modules['google.colab'] = colab"
)
notebook.cells.insert(0, hello)
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
texts = [o.get("text", "") for c in notebook.cells for o in c.get("outputs", ())]
print("".join(texts))
"""


def pip(python: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """An environment with Colab's versions; its Python."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    # torch first: only then is the local CPU build taken where there is one.
    for packages in (COLAB[:1], COLAB):
        installed = pip(python, "install", "--quiet", *packages)
        if installed.returncode:
            if "CI" not in os.environ and "onnection" in installed.stderr:
                pytest.skip("no package index can be reached")
            pytest.fail(installed.stderr[-2000:])
    return python


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The course as it stands here, as a repository that can be cloned."""
    folder = tmp_path_factory.mktemp("origin") / "course"
    left_out = shutil.ignore_patterns(".*", "build", "wheels", "models", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=left_out)
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "As it stands"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_in_colab(colab, repository, tmp_path, lesson):
    before = pip(colab, "list", "--format=freeze").stdout.split()
    clone = {  # the address of the course, answered by this copy
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{repository}/.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{read_repository(ROOT)}",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    path = os.pathsep.join([os.path.dirname(colab), os.environ["PATH"]])
    ran = subprocess.run(
        [colab, "-c", RUN, str(ROOT / "solutions" / f"{lesson}.ipynb")],
        cwd=tmp_path,
        env={**os.environ, **clone, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert (tmp_path / "course" / "helpers").is_dir()  # the first cell has cloned
    assert "[FAIL]" not in ran.stdout
    after = pip(colab, "list", "--format=freeze").stdout.split()
    assert set(before) <= set(after), "a package that Colab brings was changed"
    assert any(line.startswith("trl==") for line in after)
    assert pip(colab, "check").returncode == 0


LABORATORY = """
import sys, nbformat
from nbclient import NotebookClient
cell = nbformat.v4.new_code_cell
notebook = nbformat.v4.new_notebook(cells=[
    cell("from helpers.widgets.knobs import KnobsLab\\nlab = KnobsLab()\\nlab"),
    cell("import asyncio\\nlab.rank.value = 4\\nprint(lab.told.value)"),
    cell("lab.panel.press_train()"),
    cell("while lab.panel.running: await asyncio.sleep(0.2)\\nprint(lab.panel.status.value)"),
])
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
print("".join(o.get("text", "") for c in notebook.cells for o in c.outputs))
"""


def test_the_laboratory_works_with_colabs_widgets(colab, repository, tmp_path):
    path = os.pathsep.join([os.path.dirname(colab), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(repository)}
    # What the first cell of a lesson does, in case no lesson has run before this test.
    subprocess.run(["sh", str(repository / "tools" / "colab.sh")], env=env, check=True)
    ran = subprocess.run(
        [colab, "-c", LABORATORY],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "rank 4, α 8, step 60" in ran.stdout
    assert "done in" in ran.stdout
