"""Lost, or out of reach? Old questions in other formats, and what a few examples bring back."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..suites import Suite
from ..training import finetune
from .loss import Rows, merged

#: What stands before and after a bare question. The last is the format of the tickets.
FORMATS = {
    "bare": ("", ""),
    "question": ("Question: ", "\nAnswer:"),
    "chat": ("User: ", "\nAssistant:"),
    "customer": ("Customer: ", "\nAgent:"),
}


def asked_as(suite: Suite, name: str) -> Suite:
    """The bare questions of a suite in one of the `FORMATS`.

    If an answer that is wrong in one format is right in another, it was out of reach, not lost
    (Kotha et al. 2023, arXiv 2309.10105, ask in another language).

    Raises:
        ValueError: there is no such format, or the suite has no bare questions.
    """
    if name not in FORMATS:
        raise ValueError(f"There is no format {name!r}. There are {', '.join(FORMATS)}.")
    head, tail = FORMATS[name]
    items = tuple(
        replace(item, prompt=f"{head}{item.prompt}{tail}")
        for item in suite.items
        if item.format == "bare"
    )
    if not items:
        raise ValueError(f"The suite {suite.name!r} has no bare questions to put differently.")
    return replace(suite, items=items)


def relearn(model: torch.nn.Module, examples: Rows, seed: int = 0) -> PreTrainedModel:
    """A copy of the model after twenty steps on a few old examples.

    Ten examples cannot teach several skills from nothing, so what comes back on held-out questions
    had not been lost (arXiv 2501.13453 calls that spurious forgetting). What does not come back
    need not be lost: these steps also cost a model that has lost little some of its skills.
    """
    options = dict(lr=3e-3, rank=8, steps=20, batch_size=10, seed=seed)
    return finetune(merged(model), list(examples), **options).model


def stranger(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A model of the same shape with random weights: what relearning does without knowledge."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(model.config).eval()
    made.tokenizer = model.tokenizer
    return made
