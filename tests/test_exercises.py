"""Checking answers, and the quiz."""

from __future__ import annotations

import json

import pytest

from helpers import checks, quizzes
from helpers.exercises import QuizError, UnknownExercise, check, grade, quiz
from helpers.widgets import faces


@pytest.fixture(autouse=True)
def register(monkeypatch):
    """Two exercises of our own: 90.1 asks for the number 4, 90.2 for a function that doubles."""
    checks.load_all()
    monkeypatch.setattr(checks, "REGISTER", {})

    @checks.exercise("90.1", reading="Four it is.")
    def four(answer):
        if abs(answer - 5) < 1e-9:
            return "That is one too many."
        return None if answer == 4 else "Count again."

    @checks.exercise("90.2")
    def double(function):
        for number in (1, 2, -3):
            if function(number) != 2 * number:
                return f"For {number} it gives {function(number)}."
        return None


def raising(error):
    def function(number):
        raise error

    return function


def adding_to_a_stub(number):
    factor = ...
    return number * factor


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("90.1", ...),
        ("90.1", None),
        ("90.1", (..., 3)),
        ("90.1", {"a": None, "b": None}),
        ("90.2", lambda number: ...),
        ("90.2", lambda number: None),
        ("90.2", raising(NotImplementedError())),
        ("90.2", adding_to_a_stub),
    ],
)
def test_a_stub_is_not_attempted(exercise_id, answer, capsys):
    assert grade(exercise_id, answer).status == "not attempted"
    assert check(exercise_id, answer) is None
    assert capsys.readouterr().out == f"{exercise_id}: not attempted yet\n"


def test_a_right_answer(capsys):
    check("90.1", 4)
    check("90.2", lambda number: number + number)
    assert capsys.readouterr().out == "90.1: right. Four it is.\n90.2: right.\n"
    assert grade("90.1", 4).status == "right"


@pytest.mark.parametrize(
    ("exercise_id", "answer", "message"),
    [
        ("90.1", 5, "90.1: not yet. That is one too many."),
        ("90.1", 0, "90.1: not yet. Count again."),
        ("90.2", lambda number: number * number, "90.2: not yet. For 1 it gives 1."),
    ],
)
def test_a_wrong_answer_hears_its_likely_mistake(exercise_id, answer, message):
    assert grade(exercise_id, answer).status == "wrong"
    assert grade(exercise_id, answer).message == message


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda number: {}["key"], "Your function raised KeyError: 'key'"),
        (lambda: 1, "Your function raised TypeError"),
        (lambda number: 2 * number if number > 0 else None, "is a `return` missing?"),
        ("two", "could not be compared (TypeError"),
    ],
)
def test_an_exception_is_reported_not_raised(answer, part):
    result = grade("90.2", answer)
    assert result.status == "wrong"
    assert part in result.message and result.message.startswith("90.2: not yet. ")


def test_a_checker_sees_the_names_of_the_learners_function():
    @checks.exercise("90.3")
    def named(function):
        return None if function.__name__ == "mine" else "Name it mine."

    def mine():
        return 1

    assert grade("90.3", mine).status == "right"


def test_an_unknown_exercise_names_those_there_are():
    with pytest.raises(UnknownExercise, match=r"'90\.7'.*90\.1, 90\.2"):
        check("90.7", 1)


def test_one_exercise_has_one_checker():
    with pytest.raises(ValueError, match=r"90\.1 has two checkers"):
        checks.exercise("90.1")(lambda answer: None)


# The quiz

