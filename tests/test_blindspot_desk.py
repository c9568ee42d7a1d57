"""The simulated desk: what it counts, what it assumes, and where two releases break even."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean

import pytest

from helpers.blindspot.desk import TOPICS, Traffic, break_even, expected, simulate
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import Item

SHOP = "support"


def release(shop=50, beside=50, items=100, topics=TOPICS, **others):
    """A snapshot with these percentages right; the first items of each suite are the right ones."""
    results = {}
    for name in (SHOP, *topics):
        right = others.get(name, shop if name == SHOP else beside)
        results[name] = [
            ItemResult(
                Item(f"{name}-{n}", name, "f", "bare", f"question {n}", "a"),
                output="a",
                correct=n < items * right / 100,
                nll=0.0,
                tokens=1,
            )
            for n in range(items)
        ]
    return Snapshot(results)


# The weeks


def test_the_same_seed_gives_the_same_weeks():
    releases = [release(80, 90), release(90, 20)]
    assert simulate(releases, seed=1) == simulate(releases, seed=1) != simulate(releases, seed=2)


def test_every_release_serves_its_weeks():
    found = simulate([release(), release(), release()], weeks=4)
    assert [week.number for week in found] == list(range(1, 13))
    assert [week.release for week in found] == [0] * 4 + [1] * 4 + [2] * 4


def test_the_dashboard_counts_shop_questions_only():
    week = simulate([release(shop=100, beside=0)], Traffic(wider=0.4), weeks=1)[0]
    assert week.resolved == 100
    assert week.answered == pytest.approx(60, abs=4)


def test_shares_come_out_as_the_items_have_them():
    traffic = Traffic(newcomers=500, wider=0.5, questions=2)
    weeks = simulate([release(80, 60)], traffic, weeks=4)
    assert fmean(week.resolved for week in weeks) == pytest.approx(80, abs=2)
    assert fmean(week.answered for week in weeks) == pytest.approx(70, abs=2)
    # Two independent questions, each right with 0.7.
    assert fmean(week.let_down for week in weeks) == pytest.approx(100 * (1 - 0.7**2), abs=2)


def test_a_desk_that_is_always_right_keeps_the_customers_that_it_should():
    traffic = Traffic(newcomers=100, stays=0.5, stays_let_down=0.0)
    weeks = simulate([release(100, 100)], traffic, weeks=8)
    assert all(week.let_down == 0 for week in weeks)
    # 100 newcomers, half of whom return each week: 200 in the long run.
    assert fmean(week.customers for week in weeks) == pytest.approx(200, abs=15)


def test_a_desk_that_is_always_wrong_sees_newcomers_only():
    weeks = simulate([release(0, 0)], Traffic(newcomers=7, stays_let_down=0.0), weeks=3)
    assert [week.customers for week in weeks] == [7, 7, 7]
    assert all(week.let_down == 100 and week.answered == 0 for week in weeks)


def test_a_rising_dashboard_can_hide_falling_answers():
    weeks = simulate([release(80, 95), release(95, 10)], Traffic(wider=0.3), weeks=6)
    before, after = weeks[:6], weeks[6:]
    assert min(week.resolved for week in after) > max(week.resolved for week in before)
    assert max(week.answered for week in after) < min(week.answered for week in before)
    assert after[-1].customers < before[-1].customers


def test_questions_do_not_depend_on_the_answers():
    # Customers who come back in any case ask both desks the same: what one gets right, here all
    # that is about the shop, is what the other gets wrong.
    traffic = Traffic(stays=0.8, stays_let_down=0.8)
    one, other = (simulate([release(shop, 100 - shop)], traffic, weeks=5) for shop in (0, 100))
    assert [week.customers for week in one] == [week.customers for week in other]
    for first, second in zip(one, other, strict=True):
        assert first.answered + second.answered == pytest.approx(100)


def test_without_shop_questions_there_is_no_resolution_rate():
    week = simulate([release()], Traffic(wider=1.0), weeks=1)[0]
    assert math.isnan(week.resolved) and not math.isnan(week.answered)


def test_only_the_named_topics_are_asked():
    traffic = Traffic(wider=1.0, topics=("howto",))
    week = simulate([release(howto=100, beside=0)], traffic, weeks=1)[0]
    assert week.answered == 100


# What is refused


@pytest.mark.parametrize(
    "change",
    [{"wider": 1.2}, {"stays": -0.1}, {"stays_let_down": 2}, {"newcomers": 0}, {"questions": 0},
     {"topics": ()}],
)  # fmt: skip
def test_a_number_out_of_its_range_is_named(change):
    with pytest.raises(ValueError, match="topic" if "topics" in change else next(iter(change))):
        Traffic(**change)


def test_nothing_to_simulate_is_an_error():
    with pytest.raises(ValueError, match="at least one release"):
        simulate([])
    with pytest.raises(ValueError, match="at least one week"):
        simulate([release()], weeks=0)


@pytest.mark.parametrize("use", [lambda *two: simulate(two), break_even])
def test_a_missing_suite_and_other_items_are_named(use):
    with pytest.raises(ValueError, match="lacks reading"):
        use(release(), release(topics=TOPICS[:-1]))
    with pytest.raises(ValueError, match="different items of 'support'"):
        use(release(), release(items=99))


# Break-even


def test_what_is_expected_is_the_mixture():
    assert expected(release(80, 40), 0.25) == pytest.approx(70)
    assert expected(release(80, 40), 0) == pytest.approx(80)


def test_at_break_even_both_answer_alike():
    before, after = release(70, 90), release(90, 30)
    share = break_even(before, after).mean
    assert share == pytest.approx(20 / (20 + 60))
    assert expected(before, share) == pytest.approx(expected(after, share))
    assert expected(before, share + 0.1) > expected(after, share + 0.1)


def test_topics_count_alike():
    before, after = release(50, 50), release(60, 50, howto=0)
    assert break_even(before, after).mean == pytest.approx(10 / (10 + 50 / len(TOPICS)))


def test_the_ends_of_the_scale():
    assert break_even(release(50, 50), release(60, 50)).mean == 1
    assert break_even(release(50, 50), release(50, 40)).mean == 0
    assert break_even(release(50, 50), release(40, 40)).mean == 0
    assert break_even(release(), release()).mean == 1


def test_the_wrong_way_around_is_an_error():
    with pytest.raises(ValueError, match="swap"):
        break_even(release(90, 30), release(70, 90))


def test_the_interval_holds_the_share_and_narrows_with_items():
    wide, narrow = (break_even(release(70, 90, n), release(90, 30, n)) for n in (40, 400))
    for found in (wide, narrow):
        assert found.low < found.mean < found.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert dataclasses.astuple(narrow) == dataclasses.astuple(
        break_even(release(70, 90, 400), release(90, 30, 400))
    )
