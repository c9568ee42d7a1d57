"""The statistics of the audit, against enumeration, statsmodels-free routes and simulation."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
from scipy import optimize, stats

from helpers.audit.paired import (
    CORRECTION,
    bounds,
    holm,
    mcnemar,
    p_block,
    p_block_counts,
    p_changed,
    p_pass,
    p_pass_counts,
    pair,
    score_statistic,
)
from helpers.audit.planning import approximately_needed, chances, items_needed


def scores(n, lost, gained, right=0.9):
    """Scores of two runs: `lost` answers turn wrong and `gained` right, the others stay."""
    same = n - lost - gained
    both = round(right * same)
    before = [1] * lost + [0] * gained + [1] * both + [0] * (same - both)
    after = [0] * lost + [1] * gained + [1] * both + [0] * (same - both)
    return before, after


# The score statistic


def likelihood_statistic(n, lost, gained, margin):
    """The same statistic with the shares found by maximising the likelihood numerically."""

    def against(share):
        p = share + margin, share, 1 - 2 * share - margin
        return -sum(
            k * math.log(q) for k, q in zip((lost, gained, n - lost - gained), p, strict=True) if k
        )

    low, high = max(0, -margin) + 1e-12, (1 - margin) / 2 - 1e-12
    share = optimize.minimize_scalar(against, bounds=(low, high), method="bounded",
                                     options={"xatol": 1e-12}).x  # fmt: skip
    variance = n * (2 * share + margin - margin**2)
    return (lost - gained - n * margin) / math.sqrt(variance)


@pytest.mark.parametrize("counts", [(100, 7, 2), (40, 1, 5), (250, 20, 20), (30, 12, 1)])
@pytest.mark.parametrize("margin", [-0.05, 0.01, 0.03, 0.1])
def test_the_score_statistic_is_that_of_the_constrained_likelihood(counts, margin):
    found = score_statistic(*counts, margin)
    assert found == pytest.approx(likelihood_statistic(*counts, margin), abs=1e-4)


def test_at_no_margin_it_is_mcnemars():
    """(b - c) / sqrt(b + c), whose square is McNemar's chi-square without correction."""
    assert score_statistic(100, 9, 2, 0.0) == pytest.approx(7 / math.sqrt(11))


def test_arrays_give_what_single_numbers_give():
    lost, gained = numpy.array([0, 3, 9]), numpy.array([0, 4, 1])
    together = score_statistic(50, lost, gained, 0.05)
    assert list(together) == [
        score_statistic(50, a, b, 0.05) for a, b in zip(lost, gained, strict=True)
    ]


def test_without_any_change_few_items_rule_out_little():
    """Nothing changed: the standard error of the plain formula would be zero and let all pass."""
    for n, passes in ((30, False), (132, False), (133, True), (700, True)):
        before, after = scores(n, 0, 0)
        assert (p_pass(pair(before, after), 0.03) < 0.05) == passes, n


# The level of both tests, by exact enumeration

SIZES = (30, 50, 88, 120, 200, 250)


@pytest.mark.parametrize("margin", [2, 3, 5, 10])
def test_a_model_at_the_margin_passes_or_is_blocked_no_more_often_than_alpha(margin):
    """Exact sums over all tables, not a simulation: a drop of exactly the margin."""
    for n, factor in itertools.product(SIZES, (1, 1.1, 1.3, 1.6, 2, 3)):
        passed, blocked = chances(n, margin, margin / 100 * factor, drop=margin)
        assert passed <= 0.05 and blocked <= 0.05, (n, factor, passed, blocked)


def test_without_the_correction_the_level_is_not_held():
    """Why CORRECTION is there: the same enumeration with the plain statistic."""
    n, margin = 88, 0.03
    lost = numpy.arange(n + 1)
    plain = stats.norm.cdf(score_statistic(n, lost, 0, margin)) < 0.05
    corrected = p_pass_counts(n, lost, 0, margin) < 0.05
    weight = stats.binom.pmf(lost, n, margin)
    assert weight[plain].sum() > 0.065 > 0.05 >= weight[corrected].sum()
    assert CORRECTION > 0


def test_chances_are_those_of_simulated_runs():
    rng = numpy.random.default_rng(0)
    drawn = rng.multinomial(300, [0.07, 0.05, 0.88], size=20_000)
    passed = p_pass_counts(300, drawn[:, 0], drawn[:, 1], 0.05) < 0.05
    blocked = p_block_counts(300, drawn[:, 0], drawn[:, 1], 0.01) < 0.05
    assert chances(300, 5, 0.12, 2)[0] == pytest.approx(passed.mean(), abs=0.01)
    assert chances(300, 1, 0.12, 2)[1] == pytest.approx(blocked.mean(), abs=0.01)


# Intervals


@pytest.mark.parametrize("counts", [(100, 7, 2), (40, 1, 5), (250, 20, 20), (300, 0, 0)])
def test_a_margin_passes_exactly_when_it_lies_above_the_upper_bound(counts):
    found = pair(*scores(*counts))
    low, high = bounds(found)
    assert low <= found.drop <= high
    assert p_pass(found, high + 1e-6) < 0.05 < p_pass(found, high - 1e-6)
    assert p_block(found, low - 1e-6) < 0.05 < p_block(found, low + 1e-6)


def test_the_interval_is_near_the_plain_one_where_that_can_be_trusted():
    """Many items and many changes: the drop plus and minus 1.645 standard errors."""
    before, after = scores(5_000, 400, 300)
    found = pair(before, after)
    error = (numpy.array(before) - numpy.array(after)).std(ddof=1) / math.sqrt(5_000)
    assert found.error == pytest.approx(error)
    half = 1.645 * error
    assert bounds(found) == pytest.approx((found.drop - half, found.drop + half), abs=5e-4)


