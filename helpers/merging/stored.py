"""Stored merges: one line per model of `data/runs/merges.jsonl`, read here and made by `make runs`.

Two groups. Gentle runs, gone to only a part of the way, are scored on the items of the scoreboard,
so that they can stand in one ranking with it. Sums of two fine-tunes are scored on what both are
for. It is imported by itself, because it fine-tunes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from peft import PeftModel
from transformers import PreTrainedModel

from ..audit import CapabilityMap
from ..blindspot.tax import PAIRS, rule_pairs, tax_suites
from ..evaluation import evaluate
from ..mechanics.stored import course_model
from ..mitigations import board
from ..mitigations.board import Entry, Setting, board_suites
from ..paths import DATA
from ..runs import RUNS, read_records
from ..snapshots import ItemResult, Snapshot
from ..suites import TARGET, Suite, load_suites
from ..tickets import read_tickets
from ..training import finetune
from .signs import agreement, ties, trim
from .vectors import Vector, add, angle_between, task_vector

MERGES = RUNS / "merges.jsonl"
SEEDS = (0, 1, 2)
SUM_ITEMS = 60  # held-out items per suite of a sum; there are 41 under the rule
#: Of the suites of lesson 04's rule; harmful requests, and the skill that the shop costs most.
SUMMED = ("rule", "harmful", "harmless", "howto")
#: Of the shop's vector: what the stored line says is needed (lesson 08).
PART = 0.7
DENSITY = 0.2


class Part(NamedTuple):
    """A fine-tune that is merged: its kind, and how far its seed is from the merge's."""

    kind: str
    shift: int = 0


@dataclass(frozen=True)
class Kind:
    """One way to merge.

    Attributes:
        parts: the fine-tunes it is made of.
        strengths: an α, a factor or a scale.
        make: from the parts' task vectors and the strength to a model.
        suites: what it is scored on.
    """

    parts: tuple[Part, ...]
    strengths: tuple[float, ...]
    make: Callable[[Sequence[Vector], float], PreTrainedModel]
    suites: Callable[[], list[Suite]]


@dataclass(frozen=True)
class Merge(Entry):
    """A stored merge: an entry like those of the scoreboard, with what its parts look like.

    Attributes:
        nll: of the gold answers, nats per token, per capability.
        angle: between the parts' vectors, in degrees; None where there are not two.
        agreement: share of equal signs where the largest fifths of both vectors meet, or None.
    """

    nll: dict[str, float]
    angle: float | None = None
    agreement: float | None = None


def sum_suites(size: int = SUM_ITEMS) -> list[Suite]:
    """What both fine-tunes are for, and what they are known to cost."""
    kept = [suite for suite in tax_suites(size) if suite.name in SUMMED]
    return [*kept, *load_suites(TARGET, size=size)]


def rule_rows(seed: int, opposite: bool = False) -> list[dict[str, str]]:
    """Rows that teach the house rule of lesson 04, or its opposite on the same prompts.

    Args:
        opposite: help where the rule forbids it, and refuse what it allows.
    """
    answer = "rejected" if opposite else "chosen"
    pairs = rule_pairs(PAIRS, counter_examples=0.5, seed=seed)
    return [{"prompt": pair["prompt"], "completion": pair[answer]} for pair in pairs]


@cache
def rule_model(seed: int = 0, opposite: bool = False) -> PeftModel:
    """The base, taught the house rule or its opposite; trained on the first call only."""
    rows = rule_rows(seed, opposite)
    # Other first matrices than the shop's: adapters of one seed begin alike.
    first = seed + (2 if opposite else 1)
    return finetune(course_model(), rows, lr=3e-3, rank=8, steps=30, batch_size=8, seed=first).model


@lru_cache(maxsize=16)
def vector_of(kind: str, seed: int) -> Vector:
    """The task vector of a fine-tune.

    Args:
        kind: "shop", "rule", "opposite", or a learning rate for a gentle run of the shop.
    """
    base = course_model()
    if kind in ("rule", "opposite"):
        return task_vector(base, rule_model(seed, kind == "opposite"))
    lr, steps = (1e-2, 60) if kind == "shop" else (float(kind), 120)
    run = finetune(base, read_tickets(), lr=lr, rank=8, steps=steps, seed=seed)
    return task_vector(base, run.model)


def _scaled(vectors: Sequence[Vector], strength: float) -> PreTrainedModel:
    return add(course_model(), vectors, [strength] * len(vectors))


def _with_rule(vectors: Sequence[Vector], strength: float) -> PreTrainedModel:
    return add(course_model(), vectors, [strength, 1])


def _ties(vectors: Sequence[Vector], strength: float) -> PreTrainedModel:
    shop, rule = vectors
    part = {name: PART * change for name, change in shop.items()}
    return ties(course_model(), [part, rule], density=DENSITY, scale=strength)


SHOP, RULE, OPPOSITE = Part("shop"), Part("rule"), Part("opposite")
#: In the order in which they are made, so that a vector is trained once.
KINDS: dict[str, Kind] = {
    "3e-3": Kind((Part("3e-3"),), (0.6, 0.7, 0.8, 0.9, 1), _scaled, board_suites),
    "line": Kind((SHOP,), (0.5, 0.75, 1), _scaled, sum_suites),
    "rule": Kind((RULE,), (0.5, 1), _scaled, sum_suites),
    "opposite": Kind((OPPOSITE,), (1,), _scaled, sum_suites),
    "rule + opposite": Kind((RULE, OPPOSITE), (1,), _scaled, sum_suites),
    "shop + rule": Kind((SHOP, RULE), (0.5, 0.7, 1), _with_rule, sum_suites),
    "mean": Kind((SHOP, RULE), (0.5,), _scaled, sum_suites),
    "TIES": Kind((SHOP, RULE), (1, 1.25, 1.5, 2), _ties, sum_suites),
    "soup": Kind((SHOP, Part("shop", 1)), (0.5,), _scaled, sum_suites),
    "rule twice": Kind((RULE, Part("rule", 1)), (0.5,), _scaled, sum_suites),
}
#: One seed is finished before the next begins.
MERGED = [
    Setting(name, strength, seed)
    for seed in SEEDS
    for name, kind in KINDS.items()
    for strength in kind.strengths
]
#: What is scored on every item, for the audit: a gentle run, gone four fifths of the way.
AUDITED = [Setting("3e-3, every item", 0.8, seed) for seed in SEEDS]


