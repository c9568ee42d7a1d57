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
        lost: points lost by the old skills there, mean over skills and seeds.
        worst_skill: the skill that has lost most there, and its points, mean over the seeds.
        low, high: the least and the most that one seed loses, each read on its own road.
        reached: how many seeds reach the goal by themselves.
        best, worst: best and worst place among the methods that one seed gives it, counted from 1.
    """

    method: str
    between: tuple[float, ...]
    target: float
    lost: float
    worst_skill: tuple[str, float]
    low: float
    high: float
    reached: int
    best: int
    worst: int


def road(
    board: Sequence[Entry], method: str, seed: int | None = None
) -> list[tuple[float, float, float]]:
    """(strength, target score, points lost) by rising strength, of one seed or means over all."""
    base = base_of(board)
    found = []
    for strength in strengths(board, method):
        runs = pick(board, method, strength)
        runs = [run for run in runs if seed is None or run.setting.seed == seed]
        if not runs:
            raise BadRuns(f"{method} {strength:g} has no run with seed {seed}.")
        means = (statistics.fmean(run.target for run in runs),
                 statistics.fmean(run.lost(base) for run in runs))  # fmt: skip
        found.append((strength, *means))
    return found


def roads(
    board: Sequence[Entry], methods: Iterable[str]
) -> dict[str, list[list[tuple[float, float, float]]]]:
    """For each method its road as means over the seeds, and then the road of each seed."""
    return {
        method: [road(board, method), *(road(board, method, seed) for seed in seeds_of(board))]
        for method in methods
    }


def seeds_of(board: Iterable[Entry]) -> list[int]:
    """The seeds of the runs; the base has none."""
    return sorted({entry.setting.seed for entry in board if entry.setting.method != "base"})


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


def standings(board: Sequence[Entry], methods: Sequence[str], goal: float = GOAL) -> list[Standing]:
    """The methods in the order of what they lose at equal target score, read on the mean road.

    Methods that never reach the goal come last: of them, "forgets less" may mean "has learned less"
    (Biderman et al. 2024, arXiv 2405.09673). Every seed's own road is read as well, and gives the
    ranges. Three seeds give a range; they are too few for an interval.

    Args:
        goal: target score in percent.

    Raises:
        BadRuns: a method has no runs, or lacks one of the seeds.
    """
    base, seeds = base_of(board), seeds_of(board)
    for method in methods:
        for place in strengths(board, method):
            if [run.setting.seed for run in pick(board, method, place)] != seeds:
                raise BadRuns(f"{method} {place:g} has not been run with every seed: `make runs`.")

    def read(seed: int | None) -> dict[str, tuple[float, float, list[int]]]:
        return {
            method: lost_at([point[1:] for point in road(board, method, seed)], goal)
            for method in methods
        }

    def order(found: dict[str, tuple[float, float, list[int]]]) -> list[str]:
        return sorted(methods, key=lambda method: (not found[method][2], found[method][1]))

    mean, each = read(None), [read(seed) for seed in seeds]
    orders = [order(found) for found in each]
    standing = []
    for method in order(mean):
        score, lost, places = mean[method]
        own = [found[method] for found in each]
        ranks = [1 + names.index(method) for names in orders]
        there = strengths(board, method)
        standing.append(
            Standing(
                method,
                tuple(there[place] for place in places),
                score,
                lost,
                _worst_skill(base, board, method, score, [there[place] for place in places]),
                low=min(points for _, points, _ in own),
                high=max(points for _, points, _ in own),
                reached=sum(bool(found) for _, _, found in own),
                best=min(ranks),
                worst=max(ranks),
            )
        )
    return standing


def _worst_skill(
    base: Entry, board: Sequence[Entry], method: str, score: float, between: Sequence[float]
) -> tuple[str, float]:
    """The skill that has lost most where a road was read, and its points."""
    groups = [pick(board, method, place) for place in between or strengths(board, method)]
    scores = [statistics.fmean(run.target for run in group) for group in groups]
    if not between:  # its best target score was read
        groups, scores = [groups[scores.index(max(scores))]], [score]
    part = (score - scores[0]) / (scores[1] - scores[0]) if len(scores) > 1 else 0.0
    lost = {}
    for name in OLD:
        ends = [base.score(name) - statistics.fmean(r.score(name) for r in g) for g in groups]
        lost[name] = ends[0] + part * (ends[-1] - ends[0])
    return max(lost.items(), key=lambda skill: skill[1])


def places(
    board: Sequence[Entry], methods: Sequence[str], goals: Sequence[float]
) -> dict[str, dict[float, str]]:
    """Each method's place at several goals, as "1st of 12" would count it; "short" where it falls.

    Returns:
        By method, in the order of the first goal: goal to place, a number written as text.
    """
    found: dict[str, dict[float, str]] = {}
    for goal in goals:
        for number, one in enumerate(standings(board, methods, goal), start=1):
            found.setdefault(one.method, {})[goal] = str(number) if one.between else "short"
    return found
