"""Sharpness: how steeply the loss rises around a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .loss import Rows, answer_loss, batch_of, layer_matrices, merged


def hessian_vector_product(
    loss: torch.Tensor, parameters: Sequence[torch.Tensor], vector: torch.Tensor
) -> torch.Tensor:
    """The Hessian of `loss` times `vector`, without the Hessian (Pearlmutter 1994).

    Args:
        loss: a scalar that depends on the parameters.
        vector: flat, one number per parameter.

    Returns:
        A flat vector of the same length.
    """
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    return _times_vector(gradients, parameters, vector)


def _times_vector(
    gradients: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor], vector: torch.Tensor
) -> torch.Tensor:
    slope = torch.cat([gradient.flatten() for gradient in gradients]) @ vector
    # Kept, because the same gradients are multiplied with one vector after another.
    products = torch.autograd.grad(slope, parameters, retain_graph=True)
    return torch.cat([product.flatten() for product in products])


def lanczos(
    multiply: Callable[[torch.Tensor], torch.Tensor], size: int, steps: int, seed: int = 0
) -> torch.Tensor:
    """Approximate eigenvalues of a symmetric matrix from products with it (Lanczos 1950).

    Returns:
        At most `steps` values in rising order. The outermost are the most accurate, and never lie
        outside the true range.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(size, generator=generator)
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, size)):
        product = multiply(basis[-1])
        diagonal.append(float(product @ basis[-1]))
        # Against every earlier vector, twice: rounding would let found directions return.
        for _ in range(2):
            for earlier in basis:
                product = product - (product @ earlier) * earlier
        length = float(product.norm())
        if length < 1e-6 * max(map(abs, diagonal)):
            break  # the matrix has no further directions to show
        beside.append(length)
        basis.append(product / length)
    beside = beside[: len(diagonal) - 1]
    small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.tensor(beside, dtype=torch.float64)
        small += torch.diag(off, 1) + torch.diag(off, -1)
    return torch.linalg.eigvalsh(small)


def top_eigenvalue(model: torch.nn.Module, rows: Rows, steps: int = 10, seed: int = 0) -> float:
    """The largest curvature of the mean answer loss in the weight matrices of the layers.

    Args:
        steps: Lanczos steps, each about four times the price of a training step on these rows.

    Returns:
        Nats per squared unit of weight.
    """
    plain = merged(model)
    matrices = list(layer_matrices(plain).values())
    batch = batch_of(plain, rows)
    with sdpa_kernel(SDPBackend.MATH):  # the kernels without second derivatives stay out
        loss = answer_loss(plain, batch)
        gradients = torch.autograd.grad(loss, matrices, create_graph=True)
        values = lanczos(
            lambda vector: _times_vector(gradients, matrices, vector),
            sum(matrix.numel() for matrix in matrices),
            steps,
            seed,
        )
    return float(values[-1])
