"""What looking all the time costs, and what looking too often does: `python -m benchmarks.canary`.

Two tables. False alarms: 1,000 rollouts of 20,000 answers in which the null is true, looked at
after every answer at alpha .05. Delay: answers until 5 points of harm are found, by methods that
see the same users; the fixed test beside them is looked at once, at its horizon, and has a power of
.8 there. A minute on one core.
"""

from __future__ import annotations

import time

import numpy
from scipy import stats

from helpers.rollout import fixed
from helpers.rollout.betting import log_capital, plug_in_bets
from helpers.rollout.eprocess import Floats, e_process, e_processes, events_needed, unbiased

ALPHA = 0.05
ROWS = 20  # streams at once, for the methods that do not see to it themselves


def streams(count, events, control, candidate, share, seed=0):
    """Arms and harms of that many rollouts."""
    rng = numpy.random.default_rng(seed)
    arm = rng.random((count, events)) < share
    return arm, rng.random((count, events)) < numpy.where(arm, candidate, control)


def weighted(arm: numpy.ndarray, share: Floats | float, harm: numpy.ndarray, margin: float):
    """Answers that bets on inverse propensity scores take (Waudby-Smith and Ramdas)."""
    low, high = -1 / (1 - numpy.asarray(share, float)), 1 / numpy.asarray(share, float)
    spread = float(numpy.max(high - low)) / 2
    found = []
    for start in range(0, len(arm), ROWS):
        rows = slice(start, start + ROWS)
        x = unbiased(arm[rows], share, harm[rows].astype(float))
        bets = plug_in_bets(x, ALPHA, 0.0, spread)
        found.append(events_needed(log_capital(x, margin, low, high, bets, "beyond"), ALPHA))
    return numpy.concatenate(found)


def peeked(arm: numpy.ndarray, harm: numpy.ndarray, margin: float):
    """Answers that the fixed test takes when it is looked at after every one of them."""
    parts = [slice(start, start + ROWS) for start in range(0, len(arm), ROWS)]
    return numpy.concatenate([fixed.peeked(arm[rows], harm[rows], margin, ALPHA) for rows in parts])


def false_alarms() -> None:
    """The first table."""
    t = numpy.arange(20_000) / 20_000
    control = 0.05 + 0.03 * numpy.sin(4 * numpy.pi * t)
    stages = numpy.array([0.01, 0.05, 0.25, 0.5])[(4 * t).astype(int)]
    print("False alarms in percent of 1,000 rollouts: roll back, widen, weighted, peeked, once")
    for name, k, c, share, margin in (
        ("no harm, margin 0, half the users", 0.03, 0.03, 0.5, 0.0),
        ("2 points, margin 2, half the users", 0.03, 0.05, 0.5, 0.02),
        ("2 points, margin 2, 5 % of the users", 0.03, 0.05, 0.05, 0.02),
        ("2 points, margin 2, stages, drifting", control, control + 0.02, stages, 0.02),
    ):
        arm, harm = streams(1000, 20_000, k, c, share)
        begin = time.perf_counter()
        both = events_needed(e_processes(arm, share, harm, margin), ALPHA)
        seconds = time.perf_counter() - begin
        once = fixed.z_score(fixed.tally(arm, harm), margin) >= stats.norm.isf(ALPHA)
        found = [*both, weighted(arm, share, harm, margin), peeked(arm, harm, margin)]
        rates = [*(numpy.isfinite(needed).mean() for needed in found), once.mean()]
        print(f"{name:38}", *(f"{100 * rate:5.1f}" for rate in rates), f"  ({seconds:.1f} s)")


def delays() -> None:
    """The second table."""
    print("\nMedian answers until 5 points of harm are found: oracle, monitor, weighted; horizon")
    for k, c, share, margin, events in (
        (0.02, 0.07, 0.5, 0.0, 6_000),
        (0.02, 0.07, 0.5, 0.01, 6_000),
        (0.02, 0.07, 0.5, 0.02, 10_000),
        (0.02, 0.07, 0.25, 0.01, 8_000),
        (0.02, 0.07, 0.05, 0.01, 40_000),
        (0.10, 0.15, 0.5, 0.01, 15_000),
    ):
        arm, harm = streams(400, events, k, c, share, seed=1)
        needed = (
            events_needed(e_process(arm, share, harm, margin, rates=(c, k)), ALPHA),
            events_needed(e_process(arm, share, harm, margin), ALPHA),
            weighted(arm, share, harm, margin),
        )
        told = f"{100 * k:g} to {100 * c:g} %, margin {100 * margin:g}, share {100 * share:g} %"
        medians = " ".join(f"{numpy.median(column):7,.0f}" for column in needed)
        print(f"{told:38}", medians, f" {fixed.horizon(k, c, share, margin, ALPHA):7,}")


if __name__ == "__main__":
    false_alarms()
    delays()
