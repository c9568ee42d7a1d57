"""What lesson 09 says, beside what is pinned with the kept runs (`test_rollout_kept`)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy
import pytest

from helpers.audit import CapabilityMap, audit
from helpers.paths import DATA
from helpers.rollout import simulate
from helpers.rollout.alarms import false_alarms
from helpers.rollout.canaries import ALL, Canaries
from helpers.rollout.category import OTHER
from helpers.rollout.gaps import find_gaps, proposed
from helpers.rollout.journals import cases
from helpers.rollout.kept import kept
from helpers.rollout.measured import measured_traffic
from helpers.rollout.order_sums_runs import read_order_sums, sums_frame
from helpers.rollout.rollouts import rollouts
from helpers.rollout.serve import categories_of
from helpers.rollout.traffic import HOUR, Kind, Traffic
from helpers.rollout.trial import try_stages
from helpers.snapshots import Snapshot

PATH = DATA / "rollout" / "forgetful_map.yaml"


@cache
def guess(text):
    return guesser()(text)[0]


@cache
def guesser():
    return categories_of(PATH).guess


def day(hours=18, seed=0, reported=1.0, models=0, share=0.25, users=50_000):
    found = simulate.answers(
        measured_traffic(reported, models),
        hours,
        1000,
        share,
        users,
        texts=True,
        seed=seed,
        key=seed,
    )
    truth = found["category"]
    return found.assign(category=found["prompt"].map(guess)), truth


def watch(events, hours):
    """The hour in which a monitor is red, or None, with what all say then."""
    canaries = Canaries.from_map(CapabilityMap.load(PATH), whole=1.0)
    for hour in range(1, hours + 1):
        looks = canaries.look(events, 2 * HOUR, hour * HOUR)
        if looks.red:
            return hour, looks
    return None, looks


# A day of it


def test_other_is_red_at_hour_nine_and_all_answers_hold():
    hour, looks = watch(day()[0], 18)
    assert (hour, looks.red, len(looks)) == (9, (OTHER,), 14)
    other, whole = looks[OTHER], looks[ALL]
    assert (other.candidate_harmed, other.candidate) == (34, 301)
    assert (other.control_harmed, other.control, other.lower) == (14, 895, 3.5)
    assert other.upper == 17.75 and whole.verdict == "hold"
    widened = [name for name, look in looks.items() if look.verdict == "widen"]
    assert widened == ["reading"] and looks["reading"].upper == 4.5
    told = 100 * (other.candidate_harmed / other.candidate - other.control_harmed / other.control)
    assert 5.9 <= told - other.lower <= 6.5  # question 1 of the quiz


def test_on_five_other_days_it_is_red_too_and_the_whole_never():
    """Other users, keys and answers. What is red beside it holds how-to questions as well."""
    hours = []
    for seed in range(5):
        hour, looks = watch(day(24, seed)[0], 24)
        assert looks.red[0] == OTHER and looks[ALL].verdict == "hold"
        hours.append(hour)
    assert (min(hours), max(hours)) == (5, 20)


def test_with_half_of_the_reports_none_is_red_within_a_day():
    for seed in range(5):
        assert watch(day(24, seed, reported=0.5)[0], 24)[0] is None


def test_nine_points_in_a_fifth_are_little_more_than_one_of_all():
    traffic = measured_traffic()
    howto = next(kind for kind in traffic.kinds if kind.name == "howto")
    assert round(100 * (howto.candidate - howto.control)) == 9 and 0.18 < howto.share < 0.2
    assert round(100 * (traffic.candidate - traffic.control), 1) == 1.2


# Why it may be asked every hour


def test_peeking_ten_peeks_and_the_monitor():
    found = [false_alarms(peeks=10, seed=seed) for seed in range(3)]
    first = {name: round(100 * found[0].rate(name), 1) for name in found[0].at}
    assert first == {"fixed test, peeked at": 36.2, "fixed test, 10 peeks": 18.2, "monitor": 3.2,
                     "fixed test, once": 3.6}  # fmt: skip
    assert 64 <= 500 * found[0].rate("fixed test, 10 peeks") - 25 <= 68  # question 3
    for each in found:
        assert each.rate("monitor") <= 0.05 < 0.14 < each.rate("fixed test, 10 peeks")
        assert each.rate("fixed test, peeked at") > 0.34


def test_ten_times_the_users_harm_less_than_three_times_as_many():
    at = {
        share: rollouts(share, 0.03, 0.08, 1.0, hours=72, every=0.1, count=400)
        for share in (0.01, 0.05, 0.1, 0.5)
    }
    assert at[0.05].median_hours == pytest.approx(14, abs=0.5)
    assert at[0.5].median_hours == pytest.approx(3.5, abs=0.1)
    extra = {share: float(numpy.median(found.extra)) for share, found in at.items()}
    assert round(extra[0.05]) == 13 and 30 <= extra[0.5] <= 36
    assert max(extra[0.01], extra[0.1]) - min(extra[0.01], extra[0.1]) < 4


# Deeper


def test_how_many_candidates_could_have_been_counted(tmp_path):
    steps = kept("careful-1", tmp_path).out
    before, after = Snapshot.load(steps / "baseline" / "judge"), Snapshot.load(steps / "judge")
    shop = CapabilityMap.load(DATA / "capability_map.yaml")
    said = {}
    for candidates in (1, 2, 5, 10):
        report = audit(before, after, replace(shop, alpha=shop.alpha / candidates))
        said[candidates] = report.decision
    assert said == {1: "SHIP", 2: "SHIP", 5: "SHIP", 10: "INCONCLUSIVE"}


def test_what_it_costs_that_one_may_look():
    answers = {}
    for points in (3, 5, 10):
        for name, how in {
            "oracle": {"method": "oracle"}, "monitor": {}, "once": {"method": "once"},
            "5 planned": {"method": "once", "planned": 0.08},
        }.items():  # fmt: skip
            found = rollouts(0.5, 0.03, 0.03 + points / 100, 1.0, window=0, hours=24, **how)
            answers[name, points] = (found.median_hours * 400, found.rate("roll back"))
            answers[name, points, "80 %"] = 400 * found.within(0.8)
    for points, (monitor, once) in {3: (2644, 2611), 5: (790, 784), 10: (227, 218)}.items():
        assert answers["monitor", points][0] == pytest.approx(monitor, abs=1)
        assert answers["once", points][0] == pytest.approx(once, abs=1)
        assert 1.9 < answers["monitor", points, "80 %"] / once < 2.05
        assert answers["monitor", points][1] >= 0.97 and answers["once", points][1] < 0.86
        assert 1.4 < answers["monitor", points][0] / answers["oracle", points][0] < 1.7
    assert answers["5 planned", 3][1] == pytest.approx(0.4, abs=0.03)
    assert answers["5 planned", 10][0] == pytest.approx(784, abs=1)


def test_the_first_stage_is_for_the_catastrophe():
    plans = {"50": [{"percent": 50}], "20": [{"percent": 20}],
             "1 for an hour": [{"percent": 1, "hours": 1}, {"percent": 20}],
             "5 within 6": [{"percent": 5, "within": 6}, {"percent": 20}]}  # fmt: skip
    harmed = {}
    for name, stages in plans.items():
        for points in (3, 30):
            harm = Traffic((Kind("all", 1.0, 0.03, 0.03 + points / 100),))
            trial = try_stages({"stages": [*stages, {"percent": 100}]}, harm, 1.0, per_hour=1000)
            harmed[name, points] = round(trial.harmed)
    assert [harmed[name, 30] for name in plans] == pytest.approx([451, 180, 150, 46], abs=2)
    assert [harmed[name, 3] for name in plans] == pytest.approx([97, 55, 55, 48], abs=2)


def test_what_the_map_forgot_is_other_and_what_is_near_is_hidden():
    half, truth = day(10, share=0.5, users=10_000)
    known = CapabilityMap.load(PATH)
    where = {name: half["category"][truth == name].value_counts() for name in set(truth)}
    assert (where["howto"][OTHER], where["howto"].sum()) == (1674, 1958)
    assert where["howto"]["refusal"] == 227
    assert (where["order_sums"]["reasoning"], where["order_sums"].sum()) == (397, 456)
    gaps = find_gaps(half, known)
    assert [gap.category for gap in gaps] == [OTHER] and round(100 * gaps[0].share) == 18
    row = proposed(gaps, known).categories[-1]
    assert (row.name, row.min_items, row.margin) == ("other_floor", 297, 5)


def test_a_canary_of_order_sums_would_praise_the_candidate():
    right = sums_frame(read_order_sums()).set_index(["model", "seed"])["right"]
    difference = right["careful-1", 0] - right["forgetful-1", 0]  # of the harm rates
    assert -6.0 <= difference <= -5.4  # question 4 of the quiz
    lost = right["base", 0] - right["careful-1"]
    assert lost.between(6.6, 12.4).all()


def test_of_the_reports_in_journal_d_one_in_seven_was_counted():
    (case,) = (case for case in cases() if case.name == "D")
    look = case.looks[case.looks["hour"] == 8].iloc[0]
    counted = look.candidate_harmed + look.control_harmed
    assert look.verdict == "widen" and 12.5 <= 100 * counted / (counted + look.late) <= 15.5
