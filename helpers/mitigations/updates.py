"""How far a model has moved from where it began, in the coordinates of its own weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

PEFT_PREFIX = "base_model.model."


def weight_updates(
    start: dict[str, torch.Tensor], student: torch.nn.Module
) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and update of every weight that training can change, to be differentiated.

    With LoRA (Hu et al. 2021, arXiv 2106.09685) the update of a weight is scale · B A, in the
    weight's own shape. A penalty on it is the same whichever A and B make up the product; one on A
    and B themselves would also shrink a random A that changes nothing while B is zero.

    Args:
        start: the weights before training, by their names in the base; not looked at with LoRA,
            where the base weights stay where they are.
    """
    if isinstance(student, PeftModel):
        for path, module in student.named_modules():
            if isinstance(module, LoraLayer):
                yield f"{path.removeprefix(PEFT_PREFIX)}.weight", lora_update(module)
    else:
        for name, parameter in student.named_parameters():
            if parameter.requires_grad:
                yield name, parameter - start[name]


def squared_length(start: dict[str, torch.Tensor], student: torch.nn.Module) -> torch.Tensor:
    """The squared length of the whole update, a scalar to be differentiated.

    With LoRA no product B A is built: its squared entries sum up to the trace of (BᵀB)(AAᵀ), two
    matrices of rank by rank. On a model of seven billion weights the products would take 26 GB in
    single precision, as much as the weights they change.

    Args:
        start: as in `weight_updates`.
    """
    if not isinstance(student, PeftModel):
        return sum(update.square().sum() for _, update in weight_updates(start, student))
    total: torch.Tensor | float = 0.0
    for module in student.modules():
        if isinstance(module, LoraLayer):
            a, b, scale = factors(module)
            total = total + scale**2 * ((b.T @ b) * (a @ a.T)).sum()
    return total


def factors(module: LoraLayer) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A (rank, in), B (out, rank) and the scale of one adapted layer's active adapter."""
    (adapter,) = module.active_adapters
    return module.lora_A[adapter].weight, module.lora_B[adapter].weight, module.scaling[adapter]


def lora_update(module: LoraLayer) -> torch.Tensor:
    """scale · B A of one adapted layer, in the shape of its weight."""
    a, b, scale = factors(module)
    update = scale * (b @ a)  # (out, in)
    return update.T if module.fan_in_fan_out else update  # GPT-2's Conv1D keeps (in, out)


def changing(student: torch.nn.Module) -> dict[str, torch.Size]:
    """Shapes of the weights that training can change, by their names in the base."""
    start = {name: parameter.detach() for name, parameter in student.named_parameters()}
    with torch.no_grad():
        return {name: update.shape for name, update in weight_updates(start, student)}


def starting_weights(base: PreTrainedModel, student: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights the student's are to be compared with, on its device.

    Where base and student share a device these are the base's own weights and cost no memory; with
    LoRA the student holds them itself, and there are none.
    """
    if isinstance(student, PeftModel):
        return {}
    return {
        name: parameter.detach().to(student.device) for name, parameter in base.named_parameters()
    }


def reference(base: PreTrainedModel, student: torch.nn.Module) -> torch.nn.Module:
    """A model that answers like the base: with LoRA the student, to be asked in `base_view`.

    After full fine-tuning it is the base itself, copied where the student is on another device.
    """
    if isinstance(student, PeftModel):
        return student
    return base if base.device == student.device else copy.deepcopy(base).to(student.device)
