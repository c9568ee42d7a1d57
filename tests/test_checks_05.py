"""The checkers of lesson 05 at their edges, and the numbers of its open question."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from helpers import audit
from helpers.audit.paired import bounds, mcnemar, pair
from helpers.checks.lesson_05 import ALPHA, REQUESTS, ROWS
from helpers.exercises import grade
from helpers.paths import DATA
from helpers.quizzes import FOLDER, read_quiz

SOURCE = (DATA.parent / "source" / "05_the_audit.py").read_text(encoding="utf-8")
ENOUGH = {"howto": 760, "refusal": 800, "lists": 550, "facts": 550}
FOOLED = [1] * 20, [0] * 4 + [1] * 16


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("5.1", {"A", "C", "D"}),
        ("5.1", ["d", "c", "a"]),
        ("5.1", "A, C, D"),
        ("5.2", ENOUGH),
        ("5.2", {**ENOUGH, "howto": np.int64(700), "lists": 600, "facts": 600}),
        ("5.3", FOOLED),
        ("5.3", [np.array([1] * 20), np.array([0] * 4 + [1] * 16)]),
        ("5.3", ([True] * 30, [False] * 5 + [True] * 25)),
    ],
)
def test_any_kind_of_right_answer(exercise, answer):
    result = grade(exercise, answer)
    assert result.status == "right", result.message


@pytest.mark.parametrize(
    ("exercise", "stub"),
    [("5.1", ...), ("5.2", dict.fromkeys(ROWS, ...)), ("5.3", (..., ...)), ("5.3", ([1], ...))],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("5.1", set("ABCDEF"), "How many chances did each request have"),
        ("5.1", set("ABCD"), "B is not to be believed: the size of the second look"),
        ("5.1", set("ACDE"), "E is not to be believed: the margin was chosen after"),
        ("5.1", set("ACDF"), "F is not to be believed: two planned looks leave 0.025"),
        ("5.1", set("AD"), "C may be believed: ten announced candidates leave a tenth"),
        ("5.1", set("AC"), "D may be believed: the screening never touched"),
        ("5.1", set("CD"), "A may be believed"),
        ("5.1", set("ACG"), "There is no request 'G'"),
        ("5.1", 3, "Give a set of letters"),
        ("5.2", {"howto": 429, "refusal": 598, "lists": 297, "facts": 297}, "the chances multiply"),
        ("5.2", dict.fromkeys(ROWS, 675), "the chances multiply"),
        ("5.2", {**ENOUGH, "refusal": 500}, "The weakest is refusal"),
        ("5.2", {"howto": 692, "refusal": 958, "lists": 475, "facts": 475}, "Only 800 different"),
        ("5.2", dict.fromkeys(ROWS, 800), "3,200 items, and 2,700 can be paid"),
        ("5.2", {**ENOUGH, "howto": 1.5}, "whole number, not 1.5"),
        ("5.2", {"howto": 5}, "Give a dict with the items of howto, refusal"),
        ("5.3", ([1] * 100, [0] * 20 + [1] * 80), "p = 1.9e-06, which the old rule sees"),
        ("5.3", ([1] * 60, [0] * 4 + [1] * 56), "It lost 6.7 points"),
        ("5.3", FOOLED[::-1], "gained 20 points. Before comes first"),
        ("5.3", ([1, 1], [0]), "one each an item"),
        ("5.3", ([1, 2], [0, 1]), "Scores are 0 or 1"),
        ("5.3", ("yes", "no"), "Give two lists of 0s and 1s"),
        ("5.3", [1] * 3, "Give two lists: the scores before"),
    ],
)
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


def test_the_requests_are_those_of_the_lesson():
    told = dict(re.findall(r"^([A-F])  .*p = (0\.\d+)\.", SOURCE, re.M))
    assert {letter: float(p) for letter, p in told.items()} == {
        letter: request.p for letter, request in REQUESTS.items()
    }
    assert all(request.p < ALPHA for request in REQUESTS.values())


def test_the_budget_of_the_lesson_can_be_met_and_its_plan_cannot():
    text = re.search(r'four = gate\.CapabilityMap\.parse\("""\\\n(.*?)"""', SOURCE, re.S)[1]
    four = audit.CapabilityMap.parse(text)
    assert {row.name: (row.margin, row.discordance) for row in four.categories} == ROWS
    assert sum(ENOUGH.values()) <= 2_700 and audit.ships(four, ENOUGH) > 0.81
    assert audit.plan(four).together["refusal"] > 800
    assert audit.ships(four, audit.plan(four).alone) < 0.5


def test_the_old_gate_is_fooled_and_ours_is_not():
    before, after = FOOLED
    assert mcnemar(4, 0) > 0.05
    found = pair(before, after)
    assert bounds(found)[0] < 0.05 < bounds(found)[1]


# The quiz (its closed questions: test_quiz_numbers_late.py)


def test_the_numbers_of_the_open_question():
    from scipy import stats

    text = json.dumps(read_quiz(FOLDER / "05.json")[-1])
    shares = []
    for drop in (0.0, 0.02):
        lost = np.arange(501)
        total = 0.0
        for changed in range(501):
            weight = stats.binom.pmf(changed, 500, 0.10)
            if weight > 1e-12:
                wrong = lost[: changed + 1]
                chance = stats.binom.pmf(wrong, changed, (0.10 + drop) / 0.20)
                total += weight * chance[2 * wrong - changed >= 10].sum()
        shares.append(total)
    assert f"blocked in {100 * shares[0]:.0f} %" in text
    assert f"gets through in {100 * (1 - shares[1]):.0f} %" in text
    assert f"two points need {audit.items_needed(2):,} questions" in text
