"""Checkers of the exercises in lesson 08."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import torch

from . import exercise

#: What to say about a tensor, and how one arrives at it.
Mistakes = Sequence[tuple[str, Callable[..., torch.Tensor]]]


def _draw(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _not_a_tensor(found: Any, shape: tuple[int, ...]) -> str | None:
    """What to say about an answer that is not one tensor of a shape, or None."""
    try:
        found = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return f"It returned a {type(found).__name__}; a tensor is asked for."
    if tuple(found.shape) != shape:
        return f"It returned a tensor of shape {tuple(found.shape)}; it should be {shape}."
    return None


def _close(found: Any, expected: torch.Tensor) -> bool:
    one, other = (torch.as_tensor(values).double() for values in (found, expected))
    # Two mistakes may end in the same place that is no number.
    return one.shape == other.shape and torch.allclose(one, other, 1e-3, 1e-5, equal_nan=True)


def _mistake(found: list[Any], cases: list[tuple[Any, ...]], mistakes: Mistakes) -> str | None:
    """What to say where all the tensors come about by the same mistake, or None."""
    for message, mistaken in mistakes:
        if all(_close(value, mistaken(*case)) for value, case in zip(found, cases, strict=True)):
            return message
    return None


def _shown(values: Any) -> str:
    numbers = torch.as_tensor(values).double().flatten()[:3].tolist()
    return ", ".join(f"{number:.3f}" for number in numbers)


# 8.1

Road = dict[float, dict[str, tuple[bool, ...]]]
#: Ways to halve the items: which of them choose, and which testify.
HALVES: tuple[tuple[slice, slice], ...] = (
    (slice(0, None, 2), slice(1, None, 2)),
    (slice(1, None, 2), slice(0, None, 2)),
    (slice(0, 40), slice(40, None)),
    (slice(40, None), slice(0, 40)),
)
ALL = slice(None)


def _draw_road(seed: int) -> Road:
    """Eighty items a capability. Losses do not rise with α alone, so that mistakes show."""
    rng = random.Random(seed)
    road: Road = {}
    for alpha in (0, 0.5, 0.6, 0.7, 0.8, 0.9, 1):
        shares = {"support": 0.0 if alpha == 0 else 0.55 + 0.42 * alpha}
        for name, base in (("lists", 0.85), ("howto", 0.95), ("facts", 0.80)):
            shares[name] = base if alpha == 0 else base - rng.uniform(0.05, 0.35)
        road[alpha] = {
            name: tuple(rng.random() < share for _ in range(80)) for name, share in shares.items()
        }
    return road


def _percent(row: Sequence[bool], part: slice) -> float:
    return 100 * sum(row[part]) / len(row[part])


def _losses(road: Road, alpha: float, part: slice, start: float | None = 0) -> dict[str, float]:
    """Points lost by each old skill; from 100 when there is no start."""
    return {
        name: (100 if start is None else _percent(road[start][name], part)) - _percent(row, part)
        for name, row in road[alpha].items()
        if name != "support"
    }


Signed = tuple[float, float, float]
Key = Callable[[Road, float, slice], float]


def _worst(road: Road, alpha: float, part: slice) -> float:
    return max(_losses(road, alpha, part).values())


def _mean(road: Road, alpha: float, part: slice) -> float:
    return fmean(_losses(road, alpha, part).values())


def _from_top(road: Road, alpha: float, part: slice) -> float:
    return max(_losses(road, alpha, part, None).values())


def _from_end(road: Road, alpha: float, part: slice) -> float:
    return max(_losses(road, alpha, part, max(road)).values())


def _most_support(road: Road, alpha: float, part: slice) -> float:
    return -_percent(road[alpha]["support"], part)


def _signed(
    road: Road, goal: float, choose: slice, report: slice, key: Key = _worst, told: Key = _worst
) -> Signed:
    """The α of least `key` on the items that choose, with what the others say of it."""
    reached = [a for a in sorted(road) if _percent(road[a]["support"], choose) >= goal]
    alpha = min(reached, key=lambda a: round(key(road, a, choose), 6))
    return alpha, _percent(road[alpha]["support"], report), told(road, alpha, report)


def _same_items(halves: tuple[slice, slice]) -> list[tuple[slice, slice]]:
    choose, _ = halves
    return [(ALL, ALL), (choose, choose), (choose, ALL)]


#: What a wrong choice or a wrong number comes from: the key that chooses and the one that is told.
ON_SIGNING: Sequence[tuple[str, Key, Key]] = (
    ("That is the mean over the old skills. It hides the one that has lost most, and that is the "
     "one to sign for.", _mean, _mean),
    ("The α is chosen by the mean loss: choose it by the worst skill.", _mean, _worst),
    ("The right α, but the points are the mean's. Report those of the worst skill.",
     _worst, _mean),
    ("That is the α with the most support. All of them that reach the goal are good enough: take "
     "the one whose worst skill has lost least.", _most_support, _worst),
    ("That is the smallest α that reaches the goal. Often it has lost least, and not always: "
     "compare the losses.", lambda road, alpha, part: alpha, _worst),
    ("Loss is counted from 100. The base is not perfect: count from the score at α = 0.",
     _from_top, _from_top),
    ("Loss is counted from the fine-tune, α = 1. Count it from the base, α = 0.",
     _from_end, _from_end),
)  # fmt: skip


@exercise(
    "8.1",
    reading="What has chosen cannot testify: on the choosing half the same α looks a little better "
    "than it is.",
)
def sign(function) -> str | None:
    roads = [_draw_road(seed) for seed in ROADS]
    found = [function(copy.deepcopy(road), 85) for road in roads]
    for value in found:
        if mistake := _not_signed(value):
            return mistake

    def matches(choose: slice, report: slice, key: Key = _worst, told: Key = _worst) -> bool:
        wanted = (_signed(road, 85, choose, report, key, told) for road in roads)
        return all(_alike(value, right) for value, right in zip(found, wanted, strict=True))

    if any(matches(*halves) for halves in HALVES):
        return None
    for halves in HALVES:
        for message, key, told in ON_SIGNING:
            if any(matches(*items, key, told) for items in (halves, *_same_items(halves))):
                return message
    if matches(ALL, ALL):
        return (
            "All items have chosen the α, and the same items testify for it: of several α the best "
            "looks too good on them. Choose on one half of each row, and report the other."
        )
    if any(matches(choose, choose) for choose, _ in HALVES):
        return "You choose on one half and report the same half. Report the other one."
    if any(matches(choose, ALL) for choose, _ in HALVES):
        return "You report all items, and half of them have chosen the α. Report the other half."
    if any(matches(ALL, report) for _, report in HALVES):
        return "All items have chosen the α, those that you report too. Choose on the other half."
    shares = [(v[0], 100 * float(v[1]), 100 * float(v[2])) for v in found]
    if all(
        any(_alike(value, _signed(road, 85, *halves)) for halves in HALVES)
        for value, road in zip(shares, roads, strict=True)
    ):
        return "Your scores are shares. Return percent: 92.0, not 0.92."
    right = _signed(roads[0], 85, *HALVES[0])
    return (
        f"For a road of the checker, goal 85, it returns {_told(found[0])}. With even items "
        f"choosing and odd ones reporting it would be {_told(right)}."
    )


#: Seeds of roads on which every mistake that is named shows, and no two losses tie: how a tie falls
#: would hang on the last bit of a mean.
ROADS = (23, 191, 212, 363)


def _told(value: Signed) -> str:
    return f"({float(value[0]):g}, {float(value[1]):.1f}, {float(value[2]):.1f})"


def _alike(one: Any, other: Signed) -> bool:
    return all(abs(float(a) - b) < 0.01 for a, b in zip(one, other, strict=True))


def _not_signed(value: Any) -> str | None:
    """What to say about an answer that is not three numbers, or None."""
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        return f"It returned a {type(value).__name__}; (alpha, support, worst) is asked for."
    try:
        [float(part) for part in value]
    except (TypeError, ValueError):
        return "It returned something else than three numbers."
    return None


# 8.2


def _elected(changes: torch.Tensor) -> torch.Tensor:
    """Column by column, in plain Python."""
    result = []
    for column in changes.T.tolist():
        total = sum(column)
        chosen = [value for value in column if value * total > 0]
        result.append(sum(chosen) / len(chosen) if chosen else 0.0)
    return torch.tensor(result)


def _mean_of(changes: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return (changes * chosen).sum(0) / chosen.sum(0).clamp(min=1)


def _of_sign(changes: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    return _mean_of(changes, (changes.sign() == sign) & (changes != 0))


def _largest(changes: torch.Tensor) -> torch.Tensor:
    return changes.gather(0, changes.abs().argmax(0, keepdim=True))[0]


def _agree(changes: torch.Tensor) -> torch.Tensor:
    return (changes.sign() == changes.sum(0).sign()) & (changes != 0)


TIES_OF_ZERO = (
    "Where the sum is zero no sign is elected, and the result is zero. Yours elects one there."
)
ON_SIGNS: Mistakes = [
    ("That is the mean of all changes. Only those of the elected sign are averaged.",
     lambda c: c.mean(0)),
    ("That is the sum of all changes.", lambda c: c.sum(0)),
    ("The zeros are left out, and the losers are not: average only those of the elected sign.",
     lambda c: _mean_of(c, c != 0)),
    ("Your sign is elected by the number of changes. A large change has more votes than a small "
     "one: take the sign of their sum.", lambda c: _of_sign(c, c.sign().sum(0).sign())),
    ("Your sign is that of the largest change. All of them vote: take the sign of their sum.",
     lambda c: _of_sign(c, _largest(c).sign())),
    ("The sign is right, but the largest change is not the mean of those that have it.",
     lambda c: _largest(c * _agree(c))),
    ("You divide by the number of all fine-tunes. Divide by how many have the elected sign.",
     lambda c: (c * _agree(c)).sum(0) / len(c)),
    ("You divide by the number of all that are not zero. Divide by how many have the elected sign.",
     lambda c: (c * _agree(c)).sum(0) / (c != 0).sum(0).clamp(min=1)),
    ("That is the sum of those that have the elected sign. Take their mean.",
     lambda c: (c * _agree(c)).sum(0)),
    ("That is the elected sign. Now average the changes that have it.",
     lambda c: c.sum(0).sign()),
    ("The changes lose their signs: average them as they are.",
     lambda c: _of_sign(c, c.sum(0).sign()).abs()),
    ("That averages the losers: those whose sign was not elected.",
     lambda c: _of_sign(c, -c.sum(0).sign())),
    (TIES_OF_ZERO, lambda c: _of_sign(c, torch.where(c.sum(0) >= 0, 1, -1))),
    (TIES_OF_ZERO, lambda c: _of_sign(c, torch.where(c.sum(0) > 0, 1, -1))),
    ("Where no change has the elected sign you divide 0 by 0. Let the result be 0 there: "
     "`clamp(min=1)` on the count does it.",
     lambda c: (c * _agree(c)).sum(0) / _agree(c).sum(0)),
]  # fmt: skip


@exercise("8.2", reading="`helpers.merging.ties` trims the vectors first, and then does just this.")
def elect(function) -> str | None:
    first = [
        [1.0, 2.0, -1.0, 0.0, 5.0, 0.2, 1.0, -1.0],
        [1.0, 0.0, -2.0, 0.0, -4.0, 0.4, 0.0, 1.0],
        [-3.0, 4.0, 0.5, 0.0, -3.0, 0.3, -1.0, 0.0],
    ]
    second = [[0.5, -2.0, 0.0, 3.0], [-1.5, 1.0, 0.7, -3.0], [0.5, 3.0, 0.0, 0.0], [0.25, 1, 0, 0]]
    cases = [(torch.tensor(first),), (torch.tensor(second),)]
    found = [function(changes.clone()) for (changes,) in cases]
    for value, (changes,) in zip(found, cases, strict=True):
        if mistake := _not_a_tensor(value, (changes.shape[1],)):
            return f"{mistake} There is one number for each weight."
    if mistake := _mistake(found, cases, ON_SIGNS):
        return mistake
    for (changes,), value in zip(cases, found, strict=True):
        for column, one, right in zip(changes.T, torch.as_tensor(value), _elected(changes),
                                      strict=True):  # fmt: skip
            if not _close(one, right):
                named = ", ".join(f"{change:g}" for change in column.tolist())
                return f"For the changes {named} it is {float(right):g}, not {float(one):g}."
    return None


# 8.3


def _factors(seed: int, ranks: tuple[int, int], fan_in: int, fan_out: int) -> list[torch.Tensor]:
    one, other = ranks
    shapes = (one, fan_in), (fan_out, one), (other, fan_in), (fan_out, other)
    return _draw(seed, *shapes)


def _mean_update(a1, b1, a2, b2) -> torch.Tensor:
    return (b1 @ a1 + b2 @ a2) / 2


ON_FACTORS: Mistakes = [
    ("That averages A and B separately, as PEFT's `linear` does. The product of two means has "
     "cross terms: `b1 @ a2` and `b2 @ a1` are in it, and belong to neither fine-tune.",
     lambda a1, b1, a2, b2: (b1 + b2) / 2 @ (a1 + a2) / 2),
    ("That adds up A and B, and the product of two sums has cross terms: `b1 @ a2` and `b2 @ a1`.",
     lambda a1, b1, a2, b2: (b1 + b2) @ (a1 + a2)),
    ("That adds up A and B before the half is taken, and the product of two sums has cross terms.",
     lambda a1, b1, a2, b2: (b1 + b2) @ (a1 + a2) / 2),
    ("That is the sum of the two updates. The mean is half of it.",
     lambda a1, b1, a2, b2: b1 @ a1 + b2 @ a2),
    ("That is half the mean: the half is in both factors. Put it into one of them.",
     lambda a1, b1, a2, b2: (b1 @ a1 + b2 @ a2) / 4),
    ("Your A's and B's stand in different orders: the first B meets the second A.",
     lambda a1, b1, a2, b2: (b1 @ a2 + b2 @ a1) / 2 if len(a1) == len(a2) else b1 @ a1),
    ("Only one of the two updates takes its half.",
     lambda a1, b1, a2, b2: b1 @ a1 / 2 + b2 @ a2),
    ("Only one of the two updates takes its half.",
     lambda a1, b1, a2, b2: b1 @ a1 + b2 @ a2 / 2),
    ("That is the first update alone.", lambda a1, b1, a2, b2: b1 @ a1),
    ("That is the second update alone.", lambda a1, b1, a2, b2: b2 @ a2),
]  # fmt: skip


@exercise(
    "8.3",
    reading="It is what PEFT's `cat` does; the price is that the ranks of all adapters add up.",
)
def side_by_side(function) -> str | None:
    cases = [_factors(0, (2, 2), 6, 5), _factors(1, (3, 3), 4, 7)]
    products: list[Any] = []
    for case in cases:
        found = function(*case)
        if mistake := _not_factors(found, case):
            return mistake
        products.append(torch.as_tensor(found[1]) @ torch.as_tensor(found[0]))
    if mistake := _mistake(products, [tuple(case) for case in cases], ON_FACTORS):
        return mistake
    case = _factors(2, (1, 4), 8, 6)
    found = function(*case)
    if mistake := _not_factors(found, case):
        return f"With ranks of 1 and 4: {mistake}"
    products.append(torch.as_tensor(found[1]) @ torch.as_tensor(found[0]))
    for (a1, b1, a2, b2), product in zip([*cases, case], products, strict=True):
        right = _mean_update(a1, b1, a2, b2)
        if not _close(product, right):
            off = float((product - right).norm() / right.norm())
            return (
                f"With ranks of {len(a1)} and {len(a2)} your B @ A is off the mean of the updates "
                f"by {off:.2f} of its length."
            )
    return None


def _not_factors(found: Any, case: list[torch.Tensor]) -> str | None:
    """What to say about an answer that is not A and B of the summed rank, or None."""
    a1, b1, a2, _ = case
    rank, fan_in, fan_out = len(a1) + len(a2), a1.shape[1], b1.shape[0]
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        return f"It returned a {type(found).__name__}; two matrices are asked for: A and B."
    shapes = [tuple(getattr(part, "shape", ())) for part in found]
    if shapes == [(fan_out, rank), (rank, fan_in)]:
        return "A and B are the wrong way round: return A first, the matrix with `in` columns."
    if any(len(shape) != 2 for shape in shapes):
        return "It returned something else than two matrices."
    (inner, last), (first, other) = shapes
    if (last, first) != (fan_in, fan_out) or inner != other:
        return (
            f"Your matrices are {shapes[0]} and {shapes[1]}. A of the mean is ({rank}, {fan_in}) "
            f"and B is ({fan_out}, {rank}): A's stand on top of each other, B's side by side."
        )
    if inner > rank:
        return f"The rank of your factors is {inner}. That of the two adapters together is {rank}."
    return None
