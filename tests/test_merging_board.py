"""What lesson 08 says of the stored runs: the line against stopping early and lower rates."""

from __future__ import annotations

from statistics import fmean

import pytest

from helpers.mitigations import board

METHODS = ("merge", "lower rate", "early stop")


@pytest.fixture(scope="module")
def runs():
    return board.read_board()


def mean(runs, method, strength, value):
    return fmean(value(run) for run in board.pick(runs, method, strength))


def test_the_target_arrives_before_the_old_skills_leave(runs):
    support = {a: mean(runs, "merge", a, lambda r: r.target) for a in (0.3, 0.5, 0.6, 0.7)}
    howto = {a: mean(runs, "merge", a, lambda r: r.score("howto")) for a in (0.3, 0.5, 0.8)}
    assert support[0.3] < 35 and 60 < support[0.5] < 80 < support[0.6]
    assert support[0.7] > mean(runs, "plain", 0, lambda r: r.target) - 3
    assert howto[0.3] > 98 and howto[0.5] > 90 and howto[0.8] < 50


def test_an_early_stop_with_as_much_learned_has_lost_many_times_as_much(runs):
    base = board.base_of(runs)
    (stopped, lost), (merged, kept) = (
        [mean(runs, *which, value) for value in (lambda r: r.target, lambda r: r.lost(base))]
        for which in (("early stop", 20), ("merge", 0.5))
    )
    assert abs(stopped - merged) < 5
    assert lost > 8 * kept
    assert lost > 0.85 * mean(runs, "plain", 0, lambda r: r.lost(base))


def test_the_merge_leads_at_80_percent_and_a_lower_rate_at_90(runs):
    first, second, third = board.standings(runs, METHODS, goal=80)
    assert [one.method for one in (first, second, third)] == list(METHODS)
    assert third.low > second.high
    first, second, third = board.standings(runs, METHODS, goal=90)
    assert (first.method, second.method) == ("lower rate", "merge")
    assert second.low < first.high and third.target < 90
