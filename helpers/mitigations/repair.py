"""Verify and repair: look at old rows now and then, and shrink the update when they suffer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel, TrainerCallback
from trl import SFTTrainer

from ..mechanics.loss import Batch, Rows, answer_loss, batch_of
from ..models import evaluation_mode
from .base import Mitigation
from .updates import factors, starting_weights


class Repair(NamedTuple):
    """A look that found damage.

    Attributes:
        step: optimizer steps taken before it.
        before, after: perplexity of the probe's answers over the base's, before and after.
        times: how often the update was shrunk.
    """

    step: int
    before: float
    after: float
    times: int


@dataclass(repr=False)
class VerifyAndRepair(Mitigation):
    """Every `every` steps, and at the end, the probe rows' perplexity is compared with the base's.

    Where it has risen by more than `factor`, the whole update is shrunk to 1 - `pull` of itself, up
    to `most` times, until it has not. Nothing is learned from the probe rows.

    The package avr-cl (version 0.1.0, 2026) works so between the tasks of a sequence: it looks once
    a task, at the training rows of the tasks before, with a factor of 1.15, a pull of 0.1 and at
    most ten pulls towards the adapter as it was before the task. Here the look comes while training
    goes on, so that the steps after a repair may learn anew what it took; the rows are of old
    skills that no adapter was trained for; and what shrinks is the product B A (its factor B does),
    while the package moves A and B apart, which changes their product in another proportion.

    Attributes:
        rows: old prompts with completions, none of which may be in the test of retention.
        factor: highest perplexity allowed, in units of the base's; above 1.
        every: optimizer steps between two looks.
        pull: share of the update that one repair takes away, above 0 and below 1.
        most: repairs at one look.
        log: the repairs of the last run.

    Raises:
        ValueError: a number is out of its range.
        BadTickets: when fine-tuning begins, where there are no rows, or one is malformed.
    """

    rows: Rows
    factor: float = 1.15
    every: int = 10
    pull: float = 0.1
    most: int = 10
    log: list[Repair] = field(default_factory=list, init=False)
    _probe: Batch | None = field(default=None, init=False)
    _start: dict[str, torch.Tensor] = field(default_factory=dict, init=False)
    _base: float = field(default=math.nan, init=False)

    def __post_init__(self) -> None:
        if not 1 < self.factor < math.inf:
            raise ValueError(f"factor must be a number above 1, not {self.factor}.")
        if not 0 < self.pull < 1:
            raise ValueError(f"pull must be between 0 and 1, not {self.pull}.")
        if self.every < 1 or self.most < 1:
            raise ValueError("every and most must be at least 1.")
        self.rows = list(self.rows)

    def __repr__(self) -> str:
        return f"VerifyAndRepair({len(self.rows)} rows, factor={self.factor}, every={self.every})"

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        probe = batch_of(base, self.rows)
        self._base = self._loss(base, probe)
        self._probe = Batch(*(part.to(student.device) for part in probe))
        self._start = starting_weights(base, student)
        self.log = []

    def trainer(self, base: PreTrainedModel, **arguments: Any) -> SFTTrainer:
        # First among the callbacks: whoever else looks after this step sees the repaired model.
        callbacks = [_Verifier(self), *(arguments.pop("callbacks", None) or ())]
        return super().trainer(base, callbacks=callbacks, **arguments)

    def verify(self, model: torch.nn.Module, step: int) -> None:
        """Look at the probe rows, and repair the model where they have suffered."""
        ratio = before = self._ratio(model)
        times = 0
        while ratio > self.factor and times < self.most:
            shrink(model, self._start, 1 - self.pull)
            ratio, times = self._ratio(model), times + 1
        if times:
            self.log.append(Repair(step, before, ratio, times))

    def _ratio(self, model: torch.nn.Module) -> float:
        return math.exp(min(self._loss(model, self._probe) - self._base, 50.0))

    @staticmethod
    @torch.no_grad()
    def _loss(model: torch.nn.Module, batch: Batch) -> float:
        with evaluation_mode(model):
            return float(answer_loss(model, batch))


@torch.no_grad()
def shrink(model: torch.nn.Module, start: Mapping[str, torch.Tensor], share: float) -> None:
    """Leave `share` of a model's update, in place.

    Args:
        start: the weights before training, by name; not looked at with LoRA, where B is shrunk.
    """
    if isinstance(model, PeftModel):
        for module in model.modules():
            if isinstance(module, LoraLayer):
                factors(module)[1].mul_(share)
    else:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.lerp_(start[name], 1 - share)


class _Verifier(TrainerCallback):
    """Looks at the model after some steps."""

    def __init__(self, mitigation: VerifyAndRepair) -> None:
        self.mitigation = mitigation

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        last = state.global_step == state.max_steps
        if state.global_step % self.mitigation.every == 0 or last:
            self.mitigation.verify(model, state.global_step)
