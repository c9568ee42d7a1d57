"""From base to fine-tune in weight space, on the straight line or along the arc."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..snapshots import Snapshot
from ..suites import Suite
from .weights import check_alpha, plain_pair, rewritten, weights_of, wide

#: Angles nearer to 0 or 180 degrees than this, in radians, count as on one line. Line and arc
#: then differ by less than float32 can show, or there is no one shortest arc.
ON_ONE_LINE = 1e-3


def linear(
    base: torch.nn.Module, tuned: torch.nn.Module, alpha: float, *, extrapolate: bool = False
) -> PreTrainedModel:
    """Every weight at `(1 - alpha) * base + alpha * tuned`.

    Wortsman et al. (2021, arXiv 2109.01903) call it WiSE-FT.

    Args:
        alpha: 0 gives the base, 1 the fine-tune.
        extrapolate: allow alpha below 0 and above 1.

    Raises:
        ValueError: alpha is outside its range.
        NotAlike: the two models do not have the same parameters and vocabulary.
    """
    check_alpha(alpha, extrapolate)
    base, tuned = plain_pair(base, tuned)
    end = weights_of(tuned)
    return rewritten(base, lambda name, start: (1 - alpha) * start + alpha * wide(end[name]))


def slerp(
    base: torch.nn.Module, tuned: torch.nn.Module, alpha: float, *, extrapolate: bool = False
) -> PreTrainedModel:
    """Every tensor on the arc from base to fine-tune, at `alpha` of the angle between them.

    Spherical linear interpolation (Shoemake 1985), tensor by tensor as the tools for merging do
    it. The angle is that of the directions, so lengths are taken out of it; the two tensors
    themselves keep theirs. Where a tensor is zero or both lie on one line there is no arc, and the
    result is `linear`'s. See `angle` for how much of an arc there is at all.

    Args:
        alpha: 0 gives the base, 1 the fine-tune.
        extrapolate: allow alpha below 0 and above 1: the arc goes on.

    Raises:
        ValueError: alpha is outside its range.
        NotAlike: the two models do not have the same parameters and vocabulary.
    """
    check_alpha(alpha, extrapolate)
    base, tuned = plain_pair(base, tuned)
    end = weights_of(tuned)

    def on_arc(name: str, start: torch.Tensor) -> torch.Tensor:
        one, other = arc_shares(radians([(start, end[name])]), alpha)
        return one * start + other * wide(end[name])

    return rewritten(base, on_arc)


def arc_shares(theta: float, alpha: float) -> tuple[float, float]:
    """What SLERP multiplies the two ends with, at an angle of `theta` radians between them."""
    if not ON_ONE_LINE < theta < math.pi - ON_ONE_LINE:  # nan, too
        return 1 - alpha, alpha
    return (
        math.sin((1 - alpha) * theta) / math.sin(theta),
        math.sin(alpha * theta) / math.sin(theta),
    )


def radians(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The angle between two vectors that come in pieces; nan where one of them is zero.

    By the tangent of half the angle: the cosine of a small angle is 1 to nearly all its digits,
    and the arc cosine of that has few digits left.
    """
    lengths = [
        math.sqrt(sum(float(piece.double().square().sum()) for piece in pieces))
        for pieces in zip(*pairs, strict=True)
    ]
    if 0 in lengths:
        return math.nan
    apart = together = 0.0
    for start, end in pairs:
        one, other = start.double() / lengths[0], end.double() / lengths[1]
        apart += float((one - other).square().sum())
        together += float((one + other).square().sum())
    return 2 * math.atan2(math.sqrt(apart), math.sqrt(together))


@dataclass(frozen=True)
class Angles:
    """Angles between a base and a fine-tune, in degrees.

    Attributes:
        overall: of all weights taken as one vector.
        tensors: of each tensor; nan where it is zero in one of the models.
    """

    overall: float
    tensors: dict[str, float]

    @property
    def widest(self) -> tuple[str, float]:
        """The tensor with the largest angle, and that angle; ("", nan) where none has one."""
        found = {name: value for name, value in self.tensors.items() if not math.isnan(value)}
        return max(found.items(), key=lambda entry: entry[1], default=("", math.nan))

    @property
    def longer(self) -> float:
        """By what percent, at alpha 0.5, SLERP's widest tensor is longer than `linear`'s.

        Half-way the two have the same direction, and their lengths are as 1 to cos(angle / 2).
        """
        theta = math.radians(self.widest[1])
        if theta > math.pi - ON_ONE_LINE:
            return 0.0
        return 0.0 if math.isnan(theta) else 100 * (1 / math.cos(theta / 2) - 1)

    def __repr__(self) -> str:
        name, degrees = self.widest
        return (
            f"Angles: {self.overall:.2f} degrees overall, at most {degrees:.2f} ({name}); half-way "
            f"SLERP's tensors are at most {self.longer:.2g} % longer than linear's"
        )


def angle(base: torch.nn.Module, tuned: torch.nn.Module) -> Angles:
    """How far the weights have turned, tensor by tensor and overall.

    Raises:
        NotAlike: the two models do not have the same parameters and vocabulary.
    """
    start, end = map(weights_of, plain_pair(base, tuned))
    pairs = {name: (start[name], end[name]) for name in start}
    tensors = {name: math.degrees(radians([pair])) for name, pair in pairs.items()}
    return Angles(math.degrees(radians(list(pairs.values()))), tensors)


def sweep(
    base: torch.nn.Module,
    tuned: torch.nn.Module,
    alphas: Sequence[float],
    suites: Suite | Sequence[Suite],
    method: Callable[..., PreTrainedModel] = linear,
    *,
    extrapolate: bool = False,
) -> dict[float, Snapshot]:
    """Score the models between base and fine-tune.

    Args:
        alphas: where to look, such as [0, 0.25, 0.5, 0.75, 1].
        suites: what to score: the target and the old skills.
        method: `linear` or `slerp`.

    Returns:
        One snapshot per alpha, in the order of `alphas`.

    Raises:
        ValueError: there are no alphas or no suites, or an alpha is outside its range.
        NotAlike: the two models do not have the same parameters and vocabulary.
    """
    suites = [suites] if isinstance(suites, Suite) else list(suites)
    if not len(alphas) or not suites:
        raise ValueError("Give at least one alpha and one suite to score.")
    for alpha in alphas:  # all of them before the first is scored
        check_alpha(alpha, extrapolate)
    base, tuned = plain_pair(base, tuned)
    return {
        float(alpha): evaluate(method(base, tuned, alpha, extrapolate=extrapolate), suites)
        for alpha in alphas
    }
