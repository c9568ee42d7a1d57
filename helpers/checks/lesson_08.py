"""Checkers of the exercises in lesson 08."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def _arc(a: torch.Tensor, b: torch.Tensor, alpha: float) -> torch.Tensor:
    """By turning one direction towards the other, and seeing how much of each is in the result."""
    ends = torch.stack([a.flatten(), b.flatten()], 1).double()
    ends = ends / ends.norm(dim=0)
    across = ends[:, 1] - (ends[:, 0] @ ends[:, 1]) * ends[:, 0]
    theta = torch.atan2(across.norm(), ends[:, 0] @ ends[:, 1])
    turn = alpha * theta
    reached = turn.cos() * ends[:, 0] + turn.sin() * across / across.norm()
    one, other = torch.linalg.lstsq(ends, reached[:, None]).solution.flatten()
    return one * a + other * b


def _shares(a: torch.Tensor, b: torch.Tensor, alpha: float, theta: torch.Tensor) -> torch.Tensor:
    return (((1 - alpha) * theta).sin() * a + (alpha * theta).sin() * b) / theta.sin()


def _theta(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return ((a * b).sum() / a.norm() / b.norm()).clamp(-1, 1).acos()


def _unit(a: torch.Tensor) -> torch.Tensor:
    return a / a.norm()


def _on_line(a: torch.Tensor, b: torch.Tensor, alpha: float) -> torch.Tensor:
    return (1 - alpha) * a + alpha * b


def _pulled_out(a: torch.Tensor, b: torch.Tensor, alpha: float) -> torch.Tensor:
    """The line with its length put right afterwards."""
    line = _on_line(a, b, alpha)
    return _unit(line) * ((1 - alpha) * a.norm() + alpha * b.norm())


NOT_NORMALISED = (
    "The cosine is not normalised: the dot product of two tensors grows with their lengths. Divide "
    "it by both of them before you take `acos`."
)
ON_ARCS: Mistakes = [
    (NOT_NORMALISED, lambda a, b, t: _shares(a, b, t, (a * b).sum().clamp(-1, 1).acos())),
    (NOT_NORMALISED, lambda a, b, t: _shares(a, b, t, ((a * b).sum() / a.norm()).acos())),
    (NOT_NORMALISED, lambda a, b, t: _shares(a, b, t, ((a * b).sum() / b.norm()).acos())),
    ("That is the straight line. Multiply the ends by sin((1 - alpha) θ) / sin θ and "
     "sin(alpha θ) / sin θ.", _on_line),
    ("That is an arc between the directions. Only the angle is taken from them: multiply the "
     "tensors themselves, which keep their lengths.",
     lambda a, b, t: _shares(_unit(a), _unit(b), t, _theta(a, b))),
    ("The two ends are swapped: alpha 0 is `a`.", lambda a, b, t: _shares(b, a, t, _theta(a, b))),
    ("Divide by sin θ.", lambda a, b, t: _shares(a, b, t, _theta(a, b)) * _theta(a, b).sin()),
    ("`torch.sin` takes radians, as `acos` gives them: do not turn them into degrees.",
     lambda a, b, t: _shares(a, b, t, _theta(a, b).rad2deg())),
    ("That is the straight line with its length put right. The direction of an arc moves by equal "
     "angles, and that of a line does not.", _pulled_out),
    ("That is one angle for each row. A tensor has one direction: flatten it, or sum over all of "
     "it.",
     lambda a, b, t: _shares(
         a, b, t, torch.nn.functional.cosine_similarity(a, b, dim=-1).acos()[..., None])),
]  # fmt: skip


@exercise("8.1", reading="Below some ten degrees it is the straight line to within half a percent.")
def slerp(function) -> str | None:
    # The product of the lengths is below 1, so that a dot product that is not normalised has an
    # `acos` too, and a wrong one.
    cases = []
    for seed, shape, alpha in ((0, (3, 4), 0.3), (1, (5,), 0.6), (2, (4, 2), 0.5)):
        a, b = _draw(seed, shape, shape)
        cases.append((0.5 * _unit(a), 1.4 * _unit(b), alpha))
    found = [function(*case) for case in cases]
    for value, (a, *_) in zip(found, cases, strict=True):
        if mistake := _not_a_tensor(value, tuple(a.shape)):
            return mistake
    if mistake := _mistake(found, cases, ON_ARCS):
        return mistake
    a, b = _draw(3, (6,), (6,))
    further = [(20 * a, 3 * b, 0.25), (a, b, 0.0), (a, b, 1.0)]
    for case, value in zip([*cases, *further], [*found, *(function(*c) for c in further)],
                           strict=True):  # fmt: skip
        if not _close(value, right := _arc(*case)):
            return (
                f"For tensors of the shape {tuple(case[0].shape)} and an alpha of {case[2]} it "
                f"should begin with {_shown(right)}, not with {_shown(value)}."
            )
    for a in _draw(4, *[(7,)] * 8):
        for b in (a, 3 * a):
            if not _close(value := function(a, b, 0.25), _on_line(a, b, 0.25)):
                return (
                    f"For two parallel tensors it should begin with "
                    f"{_shown(_on_line(a, b, 0.25))}, not with {_shown(value)}: sin θ is 0 or "
                    "nearly so, and rounding may take the cosine above 1, which has no `acos`. "
                    "Return the straight line there."
                )
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
