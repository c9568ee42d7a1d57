"""Sharpness-aware minimisation: the gradient is taken where a short step uphill would lead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from trl import SFTTrainer

from ..ascent import ascended, gradient_length
from .base import MitigatedTrainer, Mitigation, at_least_zero
from .freeze import blocks


@dataclass(frozen=True)
class SAM(Mitigation):
    """Every step looks uphill first, and walks down by the gradient it finds there.

    Foret et al. (2020, arXiv 2010.01412): the trained weights climb by `rho` along their gradient,
    the gradient is taken anew up there, the weights are put back, and the optimizer uses the second
    gradient. That costs two forward and two backward passes a step. With LoRA the weights that
    climb are A and B, those that train; a batch accumulated from parts climbs in each part.

    The sparse variant climbs in some blocks only. The first pass then needs no gradient below the
    lowest of them, and none of other blocks' weights, which is where it saves time; the second
    pass, and what is learned, concern all weights. The idea of choosing layers by gradient norm is
    SL-SAM's (Cheng et al. 2026, arXiv 2602.09395), which however draws them by a bandit and climbs
    and learns in those alone: what it reports does not hold for this variant.

    Attributes:
        rho: how far to climb, the length of the step in all weights together; 0 climbs nowhere.
        layers: None for all weights; block numbers from 0 upwards; or how many blocks, those whose
            gradient was longest in the step before (all of them in the first step).

    Raises:
        ValueError: `rho` is below zero or no number; when fine-tuning begins, where the model has
            no such blocks.
    """

    rho: float
    layers: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        at_least_zero("rho", self.rho)

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        if self.layers is None:
            return
        count = len(blocks(base))
        if isinstance(self.layers, int):
            if not 1 <= self.layers <= count:
                raise ValueError(
                    f"This model has {count} layers: SAM can climb in 1 to {count} of them, "
                    f"not in {self.layers}."
                )
        elif not self.layers or not all(0 <= number < count for number in self.layers):
            raise ValueError(
                f"This model has {count} layers, numbered 0 to {count - 1}; SAM cannot climb in "
                f"{list(self.layers)}."
            )

    def trainer(self, base: PreTrainedModel, **arguments: Any) -> SFTTrainer:
        return SAMTrainer(self, base, **arguments)


class SAMTrainer(MitigatedTrainer):
    """A trainer whose step climbs before it looks for the gradient."""

    def __init__(self, mitigation: SAM, base: PreTrainedModel, **arguments: Any) -> None:
        super().__init__(mitigation, base, **arguments)
        self._lengths: list[float] = []  # of each block's gradient, in the step before

    def training_step(self, model, inputs, *arguments, **options):
        trained = [p for p in model.parameters() if p.requires_grad]
        earlier = [p.grad for p in trained]  # of the parts before, where a batch is accumulated
        climbing = self._climbing(model, trained)
        _forget_gradients(trained)
        with _only(climbing, trained):
            loss = super().training_step(model, inputs, *arguments, **options)
        with ascended(climbing, self.mitigation.rho):
            _forget_gradients(trained)
            super().training_step(model, inputs, *arguments, **options)
        if isinstance(self.mitigation.layers, int):
            self._lengths = [float(gradient_length(block.parameters())) for block in blocks(model)]
        for parameter, gradient in zip(trained, earlier, strict=True):
            if gradient is not None:
                parameter.grad.add_(gradient)
        return loss  # at the weights themselves, so that it compares with other runs' losses

    def _climbing(
        self, model: torch.nn.Module, trained: list[torch.nn.Parameter]
    ) -> list[torch.nn.Parameter]:
        """The trained weights that climb in this step."""
        layers = self.mitigation.layers
        if layers is None:
            return trained
        if isinstance(layers, int):
            numbers = range(len(blocks(model)))
            if self._lengths:
                numbers = sorted(numbers, key=self._lengths.__getitem__, reverse=True)[:layers]
        else:
            numbers = layers
        wanted = {p for number in numbers for p in blocks(model)[number].parameters()}
        return [parameter for parameter in trained if parameter in wanted]


def _forget_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


@contextlib.contextmanager
def _only(
    wanted: Sequence[torch.nn.Parameter], trained: Sequence[torch.nn.Parameter]
) -> Iterator[None]:
    """For the length of a `with` block only the wanted weights get gradients."""
    chosen = set(wanted)
    others = [parameter for parameter in trained if parameter not in chosen]
    try:
        for parameter in others:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
