"""L2-SP: a pull of every weight towards the place where it began."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from .base import Inputs, Mitigation, at_least_zero
from .updates import squared_length, starting_weights


@dataclass
class L2SP(Mitigation):
    """Half of `strength` times the squared length of the whole update is added to the loss.

    Li, Grandvalet and Davoine (2018, arXiv 1802.01483) decay the weights towards the pre-trained
    ones, not towards zero. With LoRA the update is scale · B A in each adapted weight, and the pull
    is on that product: not on A and B, whose own size says nothing about the distance from the
    base.

    Attributes:
        strength: in nats per squared unit of weight; 0 is plain fine-tuning.

    Raises:
        ValueError: the strength is below zero or no number.
    """

    strength: float
    _start: dict[str, torch.Tensor] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        at_least_zero("The strength", self.strength)

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        self._start = starting_weights(base, student)

    def penalty(self, model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        return self.strength / 2 * squared_length(self._start, model)
