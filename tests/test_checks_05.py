"""The checkers of lesson 05 at their edges, and the numbers in its quiz."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from helpers import audit
from helpers.audit.paired import bounds, mcnemar, pair
from helpers.exercises import grade
from helpers.judging.agreement import kappa
from helpers.quizzes import FOLDER, read_quiz
from helpers.snapshots import wilson

Z = 1.645 + 0.842


def verdict(low, high, margin):
    if high < margin:
        return "PASS"
    return "BLOCK" if low > margin else "INCONCLUSIVE"


def verdict_by_signs(low, high, margin):
    return {-2: "PASS", 2: "BLOCK"}.get(
        np.sign([low - margin, high - margin]).sum(), "INCONCLUSIVE"
    )


def items_for(margin, changed):
    return math.ceil(Z**2 * changed / (margin / 100) ** 2)


def items_for_exactly(margin, changed):
    z = stats.norm.ppf([0.95, 0.8]).sum()
    return int(np.ceil((100 * z / margin) ** 2 * changed))


def mcnemar_p(lost, gained):
    n = lost + gained
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(lost, gained) + 1)) / 2**n)


def mcnemar_by_likelihood(lost, gained):
    """Adds all splits that are at most as probable."""
    chance = stats.binom.pmf(range(lost + gained + 1), lost + gained, 0.5)
    return chance[chance <= chance[lost] * (1 + 1e-9)].sum()


def mcnemar_by_doubling(lost, gained):
    return np.float32(min(1, 2 * stats.binom.cdf(min(lost, gained), lost + gained, 0.5)))


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("5.1", verdict),
        ("5.1", verdict_by_signs),
        ("5.1", lambda *ends: np.str_(verdict(*ends))),
        ("5.2", items_for),
        ("5.2", items_for_exactly),
        ("5.2", lambda margin, changed: -int(-(Z**2) * changed // (margin / 100) ** 2)),
        ("5.3", mcnemar_p),
        ("5.3", mcnemar_by_likelihood),
        ("5.3", mcnemar_by_doubling),
        ("5.3", mcnemar),
    ],
)
def test_any_kind_of_right_answer(exercise, answer):
    result = grade(exercise, answer)
    assert result.status == "right", result.message


@pytest.mark.parametrize(
    ("exercise", "stub"),
    [
        ("5.1", lambda low, high, margin: ... if high < margin else "BLOCK"),
        ("5.2", lambda margin, changed: math.ceil(... * changed)),
        ("5.3", lambda lost, gained: min(1.0, 2 * ...)),
    ],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


def by_middle(low, high, margin):
    return verdict((low + high) / 2, (low + high) / 2, margin)


def by_lower_end(low, high, margin):
    return verdict(low, low, margin)


def by_upper_end(low, high, margin):
    return verdict(high, high, margin)


def significant_blocks(low, high, margin):
    return "BLOCK" if low > 0 else verdict(low, high, margin)


def not_significant_passes(low, high, margin):
    return "PASS" if low < 0 < high else verdict(low, high, margin)


def containing_zero(low, high, margin):
    return "INCONCLUSIVE" if low < 0 < high else verdict(low, high, margin)


def of_sizes(low, high, margin):
    low, high = sorted((abs(low), abs(high)))
    return verdict(low, high, margin)


def passing_at_the_margin(low, high, margin):
    return "PASS" if high <= margin else verdict(low, high, margin)


def blocking_at_the_margin(low, high, margin):
    return "BLOCK" if low >= margin else verdict(low, high, margin)


def unfinished_verdict(low, high, margin):
    if high < margin:
        return "PASS"


def items(z=Z, unit=100, power=2, variance=lambda changed: changed):
    return lambda margin, changed: math.ceil(z**2 * variance(changed) / (margin / unit) ** power)


def unrounded(margin, changed):
    return Z**2 * changed / (margin / 100) ** 2


def z_unsquared(margin, changed):
    return math.ceil(Z * changed / (margin / 100) ** 2)


def one_tail(lost, gained):
    return stats.binom.sf(max(lost, gained) - 1, lost + gained, 0.5)


def more_lost(lost, gained):
    return stats.binom.sf(lost - 1, lost + gained, 0.5)


def doubled_without_limit(lost, gained):
    return 2 * stats.binom.cdf(min(lost, gained), lost + gained, 0.5)


def doubled_one_way(lost, gained):
    return min(1.0, 2 * more_lost(lost, gained))


def chi_square(lost, gained, correction=0):
    statistic = (abs(lost - gained) - correction) ** 2 / (lost + gained)
    return stats.chi2.sf(statistic, 1)


def this_split(lost, gained):
    return stats.binom.pmf(lost, lost + gained, 0.5)


def more_uneven(lost, gained):
    return 2 * stats.binom.cdf(min(lost, gained) - 1, lost + gained, 0.5)


def by_scipy(lost, gained):
    return stats.binomtest(lost, lost + gained).pvalue


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("5.1", by_middle, "neither its middle nor one of its ends"),
        ("5.1", by_lower_end, "neither its middle nor one of its ends"),
        ("5.1", by_upper_end, "neither its middle nor one of its ends"),
        ("5.1", significant_blocks, "above 0 is not beyond the margin"),
        ("5.1", not_significant_passes, "not significant may still be beyond the margin"),
        ("5.1", containing_zero, "the whole interval lies below the margin"),
        ("5.1", of_sizes, "a negative drop is a gain"),
        ("5.1", lambda low, high, margin: verdict(low, high, 5), "the margin is not 5"),
        ("5.1", passing_at_the_margin, "equals the margin is not below it"),
        ("5.1", blocking_at_the_margin, "equals the margin is not above it"),
        ("5.1", lambda *ends: verdict(*ends).lower(), "It returned 'pass'"),
        ("5.1", lambda low, high, margin: high < margin, "It returned True"),
        ("5.1", unfinished_verdict, "is a `return` missing?"),
        ("5.2", items(unit=1), "divide it by 100"),
        ("5.2", items(power=1), "to be squared as well"),
        ("5.2", z_unsquared, "The sum of the two values of z is to be squared"),
        ("5.2", items(z=math.hypot(1.645, 0.842)), "before you square"),
        ("5.2", items(z=1.96 + 0.842), "two-sided"),
        ("5.2", items(z=1.645), "Without 0.842"),
        ("5.2", items(variance=lambda changed: 2 * changed * (1 - changed)), "For pairs"),
        ("5.2", items(variance=lambda changed: changed * (1 - changed)), "For pairs"),
        ("5.2", items(variance=lambda changed: 0.5), "For pairs"),
        ("5.2", lambda *plan: int(unrounded(*plan)), "Where 15.5 items are needed, return 16"),
        ("5.2", lambda *plan: round(unrounded(*plan)), "round up"),
        ("5.2", unrounded, "round up"),
        ("5.2", lambda *plan: float(items_for(*plan)), "it is a float"),
        ("5.2", lambda *plan: [items_for(*plan)], "one number is asked for"),
        ("5.2", lambda *plan: 7, "it is about 687, not 7"),
        ("5.3", one_tail, "one tail"),
        ("5.3", more_lost, "one tail"),
        ("5.3", lambda lost, gained: more_lost(gained, lost), "one tail"),
        ("5.3", doubled_without_limit, "it is 1, not 1.312"),
        ("5.3", doubled_one_way, "as uneven as 2 lost and 8 gained"),
        ("5.3", chi_square, "chi-square"),
        ("5.3", lambda lost, gained: chi_square(lost, gained, 1), "chi-square"),
        ("5.3", this_split, "this split alone"),
        ("5.3", more_uneven, "This split itself is missing"),
        ("5.3", lambda lost, gained: 0.5, "it is 0.1094, not 0.5"),
        ("5.3", lambda lost, gained: stats.binomtest(lost, lost + gained), "one number"),
        ("5.3", by_scipy, "Return 1.0 when nothing changed"),
        ("5.3", lambda lost, gained: mcnemar_p(lost, gained) * min(1, lost + gained), "not 0"),
    ],
)
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


def test_the_learners_own_errors_pass_through():
    for exercise in ("5.1", "5.2", "5.3"):
        message = grade(exercise, lambda *arguments: {}["gone"]).message
        assert "Your function raised KeyError: 'gone'" in message


def test_the_quiz_has_five_questions_and_an_open_one():
    entries = read_quiz(FOLDER / "05.json")
    assert [("open" in entry) for entry in entries] == [False] * 5 + [True]
    assert all(len(entry["options"]) == 4 for entry in entries[:5])
    places = [[o["correct"] for o in entry["options"]].index(True) for entry in entries[:5]]
    assert len(set(places)) > 2


def quiz_text(number):
    """Question `number` with all of its options, or the open one."""
    return json.dumps(read_quiz(FOLDER / "05.json")[number - 1])


def flips(n, lost, gained, right):
    """Scores of n items, of which `right` were answered before."""
    before = [1] * right + [0] * (n - right)
    after = [0] * lost + [1] * (right - lost + gained) + [0] * (n - right - gained)
    return pair(before, after)


def chances_of_changes(n, changed, drop):
    """Every number of lost and gained answers, with its probability."""
    for count in range(n + 1):
        weight = stats.binom.pmf(count, n, changed)
        if weight > 1e-12:
            lost = np.arange(count + 1)
            share = (changed + drop) / 2 / changed
            yield lost, count - lost, weight * stats.binom.pmf(lost, count, share)


def test_the_numbers_of_the_first_question():
    text, found = quiz_text(1), flips(60, 6, 2, right=40)
    low, high = bounds(found)
    assert f"a drop of {100 * found.drop:.1f} points" in text
    assert f"from minus {-100 * low:.1f} to {100 * high:.1f}" in text
    assert f"p = {mcnemar(6, 2):.2f}" in text
    significant = sum(
        weight
        for lost, gained, weights in chances_of_changes(60, 0.10, 0.05)
        for x, y, weight in zip(lost, gained, weights, strict=True)
        if mcnemar(int(x), int(y)) < 0.05
    )
    assert f"significant in {significant:.0%} of".replace("%", " %") in text


def test_the_numbers_of_the_second_question():
    text, found = quiz_text(2), flips(500, 35, 15, right=325)
    for right in (325, 305):
        assert "{:.0f} to {:.0f}".format(*wilson(right, 500)) in text
    apart = math.sqrt(sum(share * (1 - share) / 500 for share in (0.65, 0.61)))
    assert f"is {100 * found.error:.1f} points in pairs, and {100 * apart:.1f} if" in text
    unpaired = 2 * (1 - statistics.NormalDist().cdf(found.drop / apart))
    assert f"p is {mcnemar(35, 15):.3f}, and it would be {unpaired:.2f}" in text


def test_the_numbers_of_the_third_and_fourth_question():
    assert f"up to {100 * (1 - 0.95**20):.0f} %" in quiz_text(3)
    assert f"just {100 * 0.8**20:.1f} %" in quiz_text(3)
    assert f"rose by {(9 * 2 - 9) / 10}" in quiz_text(4)


def test_the_numbers_of_the_fifth_question():
    text = quiz_text(5)
    # Of ten mistakes, so many are bad answers called good.
    kappas = [kappa(1 - (10 - bad) / 90, 1 - bad / 10, good=0.9) for bad in range(11)]
    assert f"from {min(kappas):.0f} to {max(kappas):.2f}" in text
    assert kappas[10] == 0 and kappas[0] == max(kappas)
    assert f"It is {kappas[5]:.2f} if the judge took five" in text
    assert f"agree on {100 * (0.9**2 + 0.1**2):.0f} %" in text
    assert f"begins at {wilson(10, 10)[0]:.0f} %" in text


def test_the_numbers_of_the_open_question():
    text = quiz_text(6)
    blocked = [
        sum(
            weights[lost - gained >= 10].sum()
            for lost, gained, weights in chances_of_changes(500, 0.10, drop)
        )
        for drop in (0.0, 0.02)
    ]
    assert f"blocked in {100 * blocked[0]:.0f} % of" in text
    assert f"gets through in {100 * (1 - blocked[1]):.0f} %" in text
    passes, _ = audit.chances(500, margin=2, discordance=0.10, drop=0)
    _, caught = audit.chances(500, margin=2, discordance=0.10, drop=4)
    assert f"passes in {100 * passes:.0f} % of" in text
    assert f"is blocked in {100 * caught:.0f} %." in text
    needed = [audit.items_needed(2, changed) for changed in (0.10, 0.03, 0.20)]
    assert "needs {:,} questions, {:,} if 3 %".format(*needed) in text
    assert f"and {needed[2]:,} if 20 %" in text
    assert f"passes in {100 * audit.chances(500, margin=4)[0]:.0f} %." in text
