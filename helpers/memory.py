"""How much memory a fine-tune will take, before it starts."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from peft import get_peft_model
from transformers import PreTrainedModel

from .models import context_length, parameter_counts
from .training import lora_config, quiet

FLOAT32 = 4  # bytes


def estimate_memory(
    model: PreTrainedModel,
    batch_size: int,
    length: int,
    rank: int | Literal["full"] = 8,
) -> dict[str, int]:
    """The bytes of a training step in float32, by what they are for.

    Weights, gradients and AdamW's two averages are counted. The activations that are kept for the
    backward pass are measured on one short text and scaled: they grow with the number of tokens
    (and the attention weights, where an implementation keeps them, with its square).

    Args:
        batch_size: texts per step.
        length: tokens per text.
        rank: rank of a LoRA on all linear layers, or "full".

    Raises:
        ValueError: the length exceeds the model's context.
    """
    if length > context_length(model):
        raise ValueError(
            f"A text of {length} tokens does not fit into the context of {context_length(model)}."
        )
    student = copy.deepcopy(model).train()
    if rank != "full":
        student = get_peft_model(student, lora_config(model, rank, 2 * rank))
    counts = parameter_counts(student)
    parts = {
        "weights": FLOAT32 * counts["total"],
        "gradients": FLOAT32 * counts["trainable"],
        "AdamW": 2 * FLOAT32 * counts["trainable"],
        "activations": batch_size * kept_activations(student, length),
    }
    return parts | {"sum": sum(parts.values())}


def kept_activations(model: torch.nn.Module, length: int) -> int:
    """Bytes autograd keeps for the backward pass of one text of `length` tokens."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros((1, length), dtype=torch.long)
    with quiet(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(input_ids=ids, labels=ids).loss
    del loss
    return sum(kept.values())
