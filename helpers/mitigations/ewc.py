"""Elastic weight consolidation: a pull that is strong where the old skills depend on a weight."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from ..fingerprint import OtherModel, digest
from .base import Inputs, Mitigation, at_least_zero
from .importance import Fisher, check_shapes
from .updates import changing, starting_weights, weight_updates


@dataclass
class EWC(Mitigation):
    """Half of `strength` times the sum of Fisher times squared update is added to the loss.

    Kirkpatrick et al. (2016, arXiv 1612.00796). With LoRA the update of a weight is scale · B A,
    and the Fisher that of the base's weight, not of A and B: this is the form Zheng et al. (2026,
    arXiv 2602.17559) use. Weights without an adapter do not move and need no penalty.

    Attributes:
        fisher: of the very model that is fine-tuned; `Fisher.normalized()` makes its strength
            comparable with that of L2-SP.
        strength: the λ of the papers; 0 is plain fine-tuning.

    Raises:
        ValueError: the strength is below zero or no number.
        OtherModel: when fine-tuning begins, where the Fisher belongs to another model.
    """

    fisher: Fisher
    strength: float
    _values: dict[str, torch.Tensor] = field(default_factory=dict, repr=False, init=False)
    _start: dict[str, torch.Tensor] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        at_least_zero("The strength", self.strength)

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        wanted = changing(student)
        check_shapes(self.fisher, wanted)
        if digest(base) != self.fisher.model:
            raise OtherModel(
                "This Fisher was taken at other weights than this model has. Take it anew from "
                "this model: fisher(model, rows)."
            )
        self._values = {name: self.fisher.values[name].to(student.device) for name in wanted}
        self._start = starting_weights(base, student)

    def penalty(self, model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        updates = weight_updates(self._start, model)
        terms = ((self._values[name] * update.square()).sum() for name, update in updates)
        return self.strength / 2 * sum(terms)

    def storage(self) -> int:
        """Bytes of the Fisher: constant in the number of tasks."""
        return self.fisher.storage()
