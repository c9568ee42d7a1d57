"""The wealth and the confidence sequence against a published package (ville, by Shiv Bhaduri).

It is no requirement of the course: `pip install -e .[compare]` adds it.
"""

from __future__ import annotations

import numpy
import pytest

from helpers.rollout.betting import log_capital, mean_sequence, plug_in_bets
from helpers.rollout.canary import Monitor
from helpers.rollout.eprocess import unbiased

ville = pytest.importorskip("ville", reason="ville is not installed")


def stream(share, candidate, control, events=3000, seed=0):
    rng = numpy.random.default_rng(seed)
    arm = rng.random(events) < share
    return arm, (rng.random(events) < numpy.where(arm, candidate, control)).astype(float)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("margin", [-0.02, 0.0, 0.05])
@pytest.mark.parametrize(("side", "theirs"), [("beyond", "greater"), ("within", "less")])
def test_the_wealth_of_inverse_propensity_bets(share, margin, side, theirs):
    arm, harm = stream(share, 0.1, 0.05)
    x = unbiased(arm, share, harm)
    low, high = -1 / (1 - share), 1 / share
    package = ville.BettingTest(margin, bounds=(low, high), alternative=theirs, alpha=0.05).fit(x)
    bets = plug_in_bets(x, 0.025, (low + high) / 2, (high - low) / 2)
    ours = log_capital(x, margin, low, high, bets, side)
    assert numpy.abs(ours - package.log_e_values_).max() < 1e-9


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_the_confidence_sequence_of_the_difference(share):
    arm, harm = stream(share, 0.2, 0.1)
    x = unbiased(arm, share, harm)
    low, high = -1 / (1 - share), 1 / share
    package = ville.BettingCS(bounds=(low, high), alpha=0.05, grid=1501).fit(x)
    lower, upper = mean_sequence(x, low, high, 0.05, numpy.linspace(low, high, 1501))
    assert numpy.abs(lower - package.lower_).max() < 1e-9
    assert numpy.abs(upper - package.upper_).max() < 1e-9


def test_the_confidence_sequence_of_numbers_that_are_no_coins():
    x = numpy.random.default_rng(3).beta(2, 5, 1500)
    package = ville.BettingCS(alpha=0.1, grid=1001).fit(x)
    lower, upper = mean_sequence(x, 0.0, 1.0, 0.1)
    assert numpy.abs(lower - package.lower_).max() < 1e-9
    assert numpy.abs(upper - package.upper_).max() < 1e-9


def test_the_monitor_s_interval_is_within_a_point_of_the_package_s_for_the_same_users():
    """Another method for the same question, `BettingABTest`, which centres by one running mean."""
    arm, harm = stream(0.5, 0.08, 0.03, 8000)
    package = ville.BettingABTest(alpha=0.1).fit(harm, arm.astype(float))
    look = Monitor(2.0, alpha=0.05).see(numpy.where(arm, "candidate", "control"), 0.5, harm)
    low, high = (100 * bound for bound in package.interval())
    assert look.lower == pytest.approx(low, abs=1.0)
    assert look.upper == pytest.approx(high, abs=1.0)
