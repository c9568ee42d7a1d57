"""How far a model has moved, in KL, against what it has forgotten: stored runs on eight domains."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy
import pandas
from scipy.stats import rankdata

from ..runs import RUNS, Checkpoint, read_records
from ..tradeoff import Estimate, old_loss, points_lost
from .domains import DOMAINS, Setting

DISTANCE = RUNS / "distance.jsonl"


@dataclass(frozen=True)
class Look(Checkpoint):
    """A model at one step; scores and losses are those of the old skills.

    Attributes:
        kl: KL(base || model) on what the *base* answers to the domain's held-out questions.
        kl_gold: the same on the *right* answers to these questions.
        target: percent of these questions right.
        target_nll: loss of their right answers, nats per token.
    """

    kl_gold: float
    target: float
    target_nll: float


@dataclass(frozen=True)
class DistanceRun:
    """One run on one domain.

    Attributes:
        looks: in order; the first is the base, at step 0.
        diverged: what stopped the run when its loss was no number any more, else "".
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: Setting
    looks: tuple[Look, ...]
    diverged: str
    origin: dict[str, Any]

    @property
    def base(self) -> Look:
        return self.looks[0]

    @property
    def last(self) -> Look:
        return self.looks[-1]


def read_distance(path: Path = DISTANCE) -> list[DistanceRun]:
    """The stored runs, by domain in the order of `DOMAINS`, rate and seed.

    Raises:
        BadRuns: the file is missing or damaged; the message says what to do.
    """
    order = {name: place for place, name in enumerate(DOMAINS)}
    runs = read_records(path, _from_record)
    return sorted(runs, key=lambda run: (order[run.setting.domain], *run.setting[1:]))


def _from_record(record: dict[str, Any]) -> DistanceRun:
    looks = tuple(Look(**{**entry, "says": tuple(entry["says"])}) for entry in record["looks"])
    setting = Setting(**record["setting"])
    if not looks or setting.domain not in DOMAINS:
        raise ValueError(f"a run without looks, or on an unknown domain: {setting}")
    return DistanceRun(setting, looks, record["diverged"], record["origin"])


Number = Callable[[DistanceRun], float]


def rank_correlation(
    runs: Sequence[DistanceRun],
    cause: Number,
    outcome: Number,
    within: Literal["domain", "lr"] | None = None,
    repeats: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Spearman's correlation of two numbers over runs, with a 95 % interval over domains.

    Runs of one domain are alike, and an interval that took them for independent would be too
    narrow. So whole domains are drawn, with all their runs (a bootstrap by clusters).

    Args:
        within: compare only runs of the same domain, or of the same rate, and take the mean of
            the coefficients; when left out, all runs with one another.

    Raises:
        ValueError: the runs are of fewer than two domains, or nothing varies.
    """
    names = sorted({run.setting.domain for run in runs})
    if len(names) < 2:
        raise ValueError("An interval over domains needs runs of at least two domains.")
    pairs = numpy.array([(cause(run), outcome(run)) for run in runs])
    groups = numpy.array([getattr(run.setting, within) if within else "" for run in runs])
    clusters = [[i for i, run in enumerate(runs) if run.setting.domain == name] for name in names]

    def coefficient(drawn: Sequence[list[int]]) -> float:
        if within == "domain":  # one that was drawn twice counts twice
            parts = drawn
        else:
            every = numpy.concatenate(drawn)
            parts = [every[groups[every] == group] for group in numpy.unique(groups)]
        found = [_spearman(pairs[part]) for part in parts]
        return float(numpy.nanmean(found)) if not numpy.isnan(found).all() else float("nan")

    whole = coefficient(clusters)
    if numpy.isnan(whole):
        raise ValueError("Nothing varies between these runs, so nothing can be correlated.")
    rng = random.Random(seed)
    values = [coefficient(rng.choices(clusters, k=len(names))) for _ in range(repeats)]
    low, high = numpy.nanquantile(values, [0.025, 0.975])
    return Estimate(whole, float(low), float(high))


def _spearman(pairs: numpy.ndarray) -> float:
    """The correlation of the ranks of two columns; `nan` where one of them never changes."""
    if (pairs == pairs[0]).all(axis=0).any():
        return float("nan")
    return float(numpy.corrcoef(rankdata(pairs, axis=0), rowvar=False)[0, 1])


def moved(run: DistanceRun) -> float:
    """KL to the base after training, nats per token."""
    return run.last.kl


def forgotten(run: DistanceRun) -> float:
    """Rise of the old skills' loss, nats per token."""
    return old_loss(run.last) - old_loss(run.base)


def lost(run: DistanceRun) -> float:
    """Points of 100 that the old skills have lost."""
    return points_lost(run.base, run.last)


#: What may tell the damage: one number that needs the trained model, and rivals that cost nothing.
RIVALS: dict[str, Number] = {
    "KL to the base": moved,
    "starting loss x rate": lambda run: run.base.target_nll * run.setting.lr,
    "fall of the loss": lambda run: run.base.target_nll - run.last.target_nll,
}


def rivals(runs: Sequence[DistanceRun], repeats: int = 200) -> pandas.DataFrame:
    """Rank correlations of each rival with the damage, with intervals over domains.

    The columns: over all runs and among runs of the same rate, with the damage in nats and in
    points. Among runs of one rate "starting loss x rate" is the starting loss.
    """

    def told(cause: Number, outcome: Number, within: Literal["lr"] | None) -> str:
        found = rank_correlation(runs, cause, outcome, within, repeats)
        return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"

    rows = {
        name: {
            f"{label}, {unit}": told(cause, outcome, within)
            for unit, outcome in (("nats", forgotten), ("points", lost))
            for label, within in (("all runs", None), ("equal rate", "lr"))
        }
        for name, cause in RIVALS.items()
    }
    return pandas.DataFrame.from_dict(rows, orient="index")


def by_domain(runs: Sequence[DistanceRun], lr: float) -> pandas.DataFrame:
    """Means over the seeds of each domain at one rate."""
    columns: dict[str, Number] = {
        "right before (%)": lambda run: run.base.target,
        "right after (%)": lambda run: run.last.target,
        "starting loss": lambda run: run.base.target_nll,
        "KL to the base": moved,
        "old loss risen": forgotten,
        "points lost": lost,
    }
    rows: dict[str, dict[str, float]] = {}
    for name in DOMAINS:
        seeds = [run for run in runs if run.setting.domain == name and run.setting.lr == lr]
        rows[name] = {
            label: float(numpy.mean([number(run) for run in seeds]))
            for label, number in columns.items()
        }
    return pandas.DataFrame.from_dict(rows, orient="index")
