"""The checkers of lesson 02 at their edges: kinds of answer, stubs, similar mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.exercises import grade
from helpers.quizzes import FOLDER, read_quiz


def joined(gradient):
    return torch.cat([part.flatten() for part in gradient])


def gradient_cosine(a, b):
    a, b = joined(a), joined(b)
    length = float(a.norm() * b.norm())
    return float(a @ b) / length if length else 0.0


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
        ("2.1", gradient_cosine),
        ("2.1", lambda a, b: torch.tensor(gradient_cosine(a, b))),
        ("2.1", lambda a, b: torch.tensor([gradient_cosine(a, b)])),
        ("2.1", lambda a, b: np.float32(gradient_cosine(a, b))),
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


def only_second_guarded(a, b):
    a, b = joined(a), joined(b)
    return float(a @ b / (a.norm() * b.norm())) if b.norm() > 0 else 0.0


def per_matrix(a, b):
    return [gradient_cosine([x], [y]) for x, y in zip(a, b, strict=True)]


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
        ("2.1", only_second_guarded, "return 0.0"),
        ("2.1", per_matrix, "one number"),
        ("2.1", lambda a, b: torch.ones(3), "one number"),
        ("2.1", lambda a, b: torch.tensor([3.0]), "not 3.000"),
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
    assert "not 0.00" in grade("2.1", lambda a, b: number).message.replace("-0", "0")
    assert "not 0.00" in grade("2.2", lambda x, y: number).message.replace("-0", "0")


def test_the_learners_own_errors_pass_through():
    message = grade("2.3", lambda loss, ps, vs: {}["gone"]).message
    assert "Your function raised KeyError: 'gone'" in message


def test_the_quiz_has_five_questions_and_an_open_one():
    entries = read_quiz(FOLDER / "02.json")
    assert sum("open" in entry for entry in entries) == 1 and len(entries) == 6
