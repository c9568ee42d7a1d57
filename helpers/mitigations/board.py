"""The scoreboard: every method at several strengths, what it learned, lost and cost.

`data/runs/mitigations.jsonl` holds one run per line. It is read here and made by
`helpers.mitigations.methods`, which `make runs` calls.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..audit import paired
from ..runs import RUNS, BadRuns, read_records
from ..suites import TARGET, Suite, load_suites
from ..tradeoff import OLD

BOARD = RUNS / "mitigations.jsonl"
#: Runs that might be shipped, scored on every item there is.
CANDIDATES = RUNS / "candidates.jsonl"
ITEMS = 100  # held-out items per capability
ALL_ITEMS = 700
#: The target score at which methods are compared, in percent.
GOAL = 85.0
#: Every second item serves to choose a method's strength, the others to report what it does.
CHOOSING, REPORTING, ALL = slice(0, None, 2), slice(1, None, 2), slice(None)


class Setting(NamedTuple):
    """What tells one run of the scoreboard from another.

    Attributes:
        method: a name in `METHODS` of `helpers.mitigations.methods`.
        strength: what the method's slider moves, such as a share or a λ; 0 where there is none.
    """

    method: str
    strength: float
    seed: int


@dataclass(frozen=True)
class Entry:
    """One run of the scoreboard.

    Attributes:
        right: per capability, whether each held-out item was answered right, in the suites' order.
        steps: optimizer steps that were taken.
        seconds: training time on one core.
        families: families of worked problems that were mixed in, where the method has any.
        diverged: what stopped the run when its loss was no number any more, else "".
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: Setting
    right: dict[str, tuple[bool, ...]]
    steps: int
    seconds: float
    families: tuple[str, ...]
    diverged: str
    origin: dict[str, Any]

    def score(self, name: str, items: slice = ALL) -> float:
        """Percent of a capability's items that are right."""
        return 100 * statistics.fmean(self.right[name][items])

    @property
    def target(self) -> float:
        return self.score(TARGET)

    def lost(self, base: Entry, items: slice = ALL) -> float:
        """Points that the old skills have lost, on average over the capabilities."""
        return statistics.fmean(base.score(n, items) - self.score(n, items) for n in OLD)

    def worst(self, base: Entry) -> tuple[str, float]:
        """The old skill that has lost most, and its points."""
        lost = {name: base.score(name) - self.score(name) for name in OLD}
        name = max(lost, key=lost.__getitem__)
        return name, lost[name]


def board_suites(size: int = ITEMS) -> list[Suite]:
    """The suites that every run of the scoreboard is scored on."""
    return load_suites((*OLD, TARGET), size=size)


def read_board(path: str | Path = BOARD) -> list[Entry]:
    """The runs of the scoreboard, by method, strength and seed; the base is among them.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
    """
    path = Path(path)
    return list(_read(path, path.stat().st_mtime_ns if path.exists() else 0))


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[Entry, ...]:
    return tuple(sorted(read_records(path, from_record), key=lambda entry: entry.setting))


def from_record(record: dict[str, Any]) -> Entry:
    """A run from the JSON object of its line, in which right answers are written as ones."""
    right = {name: tuple(c == "1" for c in row) for name, row in record["right"].items()}
    families = tuple(record["families"])
    rest = {key: record[key] for key in ("steps", "seconds", "diverged", "origin")}
    return Entry(Setting(**record["setting"]), right, families=families, **rest)


def base_of(board: Iterable[Entry]) -> Entry:
    """The base among the runs.

    Raises:
        BadRuns: it is not there.
    """
    (base,) = pick(board, "base")
    return base


def pick(board: Iterable[Entry], method: str, strength: float | None = None) -> list[Entry]:
    """The runs of a method, of one strength where one is given.

    Raises:
        BadRuns: there is none; the message lists what there is.
    """
    board = list(board)
    of_method = [entry for entry in board if entry.setting.method == method]
    if not of_method:
        names = dict.fromkeys(entry.setting.method for entry in board)
        raise BadRuns(f"There is no method {method!r}. There are: {', '.join(names)}.")
    found = [e for e in of_method if strength is None or e.setting.strength == strength]
    if not found:
        known = ", ".join(f"{s:g}" for s in strengths(of_method, method))
        raise BadRuns(f"{method} has no runs of strength {strength:g}. It has {known}.")
    return found


def strengths(board: Iterable[Entry], method: str) -> list[float]:
    """The strengths of a method, rising."""
    return sorted({entry.setting.strength for entry in pick(board, method)})


