"""One base model in memory with several adapters on it, ready to be asked for any of them.

Adapters are small; a base is not. So every version of a model that differs by an adapter only is
served from the same weights, and requests of different versions share one batch: each row names its
adapter, and PEFT's LoRA layers add each adapter's part to its own rows only (`adapter_names`; on
GPUs Punica does this in one kernel, Chen et al. 2023, arXiv 2310.18547).
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig, PeftConfig, PeftModel, PeftType, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from transformers import PreTrainedModel

from .errors import Damaged, RolloutError, UnknownVersion

#: PEFT's name for the rows that no adapter changes.
NO_ADAPTER = "__base__"
#: The one file of an adapter that is read beside its configuration. PEFT would fall back on a
#: pickle where it is missing; this module never does.
WEIGHTS = "adapter_model.safetensors"


class NotServable(RolloutError):
    """An adapter cannot share a batch with others."""


class Engine:
    """A base model and the adapters on it, by the names of the versions they belong to.

    Args:
        model: any causal language model from `load_model`. It is taken over: adapters are put into
            it. Its tokenizer is at `model.tokenizer`, and pads on the left.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if isinstance(model, PeftModel):
            raise NotServable(
                "This model has an adapter on it already. Load the base alone, then each adapter "
                "with `engine.load(name, folder)`."
            )
        self.model, self.tokenizer = model.eval(), model.tokenizer
        self._adapted: PeftModel | None = None  # the same weights, as PEFT manages them
        self._keys: dict[str, str] = {}
        self._made = 0
        self._rows: list[str] = []
        self._hooks: list[Any] = []
        self._turn = threading.RLock()

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that can be asked now."""
        return tuple(self._keys)

    def load(self, name: str, adapter: str | Path | None, digest: str | None = None) -> None:
        """Make a version ready to be asked; nothing happens if it is.

        Args:
            name: of the version.
            adapter: the folder of a saved LoRA adapter; None for the base as it is.
            digest: SHA-256 that the file of its weights must have; None to take any.

        Raises:
            Damaged: the files cannot be read, are not what the digest says, or fit another base.
            NotServable: the adapter is of a kind that cannot share a batch with others.
        """
        if name in self._keys:
            return
        if adapter is None:
            self._keys[name] = NO_ADAPTER
            return
        # Read once, then checked and loaded from memory: what was checked is what answers.
        config, weights = read_adapter(Path(adapter), digest)
        # PEFT's names become parts of module names, where a dot is not allowed: "shop-1.2".
        key = f"version_{self._made}"
        self._made += 1
        with self._turn:
            try:
                self._put_on(key, config, weights)
            except (ValueError, KeyError, RuntimeError) as error:
                self._take_off(key)
                raise Damaged(
                    f"The adapter of {name!r} in {adapter} does not fit this base model: "
                    f"{str(error).splitlines()[0]} Register it with the base it was trained on."
                ) from error
            finally:
                self._hook_layers()
            self._keys[name] = key

    def unload(self, name: str) -> None:
        """Take a version's adapter out of memory.

        Raises:
            UnknownVersion: no such version is loaded.
        """
        with self._turn:
            key = self._key(name)
            del self._keys[name]
            if key != NO_ADAPTER:
                self._take_off(key)

    @contextmanager
    def asking(self, names: Sequence[str]) -> Iterator[PreTrainedModel]:
        """The model, whose next batches have one row for each of these versions, in this order.

        One thread at a time: others wait for the end of the block.

        Raises:
            UnknownVersion: one of them is not loaded.
        """
        with self._turn:
            self._rows = [self._key(name) for name in names]
            try:
                yield self.model
            finally:
                self._rows = []

    def _key(self, name: str) -> str:
        if name not in self._keys:
            raise UnknownVersion(
                f"No version {name!r} is loaded. Loaded: {', '.join(self._keys) or 'none'}."
            )
        return self._keys[name]

    def _put_on(self, key: str, config: LoraConfig, weights: dict[str, torch.Tensor]) -> None:
        if self._adapted is None:
            self._adapted = PeftModel(self.model, config, adapter_name=key)
        else:
            self._adapted.add_adapter(key, config)
        outcome = set_peft_model_state_dict(self._adapted, weights, adapter_name=key)
        missing = [name for name in outcome.missing_keys if f".{key}." in name]
        if missing or outcome.unexpected_keys:
            odd = (missing or outcome.unexpected_keys)[0]
            raise ValueError(f"the weights {odd} stand on one side only.")
        self._adapted.eval()

    def _take_off(self, key: str) -> None:
        if self._adapted is None or key not in self._adapted.peft_config:
            return
        with warnings.catch_warnings():  # which of the others is "active" now plays no part here
            warnings.filterwarnings("ignore", "Adapter .* was active")
            self._adapted.delete_adapter(key)

    def _hook_layers(self) -> None:
        """Tell every LoRA layer whose rows it sees, as PEFT does when `adapter_names` is passed.

        PEFT walks through all modules to set and take off these hooks at every call. Here they
        stay: on the course's model that saves a tenth of the time of a token.
        """
        for hook in self._hooks:
            hook.remove()
        layers = [module for module in self.model.modules() if isinstance(module, LoraLayer)]
        self._hooks = [
            layer.register_forward_pre_hook(self._name_rows, with_kwargs=True) for layer in layers
        ]

    def _name_rows(self, layer, arguments, keywords):
        return arguments, {**keywords, "adapter_names": self._rows}


def read_adapter(
    folder: Path, digest: str | None = None
) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The configuration and the weights of a saved LoRA adapter.

    Raises:
        Damaged: a file is missing, cannot be read, or has another SHA-256 than `digest`.
        NotServable: PEFT cannot mix this kind of adapter with others in a batch.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        raw = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise Damaged(f"The adapter in {folder} cannot be read: {first}") from error
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise Damaged(
            f"{folder / WEIGHTS} has changed since it was registered (its SHA-256 begins with "
            f"{found[:12]}, not with {digest[:12]}). Restore the file, or roll back."
        )
    problem = _unmixable(config)
    if problem:
        raise NotServable(
            f"The adapter in {folder} {problem}: PEFT cannot mix it with others in one batch. "
            "Train plain LoRA, or merge the adapter and serve the result as a base of its own."
        )
    try:
        weights = safetensors.torch.load(raw)
    except SafetensorError as error:
        raise Damaged(f"{folder / WEIGHTS} is no safetensors file: {error}") from error
    config.inference_mode = True
    return config, weights


def _unmixable(config: PeftConfig) -> str:
    """Why an adapter cannot share a batch; empty where it can (as of PEFT 0.21).

    PEFT itself refuses some of these only when a batch is asked, and answers with the wrong weights
    for others: whole modules saved beside an adapter are skipped for a version that is not the
    active one.
    """
    if config.peft_type != PeftType.LORA:
        return f"is of the kind {getattr(config.peft_type, 'value', config.peft_type)}"
    unmixable = {
        "use_dora": "uses DoRA",
        "alora_invocation_tokens": "is an activated LoRA (aLoRA)",
        "modules_to_save": "brings whole modules of its own (modules_to_save)",
        "trainable_token_indices": "brings token embeddings of its own (trainable_token_indices)",
        "target_parameters": "adapts bare parameters (target_parameters)",
        "layer_replication": "replicates layers (layer_replication)",
    }
    for field, problem in unmixable.items():
        if getattr(config, field, None):
            return problem
    return "" if config.bias == "none" else f"trains the base's biases (bias={config.bias!r})"
