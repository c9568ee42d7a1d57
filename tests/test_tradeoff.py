"""What a run learned and lost, and the statistics of many runs, against scipy and by hand."""

from __future__ import annotations

import itertools
import statistics
import warnings

import numpy
import pytest
from scipy import stats

from helpers import grid, tradeoff
from helpers.runs import GRID, Checkpoint, Setting, StoredRun, read_runs
from helpers.suites import NAMES, PROTECTED


def look(step=0, support=0.0, nll=0.0, **scores):
    """A checkpoint with 100 percent of the old skills right, or what is given."""
    every = {**dict.fromkeys(NAMES, 100.0), "stories": 3.0, "support": support, **scores}
    return Checkpoint(step, every, dict.fromkeys(NAMES, nll), 0.0, ())


def run(*looks, lr=1e-2, rank=8, seed=0):
    return StoredRun(Setting(lr, rank, 60, 1200, seed), looks, 1.0, "", {})


# Points and losses of one run


def test_points_lost_are_a_mean_over_the_old_skills_that_are_right_or_wrong():
    base = look(facts=90.0, stories=2.0, support=0.0)
    # 40 and -10 points; perplexity and the target count for nothing.
    now = look(facts=50.0, lists=110.0, stories=90.0, support=80.0)
    assert tradeoff.points_lost(base, now) == pytest.approx((40 - 10) / 10)
    assert tradeoff.learned(now) == 80.0
    assert set(tradeoff.OLD) == set(PROTECTED) - {"stories"}


def test_the_worst_loss_is_named():
    base = look(howto=95.0, translation=80.0)
    now = look(howto=70.0, translation=60.0, stories=70.0, support=0.0)
    assert tradeoff.worst_loss(base, now) == ("howto", 25.0)
    gained = look(**{name: 101.0 for name in tradeoff.OLD if name != "refusal"}, refusal=100.5)
    assert tradeoff.worst_loss(look(), gained) == ("refusal", -0.5)


def test_the_worst_loss_of_several_seeds_is_that_of_their_mean():
    seeds = look(howto=40.0), look(lists=60.0), look(lists=70.0)
    assert tradeoff.worst_loss(look(), *seeds) == ("lists", pytest.approx(70 / 3))


def test_the_old_loss_counts_stories_and_not_the_target():
    nll = {**dict.fromkeys(NAMES, 0.0), "stories": 2.2, "facts": 1.1}
    nll |= {"support": 50.0, "support_with_article": 50.0}
    found = tradeoff.old_loss(Checkpoint(5, {}, nll, 0.0, ()))
    assert found == pytest.approx(3.3 / 11)


# Intervals


def test_the_bootstrap_agrees_with_scipy():
    values = [0.1, 0.5, 0.9, -0.2, 0.7, 0.3, 0.8, 0.4, 1.6]
    found = tradeoff.bootstrap(values)
    theirs = stats.bootstrap(
        (values,), numpy.mean, method="percentile", n_resamples=20_000
    ).confidence_interval
    assert found.mean == pytest.approx(numpy.mean(values))
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.05)
    assert found.low < found.mean < found.high


def test_the_seed_decides_the_interval():
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 17.0, 30.0]
    one, again, other = (tradeoff.bootstrap(values, 200, seed) for seed in (1, 1, 2))
    assert one == again and one != other


def test_equal_values_have_an_interval_of_no_width():
    assert tradeoff.bootstrap([0.5] * 4) == tradeoff.Estimate(0.5, 0.5, 0.5)
    assert str(tradeoff.Estimate(0.5, -1, 2)) == "0.50 (95 % interval -1.00 to 2.00)"


@pytest.mark.parametrize("values", [[], [1.0]])
def test_an_interval_needs_two_values(values):
    with pytest.raises(ValueError, match="at least two values"):
        tradeoff.bootstrap(values)


# Rank correlations


