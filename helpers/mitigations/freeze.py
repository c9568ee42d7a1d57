"""Freezing: the lowest layers stay as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel

from .base import Mitigation


def blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The transformer blocks of a model, from the input upwards.

    Raises:
        ValueError: the model has no list of as many blocks as its configuration says.
    """
    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"This model has no list of {count} blocks; its layers cannot be told apart.")


@dataclass(frozen=True)
class FreezeBottom(Mitigation):
    """Train only what lies above the lowest transformer blocks.

    With LoRA, no adapters are made for them. In full fine-tuning the embeddings are frozen too, and
    with them the output layer where the two are one matrix, as in GPT-2. Freezing bottom layers
    is the remedy of Zheng et al. (2025, arXiv 2501.13453) for what they call spurious forgetting.

    Attributes:
        layers: how many blocks are frozen, counted from the input; with 0, the embeddings alone.

    Raises:
        ValueError: when fine-tuning begins, where the model has no more than `layers` blocks.
    """

    layers: int

    def adapter(self, config: LoraConfig, model: PreTrainedModel) -> LoraConfig:
        frozen = {module for block in self._bottom(model) for module in block.modules()}
        config.exclude_modules = [name for name, m in model.named_modules() if m in frozen]
        return config

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        if isinstance(student, PeftModel):
            return  # the blocks without an adapter are frozen as it is
        embeddings = [m for m in student.modules() if isinstance(m, torch.nn.Embedding)]
        for module in [*self._bottom(student), *embeddings]:
            module.requires_grad_(False)

    def _bottom(self, model: PreTrainedModel) -> list[torch.nn.Module]:
        found = list(blocks(model))
        if isinstance(self.layers, bool) or not 0 <= self.layers < len(found):
            raise ValueError(
                f"This model has {len(found)} layers, so 0 to {len(found) - 1} of them can be "
                f"frozen, not {self.layers}: at least one has to learn."
            )
        return found[: self.layers]