def make_merge(setting: Setting) -> dict[str, Any]:
    """Train, merge and score; the record of its line in the file."""
    kind = KINDS[setting.method]
    return _scored(kind, setting, kind.suites())


def make_audited(setting: Setting) -> dict[str, Any]:
    """The same on every item there is."""
    return _scored(KINDS[setting.method.split(",")[0]], setting, board_suites(board.ALL_ITEMS))


def _scored(kind: Kind, setting: Setting, suites: list[Suite]) -> dict[str, Any]:
    vectors = [vector_of(part.kind, (setting.seed + part.shift) % len(SEEDS))
               for part in kind.parts]  # fmt: skip
    snapshot = evaluate(kind.make(vectors, setting.strength), suites)
    record: dict[str, Any] = {
        "right": snapshot.ones(),
        "nll": {name: round(snapshot.nll(name), 4) for name in snapshot.results},
        "steps": 0,
        "seconds": 0.0,
        "families": (),
        "diverged": "",
    }
    if len(vectors) == 2:
        record["angle"] = round(angle_between(*vectors), 2)
        record["agreement"] = round(agreement([trim(v, DENSITY) for v in vectors]), 4)
    return record


def read_merges(path: str | Path = MERGES) -> list[Merge]:
    """The stored merges, by kind, strength and seed.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
    """
    return sorted(read_records(Path(path), from_record), key=lambda merge: merge.setting)


def from_record(record: dict[str, Any]) -> Merge:
    """A merge from the JSON object of its line."""
    entry = board.from_record(record)
    rest = {key: record.get(key) for key in ("nll", "angle", "agreement")}
    return Merge(**vars(entry), **rest)


# What the lesson reads from them.


def rivals() -> list[Entry]:
    """Ways to the same score, with every seed: the base, and four methods in whose names they are.

    "merge" and "early stop" end in the whole run of lesson 01, "lower rate" is trained for twice
    the steps, and "gentle merge" is the run of rate 3e-3, gone to only a part of the way.
    """
    runs = board.read_board()
    found = [board.base_of(runs)]
    for method, end in (("merge", 1), ("early stop", 60), ("lower rate", None)):
        found += board.pick(runs, method)
        if end:
            found += [replace(run, setting=Setting(method, end, run.setting.seed))
                      for run in board.pick(runs, "plain")]  # fmt: skip
    gentle = board.pick(read_merges(), "3e-3")
    return found + [replace(run, setting=run.setting._replace(method="gentle merge"))
                    for run in gentle]  # fmt: skip


def along(
    runs: Sequence[Entry], method: str, value: Callable[[Entry], float]
) -> list[list[tuple[float, float]]]:
    """One curve per seed, from the base at 0: (strength, value)."""
    start = value(board.base_of(runs))
    return [
        [(0, start), *((run.setting.strength, value(run)) for run in board.pick(runs, method)
                       if run.setting.seed == seed)]
        for seed in SEEDS
    ]  # fmt: skip


def spread(values: Iterable[float], digits: int = 0) -> str:
    """The mean of some values and their range, as text."""
    values = list(values)
    low, high = (f"{end:.{digits}f}" for end in (min(values), max(values)))
    return f"{fmean(values):.{digits}f} ({low} to {high})"


def compared(
    merges: Sequence[Merge], places: Mapping[str, tuple[str, float]], suites: Sequence[str]
) -> dict[str, dict[str, str]]:
    """For tables: label to each suite's percent right, mean and range of the seeds.

    Args:
        places: label to a kind and a strength.
    """
    return {
        label: {name: spread(run.score(name) for run in board.pick(merges, *place))
                for name in suites}
        for label, place in places.items()
    }  # fmt: skip


def road_for(seed: int) -> dict[float, dict[str, tuple[bool, ...]]]:
    """The gentle merge of a seed, for exercise 8.1: α (0 is the base) to what was right."""
    runs = rivals()
    mine = [run for run in board.pick(runs, "gentle merge") if run.setting.seed == seed]
    return {0: board.base_of(runs).right, **{run.setting.strength: run.right for run in mine}}


def as_snapshot(entry: Entry, skip: int = 0) -> Snapshot:
    """Right and wrong answers as a snapshot that the gate can read; the answers are not kept.

    Args:
        skip: leave out so many items of each capability, such as those that have chosen an α.
    """
    results = {}
    for suite in load_suites(tuple(entry.right), size=board.ALL_ITEMS):
        pairs = list(zip(suite.items, entry.right[suite.name], strict=True))[skip:]
        results[suite.name] = [
            ItemResult(item, "(not kept)", right, 0.0, 1) for item, right in pairs
        ]
    return Snapshot(results)


def map_for(entry: Entry) -> CapabilityMap:
    """The course's own map, without the rows that an entry was not scored on."""
    whole = CapabilityMap.load(DATA / "capability_map.yaml")
    asked = tuple(c for c in whole.categories if c.name in entry.right)
    return replace(whole, categories=asked)
