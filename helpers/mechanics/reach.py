"""Lost, or out of reach? What a few examples bring back."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..training import finetune
from .loss import Rows, merged


def relearn(
    model: torch.nn.Module, examples: Rows, seed: int = 0, lr: float = 1e-3
) -> PreTrainedModel:
    """A copy of the model after twenty steps on a few old examples.

    Ten examples cannot teach several skills from nothing, so what comes back on held-out questions
    had not been lost (arXiv 2501.13453 calls that spurious forgetting). What does not come back
    need not be lost: at a high rate these steps cost a model that has lost nothing some skills.
    """
    options = dict(lr=lr, rank=8, steps=20, batch_size=10, seed=seed)
    return finetune(merged(model), list(examples), **options).model


def stranger(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A model of the same shape with random weights: what relearning does without knowledge."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(model.config).eval()
    made.tokenizer = model.tokenizer
    return made
