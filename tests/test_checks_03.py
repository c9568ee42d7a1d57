"""The checkers of lesson 03 at their edges: kinds of answer, stubs, similar mistakes."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest

from helpers.exercises import grade


def lost_at(score, learned, lost):
    looks = list(zip(learned, lost, strict=True))
    for (a, x), (b, y) in itertools.pairwise(looks):
        if a < score <= b:
            return x + (score - a) / (b - a) * (y - x)
    return float("nan")


def by_first_look(score, learned, lost):
    if max(learned) < score:
        return math.nan
    look = next(number for number, value in enumerate(learned) if value >= score)
    if look == 0:
        return lost[0]
    return np.interp(score, learned[look - 1 : look + 1], lost[look - 1 : look + 1])


def promised_and_kept(scores):
    best = max(scores, key=lambda setting: scores[setting][0])
    return scores[best][0], statistics.fmean(scores[best][1:])


def by_popping(scores):
    _, seeds = max(scores.items(), key=lambda item: item[1][0])
    promised = seeds.pop(0)
    return [promised, sum(seeds) / len(seeds)]


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("3.1", {4: 6e-3, 64: 1e-3}),
        ("3.1", {64: np.float32(1e-3), 4: 0.006}),
        ("3.2", lost_at),
        ("3.2", by_first_look),
        ("3.2", lambda *curve: np.float32(lost_at(*curve))),
        ("3.2", lambda *curve: np.array(lost_at(*curve))),
        ("3.3", promised_and_kept),
        ("3.3", by_popping),
        ("3.3", lambda scores: np.array(promised_and_kept(scores))),
    ],
)
def test_any_kind_of_right_answer(exercise, answer):
    result = grade(exercise, answer)
    assert result.status == "right", result.message


def half_filled_crossing(score, learned, lost):
    found = lost_at(score, learned, lost)
    return ... + 1 if math.isnan(found) else found


def half_filled_pair(scores):
    return max(seeds[0] for seeds in scores.values()), ...


@pytest.mark.parametrize(
    ("exercise", "stub"),
    [
        ("3.1", {4: ..., 64: ...}),
        ("3.1", {4: 6e-3, 64: ...}),
        ("3.2", half_filled_crossing),
        ("3.3", half_filled_pair),
    ],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


def look_before(score, learned, lost):
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a < score <= b:
            return y if score == b else x
    return math.nan


def look_after(score, learned, lost):
    return next((y for a, y in zip(learned, lost, strict=True) if a >= score), math.nan)


def nearest_look(score, learned, lost):
    return lost[min(range(len(lost)), key=lambda look: abs(learned[look] - score))]


def halfway(score, learned, lost):
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a < score <= b:
            return (x + y) / 2
    return math.nan


def from_the_wrong_end(score, learned, lost):
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a < score <= b:
            return y + (score - a) / (b - a) * (x - y)
    return math.nan


def interpolated(score, learned, lost):
    return np.interp(score, learned, lost)


def interpolated_sorted(score, learned, lost):
    order = np.argsort(learned)
    return np.interp(score, np.array(learned)[order], np.array(lost)[order])


def last_rise(score, learned, lost):
    found = math.nan
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a < score <= b:
            found = x + (score - a) / (b - a) * (y - x)
    return found


def last_crossing(score, learned, lost):
    found = math.nan
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if min(a, b) <= score <= max(a, b) and a != b:
            found = x + (score - a) / (b - a) * (y - x)
    return found


def between_looks_only(score, learned, lost):
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a < score < b:
            return x + (score - a) / (b - a) * (y - x)
    return math.nan


def from_a_look(score, learned, lost):
    """Misses a score that is reached at a peak or at the last look."""
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a <= score < b:
            return x + (score - a) / (b - a) * (y - x)
    return math.nan


def with_last_value(score, learned, lost):
    found = lost_at(score, learned, lost)
    return lost[-1] if math.isnan(found) else found


def with_none(score, learned, lost):
    found = lost_at(score, learned, lost)
    return None if math.isnan(found) else found


def without_never(score, learned, lost):
    look = next(number for number, value in enumerate(learned) if value >= score)
    part = slice(look - 1, look + 1)
    return np.interp(score, learned[part], lost[part])


def of_all_seeds(scores):
    best = max(scores, key=lambda setting: scores[setting][0])
    return scores[best][0], statistics.fmean(scores[best])


def chosen_by_mean(scores):
    best = max(scores.values(), key=statistics.fmean)
    return best[0], statistics.fmean(best[1:])


def chosen_by_mean_of_all_seeds(scores):
    best = max(scores.values(), key=statistics.fmean)
    return best[0], statistics.fmean(best)


def chosen_by_the_others(scores):
    best = max(scores.values(), key=lambda seeds: statistics.fmean(seeds[1:]))
    return best[0], statistics.fmean(best[1:])


def best_of_the_others(scores):
    best = max(scores.values(), key=lambda seeds: seeds[0])
    return best[0], max(best[1:])


def median_of_the_others(scores):
    best = max(scores.values(), key=lambda seeds: seeds[0])
    return best[0], statistics.median(best[1:])


def two_best(scores):
    return (
        max(seeds[0] for seeds in scores.values()),
        max(statistics.fmean(seeds[1:]) for seeds in scores.values()),
    )


def of_three_seeds(scores):
    best = max(scores.values(), key=lambda seeds: seeds[0])
    return best[0], sum(best[1:]) / 2


def starting_from_zero(scores):
    best, found = 0, (0.0, 0.0)
    for seeds in scores.values():
        if seeds[0] > best:
            best, found = seeds[0], (seeds[0], statistics.fmean(seeds[1:]))
    return found


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("3.1", {4: 3e-3, 64: 3e-3}, "Rank 4 at 0.003 ends at 62 %, not there yet: raise its rate"),
        ("3.1", {4: 3e-2, 64: 1e-2}, "rank 4 need not have lost 63.4 points"),
        ("3.1", {4: 6e-3, 64: 6e-3}, "rank 64 need not have lost 41.0 points"),
        ("3.1", {4: 6e-3, 64: 3e-3}, "rank 64 need not have lost 14.7 points"),
        ("3.1", {4: 1e-2, 64: 1e-3}, "rank 4 need not have lost 20.4 points"),
        ("3.1", {4: 6e-3, 64: 3e-2}, "Rank 64 at 0.03 ends at 0 %, too far: lower its rate"),
        ("3.1", {4: 6e-3, 64: 3e-4}, "Rank 64 at 0.0003 ends at 33 %, not there yet"),
        (
            "3.1",
            {4: 5e-3, 64: 1e-3},
            "No run of rank 4 at the rate 0.005 is stored. There are 3e",
        ),
        ("3.1", {4: 6e-3, 8: 1e-3}, "The ranks 4 and 64 are asked for, not 4, 8"),
        ("3.1", {4: "low", 64: 1e-3}, "The rate of rank 4 is a str"),
        ("3.1", [6e-3, 1e-3], "It is a list"),
        ("3.2", look_after, "next look"),
        ("3.2", look_before, "look before"),
        ("3.2", nearest_look, "nearest look"),
        ("3.2", halfway, "halfway"),
        ("3.2", from_the_wrong_end, "wrong end"),
        ("3.2", lambda score, learned, lost: score, "target score itself"),
        ("3.2", lambda score, learned, lost: 2, "number of a look"),
        ("3.2", lambda score, learned, lost: 7.0, "it is 4 points, not 7"),
        ("3.2", lambda score, learned, lost: [lost[0]], "one number is asked for"),
        ("3.2", interpolated, "`np.interp` needs values that rise"),
        ("3.2", interpolated_sorted, "Sorted by target score"),
        ("3.2", last_rise, "the last time the score is reached"),
        ("3.2", last_crossing, "the last time the score is crossed"),
        ("3.2", between_looks_only, "exactly at the score counts"),
        ("3.2", from_a_look, "exactly at the score counts"),
        ("3.2", with_last_value, "the last value"),
        ("3.2", with_last_value, 'return float("nan"), not 5'),
        ("3.2", with_none, 'return float("nan"), not None'),
        ("3.2", without_never, "Your function raised StopIteration"),
        ("3.2", without_never, 'return float("nan")'),
        ("3.3", of_all_seeds, "includes the first seed"),
        ("3.3", chosen_by_mean, "on the first seed alone"),
        ("3.3", chosen_by_mean_of_all_seeds, "on the first seed alone"),
        ("3.3", chosen_by_the_others, "on the first seed alone"),
        ("3.3", best_of_the_others, "the best of the other seeds"),
        ("3.3", median_of_the_others, "the median of the other seeds"),
        ("3.3", two_best, "another setting's mean"),
        ("3.3", lambda scores: promised_and_kept(scores)[::-1], "the wrong way round"),
        ("3.3", of_three_seeds, "not (12, 1.5)"),
        ("3.3", starting_from_zero, "not (0, 0)"),
        ("3.3", lambda scores: promised_and_kept(scores)[0], "a pair is asked for"),
        ("3.3", lambda scores: (next(iter(scores)), 60.5), "not the setting"),
    ],
)
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


def test_the_learners_own_errors_pass_through():
    for exercise in ("3.2", "3.3"):
        message = grade(exercise, lambda *arguments: {}["gone"]).message
        assert "Your function raised KeyError: 'gone'" in message


def test_the_learners_data_is_not_shared_between_calls():
    def emptying(score, learned, lost):
        found = lost_at(score, learned, lost)
        learned.clear()
        return found

    assert grade("3.2", emptying).status == "right"
