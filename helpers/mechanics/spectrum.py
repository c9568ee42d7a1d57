"""The spectrum of an update: how many directions a fine-tune uses, and how new they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .loss import layer_matrices, merged, place_of, same_parameters


@dataclass(frozen=True)
class MatrixUpdate:
    """What a fine-tune did to one weight matrix.

    Attributes:
        size: length of the update as a share of the length of the weight.
        singular_values: of the update, falling.
        rank: the fewest directions that hold 90 % of the squared length.
        intruders: how many of the new weight's ten strongest directions the old one lacks.
    """

    name: str
    layer: int
    kind: str
    size: float
    singular_values: tuple[float, ...]
    rank: int
    intruders: int


def rank_90(singular_values: torch.Tensor) -> int:
    """The fewest singular values that hold 90 % of the sum of their squares; 0 for no update.

    Biderman et al. (2024, arXiv 2405.09673) compare full fine-tuning with LoRA by this number.
    """
    energy = singular_values.double().square()
    if energy.sum() == 0:
        return 0
    share = energy.cumsum(0) / energy.sum()
    return int((share < 0.9).sum()) + 1


def intruders(
    before: torch.Tensor, after: torch.Tensor, top: int = 10, threshold: float = 0.5
) -> int:
    """Intruder dimensions: strong directions of `after` that resemble none of `before`.

    Of the `top` leading left singular vectors of `after`, those whose cosine with every left
    singular vector of `before` stays below the threshold (Shuttleworth et al. 2024,
    arXiv 2410.21228).

    Args:
        before, after: matrices of one shape (outputs, inputs).
    """
    old = torch.linalg.svd(before, full_matrices=False).U
    new = torch.linalg.svd(after, full_matrices=False).U[:, :top]
    closest = (old.T @ new).abs().max(dim=0).values
    return int((closest < threshold).sum())


@torch.no_grad()
def update_spectrum(base: torch.nn.Module, tuned: torch.nn.Module) -> list[MatrixUpdate]:
    """The update of every weight matrix inside the layers.

    Raises:
        ValueError: the models differ in their parameters.
    """
    plain = merged(tuned)
    first = merged(base)
    same_parameters(first, plain)
    before, after = layer_matrices(first), layer_matrices(plain)
    # GPT-2 keeps (inputs, outputs), everything else (outputs, inputs).
    transposed = {
        f"{name}.weight" for name, module in plain.named_modules()
        if type(module).__name__ == "Conv1D"
    }  # fmt: skip
    found = []
    for name, old in before.items():
        new = after[name]
        if name in transposed:
            old, new = old.T, new.T
        values = torch.linalg.svdvals(new - old)
        found.append(
            MatrixUpdate(
                name,
                *place_of(name),
                size=float((new - old).norm() / old.norm()),
                singular_values=tuple(values.tolist()),
                rank=rank_90(values),
                intruders=intruders(old, new),
            )
        )
    return found
