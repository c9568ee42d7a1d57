"""Two remedies for task vectors that get in each other's way: TIES and DARE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from ..mechanics.loss import merged
from .vectors import Vector, check_vectors
from .weights import rewritten


def ties(
    base: torch.nn.Module,
    vectors: Sequence[Vector],
    density: float = 0.2,
    scale: float = 1.0,
    *,
    per_tensor: bool = False,
) -> PreTrainedModel:
    """Trim each task vector, elect a sign per weight, and average those that agree with it.

    Yadav et al. (2023, arXiv 2306.01708): the result is base + scale * merged vector.

    Args:
        density: share of each vector that is kept, in (0, 1]; the paper keeps a fifth.
        scale: the paper's lambda.
        per_tensor: keep that share of every tensor, as mergekit and PEFT do, and not of the whole
            vector, as the paper does.

    Raises:
        ValueError: there are no vectors, or the density is not in (0, 1].
        NotAlike: a vector belongs to another model.
    """
    base = merged(base)
    check_vectors(base, vectors)
    trimmed = [trim(vector, density, per_tensor=per_tensor) for vector in vectors]

    def elected(name: str, start: torch.Tensor) -> torch.Tensor:
        return start + scale * disjoint_mean([vector[name] for vector in trimmed])

    return rewritten(base, elected)


def trim(vector: Vector, density: float, *, per_tensor: bool = False) -> Vector:
    """The entries of largest magnitude as they are, all others zero.

    Args:
        density: share of the entries that stay, rounded down, at least one. Of entries that are
            equally large the first stay.
        per_tensor: keep that share of every tensor and not of the whole vector.

    Raises:
        ValueError: the density is not in (0, 1].
    """
    if not 0 < density <= 1:
        raise ValueError(f"density is the share that is kept, above 0 and at most 1: not {density}")
    if per_tensor:
        return {name: _largest(values, density) for name, values in vector.items()}
    whole = torch.cat([values.flatten() for values in vector.values()])
    pieces = _largest(whole, density).split([values.numel() for values in vector.values()])
    return {
        name: piece.reshape(values.shape)
        for (name, values), piece in zip(vector.items(), pieces, strict=True)
    }


def _largest(values: torch.Tensor, density: float) -> torch.Tensor:
    flat = values.flatten()
    # `topk` is faster, and does not say which of two equal entries it takes.
    order = flat.abs().argsort(descending=True, stable=True)
    kept = order[: max(1, int(density * flat.numel()))]
    return torch.zeros_like(flat).index_copy(0, kept, flat[kept]).reshape(values.shape)


def disjoint_mean(changes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Per weight, the mean of the changes that have the elected sign.

    The elected sign is that of the sum, so that large changes have more votes. Zeros do not vote
    and do not count. Where the sum is zero no sign is elected, and the result is zero.

    Args:
        changes: tensors of one shape, one from each task vector.
    """
    stack = torch.stack(list(changes))
    agreeing = (stack.sign() == stack.sum(0).sign()) & (stack != 0)
    return (stack * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


def agreement(vectors: Sequence[Vector]) -> float:
    """Of the weights that at least two vectors change, the share where all changes have one sign.

    Chance is a half for two vectors. What is missing to 1 is the conflict that TIES settles; on
    untrimmed vectors most of it is between tiny changes, so `trim` them first.

    Raises:
        ValueError: fewer than two vectors are given, or no weight is changed by two.
    """
    if len(vectors) < 2:
        raise ValueError("Signs agree or differ between vectors: give at least two.")
    shared = same = 0
    for name in vectors[0]:
        signs = torch.stack([vector[name].sign() for vector in vectors])
        voters = signs.abs().sum(0)
        shared += int((voters >= 2).sum())
        same += int(((signs.sum(0).abs() == voters) & (voters >= 2)).sum())
    if not shared:
        raise ValueError("No weight is changed by two of the vectors, so no signs can differ.")
    return same / shared


def dare(vector: Vector, drop: float = 0.9, seed: int = 0) -> Vector:
    """Drop a random share of a task vector and rescale the rest, so that its mean stays.

    DARE (Yu et al. 2023, arXiv 2311.03099): each entry becomes zero with probability `drop`, and
    is divided by `1 - drop` otherwise. The result is a task vector again, for `add` or, with a
    density of 1, for `ties`. Use another seed for each vector: two that lose the same entries
    meet as often as before.

    Raises:
        ValueError: drop is not in [0, 1).
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop is a probability, at least 0 and below 1: not {drop}.")
    generator = torch.Generator().manual_seed(seed)
    kept = {
        name: torch.rand(values.shape, generator=generator).to(values.device) >= drop
        for name, values in vector.items()
    }
    return {name: values * kept[name] / (1 - drop) for name, values in vector.items()}
