"""The checkers of lesson 09 at their edges."""

from __future__ import annotations

import math

import pytest

from helpers.exercises import grade


def wealth(chosen, harmed, share, margin, bet):
    have, road = 1.0, []
    for candidate, harm in zip(chosen, harmed, strict=True):
        said = (1 / share if candidate else -1 / (1 - share)) if harm else 0.0
        have *= 1 + bet * (said - margin)
        road.append(have)
    return road


def changed(**how):
    """The right answer with one of its inputs changed."""

    def answer(chosen, harmed, share, margin, bet):
        given = {"chosen": chosen, "harmed": harmed, "share": share, "margin": margin, "bet": bet}
        return wealth(**given | {name: new(given) for name, new in how.items()})

    return answer


def added(chosen, harmed, share, margin, bet):
    have, road = 1.0, []
    for candidate, harm in zip(chosen, harmed, strict=True):
        have += bet * ((1 / share if candidate else -1 / (1 - share)) * harm - margin)
        road.append(have)
    return road


def only_harm_moves_it(chosen, harmed, share, margin, bet):
    have, road = 1.0, []
    for candidate, harm in zip(chosen, harmed, strict=True):
        if harm:
            have *= 1 + bet * ((1 / share if candidate else -1 / (1 - share)) - margin)
        road.append(have)
    return road


def largest(*given):
    best, road = -math.inf, []
    for have in wealth(*given):
        best = max(best, have)
        road.append(best)
    return road


def test_the_bet_by_a_loop_is_right():
    assert grade("9.2", wealth).status == "right"
    assert grade("9.2", lambda *given: tuple(wealth(*given))).status == "right"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (changed(margin=lambda given: 0.0), "margin is missing"),
        (changed(margin=lambda given: -given["margin"]), "margin is added"),
        (changed(margin=lambda given: 100 * given["margin"]), "should leave"),
        (added, "multiply"),
        (changed(chosen=lambda given: [not c for c in given["chosen"]],
                 share=lambda given: 1 - given["share"]), "exchanged"),
        (only_harm_moves_it, "leaves the wealth as it is"),
        (changed(harmed=lambda g: [h and c for h, c in zip(g["harmed"], g["chosen"], strict=True)]),
         "Only the candidate's"),
        (lambda *given: [math.log(have) for have in wealth(*given)], "logarithm"),
        (largest, "largest wealth so far"),
        (lambda *given: [1.0, *wealth(*given)], "Leave it out"),
        (lambda *given: wealth(*given)[-1], "a list of numbers"),
        (lambda *given: wealth(*given)[:-1], "199 numbers"),
        (lambda *given: [[have] for have in wealth(*given)], "plain list"),
        (lambda *given: ["much"] * 200, "a list of numbers"),
        (lambda *given: [0.0] * 200, "begin with 1"),
    ],
)  # fmt: skip
def test_the_likely_mistake_in_the_bet_is_named(answer, told):
    result = grade("9.2", answer)
    assert result.status == "wrong" and told in result.message


def stages(*rows):
    return {"stages": [*({"percent": p} | more for p, more in rows), {"percent": 100}]}


@pytest.mark.parametrize(
    "plan",
    [
        stages((5, {"within": 5}), (50, {})),
        stages((5, {"hours": 2, "within": 6}), (25, {"within": 3}), (50, {})),
        stages((5, {"within": 5}), (30, {})),
    ],
)
def test_plans_that_keep_the_limits(plan):
    assert grade("9.3", plan).status == "right"


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (stages((50, {})), "Begin narrower"),
        (stages((20, {})), "Begin narrower"),
        (stages((1, {"hours": 1}), (25, {})), "before has seen nothing"),
        (stages((1, {"hours": 24}), (5, {"hours": 24}), (25, {"hours": 24})), "20 h are allowed"),
        (stages((1, {})), "fewer than half"),
        (stages((5, {})), "Wait less, or widen further"),
        (stages((2, {"within": 14}), (50, {})), "extra users"),
        (stages((50, {}), (5, {})), "wider than the one before"),
        ({"stages": [{"percent": 5}]}, "100"),
        ({"stages": [{"share": 5}]}, "percent"),
        (5, "dict"),
        (stages((100, {})), "100"),
        ({"stages": [{"percent": 100}]}, "nobody is left"),
    ],
)
def test_what_a_plan_costs_is_told(plan, told):
    result = grade("9.3", plan)
    assert result.status == "wrong" and told in result.message


CARELESS = {"A": None, "B": 9, "C": 8, "D": 8}


def test_journals_read_right():
    assert grade("9.1", CARELESS).status == "right"
    assert grade("9.1", {"a": None, "b": 9, "c": 8, "d": 9}).status == "right"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"A": 9}, "does not make it careless"),
        ({"B": None}, "one step should not have been taken"),
        ({"B": 11}, "too late"),
        ({"B": 8}, "kept to the plan"),
        ({"C": 7}, "kept to the plan"),
        ({"D": 11}, "too late"),
        ({"D": "8"}, "no line of its journal"),
        ({"D": True}, "no line"),
        ({"Z": 8}, "no journal 'Z'"),
    ],
)
def test_what_is_misread_in_a_journal_is_told(change, told):
    result = grade("9.1", CARELESS | change)
    assert result.status == "wrong" and told in result.message


def test_every_journal_is_asked_for():
    assert "D is missing" in grade("9.1", {"A": None, "B": 9, "C": 8}).message
    assert "Give a dict" in grade("9.1", [9]).message
