"""The audit at checkpoints, while a model is still in training."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import TrainerCallback

from ..evaluation import evaluate
from ..mechanics import merged
from ..snapshots import Snapshot
from ..suites import Suite
from .capability_map import CapabilityMap
from .gate import AuditReport, audit


class RegressionAudit(TrainerCallback):
    """Audits the model in training against its base, at every so many steps and at the end.

    Hand it to `finetune(..., callbacks=[...])` or to any trainer of `transformers`.

    Attributes:
        reports: (step, report) of each look.
        stopped: the step at which training was stopped, or None.
    """

    def __init__(
        self,
        before: Snapshot,
        suites: Sequence[Suite],
        capability_map: CapabilityMap,
        every: int = 20,
        stop_on_block: bool = False,
    ) -> None:
        """Args:
        before: the base's snapshot on the same suites, made by `evaluate`.
        suites: what the map's tasks measure.
        every: steps between two audits.
        stop_on_block: end the training as soon as the audit says BLOCK. A look at a running
            model is a look at an unfinished one: what is lost early may come back.
        """
        self.before, self.suites, self.map = before, list(suites), capability_map
        self.every, self.stop_on_block = every, stop_on_block
        self.reports: list[tuple[int, AuditReport]] = []
        self.stopped: int | None = None

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        last = state.global_step == state.max_steps
        if state.global_step % self.every and not last:
            return
        settings = {key: self.before.settings[key] for key in ("batch_size", "max_new_tokens")}
        now = evaluate(merged(model), self.suites, **settings)
        report = audit(self.before, now, self.map)
        self.reports.append((state.global_step, report))
        if self.stop_on_block and report.decision == "BLOCK" and not last:
            self.stopped = state.global_step
            control.should_training_stop = True
