"""Checkers of the exercises in lesson 02."""

from __future__ import annotations

import numpy as np
import torch

from . import exercise


def _draw(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _close(found: object, expected: float) -> bool:
    # Relative, so that a wrong number near 0 is not taken for a mistake whose value is small.
    return abs(float(found) - float(expected)) < 1e-3 * abs(float(expected)) + 1e-6


def _not_a_number(found: object) -> str | None:
    """What to say about an answer that is not one number, or None."""
    if isinstance(found, torch.Tensor) and found.numel() != 1:
        return f"It returned a tensor of shape {tuple(found.shape)}; one number is asked for."
    if not isinstance(found, (int, float, np.number, torch.Tensor)):
        return f"It returned a {type(found).__name__}; one number is asked for."
    return None


@exercise(
    "2.1", reading="One angle for the whole model; per layer it is the same with fewer parts."
)
def gradient_cosine(function) -> str | None:
    # Parts of very different length: an average of angles is then far from the angle of the whole.
    shapes = (4, 6), (5, 2), (3, 3)
    a, b = _draw(0, *shapes), _draw(1, *shapes)
    a = [a[0], 10 * a[1], a[2]]
    b = [b[0], b[1] + 2 * a[1], b[2]]
    long_a, long_b = (torch.cat([part.flatten() for part in g]) for g in (a, b))
    expected = torch.nn.functional.cosine_similarity(long_a, long_b, dim=0)
    parts = [
        torch.nn.functional.cosine_similarity(x.flatten(), y.flatten(), dim=0)
        for x, y in zip(a, b, strict=True)
    ]
    found = function(a, b)
    if mistake := _not_a_number(found):
        return mistake
    if not _close(found, expected):
        if _close(found, sum(parts) / len(parts)):
            return "That is the mean of three angles. Take one angle of the long vectors."
        if _close(found, long_a @ long_b):
            return "That is the dot product. Divide it by both lengths."
        if _close(found, long_a @ long_b / (long_a @ long_a * (long_b @ long_b))):
            return "Divided by the squared lengths: the root is missing."
        return (
            f"For two gradients of three matrices the cosine is {float(expected):.3f}, "
            f"not {float(found):.3f}."
        )
    if not _close(function(a, [-x for x in a]), -1):
        return "Opposite gradients have the cosine -1; keep the sign."
    zeros = [torch.zeros_like(x) for x in a]
    if not all(_close(function(*pair), 0) for pair in ((a, zeros), (zeros, a), (zeros, zeros))):
        return "Where one gradient is all zeros, return 0.0."
    return None


@exercise("2.2", reading="`helpers.mechanics.linear_cka` has the debiased form, for few inputs.")
def linear_cka(function) -> str | None:
    x, noise = _draw(2, (40, 6), (40, 6))
    # Another mean in every column: one mean subtracted from all of them does not centre.
    x = x + torch.arange(6) - 1.0
    y = x + noise

    def by_grams(x: torch.Tensor, y: torch.Tensor) -> float:
        centre = torch.eye(len(x)) - 1 / len(x)
        k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
        return float((k * m).sum() / (k.norm() * m.norm()))

    expected, found = by_grams(x, y), function(x, y)
    if mistake := _not_a_number(found):
        return mistake
    norm = torch.linalg.norm
    if not _close(found, expected):
        if _close(found, norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))):
            return "The columns are not centred: subtract the mean over the inputs first."
        p, q = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        if _close(found, norm(q.T @ p) ** 2 / (norm(p.T @ p) * norm(q.T @ q))):
            return "That centres the rows. Subtract the mean over the inputs, dimension 0."
        p, q = x - x.mean(), y - y.mean()
        if _close(found, norm(q.T @ p) ** 2 / (norm(p.T @ p) * norm(q.T @ q))):
            return "That subtracts one mean from everything. Each column has its own."
        p, q = x - x.mean(0), y - y.mean(0)
        if _close(found, norm(q.T @ p) / (norm(p.T @ p) * norm(q.T @ q))):
            return "The norm in the numerator is to be squared."
        return f"For these 40 inputs the CKA is {expected:.3f}, not {float(found):.3f}."
    (mix,) = _draw(3, (6, 6))
    rotation = torch.linalg.qr(mix).Q
    if not (
        _close(function(x, 2 * y @ rotation), expected)
        and _close(function(2 * x @ rotation, y), expected)
    ):
        return "Turning and stretching a representation must not change its CKA."
    return None


@exercise("2.3", reading="This is all that `top_eigenvalue` needs; Lanczos does the rest.")
def hvp(function) -> str | None:
    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x**3).sum() + (x[0] * y).sum() ** 2 + y.prod()

    values, vectors = _draw(4, (3,), (2,)), _draw(5, (3,), (2,))
    parameters = [value.requires_grad_() for value in values]
    hessian = torch.autograd.functional.hessian(loss_of, tuple(v.detach() for v in values))
    expected = [sum(hessian[i][j] @ vectors[j] for j in range(2)) for i in range(2)]
    gradients = torch.autograd.grad(loss_of(*parameters), parameters)
    try:
        found = function(loss_of(*parameters), parameters, vectors)
    except Exception as error:
        if "does not require grad" not in str(error):
            raise
        return (
            f"{error}. The first gradient does not require grad, so it cannot be differentiated "
            "again: take it with `create_graph=True`."
        )
    if not isinstance(found, (list, tuple)) or not all(torch.is_tensor(part) for part in found):
        return "Return a list of tensors, one per parameter, as `torch.autograd.grad` does."
    if [part.shape for part in found] != [part.shape for part in parameters]:
        return "The result must have the shapes of the parameters."

    def same(wanted: list[torch.Tensor]) -> bool:
        return all(torch.allclose(f, w, atol=1e-4) for f, w in zip(found, wanted, strict=True))

    if same(expected):
        return None
    if same(list(gradients)):
        return "That is the gradient itself. Multiply it with the vectors and differentiate again."
    if same([g * v for g, v in zip(gradients, vectors, strict=True)]):
        return "That is gradient times vector. Sum it up and differentiate that once more."
    blocks = [hessian[i][i] @ vectors[i] for i in range(2)]
    if same(blocks):
        return "The parameters act on each other: sum over all of them before differentiating."
    return "It differs from the full Hessian times the vector. Is each vector with its parameter?"
