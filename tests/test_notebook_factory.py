"""The notebook factory: stubs, ids, checks, the address; one tiny notebook is really run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import address
import notebooks
import outputs
import percent

SCRIPT = '''\
# %% [markdown]
# # A lesson
# {{badge}}

# %%
import os, sys
print(os.environ.get("HF_HUB_OFFLINE"), os.path.basename(os.getcwd()))
print("a progress bar", file=sys.stderr)


# %%
def mean(numbers):
    """The mean."""
    # BEGIN SOLUTION
    total = sum(numbers)

    return total / len(numbers)
    # END SOLUTION


# %%
# BEGIN SOLUTION
# STUB: result = None
result = mean([1, 2])
# END SOLUTION
result

# %% [markdown] tags=["solution"]
# The mean of 1 and 2 is 1.5.

# %% tags=["raises-exception"]
import json
json.loads("not JSON")
'''
LESSON, ANSWERS = "lessons/00_tiny.ipynb", "solutions/00_tiny.ipynb"


@pytest.fixture
def root(tmp_path):
    """A course of one lesson, without notebooks."""
    for folder in ("source", "helpers", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.course]\nrepository = "ada/course"\n')
    (tmp_path / "source/00_tiny.py").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def built(root, monkeypatch):
    """The same with notebooks, their outputs made up instead of run."""
    monkeypatch.setattr(notebooks, "execute", pretend)
    assert notebooks.build(root) == []
    return root


def pretend(notebook, folder):
    for _, cell in outputs.code_cells(notebook):
        cell.execution_count = 1
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="made up\n")]
    return {"setup": 1.0, "core": 1.0, "whole": 3.0}


def edit(root, name, change):
    """Apply `change` to a stored notebook."""
    notebook = nbformat.read(root / name, as_version=4)
    change(notebook)
    nbformat.write(notebook, root / name)


def source_of(root, name):
    return [cell.source for cell in nbformat.read(root / name, as_version=4).cells]


# From script to notebook


def test_the_lesson_has_stubs_and_the_solution_the_code(root):
    script = root / "source/00_tiny.py"
    lesson = [cell.source for cell in percent.generate(script, "lessons").cells]
    answers = [cell.source for cell in percent.generate(script, "solutions").cells]
    assert lesson[2] == 'def mean(numbers):\n    """The mean."""\n    ...'
    assert lesson[3] == "result = None\nresult"
    assert answers[2].endswith("    total = sum(numbers)\n\n    return total / len(numbers)")
    assert answers[3] == "result = mean([1, 2])\nresult"
    assert "SOLUTION" not in "".join(lesson + answers) and "STUB" not in "".join(answers)


def test_prose_tagged_solution_is_in_the_solutions_only(root):
    script = root / "source/00_tiny.py"
    texts = {kind: str(percent.generate(script, kind).cells) for kind in address.KINDS}
    assert "is 1.5" in texts["solutions"] and "is 1.5" not in texts["lessons"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("# BEGIN SOLUTION\nx = 1", "BEGIN SOLUTION without"),
        ("x = 1\n# END SOLUTION", "END SOLUTION without"),
        ("# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION", "inside"),
    ],
)
def test_unmatched_markers_are_refused_with_their_place(root, code, message):
    (root / "source/00_tiny.py").write_text(f"# %%\nx = 0\n\n# %%\n{code}\n")
    with pytest.raises(percent.SourceError, match=rf"00_tiny.py: cell 2: .*{message}"):
        percent.generate(root / "source/00_tiny.py", "lessons")


def test_ids_stay_when_a_cell_is_added(root):
    script = root / "source/00_tiny.py"
    before = [cell.id for cell in percent.generate(script, "solutions").cells]
    assert before == [cell.id for cell in percent.generate(script, "solutions").cells]
    script.write_text("# %%\nx = 0\n\n" + SCRIPT + "\n# %%\nx = 0\n")
    after = [cell.id for cell in percent.generate(script, "solutions").cells]
    assert after[1:-1] == before
    assert len(set(after)) == len(after)


# Building


def test_a_built_notebook_is_run_offline_in_its_folder_and_clean(root, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert notebooks.main(["build"], root) == 0
    assert notebooks.main(["check"], root) == 0
    lesson = nbformat.read(root / LESSON, as_version=4)
    answers = nbformat.read(root / ANSWERS, as_version=4)
    assert [output.text for output in lesson.cells[1].outputs] == ["1 lessons\n"]
    assert answers.cells[3].outputs[0].data["text/plain"] == "1.5"
    # The frames of the json module name folders of this machine; cell and message remain.
    traceback = "\n".join(answers.cells[5].outputs[0].traceback)
    assert "JSONDecodeError" in traceback and "site-packages" not in traceback
    assert "decoder.py" not in traceback
    assert set(lesson.metadata) == {"kernelspec", "language_info", "course"}
    assert not any("execution" in cell.metadata for cell in lesson.cells)
    first = (root / LESSON).read_bytes()
    assert notebooks.main(["build"], root) == 0
    assert (root / LESSON).read_bytes() == first


@pytest.mark.parametrize(
    ("file", "runs"), [("helpers/new.py", 2), ("data/new.json", 2), ("helpers/.cache/x", 0)]
)
def test_only_what_changed_is_run_again(built, monkeypatch, file, runs):
    count = counting(monkeypatch)
    (built / file).parent.mkdir(exist_ok=True)
    (built / file).write_text("x = 1")
    notebooks.build(built)
    assert len(count) == runs


def test_changed_code_is_run_and_changed_prose_is_not(built, monkeypatch):
    count = counting(monkeypatch)
    script = built / "source/00_tiny.py"
    script.write_text(SCRIPT.replace("# # A lesson", "# # A better lesson"))
    assert notebooks.build(built) == []
    assert count == [] and "A better lesson" in source_of(built, LESSON)[0]
    assert notebooks.check(built) == []
    script.write_text(SCRIPT.replace("total = sum", "t = total = sum"))
    notebooks.build(built)
    assert count == ["solutions"]  # the lesson shows `...` there
    notebooks.build(built, force=True)
    assert count == ["solutions", "lessons", "solutions"]


def test_hand_edited_code_is_not_trusted(built, monkeypatch):
    count = counting(monkeypatch)
    edit(built, LESSON, lambda n: n.cells[1].update(source="print('edited')"))
    notebooks.build(built)
    assert count == ["lessons"]


def test_a_draft_is_not_run_and_not_accepted(root, monkeypatch):
    count = counting(monkeypatch)
    assert notebooks.main(["build", "--no-execute"], root) == 0
    assert count == []
    assert any("outputs are missing" in line for line in notebooks.check(root))
    notebooks.build(root)
    assert count == ["lessons", "solutions"]


def counting(monkeypatch):
    """Count runs by folder instead of running."""
    count = []

    def run(notebook, folder):
        count.append(folder.name)
        return pretend(notebook, folder)

    monkeypatch.setattr(notebooks, "execute", run)
    return count


def test_a_failing_cell_fails_the_build(root, capsys):
    (root / "source/00_tiny.py").write_text("# %%\n1 / 0\n")
    assert notebooks.main(["build"], root) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not (root / LESSON).exists()


@pytest.mark.parametrize("private", ["root", "home"])
def test_a_folder_of_this_machine_in_an_output_fails_the_build(root, monkeypatch, private):
    folder = root if private == "root" else Path.home()

    def run(notebook, _):
        pretend(notebook, _)
        notebook.cells[1].outputs[0].text = f"saved to {folder}/run\n"

    monkeypatch.setattr(notebooks, "execute", run)
    failures = notebooks.build(root)
    assert len(failures) == 2 and all("names a folder of this machine" in f for f in failures)
    assert not (root / LESSON).exists()


def test_an_unknown_name_is_refused(root, capsys):
    assert notebooks.main(["build", "07"], root) == 1
    assert "source/07" in capsys.readouterr().err


def test_cleaning_keeps_every_face_but_the_widget():
    view = {outputs.WIDGET_VIEW: {"model_id": "1"}}
    faces = [{**view, "text/plain": "text", "text/html": "<p>"}, view]
    cell = nbformat.v4.new_code_cell(
        "x",
        metadata={"execution": {"iopub.status.busy": "now"}},
        outputs=[nbformat.v4.new_output("display_data", data=data) for data in faces],
    )
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}})
    outputs.clean(notebook)
    assert "widgets" not in notebook.metadata and "execution" not in cell.metadata
    assert set(notebook.cells[0].outputs[0].data) == {"text/plain", "text/html"}
    # Nothing would remain of the second: that is for `problems` to report.
    assert any("widget view" in line for line in outputs.problems(notebook, Path("/nowhere")))


# Checking


def test_what_was_built_is_accepted(built):
    assert notebooks.check(built) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.cells[0].update(source="# Another"), "cell 1: text differs: '# Another'"),
        (lambda n: n.cells[1].update(source="print(1)"), "cell 2: text differs"),
        (lambda n: n.cells[1].update(cell_type="raw"), "cell 2: is raw"),
        (lambda n: n.cells[1].update(id="other"), "cell 2: id differs"),
        (lambda n: n.cells[1].metadata.update(tags=["x"]), "cell 2: tags differ"),
        (lambda n: n.cells.pop(), "has 4 cells, should have 5"),
        (lambda n: n.metadata.update(widgets={"state": {}}), "holds widget state"),
        (lambda n: n.cells[1].update(execution_count=None), "cell 2: has not been run"),
        (
            lambda n: [cell.update(outputs=[]) for cell in n.cells if cell.cell_type == "code"],
            "outputs are missing",
        ),
        (
            lambda n: n.cells[1].update(
                outputs=[nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])]
            ),
            r"cell 2: ends in an error \(E: e\)",
        ),
    ],
)
def test_check_names_what_differs(built, capsys, change, message):
    edit(built, LESSON, change)
    assert notebooks.main(["check"], built) == 1
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{LESSON}: ") for line in lines)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(lines))


def test_an_error_is_accepted_where_the_tag_says_so(built):
    error = nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])
    edit(built, LESSON, lambda n: n.cells[4].update(outputs=[error]))
    assert notebooks.check(built) == []


def test_changed_source_missing_and_stray_notebooks_are_reported(built):
    (built / "source/00_tiny.py").write_text(SCRIPT.replace("total =", "sum_ ="))
    assert [line.split(":")[0] for line in notebooks.check(built)] == [ANSWERS]
    (built / LESSON).unlink()
    (built / "lessons/99_stray.ipynb").write_text("{}")
    found = notebooks.check(built)
    assert f"{LESSON}: is missing or cannot be read" in found
    assert "lessons/99_stray.ipynb: has no script in source/" in found


# The address


def test_the_badge_points_to_its_own_notebook(built):
    link = "https://colab.research.google.com/github/ada/course/blob/main/"
    assert link + LESSON in source_of(built, LESSON)[0]
    assert link + ANSWERS in source_of(built, ANSWERS)[0]


def test_stamping_rewrites_every_link_of_ours_and_no_other(built, monkeypatch):
    colab = "https://colab.research.google.com/github"
    theirs = f"{colab}/someone/else/blob/main/demo.ipynb https://github.com/ada/course-two"
    ours = (
        "{0}/blob/main/lessons/00.ipynb https://github.com/{1} https://mybinder.org/v2/gh/{1}/main"
    )
    (built / "README.md").write_text(f"{theirs}\n{ours.format(f'{colab}/x/y', 'ada/course')}\n")
    clone = SCRIPT + "\n# %%\nclone = 'https://github.com/ada/course.git'\n"
    (built / "source/00_tiny.py").write_text(clone)
    notebooks.build(built)
    count = counting(monkeypatch)

    assert notebooks.main(["stamp", "new/home.page"], built) == 0
    assert address.read_repository(built) == "new/home.page"
    expected = f"{theirs}\n{ours.format(f'{colab}/new/home.page', 'new/home.page')}\n"
    assert (built / "README.md").read_text() == expected
    assert f"{colab}/new/home.page/blob/main/{LESSON}" in source_of(built, LESSON)[0]
    assert source_of(built, LESSON)[-1] == "clone = 'https://github.com/new/home.page.git'"
    assert notebooks.check(built) == []
    assert notebooks.build(built) == [] and count == []


def test_stamping_adds_the_section_and_keeps_the_rest(root):
    (root / "pyproject.toml").write_text('[tool.ruff]\nrepository = "not this"\n')
    address.stamp(root, "new/home")
    text = (root / "pyproject.toml").read_text()
    assert text.startswith('[tool.ruff]\nrepository = "not this"\n')
    assert address.read_repository(root) == "new/home"


@pytest.mark.parametrize("name", ["home", "a/b/c", "a b/c", 'a"/b'])
def test_stamping_refuses_what_is_no_address(root, name, capsys):
    assert notebooks.main(["stamp", name], root) == 1
    assert "OWNER/NAME" in capsys.readouterr().err
    assert address.read_repository(root) == "ada/course"


PREDICTED = """\
# %% [markdown]
# **Predict before you run.** How much is it?

