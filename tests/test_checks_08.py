"""The checkers of lesson 08 at their edges."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
import torch

from helpers.exercises import grade


def percent(row):
    return 100 * sum(row) / len(row)


def look(road, alpha, part, total=max):
    now, before = road[alpha], road[0]
    lost = [percent(before[n][part]) - percent(now[n][part]) for n in now if n != "support"]
    return percent(now["support"][part]), total(lost)


def signing(choose, report, total=max, told=max, best=None):
    """An answer to 8.1 that chooses on some items and reports others."""

    def sign(road, goal):
        reached = [a for a in sorted(road) if look(road, a, choose)[0] >= goal]
        alpha = min(reached, key=best or (lambda a: look(road, a, choose, total)[1]))
        return (alpha, *look(road, alpha, report, told))

    return sign


EVEN, ODD, ALL = slice(0, None, 2), slice(1, None, 2), slice(None)
sign = signing(EVEN, ODD)


def sign_by_numpy(road, goal):
    """First half against second half, in arrays."""
    rows = {a: {n: np.array(row, float) * 100 for n, row in r.items()} for a, r in road.items()}
    half = len(road[0]["support"]) // 2
    best = None
    for alpha in sorted(rows):
        one = {n: row[:half].mean() for n, row in rows[alpha].items()}
        lost = max(rows[0][n][:half].mean() - one[n] for n in one if n != "support")
        if one["support"] >= goal and (best is None or lost < best[1] - 1e-9):
            best = alpha, lost
    alpha = best[0]
    other = {n: row[half:].mean() for n, row in rows[alpha].items()}
    lost = max(rows[0][n][half:].mean() - other[n] for n in other if n != "support")
    return [alpha, other["support"], lost]


def as_shares(road, goal):
    alpha, support, worst = sign(road, goal)
    return alpha, support / 100, worst / 100


def from_hundred(road, goal):
    perfect = {n: (True,) * len(row) for n, row in road[0].items()} | {
        "support": road[0]["support"]
    }
    return sign({**road, 0: perfect}, goal)


def from_the_end(road, goal):
    """Losses counted from α = 1; the base does not reach the goal, and is no candidate."""
    moved = {**road, 0: {**road[1], "support": road[0]["support"]}}
    return sign(moved, goal)


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
        ("8.1", sign),
        ("8.1", signing(ODD, EVEN)),
        ("8.1", sign_by_numpy),
        ("8.1", lambda road, goal: list(sign(road, goal))),
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
        ("8.1", lambda road, goal: (..., ..., ...)),
        ("8.2", lambda changes: changes * ...),
        ("8.3", lambda a1, b1, a2, b2: (..., ...)),
    ],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("8.1", signing(ALL, ALL), "the same items testify"),
        ("8.1", signing(EVEN, EVEN), "report the same half"),
        ("8.1", signing(EVEN, ALL), "half of them have chosen"),
        ("8.1", signing(ALL, ODD), "those that you report too"),
        ("8.1", signing(EVEN, ODD, fmean, fmean), "the mean over the old skills"),
        ("8.1", signing(ALL, ALL, fmean, fmean), "the mean over the old skills"),
        ("8.1", signing(EVEN, ODD, fmean, max), "choose it by the worst skill"),
        ("8.1", signing(EVEN, ODD, max, fmean), "Report those of the worst skill"),
        ("8.1", as_shares, "Your scores are shares"),
        ("8.1", from_hundred, "counted from 100"),
        ("8.1", from_the_end, "counted from the fine-tune"),
        ("8.1", lambda road, goal: signing(EVEN, ODD, best=lambda a: a)(road, goal),
         "the smallest α"),
        ("8.1", lambda road, goal: signing(EVEN, ODD, best=lambda a: (
            -look(road, a, EVEN)[0]))(road, goal), "the most support"),
        ("8.1", lambda road, goal: sign(road, goal / 100), "it would be"),
        ("8.1", lambda road, goal: 0.7, "returned a float"),
        ("8.1", lambda road, goal: ("α", 1, 2), "three numbers"),
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


def test_the_learners_own_errors_pass_through():
    for exercise in ("8.1", "8.2", "8.3"):
        message = grade(exercise, lambda *arguments: {}["gone"]).message
        assert "Your function raised KeyError: 'gone'" in message
