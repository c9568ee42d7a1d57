"""Telling whether two models have the very same weights, in memory or in their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # files are compared where there is no torch: on the server's side of the course
    import torch

#: Beside the weights themselves, what decides how they are used. An adapter with another
#: `lora_alpha` is another model, and so is a base with another tokenizer.
USED = frozenset(
    "config.json adapter_config.json generation_config.json tokenizer.json tokenizer_config.json "
    "tokenizer.model special_tokens_map.json added_tokens.json vocab.json merges.txt "
    "chat_template.jinja model.safetensors.index.json".split()
)


class OtherModel(ValueError):
    """Something that was made at one model is used with another."""


def digest(model: torch.nn.Module) -> str:
    """A fingerprint of all weights: names, shapes and every bit of the values."""
    import torch

    found = hashlib.sha256()
    for name, parameter in model.named_parameters():
        found.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}".encode())
        raw = parameter.detach().cpu().contiguous().view(-1).view(torch.uint8)
        found.update(raw.numpy())
    return found.hexdigest()


def file_digests(folder: str | Path) -> dict[str, str]:
    """SHA-256 of each file that loading a model or an adapter from a folder reads.

    Returns:
        File name to 64 hexadecimal digits, in the order of the names. Logs, reports and whatever
        else lies in the folder do not count.
    """
    files = sorted(
        path
        for path in Path(folder).iterdir()
        if path.is_file() and (path.suffix == ".safetensors" or path.name in USED)
    )
    return {path.name: _sha256(path) for path in files}


def folder_digest(digests: Mapping[str, str]) -> str:
    """One digest for all files of a folder: SHA-256 of what `sha256sum` prints about them."""
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True)
class Origin:
    """Where a model was read from.

    Attributes:
        weights: "base" and, where there is one, "adapter" to the `folder_digest` of its files.
        memory: the `digest` of the model as it was read.
    """

    weights: Mapping[str, str]
    memory: str


def weights_of(model: torch.nn.Module) -> dict[str, str]:
    """Digests of the files that a model was read from: "base" and, with an adapter, "adapter".

    Empty for a model that was not read from files, and for one that has been trained, merged or
    changed in any weight since: then the files are no longer what it is.
    """
    origin = getattr(model, "origin", None)
    # A new adapter passes its base's origin on. It has more weights, so it is told apart here too.
    if origin is None or origin.memory != digest(model):
        return {}
    return dict(origin.weights)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
