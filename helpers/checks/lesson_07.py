"""Checkers of the exercises in lesson 07."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from numbers import Real

import torch

from ..mitigations.board import Entry, base_of, read_board
from . import exercise

Matrix = list[list[float]]
#: The two roads of exercise 7.1, and the target scores at which they are to be read.
RIVALS = ("L2-SP", "lower rate")
READ_AT = (75, 80, 90)


def _crossing(points: Sequence[tuple[float, float]], goal: float) -> float:
    """Least lost on a line through (target, lost) points where the target is at least `goal`.

    By walking a thousand places of each piece: another way than solving for the crossing. Infinite
    where the line never gets there.
    """
    ends = list(itertools.pairwise(points)) or [(points[0], points[0])]
    walked = (
        (a + part * (c - a) / 1000, b + part * (d - b) / 1000)
        for (a, b), (c, d) in ends
        for part in range(1001)
    )
    return min((lost for target, lost in walked if target >= goal - 1e-9), default=math.inf)


def _points(board: list[Entry], method: str, seed: int | None) -> list[tuple[float, float]]:
    """(target, lost) of a method by rising strength, of one seed or mean over all."""
    groups: dict[float, list[Entry]] = {}
    for run in board:
        if run.setting.method == method and seed in (None, run.setting.seed):
            groups.setdefault(run.setting.strength, []).append(run)
    base = base_of(board)
    return [
        (sum(r.target for r in g) / len(g), sum(r.lost(base) for r in g) / len(g))
        for _, g in sorted(groups.items())
    ]


def _ahead(board: list[Entry], goal: float) -> tuple[str, int]:
    """Who has lost less at a target score on the mean roads, and how many seeds say so."""

    def first(seed: int | None) -> str:
        return min(RIVALS, key=lambda method: _crossing(_points(board, method, seed), goal))

    return first(None), sum(first(seed) == first(None) for seed in (0, 1, 2))


@exercise(
    "7.1",
    reading="Three seeds agree at 75 only: seed 2 of L2-SP has learned nine points less, and at "
    "equal target it pays for that.",
)
def two_roads(answer: dict[int, tuple[str, int]]) -> str | None:
    if not isinstance(answer, dict) or set(answer) != set(READ_AT):
        return f"Give a dictionary with the goals {', '.join(map(str, READ_AT))}."
    for goal, pair in answer.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or pair[0] not in RIVALS:
            return f'At {goal}: give a pair such as ("{RIVALS[0]}", 3), a method and a count.'
    board = read_board()
    truth = {goal: _ahead(board, goal) for goal in READ_AT}
    for goal in READ_AT:
        (name, count), (right, seeds) = answer[goal], truth[goal]
        if name != right and goal == 90:
            return (
                "At 90: the mean road of L2-SP ends at 88 %. It has lost less there because it has "
                "learned less; where one road never gets to the goal, the other is ahead."
            )
        if name != right:
            return (
                f"At {goal}: read both roads where support is {goal} %, between two strengths if "
                "need be; equal strengths or equal steps are not equal learning."
            )
        if count != seeds and count == 3:
            return (
                f"At {goal}: not all three. Read each seed's own two roads at {goal} %. A seed "
                "whose L2-SP road is short of it, or gets there only at a weak pull, disagrees "
                "with the mean."
            )
        if count != seeds and goal == 90 and count == 2:
            return (
                "At 90: those are the seeds for which L2-SP is ahead: two of its roads reach 90 % "
                "though their mean does not. Count the seeds that agree with the mean."
            )
        if count != seeds:
            return (
                f"At {goal}: {seeds if goal == 75 else 'another number'} of the seeds. For each "
                "seed call `lost_at` on its own two roads; where it returns no place, that road "
                "falls short."
            )
    return None


#: Scores after each stage: a task that was best before its turn, one that improved, one kept.
MATRICES: list[Matrix] = [
    [[80, 95, 0, 5], [85, 90, 20, 0], [65, 70, 88, 10], [60, 74, 91, 90]],
    [[50, 30], [64, 40]],
    [[70, 10, 5], [90, 60, 0], [75, 66, 80]],
]


def _lost(scores: Matrix, task: int, first: int, stages: int) -> float:
    """Best score of a task in stages `first` to `stages` - 1, minus its last one."""
    return max(row[task] for row in scores[first:stages]) - scores[-1][task]


def _forgetting(scores: Matrix) -> float:
    """By sorting: another way than a maximum over rows."""
    columns = list(zip(*scores, strict=True))[:-1]
    return sum(sorted(column[:-1])[-1] - column[-1] for column in columns) / len(columns)


def _own_stage(scores: Matrix) -> float:
    tasks = range(len(scores) - 1)
    return sum(scores[task][task] - scores[-1][task] for task in tasks) / len(tasks)


def _mean_lost(tasks: int, first: int, more: int) -> Callable[[Matrix], float]:
    """Forgetting over `tasks` fewer tasks, with `more` stages than all but the last."""

    def mean(scores: Matrix) -> float:
        size = len(scores)
        chosen = range(size - tasks)
        lost = [_lost(scores, j, j * first, max(size - 1 + more, j * first + 1)) for j in chosen]
        return sum(lost) / len(lost)

    return mean


DIAGONAL = (
    "That compares with the score right after each task's own stage: minus BWT. Take the best of "
    "all stages but the last."
)
LAST_STAGE = "The last stage is no earlier stage: leave its row out. Below 0 is allowed."
ON_FORGETTING: Sequence[tuple[str, Callable[[Matrix], float]]] = [
    (DIAGONAL, _own_stage),
    ("That is BWT. " + DIAGONAL.split(": ")[1], lambda r: -_own_stage(r)),
    ("The sign is wrong: a task that ends below its best has been forgotten, above 0.",
     lambda r: -_forgetting(r)),
    (LAST_STAGE, _mean_lost(1, 0, 1)),
    ("The last task cannot have been forgotten: nothing came after it. Leave it out.",
     _mean_lost(0, 0, 0)),
    ("The last task and the last stage are to be left out.", _mean_lost(0, 0, 1)),
    ("Look for the best in the stages before a task's own too.", _mean_lost(1, 1, 0)),
    ("That is the sum over the tasks. Take the mean.", lambda r: _forgetting(r) * (len(r) - 1)),
    ("Divide by the number of tasks that were counted: the last is not among them.",
     lambda r: _forgetting(r) * (len(r) - 1) / len(r)),
    ("Rows are stages and columns are tasks: R[i][j] is task j after stage i.",
     lambda r: _forgetting([list(column) for column in zip(*r, strict=True)])),
    ("That is the worst task. Take the mean.",
     lambda r: max(_lost(r, task, 0, len(r) - 1) for task in range(len(r) - 1))),
]  # fmt: skip


@exercise("7.3", reading="Where every task is best right after its own stage, it is minus BWT.")
def forgetting(function) -> str | None:
    found = [function(scores) for scores in MATRICES]
    for value in found:
        if not isinstance(value, (Real, torch.Tensor)) or (
            isinstance(value, torch.Tensor) and value.numel() != 1
        ):
            return f"It returned a {type(value).__name__}; one number is asked for."
    values = [float(value) for value in found]
    close = lambda a, b: math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)  # noqa: E731
    for message, mistaken in ON_FORGETTING:
        if all(close(v, mistaken(r)) for v, r in zip(values, MATRICES, strict=True)):
            return message
    for scores, value in zip(MATRICES, values, strict=True):
        if not close(value, _forgetting(scores)):
            return f"For {scores} it is {_forgetting(scores):.2f}, not {value:.2f}."
    return None


def _softmax_regression() -> tuple[Callable, torch.Tensor, list, list[torch.Tensor]]:
    """log p of a class, the weights, samples, and each sample's gradient by its formula."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 4, generator=generator)
    samples = [
        (torch.randn(4, generator=generator), int(torch.randint(3, (1,), generator=generator)))
        for _ in range(5)
    ]

    def log_likelihood(weights: torch.Tensor, sample: tuple[torch.Tensor, int]) -> torch.Tensor:
        x, label = sample
        return (weights @ x).log_softmax(0)[label]

    gradients = []
    for x, label in samples:
        wanted = torch.zeros(3)
        wanted[label] = 1
        gradients.append(torch.outer(wanted - (weights @ x).softmax(0), x))
    return log_likelihood, weights, samples, gradients


