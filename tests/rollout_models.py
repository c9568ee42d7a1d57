"""Adapters and registered versions that the tests of the rollout share."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import get_peft_model

from helpers.models import load_model
from helpers.paths import DATA
from helpers.rollout.registry import Registry
from helpers.training import lora_config

POCKET = DATA / "pocket-gpt2"


def random_adapter(
    folder: Path, seed: int, scale: float = 0.8, rank: int = 4, base: Path = POCKET, **others
) -> Path:
    """Save a LoRA adapter whose weights are drawn, not trained; most answers change by it.

    Args:
        others: fields of its configuration that are to be different.
    """
    torch.manual_seed(seed)
    model = load_model(base)
    config = lora_config(model, rank, 2 * rank)
    for name, value in others.items():
        setattr(config, name, value)
    adapted = get_peft_model(model, config)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=scale)
    adapted.save_pretrained(folder)
    return folder


def passed(registry: Registry, name: str) -> None:
    """Let a registered version pass, with a report that says SHIP about its weights."""
    version = registry.version(name)
    weights = {"base": version.base_digest, "adapter": version.adapter_digest}
    row = {"name": "facts", "gating": True, "verdict": "PASS"}
    registry.admit(name, {"decision": "SHIP", "rows": [row], "weights": weights})


def rolled_out(path: Path, live: Path | None, candidate: Path | None, share: float) -> Registry:
    """A store with "v1" live and "v2" staged at a share of the users; either may be left out."""
    registry = Registry(path)
    for name, adapter in (("v1", live), ("v2", candidate)):
        if adapter is None:
            continue
        registry.register(name, POCKET, adapter)
        passed(registry, name)
        registry.stage(name, share if name == "v2" else 1.0)
        if name == "v1":
            registry.go_live(name)
    return registry
