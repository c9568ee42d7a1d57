"""Representation drift: how far the inside of the model has moved on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel

from ..models import context_length, evaluation_mode


@dataclass(frozen=True)
class Drift:
    """How one layer's output differs between two models.

    Attributes:
        layer: 0 is the embedding, then the layers in order.
        cka: similarity, 1 for the same up to rotation and scale, about 0 for unrelated.
        change: length of the difference as a share of the length of the original.
    """

    layer: int
    cka: float
    change: float


@torch.no_grad()
def hidden_states(
    model: torch.nn.Module, prompts: Sequence[str], batch_size: int = 64
) -> torch.Tensor:
    """What each layer holds at the last token of each prompt, where the answer begins.

    Returns:
        Shape (layers + 1, prompts, width).

    Raises:
        ValueError: there are no prompts, or one does not fit into the context.
    """
    if not prompts:
        raise ValueError("Give at least one prompt.")
    plain = model.get_base_model() if isinstance(model, PeftModel) else model
    encoded = [model.tokenizer(prompt)["input_ids"] for prompt in prompts]
    limit = context_length(plain)
    if max(map(len, encoded)) > limit:
        raise ValueError(f"A prompt has {max(map(len, encoded))} tokens, the context is {limit}.")
    found = []
    with evaluation_mode(model):
        for start in range(0, len(encoded), batch_size):
            rows = encoded[start : start + batch_size]
            width = max(map(len, rows))
            # Padding on the right: positions then need no care, and what follows is not seen.
            padded = [row + [model.tokenizer.pad_token_id] * (width - len(row)) for row in rows]
            ids = torch.tensor(padded, device=plain.device)
            lengths = torch.tensor([len(row) for row in rows], device=plain.device)
            mask = (torch.arange(width, device=plain.device) < lengths[:, None]).long()
            states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            stacked = torch.stack(states.hidden_states)
            found.append(stacked[:, torch.arange(len(rows)), lengths - 1].cpu())
    return torch.cat(found, dim=1)


def _hsic(k: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Unbiased estimate of the Hilbert-Schmidt independence criterion of two Gram matrices."""
    n = len(k)
    k, m = k - k.diag().diag(), m - m.diag().diag()
    trace = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    cross = 2 * (k.sum(0) * m.sum(0)).sum() / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def linear_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    """Debiased linear CKA of two representations of the same inputs, shapes (inputs, width).

    Centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414) with the unbiased HSIC of
    Song et al. (2012, JMLR 13:1393). The plain estimate approaches 1 for *unrelated*
    representations when there are more dimensions than inputs; this one stays near 0.

    Raises:
        ValueError: fewer than four inputs, or not as many in `x` as in `y`.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"CKA needs the same four or more inputs twice, not {len(x)}, {len(y)}.")
    x, y = x.double(), y.double()
    k, m = x @ x.T, y @ y.T
    scale = (_hsic(k, k) * _hsic(m, m)).clamp(min=0).sqrt()
    return float(_hsic(k, m) / scale) if scale > 0 else 0.0


def relative_change(x: torch.Tensor, y: torch.Tensor) -> float:
    """Length of `y - x` as a share of the length of `x`."""
    return float((y - x).norm() / x.norm())


def drift(base: torch.nn.Module, tuned: torch.nn.Module, prompts: Sequence[str]) -> list[Drift]:
    """Drift of every layer between two models on the same prompts."""
    return drift_between(hidden_states(base, prompts), hidden_states(tuned, prompts))


def drift_between(before: torch.Tensor, after: torch.Tensor) -> list[Drift]:
    """Drift of every layer between two results of `hidden_states`."""
    return [
        Drift(layer, linear_cka(x, y), relative_change(x, y))
        for layer, (x, y) in enumerate(zip(before, after, strict=True))
    ]
