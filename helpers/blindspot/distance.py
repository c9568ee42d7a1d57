"""How far a model has moved, in KL, against what it has forgotten: stored runs on eight domains."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy
from scipy.stats import rankdata

from ..runs import RUNS, Checkpoint, read_records
from ..tradeoff import Estimate
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
