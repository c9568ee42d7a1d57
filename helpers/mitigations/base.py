"""What every mitigation is made of: four hooks into training, each of which may do nothing."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from transformers import PreTrainedModel
from trl import SFTTrainer

#: What the trainer hands a model: token ids, attention mask and labels, each (rows, tokens).
Inputs = dict[str, Any]


class Mitigation:
    """A change to fine-tuning that is meant to keep old skills; this one changes nothing.

    A mitigation keeps its settings, and of a run only what `begin` sets: one object may serve any
    number of runs, one after the other.
    """

    def adapter(self, config: LoraConfig, model: PreTrainedModel) -> LoraConfig:
        """The adapter that is to be made; not called for full fine-tuning."""
        return config

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        """Called once, before the first step.

        Args:
            base: the model that was given to `finetune`; nobody trains it.
            student: its copy, with or without an adapter, which will be trained.
        """

    def labels(self, model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        """The tokens to learn, of shape (rows, tokens); -100 where there is nothing to learn."""
        return inputs["labels"]

    def penalty(self, model: torch.nn.Module, inputs: Inputs) -> torch.Tensor | None:
        """A scalar that is added to the loss of a batch, in nats; None for nothing."""
        return None

    def storage(self) -> int:
        """Bytes that are kept beside the model while it trains."""
        return 0

    def trainer(self, base: PreTrainedModel, **arguments: Any) -> SFTTrainer:
        """The trainer that trains with this mitigation, from SFTTrainer's own arguments."""
        return MitigatedTrainer(self, base, **arguments)


class MitigatedTrainer(SFTTrainer):
    """TRL's trainer with a mitigation's labels and penalty.

    `compute_loss` is overridden, and not given as `compute_loss_func`: TRL would then run the model
    twice in every step.
    """

    def __init__(self, mitigation: Mitigation, base: PreTrainedModel, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.mitigation = mitigation
        mitigation.begin(base, self.model)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = self.mitigation.labels(model, inputs)
        parts = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
        if labels is not inputs["labels"]:
            inputs = inputs | {"labels": labels}
            if num_items_in_batch is not None:
                # The loss of a batch is divided by its labelled tokens: they have become fewer.
                num_items_in_batch = parts * (labels[:, 1:] != -100).sum().clamp(min=1)
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        penalty = self.mitigation.penalty(model, inputs)
        if penalty is None:
            return found
        # The parts of an accumulated batch are summed up, and the penalty counts once.
        penalty = penalty / parts
        return (found[0] + penalty, found[1]) if return_outputs else found + penalty


def at_least_zero(name: str, value: float) -> float:
    """The value, when it is a number that is not below zero.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of at least 0, not {value}.")
    return value
