"""Preference tuning with TRL's DPOTrainer: a model learns which of two answers is preferred."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl import DPOConfig, DPOTrainer

from ..fingerprint import digest
from ..models import context_length, forget_forward
from ..suites import Suite
from ..training import TRAINER_OPTIONS, Run, Watcher, check_output, lora_config, quiet

COLUMNS = ("prompt", "chosen", "rejected")


class BadPairs(ValueError):
    """Preference pairs are missing, malformed, or too long for the model."""


@dataclass(repr=False)  # as Run shows itself
class PreferenceRun(Run):
    """A finished preference tuning.

    Attributes:
        losses: (step, loss of DPO in nats per pair); it begins at log 2, that of a coin.
        agreement: (step, share of the step's pairs where the model, compared with its base,
            has moved towards the chosen answer and not the rejected one).
    """

    agreement: list[tuple[int, float]] = field(default_factory=list)


def preference_tune(
    model: PreTrainedModel,
    pairs: Dataset | Iterable[Mapping[str, str]],
    *,
    beta: float = 0.1,
    lr: float = 1e-3,
    rank: int = 8,
    alpha: int | None = None,
    target_modules: str | Sequence[str] = "all-linear",
    steps: int = 60,
    batch_size: int = 16,
    seed: int = 0,
    probe: Suite | Sequence[Suite] = (),
    probe_every: int = 20,
    callbacks: Sequence[TrainerCallback] = (),
) -> PreferenceRun:
    """Tune a copy of a model by direct preference optimization; the model given stays as it is.

    DPO (Rafailov et al. 2023, arXiv 2305.18290) raises the likelihood of chosen answers over that
    of rejected ones, both relative to a reference model. The reference is the base: the model with
    its adapter switched off. The learning rate falls linearly to zero.

    Args:
        pairs: rows with a "prompt", a "chosen" and a "rejected" answer, which begin with a space.
        beta: weight of the log-likelihood ratio in the loss. With a larger one a pair counts as
            learned sooner, that is, nearer to the base.
        lr: peak learning rate of AdamW.
        rank: rank of LoRA (Hu et al. 2021, arXiv 2106.09685); its scale `alpha` is twice the rank
            when left out.
        steps: optimizer steps of `batch_size` pairs.
        probe: suites that are scored every `probe_every` steps while tuning goes on.

    Raises:
        BadPairs: there are no pairs, a row is malformed, or it exceeds the model's context.
        UnknownModules: `target_modules` names no module of the model; the valid ones are listed.
        LossIsNaN: training diverged.
        ValueError: beta is not above zero.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above zero, not {beta}: at zero no pair has any weight.")
    dataset = as_pairs(pairs)
    check_pairs(dataset, model.tokenizer, context_length(model))
    alpha = 2 * rank if alpha is None else alpha
    student = copy.deepcopy(model)
    set_seed(seed)  # before LoRA draws its first matrices
    config = lora_config(model, rank, alpha, target_modules)
    watcher = _PairWatcher([probe] if isinstance(probe, Suite) else list(probe), probe_every)
    with tempfile.TemporaryDirectory() as scratch, quiet():
        options = DPOConfig(
            use_cpu=model.device.type == "cpu",
            output_dir=scratch,
            beta=beta,
            learning_rate=lr,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            gradient_checkpointing=False,
            max_length=context_length(model),
            seed=seed,
            **TRAINER_OPTIONS,
        )
        trainer = DPOTrainer(
            model=student,
            args=options,
            train_dataset=dataset,
            processing_class=model.tokenizer,
            peft_config=config,  # then the reference is the model without its adapter
            callbacks=[watcher, *callbacks],
        )
        trainer.remove_callback(PrinterCallback)  # the watcher shows the loss
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started - watcher.probe_seconds
    tuned = trainer.model
    forget_forward(tuned)
    tuned.tokenizer = model.tokenizer
    check_output(tuned, dataset[0]["prompt"] + dataset[0]["chosen"], lr)
    settings = {
        "method": "dpo",
        "beta": beta,
        "lr": lr,
        "rank": rank,
        "alpha": alpha,
        "target_modules": target_modules,
        "steps": len(watcher.losses),
        "batch_size": batch_size,
        "pairs": len(dataset),
        "seed": seed,
    }
    return PreferenceRun(
        tuned.eval(),
        watcher.losses,
        watcher.probes,
        seconds,
        settings,
        base=digest(model),
        agreement=watcher.agreement,
    )


def as_pairs(rows: Dataset | Iterable[Mapping[str, str]]) -> Dataset:
    """The rows as a dataset with the columns prompt, chosen and rejected.

    Raises:
        BadPairs: there are no rows, or one lacks a text.
    """
    found = [dict(row) for row in rows]
    if not found:
        raise BadPairs("There are no pairs. Give at least one prompt with two answers.")
    for number, row in enumerate(found):
        for name in COLUMNS:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise BadPairs(
                    f'Pair {number} has no text in "{name}". Each needs {", ".join(COLUMNS)}; '
                    f"it has {', '.join(map(str, row)) or 'nothing'}."
                )
    return Dataset.from_list([{name: row[name] for name in COLUMNS} for row in found])


def check_pairs(pairs: Dataset, tokenizer: PreTrainedTokenizerBase, limit: int) -> None:
    """Refuse pairs that teach nothing or that training would silently change.

    Raises:
        BadPairs: two answers are the same, an answer does not begin with a space, so that its
            first token would not be the one the model writes, or a pair exceeds `limit` tokens.
    """
    for number, row in enumerate(pairs):
        if row["chosen"] == row["rejected"]:
            raise BadPairs(f"Pair {number} has twice the same answer: {row['chosen'][:60]!r}.")
        for name in ("chosen", "rejected"):
            if not row[name].startswith(" ") or row["prompt"].endswith(" "):
                raise BadPairs(
                    f'In pair {number}, put one space at the beginning of "{name}" and none at '
                    f"the end of the prompt; it reads {row['prompt'][-20:] + row[name][:20]!r}."
                )
            length = len(tokenizer(row["prompt"] + row[name])["input_ids"]) + 1  # its end token
            if length > limit:
                raise BadPairs(
                    f'Pair {number} has {length} tokens with its "{name}" answer, and the model '
                    f"reads at most {limit}. Shorten it. It begins: {row['prompt'][:60]!r}"
                )


class _PairWatcher(Watcher):
    """A watcher that also notes in how many pairs the model agrees."""

    def __init__(self, suites: Sequence[Suite], every: int) -> None:
        super().__init__(suites, every)
        self.agreement: list[tuple[int, float]] = []

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        super().on_log(args, state, control, logs, **kwargs)
        if logs and "rewards/accuracies" in logs:
            self.agreement.append((state.global_step, float(logs["rewards/accuracies"])))
