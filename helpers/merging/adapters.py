"""Averaging LoRA adapters: what PEFT's combinations give, against the mean of the updates."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from ..models import forget_forward
from .weights import NotAlike, check_vocabularies

MERGED = "merged"
WAYS = ("linear", "svd", "cat")


class Combination(NamedTuple):
    """One of PEFT's ways to combine adapters, and how far off the mean update it is.

    Attributes:
        rank: of the adapter it makes.
        error: norm of (its update - weighted sum of the updates), divided by the norm of the
            latter, over all adapted weights: 0 is exact, and at 1 it is as wrong as no update.
        length: norm of its update, divided by the norm of the weighted sum.
    """

    way: str
    rank: int
    error: float
    length: float


def updates(model: torch.nn.Module, adapter: str | None = None) -> dict[str, torch.Tensor]:
    """ΔW of every adapted layer, shaped as the layer's weight is: (in, out) in GPT-2's Conv1D.

    Args:
        adapter: its name; the active one when left out.

    Raises:
        ValueError: the model has no such LoRA adapter.
    """
    name = adapter or getattr(model, "active_adapter", None)
    if not isinstance(model, PeftModel) or name not in adapters_of(model):
        raise ValueError(
            "There is no such LoRA adapter in this model. Give a fine-tune of `finetune` with a "
            "rank, before its adapter is merged into the weights."
        )
    return {
        place: layer.get_delta_weight(name).detach()
        for place, layer in model.named_modules()
        if isinstance(layer, LoraLayer) and name in _held(layer)
    }


def _held(layer: LoraLayer) -> set[str]:
    """The names of the adapters in a layer; embeddings keep theirs apart."""
    return {*layer.lora_A, *layer.lora_embedding_A}


def adapters_of(model: PeftModel) -> set[str]:
    """The names of the LoRA adapters that sit in a model's layers."""
    found = (layer for layer in model.modules() if isinstance(layer, LoraLayer))
    return {name for layer in found for name in _held(layer)}


def combined(
    models: Sequence[torch.nn.Module], weights: Sequence[float] | None = None, way: str = "cat"
) -> PeftModel:
    """A model with one adapter made of several by PEFT's `add_weighted_adapter`.

    `cat` puts the factors side by side: its update is exactly the weighted sum, and the ranks add
    up. `svd` is the best approximation of that sum at the largest of the ranks. `linear` adds up
    A's and B's separately, and the product of two sums has cross terms: it is another update.

    Args:
        models: LoRA fine-tunes of one base, as `finetune` returns them.
        weights: one per model; equal and summing to 1 when left out.
        way: PEFT's `combination_type`; "cat", "svd" or "linear".

    Returns:
        A new model whose active adapter is the combination, with its tokenizer.

    Raises:
        ValueError: fewer than two models are given, one has no LoRA adapter, there is not one
            weight each, or the way is none of the three. Also where PEFT's result would be wrong
            in scale (rsLoRA), or another kind of update (DoRA).
        NotAlike: the adapters sit on different bases.
    """
    weights = list(weights or [1 / max(1, len(models))] * len(models))
    _check(models, weights, way)
    result = copy.deepcopy(models[0])
    forget_forward(result)
    names = [result.active_adapter]
    for number, model in enumerate(models[1:], start=1):
        names.append(f"{names[0]}-{number}")
        config = model.peft_config[model.active_adapter]
        result.add_adapter(names[-1], copy.deepcopy(config))
        state = get_peft_model_state_dict(model, adapter_name=model.active_adapter)
        set_peft_model_state_dict(result, state, adapter_name=names[-1])
    result.base_model.add_weighted_adapter(names, weights, MERGED, combination_type=way)
    result.set_adapter(MERGED)
    for name in names:
        result.delete_adapter(name)
    result.tokenizer = models[0].tokenizer
    return result.eval()


def combination_errors(
    models: Sequence[torch.nn.Module],
    weights: Sequence[float] | None = None,
    ways: Sequence[str] = WAYS,
) -> list[Combination]:
    """How far each of PEFT's combinations is from the weighted sum of the updates.

    Args:
        models: LoRA fine-tunes of one base, as `finetune` returns them.
        weights: one per model; equal and summing to 1 when left out, for the mean.

    Raises:
        ValueError: see `combined`; also where the weighted sum is zero, as for adapters that were
            never trained.
    """
    weights = list(weights or [1 / max(1, len(models))] * len(models))
    _check(models, weights, "cat")
    exact: dict[str, torch.Tensor] = {}
    for model, weight in zip(models, weights, strict=True):
        for place, update in updates(model).items():
            exact[place] = exact.get(place, 0) + weight * update.double()
    size = _norm(exact)
    if size == 0:
        raise ValueError("The updates sum to zero, so there is nothing to compare: train first.")
    found = []
    for way in ways:
        model = combined(models, weights, way)
        update = {place: values.double() for place, values in updates(model).items()}
        error = _norm({place: update[place] - exact[place] for place in exact})
        rank = model.peft_config[MERGED].r
        found.append(Combination(way, rank, error / size, _norm(update) / size))
    return found


def _norm(parts: dict[str, torch.Tensor]) -> float:
    return float(sum(part.square().sum() for part in parts.values())) ** 0.5


def _check(models: Sequence[torch.nn.Module], weights: Sequence[float], way: str) -> None:
    if len(models) < 2:
        raise ValueError("Give at least two LoRA fine-tunes to combine.")
    if len(weights) != len(models):
        raise ValueError(
            f"Each adapter needs one weight: there are {len(models)} adapters and {len(weights)} "
            "weights."
        )
    if way not in WAYS:
        raise ValueError(f"There is no way {way!r} here. There are {', '.join(WAYS)}.")
    first = None
    for number, model in enumerate(models):
        updates(model)  # refuses a model without an adapter
        config = model.peft_config[model.active_adapter]
        if config.use_rslora or config.use_dora:
            raise ValueError(
                f"Adapter {number} uses rsLoRA or DoRA, which PEFT combines without regard to "
                "their scale. Merge the models instead: `add` with task vectors."
            )
        check_vocabularies(models[0], model)
        weights_below = _below(model)
        first = first or weights_below
        if weights_below.keys() != first.keys() or not all(
            first[name].shape == weight.shape and torch.equal(first[name], weight)
            for name, weight in weights_below.items()
        ):
            raise NotAlike(
                f"Adapter {number} sits on another base than the first, or adapts other layers: "
                "their updates cannot be summed. Fine-tune both from the same model."
            )


def _below(model: PeftModel) -> dict[str, torch.Tensor]:
    """The weights under the adapter."""
    return {name: p.detach() for name, p in model.named_parameters() if "lora_" not in name}
