"""A step uphill, taken back afterwards: what sharpness-aware minimisation does in every step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch


@contextlib.contextmanager
def ascended(parameters: Iterable[torch.nn.Parameter], rho: float) -> Iterator[None]:
    """Weights moved by `rho` along their gradients, for the length of a `with` block.

    Afterwards every bit of them is what it was: a copy is put back. Subtracting the step again
    would leave rounding errors, which add up over a run.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    length = float(gradient_length(moved))
    before = [parameter.detach().clone() for parameter in moved]
    try:
        if length > 0:
            with torch.no_grad():
                for parameter in moved:
                    parameter.add_(parameter.grad, alpha=rho / length)
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(moved, before, strict=True):
                parameter.copy_(kept)


def gradient_length(parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
    """Length of the gradients of all parameters, taken as one long vector."""
    lengths = [p.grad.norm() for p in parameters if p.grad is not None]
    return torch.stack(lengths).norm() if lengths else torch.zeros(())