# %% tags=["predict"]
1 + 1

# %%
from helpers.exercises import quiz
quiz("00")
"""
QUIZ = [
    {
        "question": "Is 1 < 2?",
        "options": [
            {"text": "No", "correct": False, "why": "Count & see."},
            {"text": "Yes", "correct": True, "why": "One is <less>."},
        ],
    }
]


def test_predicted_outputs_are_collapsed_and_answers_stand_in_solutions(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "data" / "quizzes").mkdir(parents=True)
    (tmp_path / "data" / "quizzes" / "00.json").write_text(json.dumps(QUIZ))
    script = tmp_path / "source" / "00_tiny.py"
    script.write_text(PREDICTED)
    lesson, solution = (percent.generate(script, kind) for kind in ("lessons", "solutions"))
    assert lesson.cells[1].metadata["jupyter"] == {"outputs_hidden": True}
    assert "jupyter" not in lesson.cells[2].metadata
    assert "less" not in nbformat.writes(lesson)
    answers = solution.cells[-1].source
    assert answers.startswith("<details><summary>Answers to question 1</summary>")
    assert "Right. <b>Yes</b>: One is &lt;less&gt;." in answers and "Count &amp; see." in answers
    nbformat.validate(solution)
    lesson.cells[1].metadata.pop("jupyter")
    wrong = list(percent.differences(lesson, percent.generate(script, "lessons")))
    assert wrong == ["cell 2: its outputs should be saved collapsed, or not"]


def test_the_core_ends_where_deeper_begins():
    def ran(first, last):
        cell = nbformat.v4.new_code_cell("1")
        times = {"iopub.execute_input": first, "iopub.status.idle": last}
        cell.metadata["execution"] = {key: f"2026-01-10T10:00:{at}Z" for key, at in times.items()}
        return cell

    skipped = nbformat.v4.new_code_cell("")  # an empty cell is never run
    section = nbformat.v4.new_markdown_cell("## Why this matters")
    deeper = nbformat.v4.new_markdown_cell("# Deeper\n\nEach section stands by itself.")
    first, second, third = (
        ran("00.000000", "00.500000"), ran("01.000000", "03.500000"), ran("04.000000", "10.000000")
    )  # fmt: skip
    cells = [first, section, second, skipped, deeper, third]
    found = outputs.seconds(nbformat.v4.new_notebook(cells=cells))
    assert found == {"setup": 0.5, "core": 2.5, "whole": 8.5}
    short = outputs.seconds(nbformat.v4.new_notebook(cells=cells[:3]))
    assert short == {"setup": 0.5, "core": 2.5, "whole": 2.5}