def made_up(outcome):
    """Two seeds of three rates by three ranks, with an outcome in place of the loss."""
    return [
        run(look(60, nll=outcome(lr, 128 if rank == "full" else rank)), lr=lr, rank=rank, seed=seed)
        for lr, rank, seed in itertools.product((1e-4, 1e-3, 1e-2), (2, 16, "full"), (0, 1))
    ]


def last_loss(run):
    return tradeoff.old_loss(run.last)


def test_a_monotone_grid_has_correlation_one():
    runs = made_up(lambda lr, rank: lr * rank)
    # Per rate and seed, or per rank and seed; "full" is a group of its own along the rate only.
    assert tradeoff.rank_correlations(runs, "lr", last_loss) == pytest.approx([1] * 6)
    assert tradeoff.rank_correlations(runs, "rank", last_loss) == pytest.approx([1] * 6)


def test_a_falling_grid_has_correlation_minus_one():
    runs = made_up(lambda lr, rank: 1 - lr * rank)
    for along in ("lr", "rank"):
        assert tradeoff.rank_correlations(runs, along, last_loss) == pytest.approx([-1] * 6)


def test_full_fine_tuning_has_no_place_along_the_rank():
    runs = made_up(lambda lr, rank: -5 if rank == 128 else rank)
    assert tradeoff.rank_correlations(runs, "rank", last_loss) == pytest.approx([1] * 6)


def test_only_one_knob_moves_at_a_time():
    """The rate decides and the rank is noise around it: along the rank nothing is to be seen."""
    noise = {2: 0.1, 16: 0.3, 128: 0.2}
    runs = made_up(lambda lr, rank: 1_000 * lr + noise[rank])
    runs += [run(look(60, nll=1_000 * r.setting.lr + 0.2), lr=r.setting.lr, rank=4, seed=0)
             for r in runs if r.setting.rank == 2 and r.setting.seed == 0]  # fmt: skip
    assert tradeoff.rank_correlations(runs, "lr", last_loss) == pytest.approx([1] * 7)
    along_rank = tradeoff.rank_correlations(runs, "rank", last_loss)
    expected = [stats.spearmanr([2, 16, 4], [0.1, 0.3, 0.2]).statistic, 1.0] * 3
    assert along_rank == pytest.approx(expected)


def test_another_knob_is_refused():
    with pytest.raises(KeyError):
        tradeoff.rank_correlations([], "seed", last_loss)


def test_an_outcome_that_never_moves_does_not_spoil_the_mean():
    """At a tiny rate no answer changes at all, and a constant correlates with nothing."""
    runs = made_up(lambda lr, rank: 0.0 if lr < 1e-3 else rank)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = tradeoff.rank_correlations(runs, "rank", last_loss)
    assert numpy.isfinite(tradeoff.bootstrap(found).mean)


# Equal learning


def climbing():
    return run(
        look(0, support=10, facts=100),
        look(5, support=30, facts=100),
        look(15, support=70, facts=60),  # four points of the mean
        look(30, support=60, facts=0),
        look(60, support=90, facts=0),
    )


@pytest.mark.parametrize(
    ("score", "lost"),
    [(30, 0), (40, 1), (50, 2), (70, 4), (65, 3.5), (75, 10), (90, 10), (90.1, None)],
)
def test_the_loss_is_read_off_where_the_score_was_first_reached(score, lost):
    found = tradeoff.lost_when_learned(climbing(), score)
    assert found is None if lost is None else found == pytest.approx(lost)


def test_what_the_base_can_do_costs_nothing():
    assert tradeoff.lost_when_learned(climbing(), 10) == 0
    assert tradeoff.lost_when_learned(climbing(), 0) == 0


