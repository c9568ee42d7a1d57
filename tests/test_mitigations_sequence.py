"""ACC, BWT and forgetting on matrices worked out by hand; the ratios of a cost."""

from __future__ import annotations

import math

import numpy
import pytest

from helpers.mitigations import accuracy, backward_transfer, forgetting
from helpers.mitigations.costs import Cost

NAN = float("nan")

#: Three tasks. After the last stage: 60, 70 and 90, whose mean is 73 1/3.
#: Learned at 80 and 90, kept at 60 and 70: BWT = (-20 - 20) / 2 = -20.
#: Best before the last stage 85 (after stage 1) and 90: forgetting = (25 + 20) / 2 = 22.5.
WORKED = [[80, 10, 0], [85, 90, 20], [60, 70, 90]]

#: The second task was best before it was learned, and the first improved in the last stage.
#: ACC = (60 + 40) / 2; BWT = 60 - 50 = 10; forgetting = 50 - 60 = -10.
IMPROVED = [[50, 30], [60, 40]]

#: The middle task was at its best one stage before its own: 95, then 90, at last 50.
#: ACC = (70 + 50 + 80) / 3; BWT = (0 - 40) / 2; forgetting = (0 + 45) / 2.
BEFORE_ITS_TURN = [[70, 95, 0], [65, 90, 0], [70, 50, 80]]


@pytest.mark.parametrize(
    ("scores", "acc", "bwt", "lost"),
    [
        (WORKED, 220 / 3, -20, 22.5),
        (IMPROVED, 50, 10, -10),
        (BEFORE_ITS_TURN, 200 / 3, -20, 22.5),
        ([[5, 5], [5, 5]], 5, 0, 0),
    ],
)
def test_examples_worked_out_by_hand(scores, acc, bwt, lost):
    for given in (scores, numpy.array(scores, dtype=float)):
        assert accuracy(given) == pytest.approx(acc)
        assert backward_transfer(given) == pytest.approx(bwt)
        assert forgetting(given) == pytest.approx(lost)


def test_they_agree_with_their_formulas_on_random_matrices():
    rng = numpy.random.default_rng(0)
    for size in (2, 4, 7):
        r = rng.uniform(0, 100, (size, size))
        assert accuracy(r) == pytest.approx(r[-1].mean())
        assert backward_transfer(r) == pytest.approx((r[-1] - r.diagonal())[:-1].mean())
        assert forgetting(r) == pytest.approx((r[:-1].max(0) - r[-1])[:-1].mean())


def test_scores_that_are_not_needed_may_be_missing():
    unmeasured = [[80, NAN, NAN], [85, 90, NAN], [60, 70, 90]]
    assert accuracy(unmeasured) == pytest.approx(220 / 3)
    assert backward_transfer(unmeasured) == -20
    with pytest.raises(ValueError, match="task 1 after stage 0 is nan: measure it"):
        forgetting(unmeasured)


@pytest.mark.parametrize("function", [accuracy, backward_transfer, forgetting])
@pytest.mark.parametrize("scores", [[], [[1, 2]], [[1, 2], [3]], [[1], [2]]])
def test_a_matrix_that_is_not_square_is_refused(function, scores):
    with pytest.raises(ValueError, match="a row per stage and a column per task"):
        function(scores)


def test_one_task_cannot_forget():
    assert accuracy([[70]]) == 70
    for function in (backward_transfer, forgetting):
        with pytest.raises(ValueError, match="two or more"):
            function([[70]])
    assert math.isfinite(backward_transfer(IMPROVED))


def test_a_cost_is_two_ratios():
    found = Cost(seconds=0.3, plain_seconds=0.15, bytes=30, plain_bytes=20)
    assert (found.time_ratio, found.memory_ratio) == (2, 1.5)
    assert str(found) == "step time × 2.00, peak memory × 1.50"
