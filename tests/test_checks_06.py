"""The checkers of lesson 06 whose answers are values: typical wrong ones are told their cause."""

from __future__ import annotations

import math

import pytest

from helpers.exercises import grade

RUN = ("replay, no problems", 0.25)
TRAINED, EXTRA = 31_662.4, 22.6167  # tokens, see `test_the_tokens_are_those_of_the_lesson`
EVERYONE = {"arithmetic", "facts", "howto", "lists", "reading", "reasoning", "refusal"}


@pytest.mark.parametrize(
    ("broken", "price", "hint"),
    [
        (set(), 11, "No margin broken is what the average says"),
        ({"reasoning", "howto"}, 11, "or the worst seed"),
        (EVERYONE | {"translation"}, 11, "Put the door before it"),
        ({"reading"}, 11, "A skill is missing: reasoning"),
        ({"reasoning", "reading"}, 11, "reading stays inside its margin"),
        ({"reasoning", "grammar"}, 11, "no old skill"),
        ("reasoning", 11, "a set of names"),
        ({"reasoning"}, "eleven", "should be one number"),
        ({"reasoning"}, -11, "wrong sign"),
        ({"reasoning"}, 78.333, "is what is left"),
        ({"reasoning"}, 33, "sum over the seeds"),
        ({"reasoning"}, 12.3, "a share of what was right"),
        ({"reasoning"}, 12, "what the search loses"),
        ({"reasoning"}, 5, "`broken` is right"),
    ],
)
def test_the_report(broken, price, hint):
    result = grade("6.1", (broken, price))
    assert result.status == "wrong" and hint in result.message


@pytest.mark.parametrize("broken", [{"reasoning"}, ["reasoning"], ("reasoning",)])
def test_the_report_is_read_right(broken):
    result = grade("6.1", (broken, 11.0))
    assert result.status == "right"
    assert "Word problems lose 9 points" in result.message


@pytest.mark.parametrize(
    ("control", "hint"),
    [
        (("plain", 0), "no old rows at all"),
        (("families", 5), "worked problems in the data too"),
        (("worked steps", 0.25), "All of its old rows are worked problems"),
        (("replay", 0.25), "every eighth is a worked problem"),
        (("self replay", 0.25), "Some of its prompts are word problems"),
        (("replay, no problems", 0.1), "Take one as it is printed"),
        ("replay, no problems", "a method and a strength"),
    ],
)
def test_the_deciding_run(control, hint):
    result = grade("6.3", (control, 85.0))
    assert result.status == "wrong" and hint in result.message


@pytest.mark.parametrize(
    ("value", "hint"),
    [(0.5, "is not 0.5"), ("85", "one number"), (0.01, "is not")],
)
def test_the_deciding_runs_score(value, hint):
    result = grade("6.3", (RUN, value))
    assert result.status == "wrong" and hint in result.message


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (39 * TRAINED / EXTRA, "round up"),
        (54_598, "round up"),
        (math.ceil(13 * TRAINED / EXTRA), "three times as much"),
        (math.ceil(36 * TRAINED / EXTRA), "first training counts"),
        (math.ceil(3 * TRAINED / EXTRA), "a training of its own"),
        (EXTRA / (39 * TRAINED), "wrong way round"),
        (39 * TRAINED, "Those are the tokens"),
        (7, "Count 3 × 13 trainings"),
        ("many", "one number"),
    ],
)
def test_the_cost_line(value, hint):
    result = grade("6.4", value)
    assert result.status == "wrong" and hint in result.message


@pytest.mark.parametrize("exercise", ["6.1", "6.3", "6.4"])
@pytest.mark.parametrize("stub", [..., None, (..., ...)])
def test_a_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"
