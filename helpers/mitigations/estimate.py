"""Estimating the diagonal of the Fisher information."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from transformers import PreTrainedModel

from ..fingerprint import digest
from ..mechanics.loss import Batch, Rows, answer_loss, batch_of, merged
from .importance import Fisher

Kind = Literal["per-sample", "batch-mean", "identity"]
Labels = Literal["gold", "sampled"]


def fisher(
    model: torch.nn.Module,
    rows: Rows,
    kind: Kind = "per-sample",
    labels: Labels = "gold",
    batch_size: int = 16,
    seed: int = 0,
) -> Fisher:
    """The diagonal of the Fisher information of a model's weights on some rows.

    For each row the gradient of log p(completion | prompt), a sum over the completion's tokens, is
    squared; the result is the mean over the rows (Kirkpatrick et al. 2016, arXiv 1612.00796). A
    model with an adapter is merged first.

    Args:
        rows: old tasks, with a prompt and a completion.
        kind: "per-sample" is the Fisher. "batch-mean" squares the gradient of a batch's mean, as
            some libraries do because it is faster: gradients of different rows cancel before they
            are squared. "identity" is all ones, which makes EWC the same as L2-SP.
        labels: "gold" takes the completions as they stand, which is the *empirical* Fisher;
            "sampled" draws each token from the model, given the gold ones before it, as the
            definition asks (van de Ven 2025, arXiv 2502.11756, compares them).
        batch_size: rows per batch of the kind "batch-mean".
        seed: of the draw.

    Raises:
        BadTickets: there are no rows, or one is malformed or longer than the model's context.
        ValueError: an unknown kind or choice of labels.
    """
    for name, value, allowed in (("kind", kind, Kind), ("labels", labels, Labels)):
        if value not in get_args(allowed):
            raise ValueError(f"{name} must be one of {get_args(allowed)}, not {value!r}.")
    plain = merged(model)
    weights = dict(plain.named_parameters())
    batch = batch_of(plain, rows)
    count = len(batch.input_ids)
    if kind == "identity":
        ones = {name: torch.ones_like(weight.detach()).cpu() for name, weight in weights.items()}
        return Fisher(ones, digest(plain), kind, count)
    if labels == "sampled":
        batch = _redrawn(plain, batch, seed)
    size = 1 if kind == "per-sample" else batch_size
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    parts = 0
    for part in _parts(batch, size):
        tokens = (part.labels != -100).sum()
        # Mean over the tokens times their number: minus the sum of the rows' log-likelihoods.
        loss = answer_loss(plain, part) * tokens / len(part.input_ids)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total.add_(gradient.square())
        parts += 1
    values = {name: (total / parts).cpu() for name, total in sums.items()}
    return Fisher(values, digest(plain), kind, count)


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    """Batches of `size` rows, without the padding that none of their rows needs."""
    for start in range(0, len(batch.input_ids), size):
        rows = slice(start, start + size)
        length = int(batch.attention_mask[rows].sum(1).max())
        yield Batch(*(part[rows, :length] for part in batch))


@torch.no_grad()
def _redrawn(model: PreTrainedModel, batch: Batch, seed: int) -> Batch:
    """The batch with labels drawn from the model instead of the gold ones."""
    generator = torch.Generator().manual_seed(seed)
    labels = batch.labels.clone()
    for row in range(len(labels)):  # one at a time: the logits of many rows are large
        ids, mask, _ = (part[row : row + 1] for part in batch)
        logits = model(input_ids=ids, attention_mask=mask).logits[0]
        places = (labels[row] != -100).nonzero().flatten()
        chances = logits[places - 1].float().softmax(-1).cpu()
        drawn = torch.multinomial(chances, 1, generator=generator).flatten()
        labels[row, places] = drawn.to(labels.device)
    return batch._replace(labels=labels)
