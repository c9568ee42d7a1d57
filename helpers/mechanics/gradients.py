"""Gradient conflict: does a step that helps the new task hurt an old skill?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .loss import Rows, answer_loss, batch_of, layer_matrices, merged, place_of


@dataclass(frozen=True)
class Conflict:
    """Old-skill and new-task gradients of one kind of weight in one layer.

    Attributes:
        cosine: between the two gradients: below 0, a step for the new task raises the old loss.
        old, new: lengths of the gradients, in nats per unit of weight.
    """

    layer: int
    kind: str
    cosine: float
    old: float
    new: float


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Cosine of the angle between two tensors of one shape; 0 where one of them is zero."""
    length = a.norm() * b.norm()
    return float((a * b).sum() / length) if length > 0 else 0.0


def weight_gradients(model: torch.nn.Module, rows: Rows) -> dict[str, torch.Tensor]:
    """Gradient of the mean answer loss in every weight matrix of the layers, by name.

    Of a model with an adapter, the gradient is taken in the merged weights, so that every kind of
    fine-tune is measured in the same coordinates.
    """
    return _gradients(merged(model), rows)


def _gradients(plain: PreTrainedModel, rows: Rows) -> dict[str, torch.Tensor]:
    matrices = layer_matrices(plain)
    loss = answer_loss(plain, batch_of(plain, rows))
    return dict(zip(matrices, torch.autograd.grad(loss, matrices.values()), strict=True))


def gradient_conflict(model: torch.nn.Module, old_rows: Rows, new_rows: Rows) -> list[Conflict]:
    """Cosine between old-skill and new-task gradients, per layer and kind of weight.

    Raises:
        BadTickets: a set of rows is empty, malformed, or longer than the model's context.
    """
    plain = merged(model)
    return among(_gradients(plain, old_rows), _gradients(plain, new_rows))


def among(old: Mapping[str, torch.Tensor], new: Mapping[str, torch.Tensor]) -> list[Conflict]:
    """The same of two results of `weight_gradients` of one model."""
    places = dict.fromkeys(place_of(name) for name in old)
    found = []
    for place in places:
        names = [name for name in old if place_of(name) == place]
        a = torch.cat([old[name].flatten() for name in names])
        b = torch.cat([new[name].flatten() for name in names])
        found.append(Conflict(*place, cosine(a, b), float(a.norm()), float(b.norm())))
    return found
