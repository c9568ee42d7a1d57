"""Stored runs of lesson 01: the run that forgets, and others beside it, over three seeds.

`data/runs/demo.jsonl` holds one run per line; `make runs` makes it. It keeps the verdict of every
item, so that runs can be compared item by item, and every wrong answer, so that they can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .evaluation import evaluate
from .mechanics.stored import course_model
from .mitigations.board import Entry, pick
from .mitigations.methods import StopAt
from .runs import RUNS, Rank, read_records
from .suites import NAMES, PROTECTED, TARGET, load_suites
from .tickets import read_tickets
from .training import finetune

DEMO = RUNS / "demo.jsonl"
SEEDS = (0, 1, 2)
ITEMS = 100  # held-out items per capability


class Recipe(NamedTuple):
    """How a model is made.

    Attributes:
        lr: peak learning rate; it falls linearly to zero over `steps` steps of 16 tickets.
        rank: rank of LoRA on all linear layers with α = 2r, or "full".
        stop: a step at which the run is cut off, its rate still high; 0 for none.
    """

    lr: float
    rank: Rank
    steps: int
    stop: int = 0


#: The run of the lesson; the same cut off half way; one whose rate falls to zero over as many
#: steps; and a control that learns about as much in the same steps from the same tickets.
RECIPES = {
    "base": Recipe(0, 8, 0),
    "the run": Recipe(1e-2, 8, 60),
    "cut at 30": Recipe(1e-2, 8, 60, stop=30),
    "30 steps": Recipe(1e-2, 8, 30),
    "the control": Recipe(1e-3, 64, 60),
}


class Setting(NamedTuple):
    """What tells one of these runs from another: a key of `RECIPES`, and the seed."""

    recipe: str
    seed: int


#: One seed is finished before the next begins; the base needs no seed.
DEMOS = [Setting("base", 0)] + [
    Setting(name, seed) for seed in SEEDS for name in RECIPES if name != "base"
]


@dataclass(frozen=True)
class Demo:
    """One of these runs, scored at its end.

    Attributes:
        right: per capability, whether each held-out item was answered right, in the suites' order.
        nll: negative log-likelihood of the gold answers, nats per token, per capability.
        wrong: per old capability, the wrong answers by the item's place in its suite.
        losses: training loss of every step, nats per token.
        seconds: training time on one core.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: Setting
    right: dict[str, tuple[bool, ...]]
    nll: dict[str, float]
    wrong: dict[str, dict[int, str]]
    losses: tuple[float, ...]
    seconds: float
    origin: dict[str, Any]

    def wrong_answers(self) -> list[str]:
        """All wrong answers to old questions, capability by capability."""
        return [text for rows in self.wrong.values() for text in rows.values()]


def by_recipe(demos: Iterable[Demo]) -> dict[str, list[Demo]]:
    """The runs of each recipe, by seed."""
    found: dict[str, list[Demo]] = {}
    for demo in demos:
        found.setdefault(demo.setting.recipe, []).append(demo)
    return found


def read_demo(path: Path = DEMO) -> list[Demo]:
    """The stored runs, in the order in which they are planned.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
    """
    order = list(RECIPES)
    found = read_records(path, from_record)
    return sorted(found, key=lambda demo: (order.index(demo.setting.recipe), demo.setting.seed))


def from_record(record: dict[str, Any]) -> Demo:
    """A run from the JSON object of its line, in which right answers are written as ones."""
    return Demo(
        Setting(**record["setting"]),
        {name: tuple(c == "1" for c in row) for name, row in record["right"].items()},
        record["nll"],
        {
            name: {int(place): text for place, text in rows.items()}
            for name, rows in record["wrong"].items()
        },
        tuple(record["losses"]),
        record["seconds"],
        record["origin"],
    )


def gently_tuned(board: Iterable[Entry]) -> list[Entry]:
    """The scoreboard's runs of all weights at 2e-4 without an old row, by seed.

    Raises:
        BadRuns: they are not there.
    """
    return pick(board, "full, no old rows", 2e-4)


@cache
def demo_suites() -> list:
    """What every one of these runs is scored on."""
    names = [name for name in NAMES if name in (*PROTECTED, TARGET)]
    return load_suites(names, size=ITEMS)


def make_demo(setting: Setting) -> dict[str, Any]:
    """Train and score one run; the record of its line in the file."""
    recipe = RECIPES[setting.recipe]
    model, losses, seconds = course_model(), [], 0.0
    if recipe.steps:
        run = finetune(
            model,
            read_tickets(),
            lr=recipe.lr,
            rank=recipe.rank,
            steps=recipe.steps,
            seed=setting.seed,
            callbacks=[StopAt(recipe.stop)] if recipe.stop else [],
        )
        model, seconds = run.model, run.seconds
        losses = [round(loss, 3) for _, loss in run.losses]
    found = evaluate(model, demo_suites())
    asked = [name for name in found.results if not found.is_text(name)]
    return {
        "right": found.ones(),
        "nll": {name: round(found.nll(name), 4) for name in found.results},
        "wrong": {
            name: {
                place: row.output
                for place, row in enumerate(found.results[name])
                if not row.correct
            }
            for name in asked
            if name != TARGET
        },
        "losses": losses,
        "seconds": round(seconds, 2),
    }
