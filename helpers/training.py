"""Fine-tuning with TRL's SFTTrainer, watched while it runs."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from peft import LoraConfig, PeftModel, get_peft_model
from tqdm.std import tqdm
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback, set_seed
from transformers.pytorch_utils import Conv1D
from trl import SFTConfig, SFTTrainer

from .evaluation import evaluate
from .fingerprint import digest
from .models import context_length, evaluation_mode, forget_forward
from .suites import Suite
from .tickets import as_dataset, check_lengths

if TYPE_CHECKING:
    from .mitigations import Mitigation

disable_progress_bar()  # the bars of datasets would be saved into the notebook


#: What every trainer of the course is told: note each step, print nothing, save nothing.
TRAINER_OPTIONS = dict(
    logging_steps=1,
    logging_nan_inf_filter=False,  # a NaN is to be seen, not smoothed over
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
    bf16=False,
    dataloader_pin_memory=False,
)


#: How the rate may go after its warm-up, by transformers' names: down to zero in a line, or by a
#: cosine, or not at all (without a warm-up, or with one).
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


class UnknownModules(ValueError):
    """LoRA was asked to adapt modules that the model does not have."""


class LossIsNaN(FloatingPointError):
    """Training diverged: the loss is no number any more."""


@dataclass(frozen=True)
class Probe:
    """What a look at the model after `step` optimizer steps found.

    Attributes:
        scores: percent right per suite (for running text, the perplexity).
        nll: mean negative log-likelihood of the gold answers, nats per token, per suite.
    """

    step: int
    scores: dict[str, float]
    nll: dict[str, float]


@dataclass
class Run:
    """A finished fine-tune: the model and everything noted on the way.

    Attributes:
        losses: (step, training loss in nats per token) after each optimizer step, the penalty of a
            mitigation included.
        seconds: time spent training, probes not counted.
        base: fingerprint of the model that was trained from; an adapter fits no other.
    """

    model: torch.nn.Module
    losses: list[tuple[int, float]]
    probes: list[Probe]
    seconds: float
    settings: dict[str, object] = field(default_factory=dict)
    base: str = ""

    def __repr__(self) -> str:
        rate, rank = self.settings["lr"], self.settings["rank"]
        return (
            f"Run: {len(self.losses)} steps, rate {rate:g}, rank {rank}, "
            f"loss {self.losses[0][1]:.2f} to {self.losses[-1][1]:.2f}"
        )

    def save(self, folder: str | Path) -> Path:
        """Write the adapter (or the whole model after full fine-tuning) and the log."""
        folder = Path(folder)
        self.model.save_pretrained(folder)
        self.model.tokenizer.save_pretrained(folder)
        log = {
            "settings": self.settings,
            "base": self.base,
            "seconds": self.seconds,
            "losses": self.losses,
            "probes": [asdict(probe) for probe in self.probes],
        }
        (folder / "run.json").write_text(json.dumps(log, indent=1), encoding="utf-8")
        return folder


def finetune(
    model: PreTrainedModel,
    tickets: Dataset | Iterable[Mapping[str, str]],
    *,
    lr: float = 3e-3,
    schedule: str = "linear",
    warmup_steps: int = 0,
    rank: int | Literal["full"] = 8,
    alpha: float | None = None,
    target_modules: str | Sequence[str] = "all-linear",
    steps: int = 200,
    epochs: float | None = None,
    batch_size: int = 16,
    gradient_accumulation: int = 1,
    gradient_checkpointing: bool = False,
    seed: int = 0,
    probe: Suite | Sequence[Suite] = (),
    probe_every: int = 20,
    callbacks: Sequence[TrainerCallback] = (),
    mitigation: Mitigation | None = None,
) -> Run:
    """Fine-tune a copy of a model on prompt-completion pairs; the model given stays as it is.

    The loss is taken on completions only.

    Args:
        tickets: rows with a "prompt" and a "completion" (which begins with a space).
        lr: peak learning rate of AdamW.
        schedule: how the rate goes on from its peak, one of `SCHEDULES`.
        warmup_steps: steps over which the rate climbs from zero to its peak; they are counted among
            `steps`.
        rank: rank of LoRA (Hu et al. 2021, arXiv 2106.09685), or "full" to train every weight.
        alpha: LoRA's scale; twice the rank when left out.
        target_modules: names of the modules LoRA adapts, or "all-linear".
        steps: optimizer steps; ignored when `epochs` is given.
        probe: suites that are scored every `probe_every` steps while training goes on.
        callbacks: further callbacks of the trainer, such as `helpers.mechanics.LayerLog`.
        mitigation: what is to hold old skills, such as `helpers.mitigations.L2SP(0.1)`.

    Raises:
        BadTickets: the data is empty, malformed, or longer than the model's context.
        UnknownModules: `target_modules` names no module of the model; the valid ones are listed.
        LossIsNaN: training diverged.
        ValueError: a number is too small, the schedule is unknown or cannot be had with this
            warm-up, or the model carries an adapter already.
    """
    if steps < 1 or (epochs is not None and epochs <= 0) or probe_every < 1:
        raise ValueError("steps and probe_every must be at least 1, and epochs above 0.")
    check_schedule(schedule, warmup_steps, None if epochs else steps)
    if isinstance(model, PeftModel):
        raise ValueError(
            "This model carries an adapter already. Fold it in first: "
            "model.merge_and_unload(), then put the tokenizer back on."
        )
    dataset = as_dataset(tickets)
    check_lengths(dataset, model.tokenizer, context_length(model))
    if alpha is None and rank != "full":
        alpha = 2 * rank
    student = copy.deepcopy(model)
    set_seed(seed)  # before LoRA draws its first matrices
    if rank == "full":
        student.requires_grad_(True)
    else:
        adapter = lora_config(model, rank, alpha, target_modules)
        adapter = mitigation.adapter(adapter, model) if mitigation else adapter
        student = get_peft_model(student, adapter)
        student.tokenizer = model.tokenizer

    suites = [probe] if isinstance(probe, Suite) else list(probe)
    watcher = Watcher(suites, probe_every)
    with tempfile.TemporaryDirectory() as scratch:
        config = SFTConfig(
            output_dir=scratch,
            learning_rate=lr,
            lr_scheduler_type=schedule,
            warmup_steps=warmup_steps,
            max_steps=-1 if epochs else steps,
            num_train_epochs=epochs or 1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=gradient_accumulation,
            gradient_checkpointing=gradient_checkpointing,
            max_length=context_length(model),
            seed=seed,
            # The student stays where its base is; else the trainer would move it to a GPU alone.
            use_cpu=model.device.type == "cpu",
            **TRAINER_OPTIONS,
        )
        with quiet():
            make = partial(mitigation.trainer, model) if mitigation else SFTTrainer
            trainer = make(
                model=student,
                args=config,
                train_dataset=dataset,
                processing_class=model.tokenizer,
                callbacks=[watcher, *callbacks],
            )
            trainer.remove_callback(PrinterCallback)  # the watcher shows the loss
            started = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - started - watcher.probe_seconds
    forget_forward(student)
    check_output(student, "".join(dataset[0].values()), lr)
    settings = {
        "lr": lr,
        "schedule": schedule,
        "warmup_steps": warmup_steps,
        "rank": rank,
        "alpha": alpha,
        "target_modules": target_modules if rank != "full" else "all",
        "steps": len(watcher.losses),
        "batch_size": batch_size * gradient_accumulation,
        "tickets": len(dataset),
        "seed": seed,
    }
    if mitigation:
        settings["mitigation"] = repr(mitigation)
    return Run(
        student.eval(), watcher.losses, watcher.probes, seconds, settings, base=digest(model)
    )


def check_schedule(schedule: str, warmup_steps: int, steps: int | None) -> None:
    """Refuse a schedule that the trainer does not know, or would follow otherwise than it reads.

    Args:
        steps: optimizer steps of the run, or None where the number of epochs decides.

    Raises:
        ValueError: the message names the valid schedules, or what is wrong with the warm-up.
    """
    if schedule not in SCHEDULES:
        raise ValueError(
            f"There is no schedule {schedule!r}. The valid ones are: {', '.join(SCHEDULES)}."
        )
    # The trainer takes a fraction for a share of the steps; here it would be a misunderstanding.
    if warmup_steps < 0 or warmup_steps != int(warmup_steps):
        raise ValueError(f"warmup_steps is a whole number of steps, not {warmup_steps}.")
    if steps is not None and warmup_steps >= steps:
        raise ValueError(
            f"With warmup_steps={warmup_steps} and steps={steps} the rate would never reach its "
            "peak. Warm up for fewer steps than the run has."
        )
    if schedule == "constant" and warmup_steps:
        raise ValueError(
            'schedule="constant" ignores a warm-up. Say schedule="constant_with_warmup".'
        )


@torch.no_grad()
def check_output(model: torch.nn.Module, text: str, lr: float) -> None:
    """Refuse a model that its last step has broken; the loss was looked at before that update.

    Args:
        text: what it is given to read.

    Raises:
        LossIsNaN: what the model says about it is infinite or NaN.
    """
    with evaluation_mode(model):
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        logits = model(ids.to(model.device)).logits
    if not logits.isfinite().all():
        raise LossIsNaN(
            "After the last step the model's output is infinite or NaN. Lower the learning rate "
            f"(it was {lr:g})."
        )


def adaptable_modules(model: PreTrainedModel) -> list[str]:
    """Short names of the modules LoRA can adapt, such as "c_attn"."""
    head = model.get_output_embeddings()  # often tied to the input embeddings: left alone
    names = (
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    )
    return list(dict.fromkeys(names))


def lora_config(
    model: PreTrainedModel,
    rank: int,
    alpha: float,
    target_modules: str | Sequence[str] = "all-linear",
) -> LoraConfig:
    """PEFT's configuration for a model, with GPT-2's transposed weights taken care of."""
    if target_modules != "all-linear":
        wanted = [target_modules] if isinstance(target_modules, str) else list(target_modules)
        valid = adaptable_modules(model)
        unknown = [name for name in wanted if name not in valid]
        if unknown:
            raise UnknownModules(
                f"This model has no module {', '.join(map(repr, unknown))}. "
                f"LoRA can adapt: {', '.join(valid)}."
            )
        target_modules = wanted
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=target_modules,
        # GPT-2 keeps its weights as (in, out) in Conv1D layers; PEFT must know.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="CAUSAL_LM",
    )


class Watcher(TrainerCallback):
    """Notes the loss of every step, scores suites on the way, and shows one line of progress."""

    def __init__(self, suites: Sequence[Suite], every: int) -> None:
        self.suites, self.every = list(suites), every
        self.losses: list[tuple[int, float]] = []
        self.probes: list[Probe] = []
        self.probe_seconds = 0.0

    def on_train_begin(self, args, state, control, model=None, **kwargs) -> None:
        # Plain text on stderr: a widget bar would leave its state in the saved notebook.
        self.bar = tqdm(total=state.max_steps, desc="fine-tuning", unit="step", leave=False)
        self._look(0, model)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self.bar.close()
            raise LossIsNaN(
                f"The loss became {loss} at step {state.global_step}. Lower the learning rate "
                f"(it was {args.learning_rate:g}), or look for broken rows in the data."
            )
        self.losses.append((state.global_step, loss))
        self.bar.set_postfix(loss=f"{loss:.2f}", refresh=False)
        self.bar.update()

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        last = state.global_step == state.max_steps
        if state.global_step % self.every == 0 or last:
            self._look(state.global_step, model)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.bar.close()

    def _look(self, step: int, model) -> None:
        if not self.suites:
            return
        started = time.perf_counter()
        snapshot = evaluate(model, self.suites)
        nll = {suite.name: snapshot.nll(suite.name) for suite in self.suites}
        self.probes.append(Probe(step, snapshot.scores(), nll))
        self.probe_seconds += time.perf_counter() - started


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' advice on settings we chose on purpose out of the notebook."""
    loggers = [logging.getLogger(name) for name in ("transformers", "trl", "accelerate", "peft")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
