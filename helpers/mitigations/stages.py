"""Four tasks one after the other: stored runs of plain fine-tuning, EWC and replay.

A task is a quarter of the shop: ten of its forty policies. `data/runs/sequence.jsonl` holds one run
per line; `make runs` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..mechanics.loss import merged
from ..mechanics.stored import course_model
from ..pocket.support import policy, shop
from ..runs import RUNS, read_records
from ..scope.replay import add_replay
from ..suites import TARGET, Suite, load_suites
from ..tickets import read_tickets
from ..training import LossIsNaN, finetune
from .board import ALL_ITEMS
from .estimate import fisher
from .ewc import EWC
from .importance import Fisher
from .methods import FISHER_ROWS, RANK, SEEDS, STEPS

SEQUENCE = RUNS / "sequence.jsonl"
#: Quarters of the shop, in the order of its policies.
TASKS = ("returns", "orders", "accounts", "store")
#: Methods with their strengths: EWC's λ, and the share of rows from tasks before.
WAYS = {"plain": 0.0, "EWC": 0.003, "replay": 0.2}
RATE = 5e-3
ITEMS = 60  # held-out items per task


class Stages(NamedTuple):
    """What tells one of these runs from another: how the earlier tasks are held."""

    way: str
    seed: int


@dataclass(frozen=True)
class Sequence:
    """One run over all tasks.

    Attributes:
        scores: percent right, one row per stage and one column per task, in the order of `TASKS`.
        before: percent right of the base on each task.
        kept: bytes kept for later stages, after each stage.
    """

    setting: Stages
    scores: tuple[tuple[float, ...], ...]
    before: tuple[float, ...]
    kept: tuple[int, ...]
    diverged: str
    origin: dict[str, Any]


def read_sequences() -> list[Sequence]:
    """The stored runs.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
    """
    return read_records(SEQUENCE, from_record)


def from_record(record: dict[str, Any]) -> Sequence:
    """A run from the JSON object of its line."""
    scores = tuple(map(tuple, record["scores"]))
    before, kept = tuple(record["before"]), tuple(record["kept"])
    rest = record["diverged"], record["origin"]
    return Sequence(Stages(**record["setting"]), scores, before, kept, *rest)


#: One seed is finished before the next begins.
ORDERS = [Stages(way, seed) for seed in SEEDS for way in WAYS]


def make_sequence(setting: Stages) -> dict[str, Any]:
    """Train on one task after the other and score all of them after each."""
    model, held = course_model(), None
    scores, kept, diverged = [], [], ""
    earlier: list[dict[str, str]] = []
    strength = WAYS[setting.way]
    for task in TASKS:
        rows = rows_of(task)
        mixed, steps = rows, STEPS
        if setting.way == "replay" and earlier:
            mixed = add_replay(rows, earlier, strength, task_suites(), setting.seed)
            steps = round(STEPS / (1 - strength))
        options = dict(lr=RATE, rank=RANK, steps=steps, seed=setting.seed)
        try:
            model = merged(
                finetune(
                    model, mixed, mitigation=EWC(held, strength) if held else None, **options
                ).model
            )
        except LossIsNaN as error:
            diverged = str(error)
            break
        scores.append(score(model))
        few = rows[:FISHER_ROWS]
        if setting.way == "EWC":
            held = after(held, fisher(model, few))
            kept.append(held.storage())
        else:
            earlier += few
            size = sum(len((row["prompt"] + row["completion"]).encode()) for row in earlier)
            kept.append(size if setting.way == "replay" else 0)
    return {"scores": scores, "before": scores_of_base(), "kept": kept, "diverged": diverged}


def after(held: Fisher | None, new: Fisher) -> Fisher:
    """One Fisher for all tasks so far, each task with the same weight."""
    new = new.normalized()
    return held.followed_by(new) if held else new


def intents_of(task: str) -> list[dict[str, Any]]:
    """What customers want in one quarter of the shop."""
    intents, count = shop()["intents"], len(TASKS)
    size = len(intents) // count
    return intents[TASKS.index(task) * size :][:size]


def rows_of(task: str) -> list[dict[str, str]]:
    """The tickets of a task."""
    answers = {f" {policy(intent)}" for intent in intents_of(task)}
    return [row for row in read_tickets() if row["completion"] in answers]


@cache
def task_suites() -> tuple[Suite, ...]:
    """Held-out questions of every task."""
    (support,) = load_suites(TARGET, size=ALL_ITEMS)
    suites = []
    for task in TASKS:
        names = {intent["name"] for intent in intents_of(task)}
        items = tuple(item for item in support.items if item.family in names)
        suites.append(replace(support, name=task, items=items[:ITEMS]))
    return tuple(suites)


def score(model: PreTrainedModel) -> list[float]:
    """Percent right on each task, in order."""
    snapshot = evaluate(model, task_suites())
    return [round(snapshot.score(task), 2) for task in TASKS]


@cache
def scores_of_base() -> list[float]:
    """The base's scores on each task."""
    return score(course_model())