def verdicts(base: Entry, entry: Entry, margin: float = 5.0) -> dict[str, str]:
    """The audit of lesson 05 on every old skill, with one margin for all.

    Args:
        margin: points that may be lost.

    Returns:
        "PASS" where a loss beyond the margin is ruled out at the level of 5 %, "BLOCK" where it is
        proven, else "cannot tell".
    """
    found = {}
    for name in OLD:
        pair = paired.pair(base.right[name], entry.right[name])
        passed = paired.p_pass(pair, margin / 100) <= 0.05
        blocked = paired.p_block(pair, margin / 100) <= 0.05
        found[name] = "PASS" if passed else "BLOCK" if blocked else "cannot tell"
    return found


@dataclass(frozen=True)
class Standing:
    """A method at the strength that was chosen for it, scored on items the choice did not see.

    Attributes:
        strength: None where no strength reaches the goal.
        target: target score in percent, mean over the seeds.
        lost: points lost by the old skills, with the ends of the 95 % interval.
        best, worst: ends of the 95 % interval of its rank among the methods, counted from 1.
    """

    method: str
    strength: float | None
    target: float
    lost: float
    low: float
    high: float
    best: int
    worst: int


def standings(
    board: Sequence[Entry],
    methods: Sequence[str],
    goal: float = GOAL,
    repeats: int = 1_000,
    seed: int = 0,
) -> list[Standing]:
    """The methods in the order of what they lose at equal target score.

    Of each method that strength is chosen which, on one half of the items and over the seeds,
    loses least among those that reach the goal; it is scored on the other half. Methods that never
    reach the goal come last, at their strength of highest target score: of them, "forgets less" may
    mean "has learned less" (Biderman et al. 2024, arXiv 2405.09673).

    Intervals are bootstrapped over seeds and items (Efron 1979). The items drawn are the same for
    all methods, so that a hard draw is hard for all: the ranks are those of paired comparisons.
    """
    base = base_of(board)
    chosen = {method: _choose(board, base, method, goal) for method in methods}
    ranked = [method for method, (_, reached) in chosen.items() if reached]
    rng = random.Random(seed)
    count = len(base.right[OLD[0]][REPORTING])
    tables = {method: _tables(base, chosen[method][0]) for method in methods}
    drawn: dict[str, list[float]] = {method: [] for method in methods}
    ranks: dict[str, list[int]] = {method: [] for method in methods}
    for _ in range(repeats):
        items = {name: rng.choices(range(count), k=count) for name in OLD}
        lost = {}
        for method in methods:
            table = tables[method]
            seeds = rng.choices(range(len(table)), k=len(table))
            lost[method] = 100 * statistics.fmean(
                statistics.fmean(map(table[number][name].__getitem__, items[name]))
                for number in seeds
                for name in OLD
            )
            drawn[method].append(lost[method])
        order = sorted(ranked, key=lost.__getitem__)
        for rank, method in enumerate(order, 1):
            ranks[method].append(rank)
    found = []
    for method, (entries, reached) in chosen.items():
        low, high = _ends(drawn[method])
        best, worst = _ends(ranks[method]) if reached else (len(ranked) + 1, len(methods))
        found.append(
            Standing(
                method,
                entries[0].setting.strength if reached else None,
                statistics.fmean(entry.score(TARGET, REPORTING) for entry in entries),
                statistics.fmean(entry.lost(base, REPORTING) for entry in entries),
                *(low, high, int(best), int(worst)),
            )
        )
    return sorted(found, key=lambda s: (s.strength is None, s.lost))


def _choose(
    board: Sequence[Entry], base: Entry, method: str, goal: float
) -> tuple[list[Entry], bool]:
    """The runs of the strength that stands for a method, and whether they reach the goal."""

    def mean_target(entries: Sequence[Entry]) -> float:
        return statistics.fmean(entry.score(TARGET, CHOOSING) for entry in entries)

    def mean_lost(entries: Sequence[Entry]) -> float:
        return statistics.fmean(entry.lost(base, CHOOSING) for entry in entries)

    groups = [pick(board, method, strength) for strength in strengths(board, method)]
    reached = [group for group in groups if mean_target(group) >= goal]
    if reached:
        return min(reached, key=mean_lost), True
    return max(groups, key=mean_target), False


def _tables(base: Entry, entries: Sequence[Entry]) -> list[dict[str, list[int]]]:
    """For each run and old skill: 1 per reported item lost, -1 per item gained, else 0."""
    return [
        {
            name: [
                int(before) - int(after)
                for before, after in zip(
                    base.right[name][REPORTING], entry.right[name][REPORTING], strict=True
                )
            ]
            for name in OLD
        }
        for entry in entries
    ]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The 2.5th and the 97.5th percentile."""
    ordered = sorted(values)
    low = ordered[round(0.025 * len(ordered))]
    return low, ordered[round(0.975 * len(ordered)) - 1]
