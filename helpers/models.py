"""Loading models, counting their parameters, and looking at the base below an adapter."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from .fingerprint import Origin, OtherModel, digest, file_digests, folder_digest
from .paths import DATA
from .real_model import FOLDER, source_of

logging.disable_progress_bar()  # the bars of transformers would be saved into the notebook


class ModelNotFound(OSError):
    """A model is neither on this machine nor could it be fetched from the hub."""


def load_model(name: str | Path = "pocket", base: str | Path | None = None) -> PreTrainedModel:
    """Load a causal language model, ready to be asked.

    Args:
        name: "pocket" for the course's own model (no network needed), "smollm2" for the real one
            that `make real-model` has fetched, the name of a hub model such as "gpt2", or a folder
            with a saved model or a saved adapter.
        base: of an adapter, the model that it belongs to, as `name`; by default the one that the
            adapter names, which may lie elsewhere on another machine.

    Returns:
        The model in evaluation mode and float32. Its tokenizer is at `model.tokenizer` and has
        a padding token. An adapter is loaded onto its base, which `base_view` then shows. Of a
        folder's model, `model.origin` has the digests of the files it was read from.

    Raises:
        ModelNotFound: the folder holds no model, the hub could not be reached, or the real model
            has not been fetched.
        OtherModel: an adapter's base is no longer the model it was trained on.
    """
    if name == "smollm2" and source_of() is None:
        raise ModelNotFound(
            "The real model is not here. `make real-model` fetches it (93 to 270 MB, a minute or "
            "two); everything else runs without it."
        )
    source = {"pocket": DATA / "pocket-gpt2", "smollm2": FOLDER}.get(name, name)
    if (Path(source) / "adapter_config.json").exists():
        return _load_adapted(Path(source), base)
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, SafetensorError) as error:  # ValueError: a folder of other files
        raise ModelNotFound(_advice(name, error)) from error
    if tokenizer.pad_token is None:
        # GPT-2 was trained without padding. The attention mask hides it, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "left"
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.tokenizer = tokenizer
    if Path(source).is_dir():
        model.origin = Origin({"base": folder_digest(file_digests(source))}, digest(model))
    return model.eval()


def _load_adapted(folder: Path, origin: str | Path | None) -> PeftModel:
    """A saved adapter on its base, which must be the very model that it was trained on."""
    origin = origin or PeftConfig.from_pretrained(folder).base_model_name_or_path
    if not origin:
        raise ModelNotFound(
            f"The adapter in {folder} does not say which model it belongs to. Say so: "
            "load_model(folder, base=...)."
        )
    base = load_model(origin)
    log = folder / "run.json"  # of an adapter from elsewhere there is none
    trained_on = json.loads(log.read_text(encoding="utf-8")).get("base") if log.exists() else None
    if trained_on and trained_on != digest(base):
        raise OtherModel(
            f"The adapter in {folder} was trained on other weights than those of {origin}. If its "
            "base was itself fine-tuned, save that one too, load it, and put the adapter on with "
            "peft.PeftModel.from_pretrained(model, folder)."
        )
    try:
        adapted = PeftModel.from_pretrained(base, folder).eval()
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelNotFound(_advice(folder, error)) from error
    adapted.tokenizer = base.tokenizer
    below = getattr(base, "origin", None)
    if below is not None:
        weights = {**below.weights, "adapter": folder_digest(file_digests(folder))}
        adapted.origin = Origin(weights, digest(adapted))
    return adapted


def _advice(name: str | Path, error: Exception) -> str:
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if Path(name).is_dir():
        return f"The folder {name} holds no model that can be loaded: {first_line}"
    return (
        f"Could not load {str(name)!r}: it is no folder here, not in the local cache, and the hub "
        f"did not deliver it ({first_line}) "
        'Offline, use load_model("pocket"), or give the folder of a model saved earlier.'
    )


def context_length(model: PreTrainedModel) -> int:
    """The largest number of tokens the model can read at once.

    Raises:
        ValueError: the model's configuration does not say.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is None:
        raise ValueError(
            f"The configuration of this {type(model).__name__} names no longest text. "
            "Set model.config.max_position_embeddings to as many tokens as you will use."
        )
    return limit


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """The number of parameters, and how many of them training would change."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {
        "total": sum(size for size, _ in sizes),
        "trainable": sum(size for size, trainable in sizes if trainable),
    }


def forget_forward(model: torch.nn.Module) -> None:
    """Take off a `forward` that a trainer has put on the model or a part of it.

    It holds on to the very object it was made for: a copy of the model would go on computing with
    the weights of the original.
    """
    for module in model.modules():
        module.__dict__.pop("forward", None)


@contextlib.contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Dropout off for the length of a `with` block; every module's mode is restored after it."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextlib.contextmanager
def base_view(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The model without its adapter, in evaluation mode, for the length of a `with` block.

    Afterwards train/eval mode of every module and `requires_grad` of every parameter are what
    they were: PEFT's own `disable_adapter` may switch an adapter meant for inference to training.
    A model without an adapter is its own base.
    """
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    without = getattr(model, "disable_adapter", contextlib.nullcontext)
    try:
        # The mode is restored last: leaving `disable_adapter` may change it.
        with evaluation_mode(model), without():
            yield model
    finally:
        for parameter, required in trainable.items():
            parameter.requires_grad_(required)
