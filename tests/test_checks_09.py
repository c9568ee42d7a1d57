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
