"""The checkers of lesson 08 at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from helpers.exercises import grade


def theta_of(a, b):
    return ((a * b).sum() / a.norm() / b.norm()).clamp(-1, 1).acos()


def shares(a, b, alpha, theta):
    return (torch.sin((1 - alpha) * theta) * a + torch.sin(alpha * theta) * b) / torch.sin(theta)


def line(a, b, alpha):
    return (1 - alpha) * a + alpha * b


def slerp(a, b, alpha, theta=theta_of):
    angle = theta(a, b)
    return shares(a, b, alpha, angle) if angle > 1e-3 else line(a, b, alpha)


def slerp_by_numpy(a, b, alpha):
    a, b = a.double().numpy(), b.double().numpy()
    cosine = np.clip((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)
    theta = math.acos(cosine)
    if theta < 1e-4:
        return line(a, b, alpha)
    return (math.sin((1 - alpha) * theta) * a + math.sin(alpha * theta) * b) / math.sin(theta)


def without_edges(a, b, alpha):
    return shares(a, b, alpha, theta_of(a, b))


def on_the_sphere(a, b, alpha):
    return slerp(a / a.norm(), b / b.norm(), alpha)


def by_rows(a, b, alpha):
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1)
    return shares(a, b, alpha, cosine.acos().unsqueeze(-1))


def length_put_right(a, b, alpha):
    found = line(a, b, alpha)
    return found / found.norm() * line(a.norm(), b.norm(), alpha)


def dot(a, b):
    return (a * b).sum()


def agreeing(changes):
    return (changes.sign() == changes.sum(0).sign()) & (changes != 0)


def elect(changes):
    agree = agreeing(changes)
    return (changes * agree).sum(0) / agree.sum(0).clamp(min=1)


def elect_in_loops(changes):
    found = []
    for column in changes.T.tolist():
        chosen = [x for x in column if x * sum(column) > 0]
        found.append(sum(chosen) / max(1, len(chosen)))
    return found


def elect_by_parts(changes):
    """Positive and negative changes apart, the larger sum wins."""
    up, down = changes.clamp(min=0), (-changes).clamp(min=0)
    means = [part.sum(0) / (part > 0).sum(0).clamp(min=1) for part in (up, down)]
    balance = up.sum(0) - down.sum(0)
    return torch.where(balance > 0, means[0], torch.where(balance < 0, -means[1], 0))


def by_largest(changes):
    largest = changes.gather(0, changes.abs().argmax(0, keepdim=True))
    agree = (changes.sign() == largest.sign()) & (changes != 0)
    return (changes * agree).sum(0) / agree.sum(0).clamp(min=1)


def side_by_side(a1, b1, a2, b2, one=0.5, other=0.5):
    return torch.cat([a1, a2]), torch.cat([one * b1, other * b2], dim=1)


def half_in_roots(a1, b1, a2, b2):
    root = math.sqrt(0.5)
    return root * torch.cat([a1, a2]), root * torch.cat([b1, b2], dim=1)


def by_svd(a1, b1, a2, b2):
    u, s, v = torch.linalg.svd((b1 @ a1 + b2 @ a2) / 2, full_matrices=False)
    rank = len(a1) + len(a2)
    return v[:rank], (u * s)[:, :rank]


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("8.1", slerp),
        ("8.1", slerp_by_numpy),
        ("8.1", lambda a, b, alpha: slerp(a.double(), b.double(), alpha)),
        ("8.2", elect),
        ("8.2", elect_in_loops),
        ("8.2", elect_by_parts),
        ("8.2", lambda changes: elect(changes).numpy()),
        ("8.3", side_by_side),
        ("8.3", half_in_roots),
        ("8.3", by_svd),
        ("8.3", lambda *factors: list(side_by_side(*factors))),
    ],
)
def test_any_kind_of_right_answer(exercise, answer):
    result = grade(exercise, answer)
    assert result.status == "right", result.message


@pytest.mark.parametrize(
    ("exercise", "stub"),
    [
        ("8.1", lambda a, b, alpha: torch.sin(alpha * ...) * a),
        ("8.2", lambda changes: changes * ...),
        ("8.3", lambda a1, b1, a2, b2: (..., ...)),
    ],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("8.1", lambda a, b, t: slerp(a, b, t, lambda a, b: dot(a, b).acos()), "not normalised"),
        ("8.1", lambda a, b, t: shares(a, b, t, dot(a, b).clamp(-1, 1).acos()), "not normalised"),
        ("8.1", lambda a, b, t: shares(a, b, t, (dot(a, b) / a.norm()).acos()), "by both of them"),
        ("8.1", line, "the straight line"),
        ("8.1", on_the_sphere, "keep their lengths"),
        ("8.1", lambda a, b, t: slerp(b, a, t), "alpha 0 is `a`"),
        ("8.1", lambda a, b, t: slerp(a, b, 1 - t), "alpha 0 is `a`"),
        ("8.1", lambda a, b, t: slerp(a, b, t) * torch.sin(theta_of(a, b)), "Divide by sin θ"),
        ("8.1", lambda a, b, t: slerp(a, b, t, lambda a, b: theta_of(a, b).rad2deg()), "radians"),
        ("8.1", length_put_right, "its length put right"),
        ("8.1", lambda a, b, t: slerp(a, b, 0.5), "an alpha of 0.3"),
        ("8.1", without_edges, "For two parallel tensors"),
        ("8.1", lambda a, b, t: slerp(a, b, t).flatten(), "of shape (12,); it should be (3, 4)"),
        ("8.1", lambda a, b, t: "0.5", "returned a str"),
        ("8.2", lambda c: c.mean(0), "the mean of all changes"),
        ("8.2", lambda c: c.sum(0), "the sum of all changes"),
        ("8.2", lambda c: c.sum(0) / (c != 0).sum(0).clamp(min=1), "the losers are not"),
        ("8.2", by_largest, "that of the largest change"),
        ("8.2", lambda c: (c * agreeing(c)).sum(0) / len(c), "number of all fine-tunes"),
        ("8.2", lambda c: (c * agreeing(c)).sum(0), "Take their mean"),
        ("8.2", lambda c: (c * agreeing(c)).sum(0) / agreeing(c).sum(0), "divide 0 by 0"),
        ("8.2", lambda c: c.sum(0).sign(), "the elected sign"),
        ("8.2", lambda c: elect(c).abs(), "lose their signs"),
        ("8.2", lambda c: elect(c).round(), "For the changes -1, -2, 0.5 it is -1.5, not -2"),
        ("8.2", lambda c: elect(c.T), "it should be (8,). There is one number for each weight"),
        ("8.3", lambda a1, b1, a2, b2: ((a1 + a2) / 2, (b1 + b2) / 2), "PEFT's `linear`"),
        ("8.3", lambda a1, b1, a2, b2: (a1 + a2, b1 + b2), "adds up A and B"),
        ("8.3", lambda *f: side_by_side(*f, 1, 1), "The mean is half of it"),
        ("8.3", lambda *f: side_by_side(*f, 0.25, 0.25), "in both factors"),
        ("8.3", lambda *f: side_by_side(*f, 1, 0.5), "takes its half"),
        ("8.3", lambda a1, b1, a2, b2: side_by_side(a2, b1, a1, b2), "different orders"),
        ("8.3", lambda *f: side_by_side(*f)[::-1], "wrong way round"),
        ("8.3", lambda a1, b1, a2, b2: (a1, b1), "the first update alone"),
        ("8.3", lambda a1, b1, a2, b2: (torch.cat([a1, a2], 1), torch.cat([b1, b2], 1)),
         "A's stand on top of each other"),
        ("8.3", lambda a1, b1, a2, b2: ((b1 @ a1 + b2 @ a2) / 2, torch.eye(len(b1))),
         "The rank of your factors is 5"),
        ("8.3", lambda a1, b1, a2, b2: b1 @ a1 + b2 @ a2, "two matrices are asked for"),
        ("8.3", lambda *f: side_by_side(*f, 0.4, 0.6), "off the mean of the updates by"),
    ],
)  # fmt: skip
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message, result.message


def test_one_angle_for_each_row_is_named():
    """On vectors it is right, so that only matrices tell."""

    def mixed(a, b, alpha):
        return by_rows(a, b, alpha) if a.ndim > 1 else slerp(a, b, alpha)

    assert "one angle for each row" in grade("8.1", mixed).message
    assert "one angle for each row" in grade("8.1", by_rows).message


def test_the_learners_own_errors_pass_through():
    for exercise in ("8.1", "8.2", "8.3"):
        message = grade(exercise, lambda *arguments: {}["gone"]).message
        assert "Your function raised KeyError: 'gone'" in message