ENTRIES = [
    {
        "question": "Is 1 < 2?",
        "options": [
            {"text": "Yes & always", "correct": True, "why": "One is <less>."},
            {"text": "No", "correct": False, "why": "Count & see."},
        ],
    },
    {"open": "Why <b>?", "hint": "Think & wait."},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(quizzes, "FOLDER", tmp_path)
    (tmp_path / "90.json").write_text(json.dumps(ENTRIES))
    return tmp_path


def test_a_quiz_has_three_faces(folder):
    shown = quiz("90")
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {faces.WIDGET_VIEW, "text/html", "text/plain"}
    assert bundle[faces.WIDGET_VIEW]["model_id"] == shown.widget.model_id
    page, text = bundle["text/html"], bundle["text/plain"]
    assert "Is 1 &lt; 2?" in page and "Yes &amp; always" in page and "Why &lt;b&gt;?" in page
    # What is saved is read by people who have yet to answer.
    assert "One is" not in page and "Count" not in page and "solutions/" in page
    assert "<details><summary>Hint</summary>Think &amp; wait.</details>" in page
    assert "1. Is 1 < 2?\n   A. Yes & always" in text and "Why <b>?" in text


@pytest.mark.parametrize(
    ("choice", "feedback"),
    [
        (None, "<strong>Choose an option first.</strong> "),
        (0, "<strong>Right.</strong> One is &lt;less&gt;."),
        (1, "<strong>Not quite.</strong> Count &amp; see."),
    ],
)
def test_the_button_explains_the_chosen_option(folder, choice, feedback):
    question = quiz("90").questions[0]
    assert question.feedback.value == "" and question.field.value is None
    question.field.value = choice
    question.button.click()
    assert question.feedback.value == f'<div role="status">{feedback}</div>'


def test_the_widget_holds_every_part(folder):
    shown = quiz("90")
    children = shown.widget.children
    question = shown.questions[0]
    assert all(w in children for w in (question.field, question.button, question.feedback))
    assert "Is 1 &lt; 2?" in children[1].value and "Think &amp; wait." in children[-1].value


NUMBER = {
    "question": "How many is 1 + 1?",
    "evidence": ["a  1 <", "b  1"],
    "number": {
        "low": 1.9, "high": 2.1, "unit": "points",
        "why": "Both & each.", "below": "Only one?", "above": "One of them twice?",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("entered", "feedback"),
    [
        ("", "Enter a number first."),
        ("two", "Enter a number first."),
        ("nan", "Enter a number first."),
        ("2", "<strong>Right.</strong> Both &amp; each."),
        (" 2,0 points", "<strong>Right.</strong>"),
        ("2 %", "<strong>Right.</strong>"),
        ("−3", "<strong>Too low.</strong> Only one?"),
        ("2.2", "<strong>Too high.</strong> One of them twice?"),
    ],
)
def test_a_number_is_right_within_its_range(folder, entered, feedback):
    (folder / "91.json").write_text(json.dumps([NUMBER, *ENTRIES]))
    shown = quiz("91")
    question = shown.questions[0]
    question.field.value = entered
    question.button.click()
    assert feedback in question.feedback.value
    page, text = shown._repr_html_(), repr(shown)
    assert "<pre><code>a  1 &lt;\nb  1</code></pre>" in page and "A number, in points." in page
    assert "Both" not in page and "Only one" not in page
    assert "   a  1 <\n   b  1\n   (a number, in points)\n2. Is 1 < 2?" in text


def change(**changes):
    """The entries with the first question changed; `first` changes its first option."""
    first = {**ENTRIES[0]["options"][0], **changes.pop("first", {})}
    question = {**ENTRIES[0], "options": [first, ENTRIES[0]["options"][1]], **changes}
    return json.dumps([question])


def wrong(**changes):
    """A question for a number, with its number changed."""
    return json.dumps([{**NUMBER, "number": {**NUMBER["number"], **changes}}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "90.json: not JSON"),
        ("{}", "90.json: should be a list"),
        ("[]", "90.json: should be a list"),
        ("[1]", "entry 1: should be an object"),
        (change(question=" "), 'entry 1: "question" is missing or empty'),
        (change(options=[]), "entry 1: .* two or more"),
        (change(first={"correct": "yes"}), "entry 1: option 1 should have"),
        (change(first={"correct": False}), "entry 1: exactly one option should be correct, not 0"),
        (change(options=[ENTRIES[0]["options"][0]] * 2), "exactly one .* not 2"),
        (change(first={"why": ""}), 'entry 1: option 1: "why" is missing or empty'),
        (change(first={"text": "No"}), "entry 1: two options have the same text"),
        (change(evidence=[]), 'entry 1: "evidence" should be a list of lines'),
        (change(number=NUMBER["number"]), 'entry 1: should have either "options" or a "number"'),
        (wrong(low=True), 'entry 1: "number" should have a number as "low"'),
        (wrong(high="2"), 'entry 1: "number" should have a number as "high"'),
        (wrong(low=3), 'entry 1: "low" lies above "high"'),
        (wrong(unit=""), 'entry 1: "unit" is missing or empty'),
        (json.dumps([{"open": "Why?"}]), 'entry 1: "hint" is missing or empty'),
        (json.dumps([ENTRIES[1]] * 2), "more than one open question"),
    ],
)
def test_a_malformed_quiz_is_refused_with_its_place(folder, text, message):
    (folder / "90.json").write_text(text)
    with pytest.raises(QuizError, match=message):
        quiz("90")


def test_an_unknown_quiz_names_those_there_are(folder):
    with pytest.raises(FileNotFoundError, match=r"'91'.*Known: 90\."):
        quiz("91")
