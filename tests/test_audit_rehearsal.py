"""Asking the gate again: what it costs, and the protocols that keep alpha. Three seeds each."""

from __future__ import annotations

import pytest

from helpers.audit import (
    CapabilityMap,
    Category,
    ask_again,
    items_needed,
    plan,
    rehearse,
    ships,
    try_candidates,
)

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])
#: With 4,000 rehearsals a true rate of 5 % comes out below this in 99.8 % of cases.
ALPHA = 0.06


def eleven(margin, **settings):
    rows = tuple(Category(f"c{n}", f"c{n}", margin=margin) for n in range(11))
    return CapabilityMap(rows, **settings)


@SEEDS
@pytest.mark.parametrize(("margin", "alone", "whole"), [(5, 297, 604), (3, 761, 1_600)])
def test_eleven_rows_at_80_percent_ship_in_one_of_ten(margin, alone, whole, seed):
    planned = plan(eleven(margin))
    assert (planned["c3"], planned.together["c3"]) == (alone, whole)
    for items, share in ((alone, 0.09), (whole, 0.80)):
        found = rehearse(eleven(margin), items=items, repeats=2_000, seed=seed).ship
        assert found == pytest.approx(share, abs=0.03)
        assert ships(eleven(margin), items) == pytest.approx(found, abs=0.03)


def test_a_plan_is_read_as_numbers_of_items():
    planned = plan(CapabilityMap((Category("a", "a", margin=5), Category("b", "b", margin=3))))
    assert dict(planned) == {"a": items_needed(5), "b": items_needed(3)}
    assert planned.together["a"] > planned["a"] and "for the whole map" in repr(planned)
    assert "ships in 65% of" in repr(planned) and "ships in 80% of" in repr(planned)


def test_a_row_that_only_warns_does_not_make_the_others_need_more():
    rows = Category("a", "a", margin=5), Category("b", "b", margin=3, severity="warn")
    planned = plan(CapabilityMap(rows))
    assert planned.together == dict(planned)


def test_a_target_is_planned_where_the_map_says_what_it_expects():
    def target(**options):
        return CapabilityMap((Category("a", "a", role="target", min_score=85, **options),))

    planned = plan(target(expected=90))
    assert 0.8 <= ships(target(expected=90), planned["a"]) < 0.9
    assert ships(target(expected=90), planned["a"] - 40) < 0.8
    assert ships(target(expected=85.0001), 2_000) == pytest.approx(0.05, abs=0.01)
    assert plan(target()).unplanned == {"a": "the target has no `expected` score in the map"}


def test_scores_that_are_no_shares_are_not_planned():
    planned = plan(CapabilityMap((Category("a", "a", metric="nll", margin=10),)))
    assert dict(planned) == {} and "a: not planned, nll" in repr(planned)


def test_planned_looks_are_paid_for_in_items():
    assert plan(eleven(5, looks=2))["c0"] == items_needed(5, alpha=0.025) > items_needed(5)
    assert "shared by 2 looks and 3 candidates" in repr(plan(eleven(5, looks=2, candidates=3)))


# A model exactly at its margin: every SHIP is an error.


@SEEDS
def test_one_look_keeps_alpha(seed):
    assert 0.02 < ask_again(297, seed=seed)[0] < 0.05


@SEEDS
def test_topping_up_to_the_advised_number_ships_more_losses(seed):
    first, second, third = ask_again(297, looks=3, seed=seed)
    assert first < 0.045 and 0.065 < second < 0.095 and 0.085 < third < 0.125


@SEEDS
def test_three_hundred_items_a_look_ship_one_loss_in_seven_after_ten(seed):
    assert ask_again(300, looks=10, more=300, seed=seed)[-1] == pytest.approx(0.145, abs=0.02)


@SEEDS
def test_fresh_items_alone_do_not_help_where_nobody_counts_the_looks(seed):
    assert ask_again(297, looks=3, fresh=True, seed=seed)[-1] > 0.09


@SEEDS
def test_the_first_of_ten_candidates_ships_three_in_ten(seed):
    assert try_candidates(297, 10, seed=seed) == pytest.approx(0.31, abs=0.03)


# What holds


@SEEDS
@pytest.mark.parametrize("looks", [2, 3, 5])
def test_planned_looks_at_fixed_sizes_or_on_fresh_items_keep_alpha(looks, seed):
    sizes = [297 * (look + 1) for look in range(looks)]
    assert ask_again(sizes, alpha=0.05 / looks, seed=seed)[-1] < ALPHA
    assert ask_again(297, looks, fresh=True, alpha=0.05 / looks, seed=seed)[-1] < ALPHA


@SEEDS
@pytest.mark.parametrize("discordance", [0.05, 0.2, 0.4])
def test_they_keep_it_at_other_shares_of_changed_answers(discordance, seed):
    options = {"discordance": discordance, "alpha": 0.025, "seed": seed}
    assert ask_again([300, 900], **options)[-1] < ALPHA
    assert ask_again(300, 2, fresh=True, **options)[-1] < ALPHA


@SEEDS
def test_counted_candidates_and_a_fresh_final_set_keep_alpha(seed):
    assert try_candidates(297, 10, alpha=0.005, seed=seed) < ALPHA
    assert try_candidates(297, 10, final=297, seed=seed) < ALPHA


@SEEDS
def test_a_harmless_model_ships_more_often_at_its_second_planned_look(seed):
    """What a second look buys: alpha is halved, and the rest of the power comes back."""
    first, second = ask_again([375, 750], alpha=0.025, drop=0, seed=seed)
    assert 0.75 < first < 0.86 and second > 0.97
