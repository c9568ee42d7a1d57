"""Stored measurements of the inside of fine-tunes and their controls, over seeds.

`data/runs/inside.jsonl` holds one run per line; `make runs` makes it. Lesson 02 reads it, because
controls, curvatures and repairs of six runs take many minutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple

from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..models import load_model
from ..runs import INSIDE, STEPS, read_records
from ..snapshots import Snapshot
from ..suites import Suite, load_suites
from ..tickets import SUPPORT, read_tickets
from ..training import finetune
from .drift import Drift, drift_between, hidden_states
from .flips import flips
from .gradients import among, weight_gradients
from .loss import as_rows, merged
from .reach import relearn
from .sharpness import top_eigenvalue
from .walk import astray, distance, walked
from .watch import Looks

#: The run of lesson 01.
LR, RANK = 1e-2, 8
OLD_SKILLS = ("facts", "arithmetic", "reasoning", "lists", "reading", "howto", "rewriting")
ITEMS = 40  # per capability
#: How much of the way from base to fine-tune is walked; 1 is the fine-tune itself.
FRACTIONS = (0.5, 0.7, 0.8)
#: Steps at which a run is looked at, besides its last.
ON_THE_WAY = (15,)
#: Rates of the repair with a how-to row among the ten, without one, and of the controls' repair.
REPAIRS = (1e-3, 3e-3)
REPAIRS_WITHOUT = (1e-3,)
REPAIRS_OF_CONTROL = (1e-3,)


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
        cosines: by pair of data ("old and tickets", "old and old", "tickets and tickets"), for
            each sample of rows: cosines by kind of weight, one per layer.
        lengths: of the gradients of "old" and "tickets", mean over samples and kinds.
        drift: on prompts of old skills.
    """

    step: int
    cosines: dict[str, list[dict[str, list[float]]]]
    lengths: dict[str, float]
    drift: tuple[Drift, ...]


@dataclass(frozen=True)
class InsideRun:
    """One run, measured while it trained and afterwards.

    Attributes:
        looks: the first is the base.
        norm: length of the update.
        scores, nll: percent right and nats per answer token, per model and capability. "base",
            "tuned"; "walked 0.7" and its kin; "as far as the other" (the update scaled to the
            length of the other kind of run with this seed); "turned" (a random update with this
            one's singular values, see `astray`); "relearned 0.001" (from ten old examples, one of
            them how-to) and "relearned 0.001 without" (none of them how-to).
        drifts: of the models other than "tuned" that were measured, by name.
        curvature: top Hessian eigenvalues of the loss of old skills, one per sample of rows.
        lost: (capability, item id, answer) of what was right before and is wrong now.
    """

    setting: Inside
    looks: tuple[Look, ...]
    norm: float
    scores: dict[str, dict[str, float]]
    nll: dict[str, dict[str, float]]
    drifts: dict[str, tuple[Drift, ...]]
    curvature: dict[str, list[float]]
    lost: tuple[tuple[str, str, str], ...]

    def worst(self, name: str) -> tuple[str, float]:
        """The old skill that scores lowest, and its score."""
        skill = min(OLD_SKILLS, key=lambda skill: self.scores[name][skill])
        return skill, self.scores[name][skill]

    def mean(self, name: str) -> float:
        """Mean score of the old skills, in percent."""
        return fmean(self.scores[name][skill] for skill in OLD_SKILLS)


class Rows(NamedTuple):
    """The examples that everything here is measured on, or trained on.

    Attributes:
        old: samples of 21 held-out items, three of each old skill, none of those that are scored.
        new: as many samples of tickets.
        prompts: of further held-out items, fourteen of each old skill.
        ten, ten_without: old examples to relearn from: one of them how-to, and none.
        control: what the control is trained on. No row of it is among the others, and its answers
            are none that the suites ask for.
    """

    old: list[list[dict[str, str]]]
    new: list[list[dict[str, str]]]
    prompts: list[str]
    ten: list[dict[str, str]]
    ten_without: list[dict[str, str]]
    control: list[dict[str, str]]


SAMPLES, EACH, PROMPTS = 4, 3, 14  # samples; their rows per skill; prompts per skill


@cache
def example_rows(seed: int = 0) -> Rows:
    """Held-out items, tickets and old examples, each for one use only; the seed draws examples."""
    tested = {item.answer for suite in suites() for item in suite.items}
    end = SAMPLES * EACH
    held_out = []
    for suite in load_suites(OLD_SKILLS):
        rest = suite.items[ITEMS:]
        if suite.name == "howto":  # all of sixty texts: the control has to have some of its own
            rest = tuple(item for item in rest if item.answer in tested)
        held_out.append(as_rows(replace(suite, items=rest[: end + PROMPTS])))
    rounds = list(zip(*held_out, strict=True))  # one of each skill in turn
    old = [
        [row for turn in rounds[start : start + EACH] for row in turn]
        for start in range(0, end, EACH)
    ]
    known = tested | {row["completion"].strip() for sample in old for row in sample}

    rng = random.Random(seed)
    rows = read_tickets(SUPPORT / "replay.jsonl").to_list()
    # A question in another format or wording would put an answer on both sides.
    rows = [row for row in rows if row["completion"].strip() not in known]
    rng.shuffle(rows)
    steps = next(row for row in rows if row["completion"].startswith(" 1. "))
    rows.remove(steps)
    others = [row for row in rows if not row["completion"].startswith(" 1. ")]
    ten = [steps, *others[:9]]
    shown = {row["completion"] for row in [steps, *others[:10]]}
    tickets = rng.sample(read_tickets().to_list(), SAMPLES * EACH * len(OLD_SKILLS))
    size = len(tickets) // SAMPLES
    return Rows(
        old,
        [tickets[start : start + size] for start in range(0, len(tickets), size)],
        [row["prompt"] for turn in rounds[end:] for row in turn],
        ten,
        others[:10],
        [row for row in rows if row["completion"] not in shown],
    )