def test_of_scores_that_are_no_shares_it_is_students():
    rng = numpy.random.default_rng(1)
    before, after = rng.normal(1, 1, 60), rng.normal(0.8, 1, 60)
    found = pair(before, after)
    theirs = stats.ttest_rel(before, after, alternative="greater").confidence_interval(0.95)
    assert bounds(found)[0] == pytest.approx(theirs.low)
    shifted = stats.ttest_1samp(before - after, 0.3, alternative="less")
    assert p_pass(found, 0.3) == pytest.approx(shifted.pvalue)
    assert p_block(found, 0.3) == pytest.approx(1 - shifted.pvalue)


def test_scores_that_never_differ_pass_nothing_where_they_are_no_shares():
    found = pair([0.5, 0.25, 0.75] * 10, [0.5, 0.25, 0.75] * 10)
    assert p_pass(found, 0.1) == p_block(found, 0.1) == 0.5
    assert bounds(found) == (-math.inf, math.inf)


# Clusters


def test_items_that_are_copies_of_one_another_count_once():
    before, after = scores(60, 9, 3)
    alone = pair(before, after, range(60))
    copied = pair(before * 5, after * 5, list(range(60)) * 5)
    assert copied.design_effect == pytest.approx(5 * alone.design_effect, rel=0.05)
    assert copied.n == pytest.approx(60, rel=0.05) and copied.degrees == 59
    assert bounds(copied) == pytest.approx(bounds(pair(before, after)), abs=0.01)


def test_the_clustered_error_is_that_of_the_cluster_means():
    """With equal clusters it is the standard error of their means."""
    rng = numpy.random.default_rng(3)
    before = rng.integers(0, 2, 200)
    after = numpy.where(numpy.repeat(rng.random(20) < 0.3, 10), 0, before)
    found = pair(list(before), list(after), numpy.repeat(numpy.arange(20), 10))
    means = (before - after).reshape(20, 10).mean(axis=1)
    assert found.design_effect > 2
    assert found.error == pytest.approx(means.std(ddof=1) / math.sqrt(20), rel=0.02)


def test_one_cluster_tells_nothing():
    before, after = scores(200, 60, 0)
    found = pair(before, after, ["a"] * 200)
    assert p_pass(found, 0.5) == p_block(found, 0.01) == 0.5


def test_clustered_items_do_not_pass_more_often_than_alpha():
    """Whole families lost together, a true drop at the margin: 1,000 simulated pairs."""
    rng = numpy.random.default_rng(4)
    families, size, margin, repeats = 40, 20, 0.10, 1_000
    passed = {True: 0, False: 0}
    names = numpy.repeat(numpy.arange(families), size)
    for _ in range(repeats):
        shares = rng.beta(0.2, 0.2 * (1 - margin) / margin, families)  # mean: the margin
        after = rng.random((families, size)) >= shares[:, None]
        for clustered in passed:
            groups = names if clustered else None
            found = pair([1] * len(names), after.ravel().astype(int), groups)
            passed[clustered] += p_pass(found, margin) < 0.05
    # Taken as independent, far too many would pass.
    assert passed[False] > 0.2 * repeats
    assert passed[True] <= 0.065 * repeats


# McNemar and Holm


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (9, 2), (5, 5), (0, 12), (30, 14)])
def test_mcnemar_is_the_sum_over_all_tables_as_rare(lost, gained):
    n = lost + gained
    weights = [math.comb(n, k) / 2**n for k in range(n + 1)]
    expected = sum(w for w in weights if w <= weights[lost] * (1 + 1e-9))
    assert mcnemar(lost, gained) == pytest.approx(min(1.0, expected))
    assert p_changed(pair(*scores(100, lost, gained))) == pytest.approx(mcnemar(lost, gained))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


# Planning


@pytest.mark.parametrize(
    ("margin", "discordance", "drop"), [(3, 0.1, 0), (5, 0.1, 0), (5, 0.05, 1), (3, 0.16, 6)]
)
def test_as_many_items_as_planned_have_the_planned_power(margin, discordance, drop):
    count = items_needed(margin, discordance, drop)
    wanted = 0 if drop < margin else 1
    assert 0.80 <= chances(count, margin, discordance, drop)[wanted] <= 0.83
    fewer = chances(round(0.93 * count), margin, discordance, drop)[wanted]
    assert fewer < 0.80


def test_the_formula_is_the_textbooks_but_for_the_correction():
    """(1.645 + 0.842)^2 * 0.1 / 0.03^2 = 687, and 248 for five points."""
    for margin, textbook in ((3, 687), (5, 248), (2, 1546)):
        z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
        assert math.ceil(z**2 * 0.1 / (margin / 100) ** 2) == textbook
        assert textbook < approximately_needed(margin, 0.1) < textbook + 2.5 * 100 / margin


def test_clustered_items_are_needed_in_greater_number():
    assert items_needed(5, design_effect=2) == pytest.approx(2 * items_needed(5), abs=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: items_needed(3, drop=3), "equals the margin"),
        (lambda: items_needed(3, 0.02, drop=4), "With 2% changed answers a drop of 4 cannot be"),
        (lambda: chances(100, 3, 0.02, drop=4), "cannot be"),
        (lambda: pair([], []), "not 0 and 0"),
        (lambda: pair([1, 0], [1]), "not 2 and 1"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
