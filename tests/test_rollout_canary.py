"""The monitor, the order in which events count, and what goes wrong without it."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pandas
import pytest

from helpers.rollout.betting import (
    difference_sequence,
    log_capital,
    mean_sequence,
    plug_in_bets,
)
from helpers.rollout.canary import Monitor
from helpers.rollout.eprocess import BadEvents, e_process, events_needed, unbiased
from helpers.rollout.window import joined, settled

ALPHA = 0.05


def stream(share, candidate, control, events, seed=0):
    rng = numpy.random.default_rng(seed)
    arm = rng.random(events) < share
    return arm, rng.random(events) < numpy.where(arm, candidate, control)


def names(arm):
    return numpy.where(arm, "candidate", "control")


# Verdicts.


def test_the_wealth_is_that_of_the_e_process():
    arm, harm = stream(0.3, 0.06, 0.03, 2500)
    look = Monitor(2.0).see(names(arm), 0.3, harm)
    for side, wealth in (("beyond", look.beyond), ("within", look.within)):
        path = e_process(arm, 0.3, harm, 0.02, side)
        assert wealth == pytest.approx(numpy.exp(max(0, path.max())), rel=1e-6)


def test_one_by_one_is_all_at_once():
    arm, harm = stream(0.5, 0.3, 0.1, 300)
    once = Monitor(2.0).see(names(arm), 0.5, harm)
    slowly = Monitor(2.0)
    for chosen, harmed in zip(names(arm), harm, strict=True):
        look = slowly.see(str(chosen), 0.5, bool(harmed))
    assert look.verdict == once.verdict == "roll back"
    assert look.beyond == pytest.approx(once.beyond, rel=1e-6)
    assert (look.lower, look.upper, look.events) == (once.lower, once.upper, 300)


@pytest.mark.parametrize(
    ("candidate", "control", "verdict"),
    [(0.08, 0.03, "roll back"), (0.03, 0.03, "widen"), (0.05, 0.03, "hold")],
)
def test_the_three_verdicts(candidate, control, verdict):
    arm, harm = stream(0.5, candidate, control, 6000, seed=1)
    look = Monitor(2.0).see(names(arm), 0.5, harm)
    assert look.verdict == verdict
    assert (look.lower >= 2) == (verdict == "roll back")
    assert (look.upper <= 2) == (verdict == "widen")
    assert look.lower <= 100 * (candidate - control) <= look.upper
    assert str(look).startswith(f"{verdict}: candidate {look.candidate_harmed} of {look.candidate}")


def test_the_bounds_are_the_outermost_differences_that_are_ruled_out():
    arm, harm = stream(0.4, 0.09, 0.04, 3000)
    look = Monitor(2.0).see(names(arm), 0.4, harm)
    for bound, side, inward in ((look.lower, "beyond", 0.25), (look.upper, "within", -0.25)):
        for margin, ruled_out in ((bound, True), (bound + inward, False)):
            wealth = e_process(arm, 0.4, harm, margin / 100, side)
            assert (events_needed(wealth, ALPHA) < numpy.inf) == ruled_out


def test_a_verdict_once_proven_stays():
    arm, harm = stream(0.5, 0.2, 0.02, 600)
    monitor = Monitor(2.0)
    assert monitor.see(names(arm), 0.5, harm).verdict == "roll back"
    arm, harm = stream(0.5, 0.0, 0.1, 3000)
    assert monitor.see(names(arm), 0.5, harm).verdict == "roll back"


def test_before_the_first_event_nothing_is_known():
    look = Monitor(2.0).now()
    assert (look.verdict, look.events, look.beyond, look.within) == ("hold", 0, 1.0, 1.0)
    assert (look.lower, look.upper) == (-numpy.inf, numpy.inf)
    assert "not yet known" in str(look)
    assert Monitor(2.0).see([], 0.5, []) == look


def test_arms_that_contradict_their_shares_are_told_of_and_never_widened():
    arm, harm = stream(0.7, 0.02, 0.02, 5000)
    look = Monitor(2.0).see(names(arm), 0.5, harm)
    assert look.mismatch and look.verdict == "hold" and "router" in str(look)
    suspected = 0
    for seed in range(60):
        arm, harm = stream(0.3, 0.02, 0.02, 400, seed)
        suspected += Monitor(2.0).see(names(arm), 0.3, harm).mismatch
    assert suspected <= 1


@pytest.mark.parametrize("margin", [-1, 100, float("nan"), None, "2", True])
def test_bad_margins_are_refused(margin):
    with pytest.raises(BadEvents, match="margin"):
        Monitor(margin)


def test_a_bad_event_is_refused_and_none_of_its_kind_is_counted():
    monitor = Monitor(2.0)
    for arm, share, harm in (
        (["candidate", "holdout"], 0.5, [True, False]),
        (["candidate", "control"], [0.5, 1.0], [True, False]),
        (["candidate", "control"], 0.5, [True, 2]),
        (["candidate"], 0.5, [True, False]),
    ):
        with pytest.raises(BadEvents):
            monitor.see(arm, share, harm)
    assert monitor.now().events == 0
    with pytest.raises(BadEvents, match="alpha"):
        Monitor(2.0, alpha=5)


# Confidence sequences.


def test_both_sequences_hold_the_difference_and_become_narrow():
    arm, harm = stream(0.3, 0.12, 0.05, 6000)
    lower, upper = difference_sequence(arm, 0.3, harm)
    assert (lower <= 0.07).all() and (upper >= 0.07).all()
    assert (numpy.diff(lower) >= 0).all() and (numpy.diff(upper) <= 0).all()
    assert upper[-1] - lower[-1] < 0.08


def test_the_betting_sequence_misses_the_truth_in_fewer_than_alpha_of_the_streams():
    rng = numpy.random.default_rng(0)
    share = 0.25
    arm = rng.random((1000, 3000)) < share
    harm = rng.random((1000, 3000)) < numpy.where(arm, 0.05, 0.03)
    x, low, high = unbiased(arm, share, harm.astype(float)), -1 / (1 - share), 1 / share
    bets = plug_in_bets(x, ALPHA / 2, 0.0, (high - low) / 2)
    missed = numpy.zeros(1000, bool)
    for side in ("beyond", "within"):
        wealth = log_capital(x, 0.02, low, high, bets, side)
        missed |= wealth.max(axis=1) >= numpy.log(2 / ALPHA)
    assert missed.mean() <= 0.055


@pytest.mark.parametrize(
    ("x", "says"), [([], "at least one"), ([0.5, 1.5], "outside"), ([[0.5]], "one stream")]
)
def test_bad_numbers_are_refused(x, says):
    with pytest.raises(BadEvents, match=says):
        mean_sequence(numpy.array(x), 0.0, 1.0)


# The order in which events count.


def frame(**columns):
    rows = pandas.DataFrame(columns)
    defaults = {"share": 0.5, "harm": False, "feedback_time": numpy.nan}
    return rows.assign(**{k: v for k, v in defaults.items() if k not in rows}).assign(
        id=[f"{number:03}" for number in range(len(rows))]
    )


def test_answers_count_in_their_order_and_when_their_window_is_over():
    events = frame(
        time=[30.0, 10.0, 20.0, 95.0],
        user=["c", "a", "b", "d"],
        arm=["control", "candidate", "control", "control"],
        harm=[True, True, True, True],
        feedback_time=[31.0, 69.0, 81.0, 96.0],
    )
    found = settled(events, window=60, now=100)
    assert found["user"].tolist() == ["a", "b", "c"]
    assert found["harm"].tolist() == [True, False, True]  # b's word came after its window
    assert settled(events, window=60, now=69.9).empty


def test_what_is_settled_stays_settled_as_time_goes_on():
    rng = numpy.random.default_rng(0)
    count = 400
    users = rng.integers(60, size=count)
    time = numpy.sort(rng.uniform(0, 1000, count))
    share = numpy.where(time < 500, 0.1, 0.6)
    place = rng.random(60)
    events = frame(
        time=time, user=users, share=share, arm=names(place[users] < share),
        harm=rng.random(count) < 0.3, feedback_time=time + rng.exponential(40, count),
    )  # fmt: skip
    whole = settled(events, 60, 2000)
    for now in range(100, 1100, 100):
        known = events[events["time"] <= now]
        part = settled(known, 60, now)
        pandas.testing.assert_frame_equal(part, whole[whole["time"] + 60 <= now])
    looks, monitor = [], Monitor(5.0)
    for now in range(100, 1100, 100):
        looks.append(monitor.look(events[events["time"] <= now], 60, now))
    once = Monitor(5.0).look(events, 60, 1000)
    assert looks[-1].within == pytest.approx(once.within)
    assert replace(looks[-1], within=0, beyond=0) == replace(once, within=0, beyond=0)
    assert monitor.look(events, 60, 1000) == looks[-1]
    assert [look.events for look in looks] == sorted({look.events for look in looks})


def test_a_forgotten_user_does_not_make_the_monitor_count_anybody_twice():
    arm, harm = stream(0.5, 0.1, 0.1, 200)
    time = numpy.arange(200.0)
    events = frame(time=time, user=time, arm=names(arm), harm=harm, feedback_time=time)
    monitor = Monitor(2.0)
    assert monitor.look(events, 0, 99).events == 100
    assert monitor.look(events[events["user"] > 50], 0, 199).events == 200


def test_a_user_counts_when_a_coin_is_tossed_about_them():
    events = frame(
        time=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        user=["a", "b", "a", "b", "b", "a", "c"],
        share=[0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 0.0],
        arm=["candidate", "control", "candidate", "control", "candidate", "candidate", "control"],
    )
    found = settled(events, 0, 10)
    assert list(zip(found["user"], found["arm"], strict=True)) == [
        ("a", "candidate"), ("b", "control"), ("b", "candidate"),
    ]  # fmt: skip
    assert found["share"].tolist() == pytest.approx([0.1, 0.1, 0.3 / 0.9])


def test_users_who_are_held_out_are_the_control_s_and_lower_its_share():
    events = frame(
        time=[0.0, 1.0, 2.0, 3.0], user=["a", "b", "c", "d"], share=1.0,
        arm=["candidate", "holdout", "candidate", "direct"],
    )  # fmt: skip
    found = settled(events, 0, 10, holdout=0.2)
    assert found["arm"].tolist() == ["candidate", "control", "candidate"]
    assert found["share"].tolist() == pytest.approx([0.8, 0.8, 0.8])
    assert settled(events, 0, 10).empty  # everybody has the candidate: nothing to compare


def test_shares_of_returning_users_are_the_true_chances():
    """In 40,000 simulated users, by the share with which they are counted."""
    rng = numpy.random.default_rng(0)
    place, held = rng.random(40_000), rng.random(40_000) < 0.1
    parts = []
    for time, share in enumerate((0.05, 0.3, 1.0)):
        came = numpy.flatnonzero(rng.random(40_000) < 0.5)
        arm = numpy.where(held[came], "holdout", names(place[came] < share))
        parts.append(frame(time=float(time), user=came, share=share, arm=arm))
    events = pandas.concat(parts)
    found = settled(events, 0, 10, holdout=0.1)
    groups = found.assign(chosen=found["arm"].eq("candidate")).groupby(found["share"].round(6))
    assert len(groups) == 6
    for share, rows in groups:
        error = numpy.sqrt(share * (1 - share) / len(rows))
        assert abs(rows["chosen"].mean() - share) < 4 * error


def test_answers_and_feedback_are_joined():
    answers = pandas.DataFrame({"id": ["x", "y", "z"], "time": [1.0, 2.0, 3.0]})
    feedback = pandas.DataFrame({"id": ["z", "x"], "time": [9.0, 8.0], "harm": [True, False]})
    found = joined(answers, feedback)
    assert found["harm"].tolist() == [False, False, True]
    assert found["feedback_time"].fillna(-1).tolist() == [8.0, -1, 9.0]


@pytest.mark.parametrize(
    ("change", "window", "says"),
    [
        ({"arm": "canary"}, 1, "arm must be"),
        ({}, -1, "window"),
        ({}, float("nan"), "window"),
    ],
)
def test_bad_frames_are_refused(change, window, says):
    events = frame(time=[0.0], user=["a"], arm=["control"]).assign(**change)
    with pytest.raises(BadEvents, match=says):
        settled(events, window, 1)
    with pytest.raises(BadEvents, match="lack share"):
        settled(events.drop(columns="share"), 1, 1)
    with pytest.raises(BadEvents, match="holdout"):
        settled(frame(time=[0.0], user=["a"], arm=["control"]), 1, 1, holdout=1)


# Controls: without the order, or with every answer of a user, alarms are false.


def alarms(arm, share, harm, margin):
    return (events_needed(e_process(arm, share, harm, margin), ALPHA) < numpy.inf).mean()


def test_harm_that_is_heard_of_before_its_absence_breaks_the_order_of_arrival():
    """Harm is reported at once, and of silence one knows when 2,500 more have been answered."""
    rng = numpy.random.default_rng(0)
    arm = rng.random((300, 2500)) < 0.5
    harm = rng.random((300, 2500)) < numpy.where(arm, 0.08, 0.03)
    heard = numpy.arange(2500) + numpy.where(harm, rng.exponential(5, harm.shape), 2500)
    order = numpy.argsort(heard, axis=1)
    arrived = numpy.take_along_axis(arm, order, 1), numpy.take_along_axis(harm, order, 1)
    assert alarms(arm, 0.5, harm, 0.05) <= 0.055
    assert alarms(arrived[0], 0.5, arrived[1], 0.05) > 0.5


def test_returning_users_who_differ_break_the_counting_of_answers():
    """A tenth of the users find harm in everything; either arm is the same to them."""
    counted, users = [], []
    for seed in range(150):
        rng = numpy.random.default_rng(seed)
        place, grumbles = rng.random(200), rng.random(200) < 0.1
        user, time = rng.integers(200, size=4000), numpy.arange(4000.0)
        harm = grumbles[user] & (rng.random(4000) < 0.8)
        arm = place[user] < 0.5
        counted.append((arm, harm))
        events = frame(time=time, user=user, arm=names(arm), harm=harm, feedback_time=time)
        first = settled(events, 0, 4000)
        users.append(alarms(first["arm"].eq("candidate").to_numpy(), 0.5, first["harm"], 0.0))
    arm, harm = (numpy.array(part) for part in zip(*counted, strict=True))
    assert alarms(arm, 0.5, harm, 0.0) > 0.15
    assert numpy.mean(users) <= 0.055
