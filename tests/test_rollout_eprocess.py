"""The e-process: its mean is 1 at the null by arithmetic, and Ville's bound holds in simulation."""

from __future__ import annotations

import itertools

import numpy
import pytest
from scipy.optimize import minimize_scalar

from helpers.rollout import fixed
from helpers.rollout.eprocess import (
    BadEvents,
    Counts,
    believed,
    best_bet,
    e_process,
    e_processes,
    events_needed,
    restricted,
    unbiased,
)

GRID = [0.001, 0.02, 0.05, 0.3, 0.5, 0.9, 0.999]
MARGINS = [-0.2, -0.01, 0.0, 0.01, 0.05, 0.3]
SHARES = [0.01, 0.25, 0.5, 0.95]
ALPHA = 0.05


def mean_factor(bet, r_c, r_k, share, margin, truth):
    """The mean of the factor by enumeration of the four things that can happen."""
    total = 0.0
    for arm, harm in itertools.product((True, False), (0.0, 1.0)):
        rate = truth[0] if arm else truth[1]
        chance = (share if arm else 1 - share) * (rate if harm else 1 - rate)
        x = unbiased(numpy.array(arm), share, numpy.array(harm), r_c, r_k)
        factor = 1 + bet * (x - margin)
        assert factor > 0
        total += chance * factor
    return total


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("margin", MARGINS)
def test_the_factor_has_mean_one_at_the_margin_and_less_below_it(share, margin):
    for candidate, control in itertools.product(GRID, GRID):
        bet, r_c, r_k = best_bet(candidate, control, share, margin)
        for k in GRID:
            for d in (margin, margin - 0.05, margin + 0.05):
                if 0 <= k + d <= 1:
                    mean = mean_factor(bet, r_c, r_k, share, margin, (k + d, k))
                    assert mean == pytest.approx(1 + bet * (d - margin), abs=1e-9)
        assert bet * (candidate - control - margin) >= -1e-9


@pytest.mark.parametrize("share", SHARES)
def test_x_is_right_on_average_whatever_the_centres_are(share):
    for c, k, centre_c, centre_k in itertools.product(GRID[1:4], repeat=4):
        mean = 0.0
        for arm, harm in itertools.product((True, False), (0.0, 1.0)):
            rate = c if arm else k
            chance = (share if arm else 1 - share) * (rate if harm else 1 - rate)
            mean += chance * unbiased(numpy.array(arm), share, harm, centre_c, centre_k)
        assert mean == pytest.approx(c - k, abs=1e-12)


@pytest.mark.parametrize("share", SHARES)
def test_the_restricted_rates_minimise_the_divergence(share):
    """Against a numerical minimiser that knows nothing of the cubic."""
    for candidate, control, margin in itertools.product(GRID, GRID, MARGINS):
        low, high = max(0.0, -margin), min(1.0, 1 - margin)

        def divergence(x, c=candidate, k=control, m=margin):
            cross = share * (c * numpy.log(x + m) + (1 - c) * numpy.log(1 - x - m))
            return -cross - (1 - share) * (k * numpy.log(x) + (1 - k) * numpy.log(1 - x))

        best = minimize_scalar(
            divergence, bounds=(low + 1e-12, high - 1e-12), method="bounded",
            options={"xatol": 1e-12},
        )  # fmt: skip
        r_c, r_k = restricted(candidate, control, share, margin)
        assert r_c - r_k == pytest.approx(margin, abs=1e-12)
        assert low <= r_k <= high
        clipped = numpy.clip(r_k, low + 1e-12, high - 1e-12)
        assert divergence(clipped) <= best.fun + 1e-9


@pytest.mark.parametrize("share", SHARES)
def test_the_bet_is_the_ratio_of_likelihoods_of_turner_ly_and_grunwald(share):
    for c, k, margin in itertools.product([0.02, 0.1, 0.4], [0.02, 0.1, 0.4], [-0.01, 0.0, 0.02]):
        r_c, r_k = restricted(c, k, share, margin)
        bet, _, _ = best_bet(c, k, share, margin)
        for arm, harm in itertools.product((True, False), (0.0, 1.0)):
            x = unbiased(numpy.array(arm), share, harm, r_c, r_k)
            believed_rate, null = (c, r_c) if arm else (k, r_k)
            ratio = believed_rate / null if harm else (1 - believed_rate) / (1 - null)
            assert 1 + bet * (x - margin) == pytest.approx(ratio, rel=1e-6)


def test_without_a_margin_the_null_rates_are_the_pooled_one():
    r_c, r_k = restricted(0.3, 0.1, 0.25, 0.0)
    assert r_c == pytest.approx(r_k) == pytest.approx(0.25 * 0.3 + 0.75 * 0.1)


