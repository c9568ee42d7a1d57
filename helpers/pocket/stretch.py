"""The last stretch of pre-training once more, plainly and with SAM, kept as compact differences.

Watts et al. (2026, arXiv 2605.02105) find that sharpness-aware minimisation (Foret et al. 2020,
arXiv 2010.01412) in pre-training, or in a stretch at its end, makes later fine-tunes forget less.
Both stretches here begin at the shipped weights and see the same data in the same order at the same
rates; only the gradient is taken elsewhere. The plain one is the control: a model that was merely
trained longer.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from ..fingerprint import OtherModel, digest
from ..models import load_model
from ..paths import DATA
from .pretrain import Recipe, pretrain

FOLDER = DATA / "pocket-gpt2" / "stretches"
STRETCH = Recipe(steps=200, muon_lr=0.004, adam_lr=8e-4, warmup=20, decay_from=0.1, seed=5)
#: How far uphill SAM looks, in the length of all weights together.
RHO = 0.1
STRETCHES = {"plain": 0.0, "SAM": RHO}
MAKE = "python -m helpers.pocket --stretches"
LEVELS = 7  # codes from -7 to 7 fit into half a byte


def make_stretches(work: Path, folder: Path = FOLDER) -> None:
    """Train both stretches (resumable), and write their differences to the shipped model.

    Args:
        work: where checkpoints are kept.
        folder: gets one safetensors file per stretch, an eighth of the model's size each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = load_model("pocket")
    for name, rho in STRETCHES.items():
        start = copy.deepcopy(base).train()
        recipe = replace(STRETCH, rho=rho)
        checkpoints = work / f"stretch-{name}"
        model = pretrain(recipe, base.tokenizer, checkpoints, start)
        note = {"base": digest(base)}
        save_file(difference(base, model), folder / f"{name}.safetensors", note)
        shutil.rmtree(checkpoints)  # they would be taken up by the next base's stretch


def load_stretch(name: str, folder: Path = FOLDER) -> PreTrainedModel:
    """The course model after a stretch: "plain" or "SAM".

    Raises:
        ValueError: there is no such stretch.
        FileNotFoundError: its difference is not there; the message says how it is made.
        OtherModel: the difference belongs to another base.
    """
    if name not in STRETCHES:
        raise ValueError(f"There is no stretch {name!r}. There are {', '.join(STRETCHES)}.")
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file {path}. Get it from the course's repository, or make it: {MAKE}"
        )
    model = load_model("pocket")
    with safe_open(path, "pt") as file:
        if file.metadata()["base"] != digest(model):
            raise OtherModel(f"{path} belongs to another base. Make it anew: {MAKE}")
    apply(model, load_file(path))
    return model


def difference(base: PreTrainedModel, model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What takes the base to the model, in half a byte per weight.

    Each row of a weight is divided by a scale of its own and rounded to a whole number from -7 to
    7. The rounded model is the one that is used: nothing is said about the one before rounding.

    Returns:
        Per weight its packed codes (uint8, two per byte) and the scales of its rows (float32).
    """
    found = {}
    before = dict(base.named_parameters())
    for name, after in model.named_parameters():
        change = (after.detach() - before[name].detach()).float()
        rows = change.reshape(change.shape[0], -1) if change.ndim > 1 else change.reshape(1, -1)
        scale = rows.abs().amax(1, keepdim=True) / LEVELS
        codes = (rows / scale.clamp(min=1e-30)).round().clamp(-LEVELS, LEVELS) + LEVELS
        flat = codes.to(torch.uint8).flatten()
        flat = torch.cat([flat, flat.new_zeros(len(flat) % 2)])
        found[f"{name}.codes"] = flat[::2] * 16 + flat[1::2]
        found[f"{name}.scale"] = scale.flatten()
    return found


@torch.no_grad()
def apply(model: PreTrainedModel, packed: dict[str, torch.Tensor]) -> None:
    """Add a difference to a model, in place."""
    for name, weight in model.named_parameters():
        codes, scale = packed[f"{name}.codes"], packed[f"{name}.scale"]
        pairs = torch.stack([codes // 16, codes % 16], 1).flatten()[: weight.numel()]
        rows = (pairs.float() - LEVELS).reshape(len(scale), -1) * scale[:, None]
        weight.add_(rows.reshape(weight.shape))
