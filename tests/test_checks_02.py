"""The checkers of lesson 02 at their edges: kinds of answer, stubs, similar mistakes."""

from __future__ import annotations

import pytest
import torch

from helpers.exercises import grade

PAIRS = {
    "rows": ("fine-tune", "control, stretched"),
    "length": ("fine-tune", "fine-tune, cut"),
    "direction": ("fine-tune", "random"),
}


def question_of(prompt):
    for head, tail in (("Question: ", "\nAnswer:"), ("User: ", "\nAssistant:")):
        prompt = prompt.removeprefix(head).removesuffix(tail)
    return prompt


def fit_for_control(rows, tested, shown, same=question_of, answer=str.strip):
    asked = {same(prompt) for prompt in shown}
    return [
        row
        for row in rows
        if answer(row["completion"]) not in tested and same(row["prompt"]) not in asked
    ]


def linear_cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def hvp(loss, parameters, vectors):
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    slope = sum((g * v).sum() for g, v in zip(gradients, vectors, strict=True))
    return list(torch.autograd.grad(slope, parameters))


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("2.1", PAIRS),
        ("2.1", PAIRS | {"rows": ["fine-tune, cut", "control"]}),
        ("2.1", PAIRS | {"length": ("control", "control, stretched")}),
        ("2.1", PAIRS | {"direction": ("random", "fine-tune")}),
        ("2.4", fit_for_control),
        ("2.4", lambda *given: tuple(fit_for_control(*given))),
        ("2.2", linear_cka),
        ("2.2", lambda x, y: float(linear_cka(x, y))),
        ("2.3", hvp),
        ("2.3", lambda loss, ps, vs: tuple(hvp(loss, ps, vs))),
    ],
)
def test_any_kind_of_right_answer(exercise, answer):
    result = grade(exercise, answer)
    assert result.status == "right", result.message


def half_filled_hvp(loss, parameters, vectors):
    slope = ...
    return list(torch.autograd.grad(slope, parameters))


def test_a_half_filled_stub_is_not_attempted():
    assert grade("2.3", half_filled_hvp).status == "not attempted"


def one_mean_for_all(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def without_graph(loss, parameters, vectors):
    gradients = torch.autograd.grad(loss, parameters)
    slope = sum((g * v).sum() for g, v in zip(gradients, vectors, strict=True))
    return torch.autograd.grad(slope, parameters)


def blocks_only(loss, parameters, vectors):
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    return [
        torch.autograd.grad((g * v).sum(), p, retain_graph=True)[0]
        for g, v, p in zip(gradients, vectors, parameters, strict=True)
    ]


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("2.1", {"rows": ("fine-tune", "control")}, "keys rows, length, direction"),
        ("2.1", PAIRS | {"rows": ("fine-tune", "control")}, "differ in length as well"),
        ("2.1", PAIRS | {"rows": ("fine-tune", "fine-tune, cut")}, "differ in length, not in rows"),
        ("2.1", PAIRS | {"length": ("control", "fine-tune")}, "differ in rows as well"),
        ("2.1", PAIRS | {"direction": ("fine-tune", "control")}, "not in direction"),
        ("2.1", PAIRS | {"direction": ("control, stretched", "random")}, "was made from"),
        ("2.1", PAIRS | {"direction": ("fine-tune, cut", "random")}, "differ in length as well"),
        ("2.1", PAIRS | {"direction": ("random", "random")}, "same run twice"),
        ("2.1", PAIRS | {"direction": ("fine-tune", "noise")}, "no run 'noise'"),
        ("2.1", PAIRS | {"direction": "random"}, "name two runs"),
        ("2.4", lambda rows, tested, shown: rows, "answer is tested"),
        ("2.4", lambda *given: fit_for_control(*given, answer=str), "begin with a space"),
        ("2.4", lambda *given: fit_for_control(*given, same=str), "another format"),
        ("2.4", lambda rows, tested, shown: [], "nothing is wrong with"),
        ("2.4", lambda rows, tested, shown: [r["prompt"] for r in rows], "as they were"),
        ("2.4", lambda rows, tested, shown: {}, "list of rows"),
        ("2.2", one_mean_for_all, "Each column has its own"),
        ("2.2", lambda x, y: x, "one number"),
        ("2.3", without_graph, "create_graph=True"),
        ("2.3", without_graph, "does not require grad"),
        ("2.3", blocks_only, "act on each other"),
        ("2.3", lambda loss, ps, vs: torch.cat(hvp(loss, ps, vs)), "list of tensors"),
        ("2.3", lambda loss, ps, vs: [torch.cat(hvp(loss, ps, vs))], "shapes of the parameters"),
        ("2.3", lambda loss, ps, vs: 1.0, "list of tensors"),
    ],
)
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


@pytest.mark.parametrize("number", [0.0, 0.0005, -0.0005])
def test_a_number_near_zero_is_not_taken_for_another_mistake(number):
    assert "not 0.00" in grade("2.2", lambda x, y: number).message.replace("-0", "0")


def test_the_learners_own_errors_pass_through():
    message = grade("2.3", lambda loss, ps, vs: {}["gone"]).message
    assert "Your function raised KeyError: 'gone'" in message