ON_FISHER: Sequence[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("That squares the gradient of the batch's mean: gradients of different samples cancel before "
     "they are squared. Square each sample's own gradient, then average.",
     lambda g: g.mean(0) ** 2),
    ("That squares the sum of the gradients, and divides once: so it goes when `.backward()` runs "
     "for every sample and `.grad`, to which it adds, is squared at the end. Opposite gradients "
     "have cancelled by then. Square each sample's own gradient: clear `.grad` before each, or "
     "take `torch.autograd.grad`.",
     lambda g: g.sum(0) ** 2 / len(g)),
    ("That squares the sum of the gradients, as `.grad` holds it after `.backward()` on every "
     "sample: it adds. Square each sample's own gradient, then average.",
     lambda g: g.sum(0) ** 2),
    ("That is the sum over the samples. Take the mean, or more samples mean more importance.",
     lambda g: (g**2).sum(0)),
    ("The gradients are not squared, so those of opposite sign cancel.", lambda g: g.mean(0)),
    ("The gradients are not squared, so those of opposite sign cancel.", lambda g: -g.mean(0)),
    ("That is the mean absolute gradient. Square it instead.", lambda g: g.abs().mean(0)),
    ("That has a root too many: the Fisher is the mean of the squares.",
     lambda g: (g**2).mean(0).sqrt()),
    ("`backward` adds to `.grad`: clear it before every sample, or take `torch.autograd.grad`.",
     lambda g: (g.cumsum(0) ** 2).mean(0)),
    ("`backward` adds to `.grad`: clear it before every sample. And take the mean of the squares.",
     lambda g: (g.cumsum(0) ** 2).sum(0)),
    ("That is the summed gradient itself, not squared. Square each sample's own, then average.",
     lambda g: g.sum(0)),
    ("That is the last sample alone. Average over all of them.", lambda g: g[-1] ** 2),
]  # fmt: skip


