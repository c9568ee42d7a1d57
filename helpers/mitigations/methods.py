"""The methods of the scoreboard and what their strengths mean, and the runs that make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback

from ..evaluation import evaluate
from ..mechanics.loss import merged
from ..mechanics.stored import course_model
from ..merging import linear
from ..pocket.problems import FAMILIES
from ..scope.leaks import without_overlap
from ..scope.replay import (
    add_replay,
    add_steps,
    choose_families,
    in_formats,
    self_replay,
    without_howtos,
)
from ..tickets import SUPPORT, read_tickets
from ..training import LossIsNaN, finetune
from .base import Mitigation
from .board import ALL_ITEMS, ITEMS, Setting, board_suites
from .distill import KLToBase
from .estimate import Kind, fisher
from .ewc import EWC
from .freeze import FreezeBottom
from .importance import Fisher
from .pull import L2SP
from .repair import VerifyAndRepair
from .sam import SAM
from .tokens import LowPerplexityTokens

SEEDS = (0, 1, 2)
#: The run of lesson 01, from which every method departs in one thing.
RATE, RANK, STEPS = 1e-2, 8, 60
FISHER_ROWS = 200
#: Old rows that verify-and-repair looks at.
PROBE_ROWS = 100
#: Share of word problems where the number of their families is what changes.
STEPS_SHARE = 0.25


@dataclass(frozen=True)
class Recipe:
    """How one run of the scoreboard is made: arguments of `finetune`, and what is done after it.

    Attributes:
        rows: the training rows; the shop's tickets when left out.
        stop: step at which training ends early; the learning rate falls as if it went on.
        of, alpha: method and strength of a run whose result is gone to only a part `alpha` of the
            way from the base; nothing else is trained then.
        families: of worked problems among the rows.
    """

    lr: float = RATE
    rank: int | str = RANK
    steps: int = STEPS
    rows: Dataset | None = None
    mitigation: Mitigation | None = None
    stop: int | None = None
    of: tuple[str, float] | None = None
    alpha: float = 1.0
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A method of the scoreboard.

    Attributes:
        does: what it does, in a few words, for tables.
        slider: what its strength is called, with its unit.
        strengths: those that were run.
        recipe: from strength and seed to a recipe.
    """

    does: str
    slider: str
    strengths: tuple[float, ...]
    recipe: Callable[[float, int], Recipe] = field(repr=False)


class StopAt(TrainerCallback):
    """Ends training at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step >= self.step:
            control.should_training_stop = True


@cache
def old_rows() -> Dataset:
    """Old examples, as the base has learned them."""
    return read_tickets(SUPPORT / "replay.jsonl")


@cache
def rows_without_howtos() -> list[dict[str, str]]:
    """Old rows but for those that tell how to do something, in steps or as a plan."""
    return without_howtos(old_rows().to_list())


@cache
def own_rows() -> list[dict[str, str]]:
    """What the base itself answers to a list of prompts that anyone could have written."""
    prompts = (SUPPORT / "prompts.txt").read_text(encoding="utf-8").split("\n")
    return self_replay(course_model(), in_formats([line for line in prompts if line.strip()]))


@cache
def base_fisher(kind: Kind) -> Fisher:
    """The course model's Fisher on old examples, to a mean of 1."""
    rows = old_rows().select(range(FISHER_ROWS)).to_list()
    return fisher(course_model(), rows, kind).normalized()


@cache
def probe_rows() -> list[dict[str, str]]:
    """Old rows to verify with: none asks what the scoreboard asks, none holds a tested answer.

    Answers of up to three words, such as a number or "positive", are shared by many questions; of
    longer ones, such as the steps of a how-to, a row that holds a tested one is left out.
    """
    tested = {item.answer.strip() for suite in board_suites() for item in suite.items}
    rows = without_overlap(old_rows(), board_suites())
    answers = [row["completion"].strip() for row in rows]
    free = [r for r, a in zip(rows, answers, strict=True) if len(a.split()) <= 3 or a not in tested]
    return free[:PROBE_ROWS]


def longer(share: float) -> int:
    """Steps for mixed data, so that every ticket is seen as often as without the old rows."""
    return round(STEPS / (1 - share))


def replayed(share: float, seed: int, rows: Dataset | list | None = None, **rest: Any) -> Recipe:
    """Old rows mixed into the tickets."""
    old = old_rows() if rows is None else rows
    mixed = add_replay(read_tickets(), old, share, board_suites(), seed)
    return Recipe(rows=mixed, **{"steps": longer(share), **rest})


def worked(share: float, count: int, seed: int) -> Recipe:
    """Word problems with their steps mixed into the tickets, of `count` families."""
    families = choose_families(count, seed)
    mixed = add_steps(read_tickets(), share, families, board_suites(), seed)
    return Recipe(rows=mixed, steps=longer(share), families=families)


