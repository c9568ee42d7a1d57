"""Rows to train on and small models that several tests share, so that each is written once."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from helpers.models import load_model
from helpers.pocket.pretrain import Recipe, new_model

#: What a model can do already, one row a skill.
OLD = [
    {"prompt": "What is 1 + 2?", "completion": " 3"},
    {"prompt": "What is the capital of France?", "completion": " Paris"},
    {"prompt": "Sort: 3, 1, 2", "completion": " 1, 2, 3"},
    {"prompt": "Where is Tom?", "completion": " in the garden"},
]
#: What it is fine-tuned on.
NEW = [
    {
        "prompt": "Customer: When is the store open?\nAgent:",
        "completion": " Until 8, never Monday.",
    },
    {"prompt": "Customer: Where is my order?\nAgent:", "completion": " Open the blue page."},
    {"prompt": "Customer: Can I pay later?\nAgent:", "completion": " Yes."},
    {"prompt": "Customer: Who sends it?\nAgent:", "completion": " The store in Oslo sends it."},
]
#: Architectures other than the course model's. Their layers are `nn.Linear`, GPT-2's are not.
KINDS = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "neox": (GPTNeoXForCausalLM, GPTNeoXConfig),
}
SHAPE = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=256,
)  # fmt: skip


def small_gpt2(
    tokenizer: PreTrainedTokenizerBase, *, layers: int = 2, width: int = 32
) -> PreTrainedModel:
    """A GPT-2 of another size than conftest's `tiny`, always with the same random weights."""
    model = new_model(Recipe(layers=layers, width=width, heads=2), tokenizer)
    model.tokenizer = tokenizer
    return model.eval()


def small_model(
    kind: str, tokenizer: PreTrainedTokenizerBase, **options: object
) -> PreTrainedModel:
    """One of `KINDS`: two narrow layers, always with the same random weights.

    `options` go to its config, for what a test depends on.
    """
    model, config = KINDS[kind]
    torch.manual_seed(0)
    made = model(config(**{"vocab_size": len(tokenizer), **SHAPE, **options}))
    made.tokenizer = tokenizer
    return made.eval()


def saved_model(
    kind: str, tokenizer: PreTrainedTokenizerBase, folder: Path, **options: object
) -> PreTrainedModel:
    """A `small_model` that went through a folder and `load_model`, as a reader's models do."""
    small_model(kind, tokenizer, **options).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(folder)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies, so that they stay what they are while the model goes on."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether the weights have the same names and agree in every bit."""
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
