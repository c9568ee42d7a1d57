"""Watching a run while it trains: a look at given steps, and a log of what each layer does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

from .drift import Drift, drift_between, hidden_states
from .loss import merged, place_of


class Looks(TrainerCallback):
    """Looks at the model in training at given steps, and at the last one.

    Args:
        look: called with a copy of the model, its adapter added into the weights, and the step.

    Attributes:
        found: what each look returned, in order.
        seconds: time spent looking.
    """

    def __init__(self, look: Callable[[PreTrainedModel, int], Any], steps: Iterable[int] = ()):
        self.look, self.steps = look, set(steps)
        self.found: list[Any] = []
        self.seconds = 0.0

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        if state.global_step in self.steps or state.global_step == state.max_steps:
            started = time.perf_counter()
            self.found.append(self.look(merged(model), state.global_step))
            self.seconds += time.perf_counter() - started


@dataclass
class LayerLog(TrainerCallback):
    """Notes gradient lengths per layer and, now and then, how far each layer has drifted.

    Hand it to `finetune(..., callbacks=[log])` and read it afterwards.

    Attributes:
        prompts: what the drift is measured on, such as prompts of an old skill; none, no drift.
        every: steps between two looks at the drift.
        gradients: (step, {layer: length of the gradient of its trained weights}) of every step.
        drifts: (step, drift of the embedding and each layer) of each look.
    """

    prompts: Sequence[str] = ()
    every: int = 20
    gradients: list[tuple[int, dict[int, float]]] = field(default_factory=list)
    drifts: list[tuple[int, list[Drift]]] = field(default_factory=list)

    def on_train_begin(self, args, state, control, model=None, **kwargs) -> None:
        self.gradients.clear()
        self.drifts.clear()
        if self.prompts:
            # An adapter starts as zero, so this is the base.
            self._before = hidden_states(model, self.prompts)

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        squares: dict[int, float] = {}
        for name, parameter in model.named_parameters():
            place = place_of(name)
            if place and parameter.grad is not None:
                square = float(parameter.grad.detach().float().square().sum())
                squares[place.layer] = squares.get(place.layer, 0.0) + square
        lengths = {layer: square**0.5 for layer, square in sorted(squares.items())}
        self.gradients.append((state.global_step + 1, lengths))

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        last = state.global_step == state.max_steps
        if self.prompts and (state.global_step % self.every == 0 or last):
            now = hidden_states(model, self.prompts)
            found = drift_between(self._before, now)
            self.drifts.append((state.global_step, found))