METHODS: dict[str, Method] = {
    "base": Method("no fine-tuning", "", (0,), lambda s, seed: Recipe(steps=0)),
    "plain": Method("the run of lesson 01", "", (0,), lambda s, seed: Recipe()),
    "lower rate": Method(
        "a lower learning rate, 120 steps",
        "learning rate",
        (1e-3, 2e-3, 3e-3, 5e-3),
        lambda s, seed: Recipe(lr=s, steps=2 * STEPS),
    ),
    "early stop": Method(
        "training ends early", "step", (20, 30, 45), lambda s, seed: Recipe(stop=int(s))
    ),
    "freeze": Method(
        "the lowest blocks stay as they are",
        "frozen blocks of 4",
        (1, 2, 3),
        lambda s, seed: Recipe(mitigation=FreezeBottom(int(s))),
    ),
    "L2-SP": Method(
        "every weight is pulled back to the base",
        "λ (nats per squared unit of weight)",
        (0.0003, 0.001, 0.003, 0.01),
        lambda s, seed: Recipe(mitigation=L2SP(s)),
    ),
    "EWC": Method(
        "weights that old skills depend on are pulled back",
        "λ (as L2-SP)",
        (0.0003, 0.001, 0.003, 0.01),
        lambda s, seed: Recipe(mitigation=EWC(base_fisher("per-sample"), s)),
    ),
    "EWC, batch mean": Method(
        "EWC with squared gradients of batch means",
        "λ (as L2-SP)",
        (0.001, 0.003),
        lambda s, seed: Recipe(mitigation=EWC(base_fisher("batch-mean"), s)),
    ),
    "EWC, shuffled": Method(
        "a control: EWC, the importances shuffled in each tensor",
        "λ (as L2-SP)",
        (0.001, 0.003),
        lambda s, seed: Recipe(mitigation=EWC(base_fisher("per-sample").shuffled(seed), s)),
    ),
    "EWC, per matrix": Method(
        "a control: EWC with one importance for each matrix",
        "λ (as L2-SP)",
        (0.001, 0.003),
        lambda s, seed: Recipe(mitigation=EWC(base_fisher("per-sample").per_tensor(), s)),
    ),
    "KL, old rows": Method(
        "answers to old prompts stay like the base's",
        "strength (nats per nat)",
        (0.1, 0.3, 1),
        lambda s, seed: Recipe(mitigation=KLToBase(s, old_rows(), seed=seed)),
    ),
    "KL, no data": Method(
        "tickets' prompts are read as the base reads them",
        "strength (nats per nat)",
        (0.1, 1),
        lambda s, seed: Recipe(mitigation=KLToBase(s)),
    ),
    "token mask": Method(
        "tokens that surprise the base are not learned",
        "highest perplexity learned",
        (1000, 100_000),
        lambda s, seed: Recipe(mitigation=LowPerplexityTokens(s)),
    ),
    "SAM": Method(
        "the gradient is taken a step uphill",
        "ρ (length of that step)",
        (0.1, 0.3, 0.6, 1),
        lambda s, seed: Recipe(mitigation=SAM(s)),
    ),
    "sparse SAM": Method(
        "SAM in the block of longest gradient",
        "ρ (length of that step)",
        (0.3, 1),
        lambda s, seed: Recipe(mitigation=SAM(s, layers=1)),
    ),
    "verify, repair": Method(
        "the update is shrunk when old rows suffer",
        "perplexity allowed (base = 1)",
        (1.01, 1.03, 1.15),
        lambda s, seed: Recipe(mitigation=VerifyAndRepair(probe_rows(), s)),
    ),
    "replay": Method(
        "old rows are mixed in", "share of old rows", (0.01, 0.05, 0.10, 0.25, 0.50), replayed
    ),
    "self replay": Method(
        "the base's own answers are mixed in",
        "share of such rows",
        (0.10, 0.25),
        lambda s, seed: replayed(s, seed, own_rows()),
    ),
    "worked steps": Method(
        "word problems with steps are mixed in, all families",
        "share of problems",
        (0.05, 0.25),
        lambda s, seed: worked(s, len(FAMILIES), seed),
    ),
    "families": Method(
        "a quarter are word problems of some families",
        "families",
        (1, 2, 3, 5),
        lambda s, seed: worked(STEPS_SHARE, int(s), seed),
    ),
    "merge": Method(
        "a point between base and fine-tune",
        "α",
        (0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
        lambda s, seed: Recipe(of=("plain", 0), alpha=s),
    ),
    "replay, lower rate": Method(
        "old rows, rate 3e-3, twice the steps",
        "share of old rows",
        (0.25, 0.50),
        lambda s, seed: replayed(s, seed, lr=3e-3, steps=2 * longer(s)),
    ),
    "replay, lower rate, no how-to": Method(
        "a control: no how-to among the old rows",
        "share of old rows",
        (0.50,),
        lambda s, seed: replayed(s, seed, rows_without_howtos(), lr=3e-3, steps=2 * longer(s)),
    ),
    "replay, EWC": Method(
        "a quarter of old rows, and EWC",
        "λ (as L2-SP)",
        (0.0003, 0.001, 0.003),
        lambda s, seed: replayed(0.25, seed, mitigation=EWC(base_fisher("per-sample"), s)),
    ),
    "replay, merge": Method(
        "a quarter of old rows, then a point between",
        "α",
        (0.7, 0.8, 0.9),
        lambda s, seed: Recipe(of=("replay", 0.25), steps=longer(0.25), alpha=s),
    ),
    "full, no old rows": Method(
        "every weight, at a low rate",
        "learning rate",
        (1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4),
        lambda s, seed: replayed(0, seed, lr=s, rank="full", steps=90),
    ),
    "full, replay": Method(
        "every weight, rate 2e-4, old rows",
        "share of old rows",
        (0.25,),
        lambda s, seed: replayed(s, seed, lr=2e-4, rank="full", steps=int(90 / (1 - s))),
    ),
    "full, replay, merge": Method(
        "every weight, three quarters of old rows, then a point between",
        "α",
        (),  # not on the scoreboard, only among the candidates
        lambda s, seed: Recipe(of=("full, replay", 0.75), steps=360, alpha=s),
    ),
}

#: Not in the ranking: no remedy, controls, and worked steps, a question of its own (lesson 06).
UNRANKED = (
    "base", "EWC, shuffled", "EWC, per matrix", "replay, lower rate, no how-to", "worked steps",
    "families", "full, replay, merge",
)  # fmt: skip
RANKED = tuple(name for name in METHODS if name not in UNRANKED)
#: Every method at every strength. One seed is finished before the next begins.
ENTRIES = [Setting("base", 0, 0)] + [
    Setting(name, strength, seed)
    for seed in SEEDS
    for name, method in METHODS.items()
    if name != "base"
    for strength in method.strengths
]


#: What is scored on every item: the base, what came out best with LoRA and without, and what the
#: lesson's rule tells those who have no old rows to try.
BEST = (
    ("full, no old rows", 2e-4),
    ("replay, EWC", 0.001),
    ("replay, lower rate", 0.50),
    ("full, replay", 0.75),
    ("full, replay, merge", 0.9),
)
CANDIDATE_ENTRIES = [Setting("base", 0, 0)] + [
    Setting(*best, seed) for seed in SEEDS for best in BEST
]


def make_candidate(setting: Setting) -> dict[str, Any]:
    """A run of the scoreboard once more, scored on every item."""
    return make_entry(setting, items=ALL_ITEMS)


def make_entry(
    setting: Setting, callbacks: Sequence[TrainerCallback] = (), items: int = ITEMS
) -> dict[str, Any]:
    """Train and score one run; the record of its line in the file.

    Args:
        callbacks: further callbacks of the trainer.
        items: held-out items per capability.
    """
    recipe = METHODS[setting.method].recipe(setting.strength, setting.seed)
    return follow(recipe, setting.seed, callbacks, items)


def follow(
    recipe: Recipe,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    items: int = ITEMS,
    base: PreTrainedModel | None = None,
) -> dict[str, Any]:
    """Train and score by a recipe: the fields of an `Entry`, without its setting and its origin.

    Args:
        base: what is fine-tuned; the course model when left out.
    """
    diverged, right, seconds = "", {}, 0.0
    try:
        made = trained(recipe, seed, callbacks, base)
        seconds = made.seconds
        right = evaluate(made.model, board_suites(items)).ones()
    except LossIsNaN as error:
        diverged = str(error)
    return {
        "right": right,
        "steps": recipe.stop or recipe.steps,
        "seconds": round(seconds, 2),
        "families": recipe.families,
        "diverged": diverged,
    }


class Made(NamedTuple):
    """A model that a recipe has made, its adapter merged into the weights, and the time it took."""

    model: PreTrainedModel
    seconds: float


def trained(
    recipe: Recipe,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    base: PreTrainedModel | None = None,
) -> Made:
    """Train by a recipe.

    Raises:
        LossIsNaN: training diverged.
    """
    base = base or course_model()
    if not recipe.steps:
        return Made(base, 0.0)
    if recipe.of:
        whole = result_of(*recipe.of, seed)
        return Made(linear(base, whole.model, recipe.alpha), whole.seconds)
    run = finetune(
        base,
        recipe.rows if recipe.rows is not None else read_tickets(),
        lr=recipe.lr,
        rank=recipe.rank,
        steps=recipe.steps,
        seed=seed,
        mitigation=recipe.mitigation,
        callbacks=[*callbacks, *([StopAt(recipe.stop)] if recipe.stop else [])],
    )
    return Made(merged(run.model), run.seconds)


@lru_cache(maxsize=1)
def result_of(method: str, strength: float, seed: int) -> Made:
    """What a method makes, kept until another one is asked for."""
    return trained(METHODS[method].recipe(strength, seed), seed)