def test_a_known_case_of_the_score_test():
    """Without a margin the score test is the pooled z-test, which can be worked out by hand."""
    counts = Counts(200, 300, 30, 24)
    pooled = 54 / 500
    error = numpy.sqrt(pooled * (1 - pooled) * (1 / 200 + 1 / 300))
    assert fixed.z_score(counts, 0.0) == pytest.approx((30 / 200 - 24 / 300) / error)


def test_beliefs_never_look_at_the_event_they_are_for():
    rng = numpy.random.default_rng(0)
    arm, harm = rng.random(50) < 0.5, (rng.random(50) < 0.3).astype(float)
    c, k, _ = believed(arm, harm, Counts())
    changed = harm.copy()
    changed[30] = 1 - changed[30]
    c2, k2, _ = believed(arm, changed, Counts())
    assert (c[:31] == c2[:31]).all() and (k[:31] == k2[:31]).all()
    assert c[31] != c2[31] or k[31] != k2[31]


def test_beliefs_carried_over_are_those_of_one_go():
    rng = numpy.random.default_rng(0)
    arm, harm = rng.random((3, 90)) < 0.5, (rng.random((3, 90)) < 0.3).astype(float)
    c, k, seen = believed(arm, harm, Counts())
    first = believed(arm[:, :40], harm[:, :40], Counts())
    second = believed(arm[:, 40:], harm[:, 40:], first[2])
    assert numpy.allclose(numpy.concatenate([first[0], second[0]], 1), c)
    assert numpy.allclose(numpy.concatenate([first[1], second[1]], 1), k)
    assert numpy.allclose(second[2].candidate_harmed, seen.candidate_harmed)


# Nulls. The rate of false alarms is at most alpha by Ville; three standard errors of 1,000 streams
# are 2 points, and the tests below allow 5.5 percent: the bound is not reached.


def streams(count, events, control, candidate, share, seed=0):
    rng = numpy.random.default_rng(seed)
    arm = rng.random((count, events)) < share
    harm = rng.random((count, events)) < numpy.where(arm, candidate, control)
    return arm, harm


def drifting(events):
    """A harm rate that goes up and down twice, and a share that widens in four stages."""
    t = numpy.arange(events) / events
    return 0.05 + 0.03 * numpy.sin(4 * numpy.pi * t), numpy.array([0.01, 0.05, 0.25, 0.5])[
        (4 * t).astype(int)
    ]


#: Kind of null: rates of control and candidate, margin, and share.
NULLS = {
    "no harm": (0.03, 0.03, 0.0, 0.5),
    "at the margin": (0.03, 0.05, 0.02, 0.25),
    "at the margin, few users": (0.03, 0.05, 0.02, 0.05),
}


def false_alarms(count, events, kind):
    """The share of the streams in which either side errs, as each null is true at its margin."""
    if kind == "changing shares and drifting rates":
        control, share = drifting(events)
        candidate, margin = control + 0.02, 0.02
    else:
        control, candidate, margin, share = NULLS[kind]
    arm, harm = streams(count, events, control, candidate, share)
    needed = events_needed(e_processes(arm, share, harm, margin), ALPHA)
    return (needed < numpy.inf).mean(axis=-1)


KINDS = (*NULLS, "changing shares and drifting rates")


@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_of_1000_nulls_looked_at_after_every_event(kind):
    assert (false_alarms(1000, 3000, kind) <= 0.055).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_of_1000_nulls_of_20000_events(kind):
    assert (false_alarms(1000, 20_000, kind) <= 0.055).all()


def test_shares_that_answer_to_the_wealth_change_nothing():
    """A router that widens when the candidate looks bad, or good: still valid, event by event."""
    rng = numpy.random.default_rng(0)
    count, parts = 1000, []
    share = numpy.full((count, 1), 0.1)
    for block in [100] * 10 + [2000]:
        arm = rng.random((count, block)) < share
        harm = rng.random((count, block)) < numpy.where(arm, 0.05, 0.03)
        parts.append((arm, numpy.repeat(share, block, axis=1), harm))
        so_far = [numpy.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)]
        wealth = e_process(*so_far, 0.02)
        share = numpy.where(wealth[:, -1:] > 0, 0.5, 0.05)
    assert len(numpy.unique(so_far[1])) == 3
    assert (events_needed(wealth, ALPHA) < numpy.inf).mean() <= 0.055


def test_the_fixed_test_looked_at_after_every_event_does_not_keep_its_word():
    arm, harm = streams(500, 3000, 0.05, 0.05, 0.5)
    once = fixed.p_value(fixed.tally(arm, harm), 0.0) <= ALPHA
    assert once.mean() < 0.08
    assert (fixed.peeked(arm, harm, 0.0, ALPHA) < numpy.inf).mean() > 0.15


def test_wrong_shares_are_not_forgiven():
    """The control of the tests above: told another share than the true one, it errs."""
    arm, harm = streams(200, 5000, 0.05, 0.07, 0.3)
    wealth = e_process(arm, 0.7, harm, 0.02, "within", rates=(0.05, 0.05))
    assert (events_needed(wealth, ALPHA) < numpy.inf).mean() > 0.5


