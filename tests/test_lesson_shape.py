"""Every lesson has a short core, settles its predictions, and does not answer its own quiz."""

from __future__ import annotations

import html
import json
import re
from fractions import Fraction
from functools import cache

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

from helpers.paths import DATA
from helpers.quiz_files import closed, explanations, read_quiz

ROOT = DATA.parent
DEEPER = "# Deeper"
#: Lessons that have a core and deeper sections; the others are still in their earlier form.
LESSONS = [
    path.stem
    for path in sorted((ROOT / "source").glob("[0-9]*.py"))
    if f"\n# {DEEPER}" in path.read_text(encoding="utf-8")
]
CORE_WORDS, WHOLE_WORDS, CELLS, CODE_LINES = 1300, 4500, 75, 20
CORE_MINUTES = 20
PREDICT = "**Predict before you run.**"
NUMBER = re.compile(
    r"\d|\b(no|none|nothing|one|two|three|four|five|six|seven|eight|nine|ten|all|both|every|half)\b",
    re.I,
)


@cache
def cells(lesson: str) -> list[NotebookNode]:
    return jupytext.read(ROOT / "source" / f"{lesson}.py").cells


def core(lesson: str) -> list[NotebookNode]:
    """The cells above the one that begins with `# Deeper`."""
    for place, cell in enumerate(cells(lesson)):
        if cell.cell_type == "markdown" and cell.source.startswith(DEEPER):
            return cells(lesson)[:place]
    raise AssertionError(f"{lesson} has no cell that begins with {DEEPER!r}")


def words(found: list[NotebookNode]) -> int:
    """Words of prose; code, folds and formulas are not counted."""
    text = "\n".join(cell.source for cell in found if cell.cell_type == "markdown")
    for pattern in (r"```.*?```", r"<details>.*?</details>", r"\$\$.*?\$\$", r"<[^>]+>"):
        text = re.sub(pattern, " ", text, flags=re.S)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def test_words_are_those_that_are_read():
    made = [
        nbformat.v4.new_markdown_cell("# A title\nTwo words - **here**.\n```\nnot this\n```"),
        nbformat.v4.new_markdown_cell("<details><summary>Hint</summary>nor\nthis</details> yes"),
        nbformat.v4.new_code_cell("nor = this"),
    ]
    assert words(made) == 6


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_core_is_short_and_whole(lesson):
    above = core(lesson)
    assert words(above) <= CORE_WORDS
    assert words(cells(lesson)) <= WHOLE_WORDS
    assert len(cells(lesson)) <= CELLS
    told = re.search(r"core (\d+) minutes", above[0].source)
    assert told and int(told[1]) <= CORE_MINUTES, "the first cell says how long the core takes"
    code = "\n".join(cell.source for cell in above if cell.cell_type == "code")
    assert re.search(rf'^quiz\("{lesson.split("_")[0]}"\)', code, re.M)
    assert "check(" in code
    assert any(cell.source.startswith("## On Monday") for cell in above)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_core_computes_less_than_half(lesson):
    notebook = nbformat.read(ROOT / "solutions" / f"{lesson}.ipynb", as_version=4)
    seconds = notebook.metadata["course"]["seconds"]  # of the run that made the outputs
    assert 0 < seconds["core"] <= seconds["whole"] / 2


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_deeper_section_says_how_long_it_takes(lesson):
    below = cells(lesson)[len(core(lesson)) :]
    titles = [
        line
        for cell in below
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert titles
    untimed = [title for title in titles if not re.search(r"\(\d+ min\)$", title)]
    assert untimed in ([], ["## Sources"])


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_cell_of_code_fits_on_the_screen(lesson):
    # The first code cell is the setup for Colab, the same in every lesson.
    code = [cell.source for cell in cells(lesson) if cell.cell_type == "code"][1:]
    long = [text for text in code if len(text.splitlines()) > CODE_LINES]
    # What learners write, and a solution in its place, may be longer.
    assert [text for text in long if "# BEGIN SOLUTION" not in text] == []


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_prediction_is_collapsed_and_settled(lesson):
    found = cells(lesson)
    tagged = {
        place for place, cell in enumerate(found) if "predict" in cell.metadata.get("tags", [])
    }
    for place, cell in enumerate(found):
        if cell.cell_type == "markdown" and PREDICT in cell.source:
            asked = next(n for n in range(place, len(found)) if found[n].cell_type == "code")
            assert asked in tagged, f"the outputs after {cell.source[:60]!r} are not collapsed"
    for place in tagged:
        after = next((cell for cell in found[place + 1 :] if cell.cell_type == "markdown"), None)
        assert after and NUMBER.search(after.source), f"cell {place} is not settled by a number"


@pytest.mark.parametrize("folder", ["lessons", "solutions"])
@pytest.mark.parametrize("lesson", LESSONS)
def test_saved_outputs_do_not_answer_the_quiz(folder, lesson):
    notebook = nbformat.read(ROOT / folder / f"{lesson}.ipynb", as_version=4)
    outputs = json.dumps(
        [cell.outputs for cell in notebook.cells if cell.cell_type == "code"], ensure_ascii=False
    )
    for entry in closed(questions(lesson)):
        for _, why in explanations(entry):
            assert why not in outputs and html.escape(why) not in outputs


# The quizzes as a whole


def questions(lesson: str) -> list[dict]:
    return read_quiz(DATA / "quizzes" / f"{lesson.split('_')[0]}.json")


def choices() -> list[list[dict]]:
    """The options of every question of the course that has some."""
    entries = [entry for lesson in LESSONS for entry in questions(lesson)]
    return [entry["options"] for entry in entries if "options" in entry]


def place_of_right(options: list[dict]) -> int:
    return [option["correct"] for option in options].index(True)


def test_the_longest_option_is_no_safer_guess_than_any():
    longest = [
        max(range(len(options)), key=lambda n: len(options[n]["text"])) == place_of_right(options)
        for options in choices()
    ]
    chance = sum(Fraction(1, len(options)) for options in choices())
    assert sum(longest) <= chance + 1


def test_options_are_about_as_long_as_one_another():
    for options in choices():
        lengths = [len(option["text"]) for option in options]
        assert max(lengths) <= 1.35 * min(lengths) + 4, options[0]["text"]


def test_no_place_is_a_safe_guess():
    places = [place_of_right(options) for options in choices() if len(options) == 4]
    for place in range(4):
        assert 0.1 <= places.count(place) / len(places) <= 0.4, f"option {'ABCD'[place]}"


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_quiz_has_four_to_six_questions_and_rests_on_evidence(lesson):
    found = closed(questions(lesson))
    assert 4 <= len(found) <= 6
    assert sum("evidence" in entry or "number" in entry for entry in found) >= len(found) / 2
