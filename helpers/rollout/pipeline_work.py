"""The part of the pipeline that needs a model: training with everything noted, and scoring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..evaluation import evaluate
from ..mechanics import Conflict, LayerLog, as_rows, gradient_conflict
from ..models import load_model
from ..scope.leaks import check_no_overlap
from ..scope.replay import add_replay
from ..snapshots import Snapshot
from ..suites import Suite
from ..tickets import read_tickets
from ..training import finetune
from .pipeline_plan import Plan
from .pipeline_steps import Work, checkpoint, targets_of

#: Rows of either side whose gradients are compared, and prompts that drift is measured on.
ROWS, PROMPTS = 32, 64


class Checkpoints(TrainerCallback):
    """Saves the adapter at given steps, under a name of its base that holds on every machine."""

    def __init__(self, folder: Path, steps: Sequence[int], base: str) -> None:
        self.folder, self.steps, self.base = folder, set(steps), base

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        if state.global_step in self.steps:
            place = self.folder / checkpoint(state.global_step)
            model.save_pretrained(place)
            (place / "README.md").unlink(missing_ok=True)  # a form to fill in, with the path in it
            _settle(place / "adapter_config.json", self.base)


def _settle(path: Path, base: str) -> None:
    """Write an adapter's settings as they are on every machine and in every process.

    PEFT writes the modules as a set, in another order every time, and its base as a path.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            config[key] = sorted(value)
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def train(
    plan: Plan, choose: Sequence[Suite], judge: Sequence[Suite], into: Path
) -> dict[str, Any]:
    """Fine-tune the plan's base, and note losses, probes, gradients and drift of every layer.

    Before the first step the gradients of new rows and of old skills are compared.

    Raises:
        ReplayLeaks: a row that is trained on asks what an item asks.
        BadTickets, LossIsNaN: as `finetune`.
    """
    recipe, base = plan.recipe, load_model(plan.base)
    tickets = read_tickets(plan.rows)
    check_no_overlap(tickets, [*choose, *judge])
    old = read_tickets(plan.old_rows) if recipe.old_share else []
    rows = add_replay(tickets, old, recipe.old_share, [*choose, *judge], recipe.seed)
    aims = targets_of(plan)
    skills = [suite for suite in choose if suite.name not in aims and suite.kind == "generate"]
    # One row of each skill after the other, so that the first few are of all of them.
    known = [row for some in zip(*map(as_rows, skills), strict=True) for row in some]
    new = tickets.select(range(min(ROWS, len(tickets))))
    conflict = gradient_conflict(base, known[:ROWS], new) if known else []
    log = LayerLog([row["prompt"] for row in known[:PROMPTS]], recipe.look_every)
    run = finetune(
        base,
        rows,
        lr=recipe.lr,
        rank=recipe.rank,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        schedule=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        seed=recipe.seed,
        probe=[replace(suite, items=suite.items[: plan.items.probe]) for suite in choose],
        probe_every=recipe.look_every,
        callbacks=[log, Checkpoints(into, recipe.looks, plan.base_name)],
    )
    noted = {
        "losses": run.losses,
        "probes": [asdict(probe) for probe in run.probes],
        "gradients": log.gradients,
        "drifts": [(step, [asdict(layer) for layer in found]) for step, found in log.drifts],
        "conflict": [asdict(part) for part in conflict],
    }
    (into / "watched.json").write_text(json.dumps(noted, indent=1), encoding="utf-8")
    return {
        "rows": len(rows),
        "settings": run.settings,
        "loss": [run.losses[0][1], run.losses[-1][1]],
        "probes": [[probe.step, probe.scores] for probe in run.probes],
        "layers": _layers(log, conflict),
    }


def _layers(log: LayerLog, conflict: Sequence[Conflict]) -> list[list[float]]:
    """Per layer: number from 1, cosine of old and new gradients before training (mean over kinds of
    weight), mean length of the gradient, and drift at the end as a share of the original's length.
    """
    drift = {layer.layer: layer.change for layer in log.drifts[-1][1]} if log.drifts else {}
    found = []
    for layer in sorted({part.layer for part in conflict}):
        cosines = [part.cosine for part in conflict if part.layer == layer]
        lengths = [step[layer] for _, step in log.gradients if layer in step]
        mean = sum(lengths) / max(1, len(lengths))
        # Drift counts the embedding as 0, so layer 0's output is 1 there.
        found.append([layer + 1, sum(cosines) / len(cosines), mean, drift[layer + 1]])
    return found


def score(base: Path, adapter: Path | None, suites: Sequence[Suite]) -> Snapshot:
    """Score what lies in the folders, so that the snapshot has the digests of their files."""
    folder = adapter or base
    found = evaluate(load_model(folder, base if adapter else None), suites)
    return replace(found, settings={**found.settings, "model": folder.name})


WORK = Work(train, score)
