"""KL to the base: the model is to go on answering old questions as it did."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from ..mechanics.loss import Batch, Rows, batch_of
from ..models import base_view
from .base import Inputs, Mitigation, at_least_zero
from .updates import reference


@dataclass(repr=False)
class KLToBase(Mitigation):
    """`strength` times KL(base || model) of the next-token distribution is added to the loss.

    Li and Hoiem (2016, arXiv 1606.09282) call it learning without forgetting: the base's own
    answers are the target, so that nobody has to write any. With LoRA the base is the model with
    its adapter switched off, at the price of one more forward pass and no more memory for weights.

    Attributes:
        strength: nats of loss per nat of divergence, averaged over tokens; 0 is plain fine-tuning.
        rows: old prompts with completions; in every step `batch_size` of them are taken in turn,
            in an order drawn from `seed`, and the divergence is that on the completions. Without
            rows it is that on the *prompts* of the tickets at hand: old data is then not needed,
            but what is held is how the model reads customers, not how it answers anyone else.

    Raises:
        ValueError: the strength is below zero or no number, or `batch_size` below 1.
        BadTickets: when fine-tuning begins, where there are no rows, or one is malformed.
    """

    strength: float
    rows: Rows | None = None
    batch_size: int = 16
    seed: int = 0
    _reference: torch.nn.Module | None = field(default=None, init=False)
    _batches: Iterator[Batch] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        at_least_zero("The strength", self.strength)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}.")
        if self.rows is not None:
            self.rows = list(self.rows)  # they are needed again in the next run

    def __repr__(self) -> str:
        held = "the prompts at hand" if self.rows is None else f"{len(self.rows)} old rows"
        return f"KLToBase({self.strength}, {held}, batch_size={self.batch_size}, seed={self.seed})"

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        self._reference = reference(base, student)
        if self.rows is not None:
            encoded = batch_of(base, self.rows)
            encoded = Batch(*(part.to(student.device) for part in encoded))
            self._batches = _in_turn(encoded, self.batch_size, self.seed)

    def penalty(self, model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        if self.rows is None:
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            asked = (mask[:, 1:] == 1) & (inputs["labels"][:, 1:] == -100)
        else:
            batch = next(self._batches)
            ids, mask = batch.input_ids, batch.attention_mask
            asked = batch.labels[:, 1:] != -100
        return self.strength * kl(self._reference, model, ids, mask, asked)


def kl(
    base: torch.nn.Module,
    model: torch.nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    asked: torch.Tensor,
) -> torch.Tensor:
    """Mean KL(base || model) over some predictions, in nats, to be differentiated.

    Args:
        base: the base, or a model whose base is seen when its adapter is switched off.
        ids, mask: token ids and attention mask of shape (rows, tokens).
        asked: of shape (rows, tokens - 1): whether the prediction of a row's next token counts.
    """
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad(), base_view(base):
        old = base(**inputs).logits[:, :-1][asked].float().log_softmax(-1)
    new = model(**inputs).logits[:, :-1][asked].float().log_softmax(-1)
    terms = (old.exp() * (old - new)).sum(-1)
    return terms.sum() / max(1, len(terms))  # a prompt of one token predicts none of its tokens


def _in_turn(batch: Batch, size: int, seed: int) -> Iterator[Batch]:
    """Batches without end: every row comes once before any comes again."""
    rng = random.Random(seed)  # its own, so that the tickets come in the order they always do
    waiting: list[int] = []
    count = len(batch.input_ids)
    while True:
        while len(waiting) < size:
            waiting += rng.sample(range(count), count)
        rows, waiting = waiting[:size], waiting[size:]
        length = int(batch.attention_mask[rows].sum(1).max())
        yield Batch(*(part[rows, :length] for part in batch))