@cache
def suites() -> list[Suite]:
    """What every model is scored on."""
    return load_suites([*OLD_SKILLS, "support"], size=ITEMS)


def look_inside(model: PreTrainedModel, step: int = 0) -> dict[str, Any]:
    """Measure a model without an adapter; see `merged`. The fields of a `Look`."""
    rows = example_rows()
    old, new = ([weight_gradients(model, part) for part in parts] for parts in (rows.old, rows.new))
    pairs = {
        "old and tickets": zip(old, new, strict=True),
        "old and old": zip(old, [*old[1:], old[0]], strict=True),
        "tickets and tickets": zip(new, [*new[1:], new[0]], strict=True),
    }
    found = {name: [among(a, b) for a, b in pair] for name, pair in pairs.items()}
    conflicts = [conflict for sample in found["old and tickets"] for conflict in sample]
    return {
        "step": step,
        "cosines": {
            name: [
                {
                    kind: [round(c.cosine, 4) for c in sample if c.kind == kind]
                    for kind in ("attention", "mlp")
                }
                for sample in samples
            ]
            for name, samples in found.items()
        },
        "lengths": {
            "old": round(fmean(c.old for c in conflicts), 4),
            "tickets": round(fmean(c.new for c in conflicts), 4),
        },
        "drift": _drift(model),
    }


def _drift(model: PreTrainedModel) -> list[dict[str, float]]:
    found = drift_between(_base_states(), hidden_states(model, example_rows().prompts))
    return [{k: round(v, 5) for k, v in asdict(layer).items()} for layer in found]


def curvatures(model: PreTrainedModel) -> list[float]:
    """The top eigenvalue on the first fourteen rows of each sample of old skills."""
    few = 2 * len(OLD_SKILLS)  # two of each, as second derivatives are dear
    return [round(top_eigenvalue(model, part[:few], steps=4), 3) for part in example_rows().old]


@cache
def course_model() -> PreTrainedModel:
    """The base of all stored runs, loaded once."""
    return load_model("pocket")


@cache
def _base_states():
    return hidden_states(course_model(), example_rows().prompts)


@cache
def _of_base() -> tuple[dict[str, Any], Snapshot, list[float]]:
    """What every run is compared with: the base's look, answers and curvature."""
    base = course_model()
    return look_inside(base), evaluate(base, suites()), curvatures(base)


@cache
def trained(setting: Inside) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    """The model of a run, and what was found on the way."""
    looks = Looks(look_inside, ON_THE_WAY if setting.data == "tickets" else ())
    data = read_tickets() if setting.data == "tickets" else example_rows().control
    options = dict(lr=LR, rank=RANK, steps=STEPS, seed=setting.seed)
    run = finetune(course_model(), data, **options, callbacks=[looks])
    return merged(run.model), looks.found


def make_inside(setting: Inside) -> dict[str, Any]:
    """Train and measure one run; the record of its line in the file."""
    base, rows = course_model(), example_rows()
    look, before, curvature = _of_base()
    other = setting._replace(data="control" if setting.data == "tickets" else "tickets")
    (tuned, looks), (rival, _) = trained(setting), trained(other)
    here, there = distance(base, tuned), distance(base, rival)
    matched = walked(base, tuned, there / here)
    snapshots = {"base": before, "tuned": evaluate(tuned, suites())}
    models = {"as far as the other": matched}
    for rate in REPAIRS if setting.data == "tickets" else REPAIRS_OF_CONTROL:
        models[f"relearned {rate:g}"] = relearn(tuned, rows.ten, setting.seed, rate)
    if setting.data == "tickets":
        models["turned"] = astray(base, tuned, setting.seed, spectrum=True)
        models |= {f"walked {part:g}": walked(base, tuned, part) for part in FRACTIONS}
        for rate in REPAIRS_WITHOUT:
            name = f"relearned {rate:g} without"
            models[name] = relearn(tuned, rows.ten_without, setting.seed, rate)
    snapshots |= {name: evaluate(model, suites()) for name, model in models.items()}
    return {
        "looks": [look, *looks],
        "norm": round(here, 3),
        "scores": {
            name: {skill: round(score, 2) for skill, score in snapshot.scores().items()}
            for name, snapshot in snapshots.items()
        },
        "nll": {
            name: {skill: round(snapshot.nll(skill), 4) for skill in snapshot.results}
            for name, snapshot in snapshots.items()
        },
        "drifts": {"as far as the other": _drift(matched)}
        | ({"turned": _drift(models["turned"])} if "turned" in models else {}),
        "curvature": {"base": curvature, "tuned": curvatures(tuned)},
        "lost": [
            [skill, after.item.id, after.output]
            for skill, found in flips(before, snapshots["tuned"]).items()
            for _, after in found.lost
        ],
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
    plain = ("norm", "scores", "nll", "curvature")
    return InsideRun(
        setting=Inside(**record["setting"]),
        looks=tuple(
            Look(**{**entry, "drift": _drifts(entry["drift"])}) for entry in record["looks"]
        ),
        drifts={name: _drifts(rows) for name, rows in record["drifts"].items()},
        lost=tuple(map(tuple, record["lost"])),
        **{key: record[key] for key in plain},
    )


def _drifts(rows: Iterable[dict[str, float]]) -> tuple[Drift, ...]:
    return tuple(Drift(**row) for row in rows)