@exercise(
    "7.2", reading="`helpers.mitigations.fisher` does this for every weight of a language model."
)
def diagonal_fisher(function) -> str | None:
    log_likelihood, start, samples, parts = _softmax_regression()
    gradients = torch.stack(parts)
    weights = start.clone().requires_grad_()
    for attempt in ("first", "second"):
        found = function(log_likelihood, weights, samples)
        if not isinstance(found, torch.Tensor):
            return f"It returned a {type(found).__name__}; a tensor like the weights is asked for."
        if found.shape != weights.shape:
            return (
                f"It has the shape {tuple(found.shape)}, not that of the weights, "
                f"{tuple(weights.shape)}: the diagonal has one number per weight."
            )
        if not torch.equal(weights, start):
            return "The weights have changed. Only look at their gradient."
        found = found.detach()
        if _near(found, (gradients**2).mean(0)):
            continue
        if attempt == "second":
            return (
                "Called again it gives something else. `backward` adds to `.grad`: clear it "
                "before the first sample too."
            )
        for message, mistaken in ON_FISHER:
            if _near(found, mistaken(gradients)):
                return message
        return "It differs from the mean of the squared gradients of five samples."
    return None


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-6))


class _Landscape:
    """A loss of two weights whose gradient is known by its formula."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        mix = torch.randn(5, 5, generator=generator, dtype=torch.float64)
        self.curvature = mix @ mix.T
        self.start = torch.randn(5, generator=generator, dtype=torch.float64)

    def __call__(self, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        v = torch.cat([weight.flatten() for weight in weights])
        return v @ self.curvature @ v / 2 + (v**4).sum() / 4

    def gradient(self, v: torch.Tensor) -> torch.Tensor:
        return self.curvature @ v + v**3

    def weights(self) -> list[torch.Tensor]:
        return [self.start[:3].clone().requires_grad_(), self.start[3:].clone().requires_grad_()]


def _sam_mistakes(land: _Landscape, rho: float, lr: float) -> list[tuple[str, torch.Tensor]]:
    v, g = land.start, land.gradient(land.start)
    up = rho * g / g.norm()
    apart = torch.cat([rho * part / part.norm() for part in (g[:3], g[3:])])
    second = land.gradient(v + up)
    restore = (
        "The step begins uphill: put the weights back where they were, and walk from there by the "
        "gradient found uphill."
    )
    return [
        (restore, v + up - lr * second),
        ("That is a plain step: take the gradient again, uphill.", v - lr * g),
        ("That looked downhill: climb along the gradient, then walk against the second one.",
         v - lr * land.gradient(v - up)),
        ("Each tensor climbs by rho of its own. Divide by the length of all gradients together.",
         v - lr * land.gradient(v + apart)),
        ("The climb is rho times the gradient. Divide by its length, so that rho is the distance.",
         v - lr * land.gradient(v + rho * g)),
        ("Divided by the squared length: the root is missing.",
         v - lr * land.gradient(v + rho * g / g.norm() ** 2)),
        ("Both gradients were added up. Walk by the second alone; `backward` adds to `.grad`.",
         v - lr * (g + second)),
        ("The step goes uphill: subtract lr times the gradient.", v + lr * second),
        ("lr is missing in the step.", v - second),
        ("The climb is missing rho.", v - lr * land.gradient(v + g / g.norm())),
    ]  # fmt: skip


@exercise("7.4", reading="Two gradients a step: that is why SAM takes about twice the time.")
def sam_step(function) -> str | None:
    land, rho, lr = _Landscape(), 0.3, 0.05
    g = land.gradient(land.start)
    expected = land.start - lr * land.gradient(land.start + rho * g / g.norm())
    weights = land.weights()
    for attempt in ("first", "second"):
        found = function(land, weights, rho, lr)
        if not isinstance(found, (list, tuple)) or not all(torch.is_tensor(part) for part in found):
            return "Return a list of tensors: the new weights."
        if [part.shape for part in found] != [weight.shape for weight in weights]:
            return "The new weights must have the shapes of the old ones."
        new = torch.cat([part.detach().flatten() for part in found])
        given = torch.cat([weight.detach() for weight in weights])
        if not _near(given, land.start):
            if _near(new, expected):
                return "The step is right, but the weights given have changed: return new tensors."
            return (
                "The weights given have moved and were not put back. Restore them after the climb: "
                "the step begins where they were."
            )
        if _near(new, expected):
            continue
        if attempt == "second":
            return "Called again it gives something else: clear the gradients before you begin."
        for message, mistaken in _sam_mistakes(land, rho, lr):
            if _near(new, mistaken):
                return message
        return "It differs from the step by the gradient at a distance of rho uphill."
    zeros = [torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)]
    still = function(lambda w: sum((x**2).sum() for x in w), zeros, rho, lr)
    if not all(_near(part, torch.zeros_like(part)) for part in still):
        return "Where the gradient is zero there is no uphill: do not divide by its length then."
    return None
