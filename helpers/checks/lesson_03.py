"""Checkers of the exercises in lesson 03."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from numbers import Real
from typing import Any

import numpy as np

from ..runs import GRID, read_records
from ..suites import TARGET
from ..tradeoff import OLD
from . import exercise


def _is_number(found: object) -> bool:
    return isinstance(found, Real) or (isinstance(found, np.ndarray) and found.ndim == 0)


def _close(found: Any, expected: float) -> bool:
    return math.isclose(float(found), float(expected), rel_tol=1e-4, abs_tol=1e-6)


def _short(found: Any) -> str:
    return f"{float(found):.4g}" if _is_number(found) else str(found)


def _answer(function, *arguments: Any) -> Any:
    """What the learner's function gives, where None may be an answer.

    Elsewhere a function that gives None is taken for a stub, or for one that lacks a `return`.
    """
    plain = getattr(function, "__wrapped__", function)
    try:
        return plain(*arguments)
    except Exception:
        return function(*arguments)  # It fails again, and is reported like any other failure.


#: What the pair of runs of exercise 3.1 must have learned, in percent, and how far apart in points.
ENOUGH, APART = 80.0, 5.0


@cache
def _ends(rank: int) -> dict[float, tuple[float, float]]:
    """Rate to (learned, points lost) at the end of the stored runs of a rank with α = 2r, means."""
    found: dict[float, list[tuple[float, float]]] = {}
    for record in read_records(GRID, dict):
        setting = record["setting"]
        if setting["rank"] != rank or setting.get("alpha", "2r") != "2r" or record["diverged"]:
            continue
        first, last = (record["checkpoints"][place]["scores"] for place in (0, -1))
        lost = float(np.mean([first[name] - last[name] for name in OLD]))
        found.setdefault(setting["lr"], []).append((last[TARGET], lost))
    return {lr: tuple(np.mean(seeds, axis=0)) for lr, seeds in found.items()}


@exercise("3.1", reading="Now compare their bills: for the same score the small rank paid more.")
def pair_that_decides(pair) -> str | None:
    if not isinstance(pair, Mapping):
        return f"It is a {type(pair).__name__}; a dictionary from rank to rate is asked for."
    if set(pair) != {4, 64}:
        return f"The ranks 4 and 64 are asked for, not {', '.join(map(str, pair)) or 'none'}."
    chosen = {}
    for rank in (4, 64):
        rate, ends = pair[rank], _ends(rank)
        if not _is_number(rate):
            return f"The rate of rank {rank} is a {type(rate).__name__}; a number is asked for."
        near = [lr for lr in ends if math.isclose(lr, float(rate), rel_tol=1e-3)]
        if not near:
            known = ", ".join(f"{lr:g}" for lr in sorted(ends))
            return f"No run of rank {rank} at the rate {_short(rate)} is stored. There are {known}."
        chosen[rank] = near[0]
    learned, lost = zip(*(_ends(rank)[chosen[rank]] for rank in (4, 64)), strict=True)
    told = f"{learned[0]:.0f} and {learned[1]:.0f} %"
    for rank, score in zip((4, 64), learned, strict=True):
        if score < ENOUGH:
            higher = max(value for lr, (value, _) in _ends(rank).items() if lr < chosen[rank])
            where = "too far: lower its rate" if higher > score else "not there yet: raise its rate"
            return f"Rank {rank} at {chosen[rank]:g} ends at {score:.0f} %, {where}."
    for rank, score, bill in zip((4, 64), learned, lost, strict=True):
        ends = _ends(rank).values()
        if any(one >= max(ENOUGH, score - APART) and less < bill - 1 for one, less in ends):
            return (
                f"They have learned {told}, but rank {rank} need not have lost {bill:.1f} points: "
                "another of its rates learns as much for less. Judge a rank by its best rate; one "
                "rate for both judges the rate."
            )
    if abs(learned[0] - learned[1]) > APART:
        return f"They have learned {told}: too far apart to compare what they lost."
    return None


#: Score, target score at each look, points lost at each look.
Curve = tuple[float, list[float], list[float]]


def _first(score: float, learned: list[float]) -> int:
    """The look at which a score is first reached."""
    return int(np.argmax(np.asarray(learned) >= score))


def _crossing(score: float, learned: list[float], lost: list[float]) -> float:
    look = _first(score, learned)
    part = slice(look - 1, look + 1)  # Between these two the target score rises.
    return float(np.interp(score, learned[part], lost[part]))


def _last_crossing(score: float, learned: list[float], lost: list[float], falls: bool) -> float:
    """The points at the last crossing: upwards, or in either direction."""
    found = math.nan
    for look in range(1, len(learned)):
        a, b = learned[look - 1 : look + 1]
        if a < score <= b or (falls and b < score <= a):
            found = float(np.polyval(np.polyfit((a, b), lost[look - 1 : look + 1], 1), score))
    return found


#: Likely mistakes on a target score that only rises, and what to say about them.
ON_RISING = {
    "That is the loss at the next look. Between two looks, follow the straight line.": (
        lambda score, learned, lost: lost[_first(score, learned)]
    ),
    "That is the loss at the look before. Between two looks, follow the straight line.": (
        lambda score, learned, lost: lost[_first(score, learned) - 1]
    ),
    "That is the loss at the nearest look. Between two looks, follow the straight line.": (
        lambda score, learned, lost: lost[int(np.argmin(np.abs(np.asarray(learned) - score)))]
    ),
    "That is halfway between two looks. The score may be nearer to one of them.": (
        lambda score, learned, lost: float(np.mean(lost[_first(score, learned) - 1 :][:2]))
    ),
    "The share of the way is counted from the wrong end: it is 0 at the look before.": (
        lambda score, learned, lost: (
            sum(lost[_first(score, learned) - 1 :][:2]) - _crossing(score, learned, lost)
        )
    ),
    "That is the target score itself. The points lost at that moment are asked for.": (
        lambda score, learned, lost: score
    ),
    "That is the number of a look. The points lost are in the second list.": (
        lambda score, learned, lost: _first(score, learned)
    ),
}
#: Likely mistakes on one that rises and falls.
ON_BUMPY = {
    "`np.interp` needs values that rise throughout, and the target score may fall again.": (
        lambda score, learned, lost: float(np.interp(score, learned, lost))
    ),
    "Sorted by target score the looks are no longer in their order. Leave them as they are.": (
        lambda score, learned, lost: float(
            np.interp(score, *zip(*sorted(zip(learned, lost, strict=True)), strict=True))
        )
    ),
    "That is the last time the score is crossed. Stop at the first.": (
        lambda score, learned, lost: _last_crossing(score, learned, lost, falls=True)
    ),
    "That is the last time the score is reached. Stop at the first.": (
        lambda score, learned, lost: _last_crossing(score, learned, lost, falls=False)
    ),
}


@exercise("3.2", reading="`helpers.tradeoff.lost_when_learned` does the same for a stored run.")
def lost_at(function) -> str | None:
    rise, points = [2.0, 20.0, 60.0, 90.0], [0.0, 1.0, 5.0, 6.0]
    rising: list[Curve] = [(score, rise, points) for score in (50.0, 30.0)]
    bump, harm = [2.0, 40.0, 70.0, 45.0, 80.0, 60.0], [0.0, -0.5, 3.0, 4.5, 9.0, 12.0]
    bumpy: list[Curve] = [(score, bump, harm) for score in (50.0, 65.0)]
    exact: list[Curve] = [
        (60.0, rise, points),
        (60.0, [2.0, 20.0, 60.0, 40.0], [0.0, 1.0, 5.0, 7.0]),
        (60.0, [2.0, 60.0, 60.0, 90.0], [0.0, 3.0, 5.0, 6.0]),
        (60.0, [2.0, 20.0, 60.0], [0.0, 1.0, 5.0]),
    ]
    never: list[Curve] = [
        (50.0, [2.0, 20.0, 40.0], [0.0, 1.0, 5.0]),
        (50.0, [2.0, 40.0, 20.0], [0.0, 1.0, 5.0]),
    ]

    for curves, mistakes in ((rising, ON_RISING), (bumpy, ON_BUMPY)):
        found = [function(score, list(up), list(down)) for score, up, down in curves]
        for value in found:
            if not _is_number(value):
                return f"It returned a {type(value).__name__}; one number is asked for."
        if all(_close(f, _crossing(*curve)) for f, curve in zip(found, curves, strict=True)):
            continue
        for message, mistake in mistakes.items():
            if all(_close(f, mistake(*curve)) for f, curve in zip(found, curves, strict=True)):
                return message
        wrong, (score, up, down) = next(
            (f, curve)
            for f, curve in zip(found, curves, strict=True)
            if not _close(f, _crossing(*curve))
        )
        return (
            f"For the score {score:g}, the targets {up} and the losses {down} it is "
            f"{_short(_crossing(score, up, down))} points, not {_short(wrong)}."
        )
    for score, up, down in exact:
        found = _answer(function, score, list(up), list(down))
        if not _is_number(found) or not _close(found, down[_first(score, up)]):
            return (
                "A look exactly at the score counts, the first if there are more: for the targets "
                f"{up} and the score {score:g} it is the one with "
                f"{down[_first(score, up)]:g} points lost."
            )
    for score, up, down in never:
        remedy = 'Where the score is never reached, return float("nan")'
        try:
            found = _answer(function, score, list(up), list(down))
        except Exception as error:
            if "Your function raised" not in str(error):
                raise
            return f"{error}. {remedy}."
        if not _is_number(found) or not math.isnan(float(found)):
            last = ", which is the last value" if found == down[-1] else ""
            return f"{remedy}, not {_short(found)}{last}."
    return None


@exercise("3.3", reading="The more settings one tries, the wider the gap: choose on other seeds.")
def promised_and_kept(function) -> str | None:
    three = {
        (3e-4, 8): [60.0, 66.0, 70.0],
        (1e-3, 8): [71.0, 58.0, 63.0],
        (3e-3, 8): [64.0, 69.0, 72.0],
        (1e-3, 64): [52.0, 40.0, 49.0],
    }
    two = {(1e-3, 1): [10.0, 4.0], (1e-3, 8): [12.0, 3.0], (1e-3, "full"): [11.0, 9.0]}
    below = {
        (1e-3, 1): [-6.0, -9.0, -3.0, -4.0, -8.5],
        (1e-3, 4): [-2.0, -7.0, -1.0, -6.0, -5.0],
        (1e-3, 16): [-4.0, -1.0, -3.0, -2.0, -2.5],
    }
    for scores in (three, two, below):
        found = function({setting: list(seeds) for setting, seeds in scores.items()})
        if not isinstance(found, (tuple, list, np.ndarray)) or len(found) != 2:
            return f"It returned {_short(found)}; a pair is asked for: what was promised, and kept."
        if not all(_is_number(part) for part in found):
            return "Return a pair of scores, not the setting they belong to."

        table = np.array(list(scores.values()))
        expected = _promise(table, chosen_by=table[:, 0])

        def same(pair: tuple[float, float], found=found) -> bool:
            return all(_close(f, value) for f, value in zip(found, pair, strict=True))

        if same(expected):
            continue
        if same(expected[::-1]):
            return "The right two numbers the wrong way round: first what was promised."
        best = table[table[:, 0].argmax()]
        if same((best[0], best.mean())):
            return "The mean includes the first seed, which the choice was made on. Leave it out."
        if same((best[0], best[1:].max())):
            return "That is the best of the other seeds. Take their mean."
        if same((best[0], np.median(best[1:]))):
            return "That is the median of the other seeds. Take their mean."
        others = table[:, 1:].mean(1)
        for by in (table.mean(1), others):
            row = table[by.argmax()]
            if same(_promise(table, chosen_by=by)) or same((row[0], row.mean())):
                return "The setting is chosen on the first seed alone: the others are not known."
        if same((best[0], others.max())):
            return "That is another setting's mean. Follow the one that was chosen."
        return (
            f"For the scores {[list(map(float, row)) for row in table]} the pair is "
            f"({expected[0]:g}, {expected[1]:g}), not ({_short(found[0])}, {_short(found[1])})."
        )
    return None


def _promise(table: np.ndarray, chosen_by: np.ndarray) -> tuple[float, float]:
    """The first score of the chosen row, and the mean of its other scores."""
    row = table[chosen_by.argmax()]
    return float(row[0]), float((row.sum() - row[0]) / (len(row) - 1))
