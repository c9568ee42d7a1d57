"""How far a fine-tune has gone: in the numbers one could print, and in KL against forgetting."""

from __future__ import annotations

import html
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy
from scipy.stats import rankdata

from ..mechanics import flips
from ..runs import RUNS, Checkpoint, read_records
from ..snapshots import Snapshot
from ..tables import head
from ..tradeoff import Estimate
from .domains import DOMAINS, Setting

DISTANCE = RUNS / "distance.jsonl"


class Headline(NamedTuple):
    """What has been lost, in four units; above zero is worse.

    Attributes:
        points: accuracy before minus accuracy after, in points of 100.
        relative: the same as a percentage of the accuracy before.
        nats: rise of the loss of the right answers, per token.
        perplexity: rise of the perplexity of the right answers, as a percentage of that before.
    """

    points: float
    relative: float
    nats: float
    perplexity: float


COLUMNS = ("points lost", "% of accuracy lost", "nats risen", "% of perplexity risen")


@dataclass(frozen=True)
class Headlines:
    """The same two snapshots in four units, by capability; shows itself as a table.

    Running text has no accuracy and a score of 0 nothing to lose a share of: these are `nan`.
    """

    rows: dict[str, Headline]

    @property
    def average(self) -> Headline:
        """The mean of each column over the capabilities that have it."""
        columns = zip(*self.rows.values(), strict=True)
        return Headline(*(float(numpy.nanmean(column)) for column in columns))

    def percentages(self) -> dict[str, float]:
        """All that could be printed with a % sign, the smallest first."""
        found = {}
        for column in ("points", "relative", "perplexity"):
            values = {name: getattr(row, column) for name, row in self.rows.items()}
            worst = max(values, key=lambda name: numpy.nan_to_num(values[name], nan=-numpy.inf))
            title = COLUMNS[Headline._fields.index(column)]
            found[f"{title}, average"] = getattr(self.average, column)
            found[f"{title}, worst: {worst}"] = values[worst]
        return dict(sorted(found.items(), key=lambda pair: pair[1]))

    def _table(self) -> list[list[str]]:
        rows = {**self.rows, "average": self.average}
        digits = ("+.1f", "+.1f", "+.3f", "+.0f")
        return [
            [
                name,
                *("" if numpy.isnan(x) else format(x, d) for x, d in zip(row, digits, strict=True)),
            ]
            for name, row in rows.items()
        ]

    def __repr__(self) -> str:
        lines = [["", *COLUMNS], *self._table()]
        return "\n".join(f"{line[0]:14}" + "".join(f"{c:>24}" for c in line[1:]) for line in lines)

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:right">{}</td>'
        body = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            + "".join(map(cell.format, cells))
            + "</tr>"
            for name, *cells in self._table()
        )
        return f"<table>{head(('capability', *COLUMNS))}<tbody>{body}</tbody></table>"


def headlines(before: Snapshot, after: Snapshot) -> Headlines:
    """What lies between two snapshots, in every unit that such losses are reported in.

    Raises:
        ValueError: the snapshots were taken with other settings or on other items.
    """
    flips(before, after)  # refuses what cannot be compared
    rows = {}
    for name in before.results:
        nats = after.nll(name) - before.nll(name)
        old = points = float("nan")
        if not before.is_text(name):
            old = before.score(name)
            points = old - after.score(name)
        relative = 100 * points / old if old else float("nan")
        rows[name] = Headline(points, relative, nats, 100 * float(numpy.expm1(nats)))
    return Headlines(rows)


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
