"""The loss that everything here differentiates, and the model it is taken on."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..decoding import encode_pair
from ..models import context_length, forget_forward
from ..suites import Suite
from ..tickets import as_dataset, check_lengths

Rows = Iterable[Mapping[str, str]]


def merged(model: torch.nn.Module) -> PreTrainedModel:
    """A copy with the adapter added into the weights; of a model without one, a plain copy.

    Then base and fine-tune have the same parameters under the same names, and can be compared,
    interpolated and differentiated alike. The copy is in evaluation mode.
    """
    plain = copy.deepcopy(model)
    # While a model trains, the trainer's `forward` sits on it and holds on to the original.
    forget_forward(plain)
    if isinstance(plain, PeftModel):
        plain = plain.merge_and_unload()
        plain.tokenizer = model.tokenizer
    return plain.eval().requires_grad_(True)


def as_rows(suite: Suite) -> list[dict[str, str]]:
    """The items of a suite as rows with a prompt and its gold answer as completion."""
    return [{"prompt": item.prompt, "completion": f" {item.answer}"} for item in suite.items]


class Batch(NamedTuple):
    """Token ids, attention mask and labels, each of shape (rows, tokens); labels -100 = ignored."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor


def encode(tokenizer: PreTrainedTokenizerBase, rows: Rows, limit: int) -> Batch:
    """Rows padded on the right; only completions and their end are labelled.

    Raises:
        BadTickets: there are no rows, a column is missing, or a row exceeds `limit` tokens.
    """
    dataset = as_dataset(rows)
    check_lengths(dataset, tokenizer, limit)
    cut = [encode_pair(tokenizer, row["prompt"], row["completion"]) for row in dataset]
    pairs = [(prompt, [*answer, tokenizer.eos_token_id]) for prompt, answer in cut]
    shape = (len(pairs), max(len(prompt) + len(answer) for prompt, answer in pairs))
    ids = torch.full(shape, tokenizer.pad_token_id)
    mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100)
    for line, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        ids[line, :end] = torch.tensor(prompt + answer)
        mask[line, :end] = 1
        labels[line, len(prompt) : end] = torch.tensor(answer)
    return Batch(ids, mask, labels)


def batch_of(model: PreTrainedModel, rows: Rows) -> Batch:
    """Rows encoded for a model, on the device it is on."""
    batch = encode(model.tokenizer, rows, context_length(model))
    return Batch(*(part.to(model.device) for part in batch))


def answer_loss(
    model: PreTrainedModel, batch: Batch, weights: Mapping[str, torch.Tensor] | None = None
) -> torch.Tensor:
    """Mean cross-entropy of the labelled tokens in nats, as a scalar to differentiate.

    Args:
        weights: parameters to use instead of the model's own, by name.
    """
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if weights is None:
        logits = model(**inputs).logits
    else:
        logits = torch.func.functional_call(model, dict(weights), (), inputs).logits
    if logits.dtype != torch.float64:
        logits = logits.float()
    wanted = batch.labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), wanted, ignore_index=-100
    )


class Place(NamedTuple):
    """Where a parameter sits: number of the layer and what kind of weight it is."""

    layer: int
    kind: str  # "attention" or "mlp"


def place_of(name: str) -> Place | None:
    """The place of a weight matrix inside the layers, by its name in GPT-2, Llama, NeoX and kin.

    None for embeddings, the output layer, norms and biases.
    """
    found = re.search(r"\.(?:h|layers|layer|blocks)\.(\d+)\.(.+)$", name)
    if not found or "norm" in found[2] or ".ln_" in f".{found[2]}" or name.endswith("bias"):
        return None
    kind = "attention" if "att" in found[2] else "mlp"
    return Place(int(found[1]), kind)


def layer_matrices(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The weight matrices inside the layers, by name."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and place_of(name)
    }


def same_parameters(
    one: torch.nn.Module, other: torch.nn.Module
) -> tuple[dict[str, torch.nn.Parameter], dict[str, torch.nn.Parameter]]:
    """The parameters of two models by name.

    Raises:
        ValueError: the names or shapes differ.
    """
    first, second = dict(one.named_parameters()), dict(other.named_parameters())
    shapes = [{name: p.shape for name, p in found.items()} for found in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError("The two models have different parameters: are they of one family?")
    return first, second