# Power.


@pytest.fixture(scope="module")
def planted():
    """200 streams with 5 points of harm, margin 1 point, half of the users."""
    return streams(200, 6000, 0.02, 0.07, 0.5)


def test_harm_is_found_and_knowing_the_rates_is_the_best_there_is(planted):
    arm, harm = planted
    learned = events_needed(e_process(arm, 0.5, harm, 0.01), ALPHA)
    oracle = events_needed(e_process(arm, 0.5, harm, 0.01, rates=(0.07, 0.02)), ALPHA)
    horizon = fixed.horizon(0.02, 0.07, 0.5, 0.01)
    assert (learned < numpy.inf).mean() > 0.99
    assert numpy.median(oracle) < numpy.median(learned) < 2 * numpy.median(oracle)
    assert numpy.median(learned) < 2 * horizon
    growth = e_process(arm, 0.5, harm, 0.01, rates=(0.07, 0.02))[:, -1].mean()
    for wrong in ((0.05, 0.02), (0.1, 0.02), (0.07, 0.05)):
        assert e_process(arm, 0.5, harm, 0.01, rates=wrong)[:, -1].mean() < growth


def test_more_margin_more_caution_and_less_harm_take_longer(planted):
    arm, harm = planted
    medians = [
        numpy.median(events_needed(e_process(arm, 0.5, harm, m), ALPHA)) for m in (0, 0.01, 0.02)
    ]
    assert medians == sorted(medians) and len(set(medians)) == 3
    wealth = e_process(arm, 0.5, harm, 0.01)
    medians = [numpy.median(events_needed(wealth, a)) for a in (0.2, 0.05, 0.001)]
    assert medians == sorted(medians) and len(set(medians)) == 3
    medians = []
    for candidate in (0.2, 0.1, 0.07):
        arm, harm = streams(100, 4000, 0.02, candidate, 0.5)
        medians.append(numpy.median(events_needed(e_process(arm, 0.5, harm, 0.01), ALPHA)))
    assert medians == sorted(medians) and len(set(medians)) == 3


def test_what_lies_within_the_margin_is_found_too():
    arm, harm = streams(100, 4000, 0.03, 0.03, 0.5)
    needed = events_needed(e_process(arm, 0.5, harm, 0.03, "within"), ALPHA)
    assert (needed < numpy.inf).mean() > 0.95


def test_streams_do_not_know_of_each_other():
    arm, harm = streams(7, 300, 0.1, 0.2, 0.3)
    together = e_process(arm, 0.3, harm, 0.02)
    for row in range(7):
        assert numpy.allclose(e_process(arm[row], 0.3, harm[row], 0.02), together[row])


@pytest.mark.parametrize("rates", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_extreme_streams_leave_the_wealth_finite(rates, share):
    arm, harm = streams(3, 500, rates[1], rates[0], share)
    for margin in (-0.5, 0.0, 0.01, 0.99):
        for side in ("beyond", "within"):
            assert numpy.isfinite(e_process(arm, share, harm, margin, side)).all()


@pytest.mark.parametrize(
    ("arm", "share", "harm", "margin", "says"),
    [
        ([1, 2], 0.5, [0, 0], 0.0, "arm must be"),
        ([1, 0], 0.5, [0, 0.5], 0.0, "harm must be"),
        ([1, 0], 0.5, [0, float("nan")], 0.0, "harm must be"),
        ([1, 0], 1.0, [0, 0], 0.0, "holdout"),
        ([1, 0], 0.0, [0, 0], 0.0, "holdout"),
        ([1, 0], float("nan"), [0, 0], 0.0, "share"),
        ([1, 0], [0.5, 0.5, 0.5], [0, 0], 0.0, "shapes"),
        ([1, 0, 1], 0.5, [0, 0], 0.0, "shapes"),
        ([1, 0], 0.5, [0, 0], 1.0, "margin"),
        ([1, 0], 0.5, [0, 0], float("nan"), "margin"),
    ],
)
def test_bad_events_are_refused(arm, share, harm, margin, says):
    with pytest.raises(BadEvents, match=says):
        e_process(arm, share, harm, margin)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan"), "0.05", True, None])
def test_bad_alphas_are_refused(alpha):
    with pytest.raises(BadEvents, match="alpha"):
        events_needed(numpy.zeros((1, 1)), alpha)
    with pytest.raises(BadEvents, match="side"):
        e_process([1], 0.5, [0], 0.0, "up")


def test_a_horizon_without_harm_is_refused():
    with pytest.raises(BadEvents, match="does not exceed"):
        fixed.horizon(0.02, 0.03, 0.5, 0.01)
    with pytest.raises(BadEvents, match="share"):
        fixed.horizon(0.02, 0.08, 1.0, 0.01)
