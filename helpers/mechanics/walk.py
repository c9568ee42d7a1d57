"""The walk from a base to its fine-tune: how long it is, part of it, and the same length astray."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from .loss import merged, same_parameters


def distance(base: torch.nn.Module, tuned: torch.nn.Module) -> float:
    """Length of the update: the root of the sum of squares of all changes of weights.

    Raises:
        ValueError: the models differ in their parameters.
    """
    update = _update(merged(base), merged(tuned))
    return float(sum(part.double().square().sum() for part in update.values()) ** 0.5)


def walked(base: torch.nn.Module, tuned: torch.nn.Module, fraction: float) -> PreTrainedModel:
    """The model at a fraction of the straight line from base (0) to fine-tune (1), or beyond.

    Wortsman et al. (2021, arXiv 2109.01903) serve such models.

    Raises:
        ValueError: the models differ in their parameters.
    """
    start = merged(base)
    update = _update(start, merged(tuned))
    return _moved(start, {name: fraction * part for name, part in update.items()})


def astray(
    base: torch.nn.Module, tuned: torch.nn.Module, seed: int = 0, spectrum: bool = False
) -> PreTrainedModel:
    """A model as far from the base as the fine-tune, matrix by matrix, in a random direction.

    Args:
        spectrum: keep each matrix's singular values too, and turn only their directions: then the
            random update has the rank of the fine-tune's as well as its length.

    Raises:
        ValueError: the models differ in their parameters.
    """
    start = merged(base)
    generator = torch.Generator().manual_seed(seed)
    update = _update(start, merged(tuned))
    turn = _turned if spectrum else _noise
    return _moved(start, {name: turn(part, generator) for name, part in update.items()})


def _update(base: PreTrainedModel, tuned: PreTrainedModel) -> dict[str, torch.Tensor]:
    here, there = same_parameters(base, tuned)
    return {name: there[name].detach() - value.detach() for name, value in here.items()}


@torch.no_grad()
def _moved(model: PreTrainedModel, update: Mapping[str, torch.Tensor]) -> PreTrainedModel:
    for name, parameter in model.named_parameters():
        parameter += update[name]
    return model


def _noise(part: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(part.shape, generator=generator)
    return noise * (part.norm() / noise.norm())


def _turned(part: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if part.ndim != 2 or not part.any():
        return _noise(part, generator)
    values = torch.linalg.svdvals(part)
    # What rounding leaves of a zero counts as none: an update of LoRA has few singular values.
    values = values[values > 1e-5 * values[0]]
    left, right = (
        torch.linalg.qr(torch.randn(side, len(values), generator=generator)).Q
        for side in part.shape
    )
    return left * values @ right.T
