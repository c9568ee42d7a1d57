"""What every merge needs: plain copies that fit together, and a new model out of new weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from transformers import PreTrainedModel

from ..mechanics.loss import merged

#: Parameters by name. Tied weights stand there once, under the name the model lists first.
Weights = dict[str, torch.Tensor]


class NotAlike(ValueError):
    """Models, or a model and a task vector, whose weights do not belong together."""


def weights_of(model: torch.nn.Module) -> Weights:
    """The parameters of a model by name, without gradients; tied ones once."""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def plain_pair(
    base: torch.nn.Module, tuned: torch.nn.Module
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Copies of both models with any adapter added into the weights, checked to fit together.

    Raises:
        NotAlike: parameters or vocabularies differ, or weights are no finite numbers.
    """
    if base is not tuned:  # a model fits to itself
        check_vocabularies(base, tuned)
    pair = merged(base), merged(tuned)
    check_weights(*map(weights_of, pair))
    return pair


def check_weights(
    base: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], what: str = "models"
) -> None:
    """Refuse weights that do not have the same names and shapes, or are not finite.

    Raises:
        NotAlike: the message names the first that differs.
    """
    for name in [*base, *other]:
        if name not in base or name not in other:
            advice = (
                "An adapter sits in the layers of one model: give the base as it was loaded, and "
                "the fine-tune as `finetune` returns it."
                if "lora_" in name or "base_layer" in name
                else "Only a model and what was fine-tuned from it can be merged."
            )
            raise NotAlike(f"The {what} differ: only one of them has {name!r}. {advice}")
        if base[name].shape != other[name].shape:
            shapes = f"{tuple(base[name].shape)} and {tuple(other[name].shape)}"
            raise NotAlike(
                f"The {what} differ in shape: {name!r} is {shapes}. Only a model and what was "
                "fine-tuned from it can be merged."
            )
        if not (base[name].isfinite().all() and other[name].isfinite().all()):
            raise NotAlike(
                f"{name!r} holds values that are no finite numbers: a training run has diverged. "
                "Take an earlier checkpoint or train with a lower rate."
            )


def check_vocabularies(base: torch.nn.Module, tuned: torch.nn.Module) -> None:
    """Refuse models that read text differently, even where the number of tokens is the same.

    Raises:
        NotAlike: their tokenizers give the same token different numbers.
    """
    tokenizers = [getattr(model, "tokenizer", None) for model in (base, tuned)]
    if None in tokenizers:
        return
    first, second = (tokenizer.get_vocab() for tokenizer in tokenizers)
    if first != second:
        token = min(set(first.items()) ^ set(second.items()))[0]
        if token not in first or token not in second:
            raise NotAlike(
                f"The models have different vocabularies: only one of them has the token "
                f"{token!r}, and in the other its row of the embedding means something else, or "
                "nothing."
            )
        raise NotAlike(
            f"The models have different vocabularies: the token {token!r} is {first[token]} and "
            f"{second[token]}. A row of the embedding then stands for two different tokens, and "
            "its mean for neither."
        )


def check_alpha(alpha: float, extrapolate: bool = False) -> None:
    """Refuse an alpha that does not lie between base and fine-tune, unless that is wanted.

    Raises:
        ValueError: alpha is outside [0, 1] without `extrapolate`, or no finite number.
    """
    if not (math.isfinite(alpha) and (extrapolate or 0 <= alpha <= 1)):
        raise ValueError(
            f"alpha must be from 0 (the base) to 1 (the fine-tune), not {alpha}. To go beyond "
            "either on purpose, say extrapolate=True."
        )


def rewritten(
    base: PreTrainedModel, compute: Callable[[str, torch.Tensor], torch.Tensor]
) -> PreTrainedModel:
    """A copy of a model with each parameter computed anew from its name and its value.

    The computation is done in float32 at least, whatever the model is stored in.
    """
    result = merged(base)
    with torch.no_grad():
        for name, weight in result.named_parameters():
            weight.copy_(compute(name, wide(weight)))
    return result


def wide(weight: torch.Tensor) -> torch.Tensor:
    """The values without gradients, in float32 or better."""
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
