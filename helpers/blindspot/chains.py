"""Stored runs on worked steps: what tuning with and without them leaves of a model's own.

`data/runs/chains.jsonl` holds them; `make runs` makes it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..mechanics import merged
from ..mechanics.stored import course_model
from ..runs import RUNS, read_records
from ..suites import load_suites
from ..training import Run, finetune
from .steps import Reliance, problem_rows, reliance

CHAINS = RUNS / "chains.jsonl"
SKILLS = ("reasoning", "facts", "arithmetic", "lists", "howto", "reading", "translation")
PROBLEMS, ITEMS = 100, 40
#: Runs by what they are trained on, a style of `problem_rows`; each has LoRA of rank 8.
TUNINGS = {
    "short": dict(lr=6e-4, steps=40),
    "worked": dict(lr=6e-4, steps=40),
}
#: What a model that was trained without steps is given afterwards, to see what comes back.
RELEARNED = dict(count=10, lr=6e-4, steps=10)


class ChainSetting(NamedTuple):
    """What tells one of these runs from another.

    Attributes:
        data: "base" for the model as it is; "short" for problems with their results alone;
            "worked" for the same problems with their steps, a control.
    """

    data: str
    seed: int


CHAINED = [
    ChainSetting("base", 0),
    *(ChainSetting(data, seed) for seed in (0, 1, 2) for data in TUNINGS),
]


@dataclass(frozen=True)
class ChainRun:
    """One run.

    Attributes:
        losses: of the first and of the last step, nats per token; empty for the base.
        scores: percent of held-out items right, per skill.
        reliance: what the model does with worked steps.
        relearned: percent of problems right after a few steps on ten worked problems, where the
            run was on results alone; else None.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: ChainSetting
    losses: tuple[float, ...]
    scores: dict[str, float]
    reliance: Reliance
    relearned: float | None
    origin: dict[str, Any]


def rows_for(setting: ChainSetting) -> list[dict[str, str]]:
    """What a run is trained on."""
    return problem_rows(16 * TUNINGS[setting.data]["steps"], setting.data, setting.seed)


def trained(setting: ChainSetting) -> Run:
    """A run of the course model, unscored."""
    options = TUNINGS[setting.data]
    return finetune(course_model(), rows_for(setting), **options, seed=setting.seed)


def make_chain(setting: ChainSetting) -> dict[str, Any]:
    """Train and score one run; the record of its line in the file."""
    model, losses, relearned = course_model(), [], None
    (problems,) = load_suites("reasoning", size=PROBLEMS)
    if setting.data != "base":
        run = trained(setting)
        model = merged(run.model)
        losses = [round(run.losses[place][1], 4) for place in (0, -1)]
    if setting.data == "short":
        relearned = evaluate(relearn(model, setting.seed), [problems]).score("reasoning")
    snapshot = evaluate(model, [problems, *load_suites(SKILLS[1:], size=ITEMS)])
    return {
        "losses": losses,
        "scores": {name: round(score, 2) for name, score in snapshot.scores().items()},
        "reliance": asdict(reliance(model, problems)),
        "relearned": relearned,
    }


def relearn(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A model after a few steps on ten worked problems, none of which it was trained on."""
    options = dict(RELEARNED)
    rows = problem_rows(options.pop("count"), "worked", seed + 100)
    return finetune(model, rows, **options, seed=seed).model


def read_chains() -> list[ChainRun]:
    """The stored runs, in the order of their settings.

    Raises:
        BadRuns: the file is missing or damaged; the message says what to do.
    """
    return sorted(read_records(CHAINS, _from_record), key=lambda run: run.setting)


def _from_record(record: dict[str, Any]) -> ChainRun:
    found = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record["reliance"].items()
    }
    return ChainRun(
        ChainSetting(**record["setting"]),
        tuple(record["losses"]),
        record["scores"],
        Reliance(**found),
        record["relearned"],
        record["origin"],
    )
