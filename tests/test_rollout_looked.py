"""Rollouts that are looked at every so often: as valid as the monitor, and nearly as quick."""

from __future__ import annotations

import numpy
import pytest

from helpers.rollout import looked
from helpers.rollout.eprocess import BadEvents, Counts, e_processes, log_factors
from helpers.rollout.rollouts import Outcomes, rollouts

HARM = {"share": 0.5, "control": 0.03, "candidate": 0.08, "margin": 1.0, "count": 400}


def test_what_comes_in_has_the_shares_and_the_harm_it_is_said_to_have():
    rng = numpy.random.default_rng(0)
    came = looked.draw(rng, numpy.array([100, 300]), 0.25, (0.2, 0.1), 0.75, (5000, 2))
    counts = came.counts
    assert (counts.candidate + counts.control == [100, 300]).all()
    assert counts.candidate.mean(axis=0) == pytest.approx([25, 75], rel=0.02)
    assert counts.candidate_harmed.mean(axis=0) == pytest.approx([3.75, 11.25], rel=0.03)
    assert counts.control_harmed.mean(axis=0) == pytest.approx([5.625, 16.875], rel=0.03)
    assert came.late.mean(axis=0) == pytest.approx([1.25, 3.75], rel=0.05)


def test_the_gain_of_a_look_is_that_of_its_answers_with_the_same_bet():
    rng = numpy.random.default_rng(1)
    arm = rng.random(60) < 0.3
    harm = (rng.random(60) < 0.2).astype(float)
    tally = Counts(*(int(f.sum()) for f in (arm, ~arm, arm & (harm > 0), ~arm & (harm > 0))))
    for rates in ((0.2, 0.05), (0.05, 0.05)):
        each = log_factors(arm, numpy.full(60, 0.3), harm, rates, 0.02)
        for one, many in zip(looked.gains(tally, 0.3, rates, 0.02), each, strict=True):
            assert one == pytest.approx(many.sum())


def test_with_one_answer_a_look_it_is_the_monitor_of_every_answer():
    rng = numpy.random.default_rng(2)
    arm, harm = rng.random((3, 400)) < 0.4, rng.random((3, 400)) < 0.1
    new = Counts(*(f.astype(float) for f in (arm, ~arm, arm & harm, ~arm & harm)))
    before = Counts(*(numpy.cumsum(part, axis=1) - part for part in vars(new).values()))
    wealth = numpy.cumsum(looked.gains(new, 0.4, looked.believed(before), 0.03), axis=-1)
    assert numpy.allclose(wealth, e_processes(arm, 0.4, harm, 0.03))


@pytest.mark.parametrize("method", ["anytime", "peeking", "once", "oracle"])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_looks_every_six_minutes_say_what_looks_after_every_answer_say(method, share):
    both = [rollouts(**{**HARM, "share": share}, method=method, every=e) for e in (None, 0.1)]
    rates = [found.rate("roll back") for found in both]
    assert rates[1] == pytest.approx(rates[0], abs=0.09)
    taken = [found.within(0.5) for found in both]
    assert taken[0] - 0.4 < taken[1] < taken[0] * 1.15 + 0.2
    assert both[1].extra.mean() == pytest.approx(both[0].extra.mean(), rel=0.2)


@pytest.mark.parametrize(("share", "margin"), [(0.05, 2.0), (0.5, 2.0), (0.25, 0.5)])
def test_at_the_margin_alpha_holds_for_either_verdict(share, margin):
    found = rollouts(share, 0.03, 0.03 + margin / 100, margin, hours=72, count=2000, every=0.25)
    for verdict in ("roll back", "widen"):
        assert found.rate(verdict) < 0.05 + 2.5 * numpy.sqrt(0.05 * 0.95 / 2000)
    peeked = rollouts(
        share, 0.03, 0.03 + margin / 100, margin, hours=72, count=500, every=0.25, method="peeking"
    )
    assert peeked.rate("roll back") > 0.15


def test_the_window_is_made_up_of_looks_and_late_harm_is_missed():
    plain = rollouts(**HARM, every=0.5, window=0)
    late = rollouts(**HARM, every=0.5, window=2.9)
    assert late.median_hours == plain.median_hours + 3
    assert set(numpy.unique(late.hours % 0.5)) == {0}
    deaf = rollouts(**HARM, every=0.5, window=1.0, delay=2.0)
    assert deaf.median_hours > rollouts(**HARM, every=0.5, window=1.0).median_hours
    assert deaf.harmed.sum() / deaf.served.sum() == pytest.approx(0.08, abs=0.003)


def test_the_time_it_takes_does_not_grow_with_the_traffic_and_the_seed_decides():
    busy = rollouts(**HARM | {"share": 0.01, "count": 50}, per_hour=1_000_000, hours=8, every=0.1)
    assert busy.rate("roll back") == 1
    one, two, other = (rollouts(**HARM, every=0.2, seed=seed) for seed in (0, 0, 1))
    assert (one.hours == two.hours).all() and (one.hours != other.hours).any()


def test_quantiles_and_errors_are_those_of_the_rollouts():
    verdicts = numpy.array(["roll back"] * 3 + ["hold"])
    zeros = numpy.zeros(4)
    found = Outcomes(verdicts, numpy.array([3.0, 1.0, 2.0, 9.0]), zeros, zeros, zeros)
    assert [found.within(part) for part in (0.1, 0.25, 0.5, 0.75)] == [1, 1, 2, 3]
    assert found.within(0.9) == found.within(0.5, "widen") == numpy.inf
    assert found.error("roll back") == pytest.approx(numpy.sqrt(0.75 * 0.25 / 4))


@pytest.mark.parametrize("every", [0.0, -1.0, 24.0])
def test_looks_that_never_come_are_refused(every):
    with pytest.raises(BadEvents, match="look after the window"):
        rollouts(**HARM, every=every)
