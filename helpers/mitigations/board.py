"""The scoreboard: every method at several strengths, what it learned, lost and cost.

`data/runs/mitigations.jsonl` holds one run per line. It is read here and made by
`helpers.mitigations.methods`, which `make runs` calls.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy

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
GOAL = 80.0


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

    def score(self, name: str) -> float:
        """Percent of a capability's items that are right."""
        return 100 * statistics.fmean(self.right[name])

    @property
    def target(self) -> float:
        return self.score(TARGET)

    def lost(self, base: Entry) -> float:
        """Points that the old skills have lost, on average over the capabilities."""
        return statistics.fmean(base.score(name) - self.score(name) for name in OLD)

    def after(self, count: int) -> Entry:
        """The same run on all but the first items of each capability, which may have chosen it."""
        return replace(self, right={name: row[count:] for name, row in self.right.items()})


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

    As in the gate a skill passes by itself, and is blocked after Holm's correction over the skills.

    Args:
        margin: points that may be lost.

    Returns:
        "PASS" where a loss beyond the margin is ruled out at the level of 5 %, "BLOCK" where it is
        proven, else "cannot tell".
    """
    alpha, limit = 0.05, margin / 100
    pairs = [paired.pair(base.right[name], entry.right[name]) for name in OLD]
    blocked = paired.holm([paired.p_block(pair, limit) for pair in pairs])
    passed = [paired.p_pass(pair, limit) for pair in pairs]
    return {
        name: "BLOCK" if block < alpha else "PASS" if ok < alpha else "cannot tell"
        for name, block, ok in zip(OLD, blocked, passed, strict=True)
    }


@dataclass(frozen=True)
class Standing:
    """What a method loses at the moment it has learned enough.

    Attributes:
        between: the strength, or the two neighbouring ones, at which the goal is reached; empty
            where it never is.
        target: target score there, in percent, mean over the seeds; the method's best where the
            goal is never reached.
        lost: points lost by the old skills there, with the ends of its 95 % interval.
        best, worst: ends of the 95 % interval of its rank among the methods, counted from 1.
    """

    method: str
    between: tuple[float, ...]
    target: float
    lost: float
    low: float
    high: float
    best: int
    worst: int


def lost_at(road: Sequence[tuple[float, float]], goal: float) -> tuple[float, float, list[int]]:
    """Points lost at the cheapest place of a road where a target score is reached.

    Such a place is a strength at or above the goal, or a crossing of it between two neighbouring
    strengths, where the road is taken as a straight line.

    Args:
        road: (target score, points lost) by rising strength.

    Returns:
        The target score there, the points lost, and the places of the strength or of the two on
        both sides. Where the whole road is below the goal, its highest target score and no place.
    """
    found = [(lost, score, [place]) for place, (score, lost) in enumerate(road) if score >= goal]
    for place, ((one, lost), (other, more)) in enumerate(itertools.pairwise(road)):
        if min(one, other) < goal <= max(one, other):
            part = (goal - one) / (other - one)
            found.append((lost + part * (more - lost), goal, [place, place + 1]))
    if found:
        lost, score, places = min(found)
        return score, lost, places
    return (*max(road), [])


def standings(
    board: Sequence[Entry],
    methods: Sequence[str],
    goal: float = GOAL,
    repeats: int = 500,
    seed: int = 0,
) -> list[Standing]:
    """The methods in the order of what they lose at equal target score.

    Methods that never reach the goal come last: of them, "forgets less" may mean "has learned less"
    (Biderman et al. 2024, arXiv 2405.09673).

    Intervals are bootstrapped (Efron 1979) over seeds and items, target items included. Each draw
    is the same for all methods, so that a hard one is hard for all: the ranks are those of paired
    comparisons. In draws where a method misses the goal it is ranked last.

    Raises:
        BadRuns: a method has no runs, or lacks one of the seeds.
    """
    base = base_of(board)
    roads = {m: [pick(board, m, place) for place in strengths(board, m)] for m in methods}
    entries = [entry for road in roads.values() for group in road for entry in group]
    before = numpy.array([base.right[name] for name in OLD], dtype=float)
    lost = before - numpy.array([[e.right[name] for name in OLD] for e in entries], dtype=float)
    target = numpy.array([entry.right[TARGET] for entry in entries], dtype=float)
    seeds = sorted({entry.setting.seed for entry in entries})
    for group in (group for road in roads.values() for group in road):
        if [entry.setting.seed for entry in group] != seeds:
            method, strength, _ = group[0].setting
            raise BadRuns(f"{method} {strength:g} has not been run with every seed: `make runs`.")

    def values(lost: numpy.ndarray, target: numpy.ndarray, drawn: Sequence[int]) -> dict:
        """What each method loses, from each run's mean loss and target score."""
        found = dict(zip((e.setting for e in entries), zip(target, lost, strict=True), strict=True))
        result = {}
        for method, groups in roads.items():
            places = [group[0].setting.strength for group in groups]
            means = [
                numpy.mean([found[Setting(method, place, number)] for number in drawn], axis=0)
                for place in places
            ]
            result[method] = lost_at([(100 * t, 100 * x) for t, x in means], goal)
        return result

    rng = numpy.random.default_rng(seed)
    skills, count = before.shape
    draws = []
    for _ in range(repeats):
        items = rng.integers(count, size=(skills, count))
        asked = rng.integers(target.shape[1], size=target.shape[1])
        means = lost[:, numpy.arange(skills)[:, None], items].mean((1, 2))
        drawn = rng.choice(seeds, len(seeds)).tolist()
        draws.append(values(means, target[:, asked].mean(1), drawn))
    truth = values(lost.mean((1, 2)), target.mean(1), seeds)

    def order(result: dict) -> list[str]:
        return sorted(methods, key=lambda method: (result[method][0] < goal, result[method][1]))

    ranks = [order(draw) for draw in draws]
    standing = []
    for method in order(truth):
        score, points, places = truth[method]
        all_places = strengths(board, method)
        low, high = numpy.percentile([draw[method][1] for draw in draws], [2.5, 97.5])
        place = numpy.percentile([1 + names.index(method) for names in ranks], [2.5, 97.5])
        standing.append(
            Standing(
                method,
                tuple(all_places[place] for place in places),
                *(float(score), float(points), float(low), float(high)),
                *(int(place[0]), int(numpy.ceil(place[1]))),
            )
        )
    return standing
