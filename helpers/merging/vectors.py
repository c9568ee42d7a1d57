"""Task vectors: what a fine-tune has changed, to be added, scaled and subtracted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from ..mechanics.loss import merged
from .line import radians
from .weights import check_weights, plain_pair, rewritten, weights_of, wide

#: A task vector: the change of every parameter, by name.
Vector = dict[str, torch.Tensor]


def task_vector(base: torch.nn.Module, tuned: torch.nn.Module) -> Vector:
    """The fine-tune minus its base, parameter by parameter; tied weights once.

    Ilharco et al. (2022, arXiv 2212.04089). Kept in float32 or better.

    Raises:
        NotAlike: the two models do not have the same parameters and vocabulary.
    """
    start, end = map(weights_of, plain_pair(base, tuned))
    return {name: wide(end[name]) - wide(start[name]) for name in start}


def add(
    base: torch.nn.Module, vectors: Sequence[Vector], weights: Sequence[float]
) -> PreTrainedModel:
    """The base plus a weighted sum of task vectors.

    With weights that sum to 1 it is the weighted mean of the fine-tunes. A negative weight takes a
    skill away (Ilharco et al. 2022, arXiv 2212.04089).

    Args:
        weights: one finite number per vector, of any sign and size.

    Raises:
        ValueError: there are no vectors, not one weight each, or a weight is no finite number.
        NotAlike: a vector belongs to another model.
    """
    base = merged(base)
    check_vectors(base, vectors)
    if len(weights) != len(vectors):
        raise ValueError(
            f"Each vector needs one weight: there are {len(vectors)} vectors and {len(weights)} "
            "weights."
        )
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"Weights must be finite numbers, not {list(weights)}.")

    def summed(name: str, start: torch.Tensor) -> torch.Tensor:
        for weight, vector in zip(weights, vectors, strict=True):
            start = start + weight * vector[name]
        return start

    return rewritten(base, summed)


def angle_between(one: Vector, other: Vector) -> float:
    """The angle between two task vectors over all weights, in degrees; nan where one is zero.

    Raises:
        NotAlike: names or shapes differ.
    """
    check_weights(one, other, "task vectors")
    return math.degrees(radians([(one[name], other[name]) for name in one]))


def check_vectors(base: torch.nn.Module, vectors: Sequence[Vector]) -> None:
    """Refuse an empty list, and vectors of another model.

    Raises:
        ValueError: there are no vectors.
        NotAlike: names or shapes are not those of the base.
    """
    if isinstance(vectors, dict):
        raise ValueError("Give a list of task vectors, also when there is only one: [vector].")
    if not len(vectors):
        raise ValueError("There is nothing to merge: give at least one task vector.")
    for number, vector in enumerate(vectors):
        check_weights(weights_of(base), vector, f"base and task vector {number}")