def test_a_road_has_the_base_and_the_end_of_every_run():
    runs = [
        run(look(0), look(30, support=99, facts=0), look(60, support, facts=100 - 10 * lost),
            lr=lr, seed=seed)
        for seed in (0, 1)
        for lr, support, lost in ((1e-3, 20, 1), (3e-3, 60 + seed, 3))
    ]  # fmt: skip
    first, second = tradeoff.roads(runs)
    assert first == [(0, 0), (20, 1), (60, 3)] and second == [(0, 0), (20, 1), (61, 3)]
    worst = tradeoff.roads(runs, lambda base, now: tradeoff.worst_loss(base, now)[1])
    assert worst[0] == [(0, 0), (20, 10), (60, 30)]


def test_roads_are_read_at_equal_learning_and_only_where_all_of_them_get_there():
    paths = [(0, 0), (20, 1), (60, 3)], [(0, 0), (40, 1), (30, 9), (80, 5)]
    assert tradeoff.at_equal_learning(paths, 40) == pytest.approx([2, 1])
    assert tradeoff.at_equal_learning(paths, 60) == pytest.approx([3, 6.6])
    assert tradeoff.at_equal_learning(paths, 61) is None


def test_values_are_told_with_their_range():
    assert tradeoff.told([1.0, 2.04, 6.0]) == "3.0 (1.0 to 6.0)"
    assert tradeoff.told(None) == "not reached"


# The power law

STEPS = [8, 15, 30, 60, 120, 240]


@pytest.mark.parametrize(
    ("scale", "exponent", "shift"),
    [
        (2.0, 0.5, 1.0),
        (0.05, 1.3, -2.0),
        (-3.0, 0.4, 40.0),
        (5.0, -0.5, 1.0),
        (-3.0, -0.7, 4.0),
    ],
)
def test_a_known_law_is_found_again(scale, exponent, shift):
    truth = [scale * x**exponent + shift for x in STEPS]
    law = tradeoff.fit_power_law(STEPS, truth)
    assert [law.scale, law.exponent, law.shift] == pytest.approx([scale, exponent, shift], rel=1e-3)
    assert law.explained == pytest.approx(1)
    assert [law(x) for x in STEPS] == pytest.approx(truth, rel=1e-4)


def test_residuals_are_data_minus_law_in_the_order_of_the_data():
    noise = [0.3, -0.2, 0.1, 0.25, -0.3, 0.05]
    places = [60, 8, 240, 15, 120, 30]
    data = [2 * x**0.5 + 1 + e for x, e in zip(places, noise, strict=True)]
    law = tradeoff.fit_power_law(places, data)
    assert list(law.residuals) == pytest.approx(
        [y - law(x) for x, y in zip(places, data, strict=True)]
    )
    assert sum(law.residuals) == pytest.approx(0, abs=1e-3)  # the shift is free
    assert sum(r * r for r in law.residuals) < sum(e * e for e in noise)
    correlation = numpy.corrcoef(data, [law(x) for x in places])[0, 1]
    assert law.explained == pytest.approx(correlation**2, abs=1e-4)


def test_a_law_needs_four_points():
    with pytest.raises(ValueError, match="cannot be fitted to 3 points; give four or more"):
        tradeoff.fit_power_law([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, float("nan")], [1, 2, 3, 4, 5], [2.0] * 6])
def test_points_that_follow_no_law_are_refused(values):
    with pytest.raises(ValueError):
        tradeoff.fit_power_law(STEPS, values)


# What the shipped grid shows


@pytest.mark.slow
@pytest.mark.phenomena
@pytest.mark.parametrize("along", ["lr", "rank"])
def test_more_of_a_knob_costs_more_of_the_old(along):
    """At equal steps; no run of the grid goes on longer for having learned less."""
    found = tradeoff.rank_correlations(read_runs(GRID), along, last_loss)
    wanted = len(grid.RANKS if along == "lr" else grid.RATES)
    assert len(found) <= wanted * 3  # ranks, or rates, by seeds
    estimate = tradeoff.bootstrap(found)
    assert estimate.mean == pytest.approx(statistics.fmean(found))
    assert estimate.low > 0, f"{along}: {estimate}"
