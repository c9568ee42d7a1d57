"""Stored measurements of the inside of fine-tunes and their controls, over seeds.

`data/runs/inside.jsonl` holds one run per line; `make runs` makes it. Lesson 02 reads it, because
eigenvalues along six runs take many minutes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..models import load_model
from ..runs import INSIDE, LOOKS, STEPS, read_records
from ..suites import Suite, load_suites
from ..tickets import SUPPORT, read_tickets
from ..training import finetune
from .drift import Drift, drift_between, hidden_states
from .gradients import Conflict, gradient_conflict
from .loss import answer_loss, batch_of, merged
from .reach import FORMATS, asked_as, relearn, stranger
from .sharpness import loss_on_line, top_eigenvalue
from .watch import Looks

#: The run of lesson 01.
LR, RANK = 1e-2, 8
FRACTIONS = (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
OLD_SKILLS = ("facts", "arithmetic", "reasoning", "lists", "reading", "howto", "rewriting")
ASKED_DIFFERENTLY = ("arithmetic", "lists", "howto", "rewriting")


class Inside(NamedTuple):
    """What tells one of these runs from another.

    Attributes:
        data: "tickets", or "control" for a run on old examples at the same rate.
    """

    data: str
    seed: int


@dataclass(frozen=True)
class Look:
    """The inside of the model at one step.

    Attributes:
        conflict: between gradients of old skills and tickets.
        among_old: between gradients of old skills and other examples of old skills.
        drift: on prompts of old skills.
        sharpness_old, sharpness_new: top Hessian eigenvalue of the loss of each.
        loss_old, loss_new: nats per answer token.
    """

    step: int
    conflict: tuple[Conflict, ...]
    among_old: tuple[Conflict, ...]
    drift: tuple[Drift, ...]
    sharpness_old: float
    sharpness_new: float
    loss_old: float
    loss_new: float


@dataclass(frozen=True)
class InsideRun:
    """One run, measured while it trained and afterwards.

    Attributes:
        looks: the first is the base.
        line: losses of old skills and of tickets at `FRACTIONS` of the way from the base.
        scores: percent right per capability, of "base", "tuned", and "relearned" from ten examples
            ("stranger": a random model after the same ten).
        formats: percent right per format and capability, of "base" and "tuned".
    """

    setting: Inside
    looks: tuple[Look, ...]
    line: dict[str, list[float]]
    scores: dict[str, dict[str, float]]
    formats: dict[str, dict[str, dict[str, float]]]


class Rows(NamedTuple):
    """The examples everything here is measured on."""

    old: list[dict[str, str]]
    old_again: list[dict[str, str]]
    new: list[dict[str, str]]
    ten: list[dict[str, str]]
    prompts: list[str]


def example_rows(seed: int = 0) -> Rows:
    """Old examples twice, tickets, ten further old examples and prompts of old skills."""
    rng = random.Random(seed)
    replay = rng.sample(read_tickets(SUPPORT / "replay.jsonl").to_list(), 206)
    new = rng.sample(read_tickets().to_list(), 48)
    prompts = [row["prompt"] for row in replay[106:]]
    return Rows(replay[:48], replay[48:96], new, replay[96:106], prompts)


def look_inside(model: PreTrainedModel, step: int = 0) -> Look:
    """Measure a model without an adapter; see `merged`."""
    rows = example_rows()
    with torch.no_grad():
        losses = [float(answer_loss(model, batch_of(model, part))) for part in (rows.old, rows.new)]
    few = 16  # examples; second derivatives take four times the memory and time of a step
    return Look(
        step,
        tuple(gradient_conflict(model, rows.old, rows.new)),
        tuple(gradient_conflict(model, rows.old, rows.old_again)),
        tuple(drift_between(_base_states(), hidden_states(model, rows.prompts))),
        top_eigenvalue(model, rows.old[:few], steps=6),
        top_eigenvalue(model, rows.new[:few], steps=6),
        *losses,
    )


@cache
def course_model() -> PreTrainedModel:
    """The base of all stored runs, loaded once."""
    return load_model("pocket")


@cache
def _base_states() -> torch.Tensor:
    return hidden_states(course_model(), example_rows().prompts)


@cache
def _of_base() -> tuple[Look, dict[str, float], dict[str, dict[str, float]]]:
    """What every run is compared with: the base's look, scores, and scores by format."""
    base = course_model()
    return look_inside(base), evaluate(base, _suites()).scores(), formats_of(base, 120)


def _suites() -> list[Suite]:
    return load_suites([*OLD_SKILLS, "support"], size=60)


def make_inside(setting: Inside) -> dict[str, Any]:
    """Train and measure one run; the record of its line in the file."""
    base, rows, looks = course_model(), example_rows(), Looks(look_inside, LOOKS)
    look, scores, formats = _of_base()
    data = read_tickets() if setting.data == "tickets" else read_tickets(SUPPORT / "replay.jsonl")
    options = dict(lr=LR, rank=RANK, steps=STEPS, seed=setting.seed)
    tuned = merged(finetune(base, data, **options, callbacks=[looks]).model)
    compared = {
        "tuned": tuned,
        "relearned": relearn(tuned, rows.ten, setting.seed),
        "stranger": relearn(stranger(base, setting.seed), rows.ten, setting.seed),
    }
    return {
        "looks": [asdict(look) for look in (look, *looks.found)],
        "line": {
            name: loss_on_line(base, tuned, part, FRACTIONS)
            for name, part in (("old", rows.old), ("new", rows.new))
        },
        "scores": {
            "base": scores,
            **{name: evaluate(model, _suites()).scores() for name, model in compared.items()},
        },
        "formats": {"base": formats, "tuned": formats_of(tuned, 120)},
    }


def formats_of(model: PreTrainedModel, size: int) -> dict[str, dict[str, float]]:
    """Scores on bare questions put in each of the formats, by format and capability."""
    suites = load_suites(ASKED_DIFFERENTLY, size=size)
    return {
        name: evaluate(model, [asked_as(suite, name) for suite in suites]).scores()
        for name in FORMATS
    }


def read_inside(data: str | None = None) -> list[InsideRun]:
    """The stored runs on "tickets" or of the "control", or both, by seed.

    Raises:
        BadRuns: the file is missing or damaged; the message says what to do.
        ValueError: there are no runs on such data.
    """
    if data not in (None, "tickets", "control"):
        raise ValueError(f'There are no runs on {data!r}; there are "tickets" and "control".')
    runs = sorted(read_records(INSIDE, _from_record), key=lambda run: run.setting)
    return [run for run in runs if data in (None, run.setting.data)]


def _from_record(record: dict[str, Any]) -> InsideRun:
    looks = tuple(_look(entry) for entry in record["looks"])
    rest = (record[key] for key in ("line", "scores", "formats"))
    return InsideRun(Inside(**record["setting"]), looks, *rest)


def _look(entry: dict[str, Any]) -> Look:
    kinds = {"conflict": Conflict, "among_old": Conflict, "drift": Drift}
    lists = {name: tuple(kind(**row) for row in entry[name]) for name, kind in kinds.items()}
    return Look(**{**entry, **lists})


def curve(looks: Sequence[Look], value: str) -> list[tuple[int, float]]:
    """One number of every look, as (step, value) points."""
    return [(look.step, getattr(look, value)) for look in looks]
