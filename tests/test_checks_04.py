"""The checkers of lesson 04 at their edges, and the numbers in its quiz."""

from __future__ import annotations

import json
import math
from statistics import fmean

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from helpers.exercises import grade
from helpers.quizzes import FOLDER, read_quiz


def headline(before, after):
    return 100 * (math.exp(after - before) - 1)


def headline_by_torch(before, after):
    return 100 * torch.tensor(after - before).expm1()


def kl(base, tuned):
    base, tuned = torch.as_tensor(base), torch.as_tensor(tuned)
    return (base.exp() * (base - tuned)).sum(-1).mean()


def kl_by_numpy(base, tuned):
    base, tuned = np.asarray(base), np.asarray(tuned)
    return (np.exp(base) * (base - tuned)).sum() / len(base)


def kl_in_loops(base, tuned):
    rows = zip(base, tuned, strict=True)
    return fmean(sum(math.exp(b) * (b - t) for b, t in zip(*row, strict=True)) for row in rows)


def kl_of_torch(base, tuned):
    base, tuned = torch.as_tensor(base), torch.as_tensor(tuned)
    return functional.kl_div(tuned, base, log_target=True, reduction="batchmean")


def margin(chosen, rejected, ref_chosen, ref_rejected):
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def dpo_loss(*pairs):
    *logs, beta = pairs
    return -functional.logsigmoid(beta * margin(*logs)).mean()


def dpo_by_softplus(*pairs):
    *logs, beta = pairs
    return float(functional.softplus(-beta * margin(*logs)).mean())


def dpo_in_loops(*pairs):
    *logs, beta = pairs
    return fmean(math.log1p(math.exp(-beta * float(m))) for m in margin(*logs))


def dpo_by_entropy(*pairs):
    *logs, beta = pairs
    logits = beta * margin(*logs)
    return functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("4.1", headline),
        ("4.1", headline_by_torch),
        ("4.1", lambda before, after: np.float32(headline(before, after))),
        ("4.2", kl),
        ("4.2", kl_by_numpy),
        ("4.2", kl_in_loops),
        ("4.2", kl_of_torch),
        ("4.2", lambda base, tuned: kl(base, tuned).item()),
        ("4.3", dpo_loss),
        ("4.3", dpo_by_softplus),
        ("4.3", dpo_in_loops),
        ("4.3", dpo_by_entropy),
        ("4.3", lambda *pairs: dpo_loss(*pairs).reshape(1)),
    ],
)
def test_any_kind_of_right_answer(exercise, answer):
    result = grade(exercise, answer)
    assert result.status == "right", result.message


@pytest.mark.parametrize(
    ("exercise", "stub"),
    [
        ("4.1", lambda before, after: 100 * (math.exp(...) - 1)),
        ("4.2", lambda base, tuned: (... * (base - tuned)).sum(-1).mean()),
        ("4.3", lambda c, r, ref_c, ref_r, beta: -functional.logsigmoid(beta * ...).mean()),
        ("4.3", lambda c, r, ref_c, ref_r, beta: -functional.logsigmoid(...).mean()),
    ],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


def powers_of(base):
    return lambda before, after: 100 * (base ** (after - before) - 1)


def weighted(weight, reduce=lambda terms: terms.sum(-1).mean()):
    """The difference of the logarithms, weighted and put together in some way."""
    return lambda base, tuned: reduce(weight(base, tuned) * (base - tuned))


def by_base(base, tuned):
    return base.exp()


def by_tuned(base, tuned):
    return tuned.exp()


def swapped_of_torch(base, tuned):
    return functional.kl_div(base, tuned, log_target=True, reduction="batchmean")


def without_sign(base, tuned):
    return (base.exp() * (base - tuned).abs()).sum(-1).mean()


def cross_entropy(base, tuned):
    return -(base.exp() * tuned).sum(-1).mean()


def tensors_only(base, tuned):
    return (base.exp() * (base - tuned)).sum(-1).mean()


def one_list_only(base, tuned):
    return kl(base, tuned) if torch.is_tensor(base) else kl(base[:1], tuned[:1])


def rows_of_lists(base, tuned):
    found = kl(base, tuned)
    return found if torch.is_tensor(base) else [found]


def of_margin(loss):
    """An answer that gets the margins right, and goes on in some way."""
    return lambda *pairs: loss(margin(*pairs[:-1]), pairs[-1])


def without_reference(chosen, rejected, ref_chosen, ref_rejected, beta):
    return -functional.logsigmoid(beta * (chosen - rejected)).mean()


def adding_the_reference(chosen, rejected, ref_chosen, ref_rejected, beta):
    return dpo_loss(chosen, rejected, -ref_chosen, -ref_rejected, beta)


def of_quotients(chosen, rejected, ref_chosen, ref_rejected, beta):
    return -functional.logsigmoid(beta * (chosen / ref_chosen - rejected / ref_rejected)).mean()


def swapping_answers(chosen, rejected, ref_chosen, ref_rejected, beta):
    return dpo_loss(rejected, chosen, ref_rejected, ref_chosen, beta)


def swapping_models(chosen, rejected, ref_chosen, ref_rejected, beta):
    return dpo_loss(ref_chosen, ref_rejected, chosen, rejected, beta)


def by_math_log(*pairs):
    *logs, beta = pairs
    return fmean(-math.log(p) for p in torch.sigmoid(beta * margin(*logs)))


def logsigmoid(x):
    return functional.logsigmoid(x).mean()


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("4.1", lambda before, after: 100 * (after / before - 1), "percent of the loss"),
        ("4.1", lambda before, after: math.exp(after) - math.exp(before), "difference of the"),
        ("4.1", lambda b, a: 100 * (math.exp(a) - math.exp(b)), "Divide it by the one before"),
        ("4.1", lambda before, after: -headline(after, before), "of the new perplexity"),
        ("4.1", lambda before, after: math.expm1(after - before), "a hundred times as much"),
        ("4.1", lambda before, after: 100 * math.exp(after - before), "Its rise is 100 less"),
        ("4.1", lambda before, after: 100 * (after - before), "only where the rise is small"),
        ("4.1", lambda before, after: after - before, "rise in nats"),
        ("4.1", powers_of(2), "take powers of e"),
        ("4.1", powers_of(10), "take powers of e"),
        ("4.1", lambda before, after: headline(after, before), "wrong way round"),
        ("4.1", lambda before, after: -headline(before, after), "wrong way round"),
        ("4.1", lambda before, after: abs(headline(before, after)), "keep the minus sign"),
        ("4.1", lambda before, after: max(0, headline(before, after)), "keep the minus sign"),
        ("4.1", lambda before, after: round(headline(before, after)), "Do not round"),
        ("4.1", lambda before, after: 43.3, "it is 43.33 %, not 43.3 %"),
        ("4.1", lambda before, after: float("nan"), "not nan %"),
        ("4.1", lambda before, after: f"{headline(before, after):.0f} %", "returned a str"),
        ("4.2", lambda base, tuned: kl(tuned, base), "KL(tuned || base)"),
        ("4.2", swapped_of_torch, "takes the two the other way round"),
        ("4.2", weighted(by_tuned), "those of the tuned model"),
        ("4.2", lambda base, tuned: -kl(base, tuned), "no KL is below 0"),
        ("4.2", weighted(by_base, torch.sum), "the sum over the tokens"),
        ("4.2", weighted(by_base, torch.mean), "mean over the vocabulary as well"),
        ("4.2", weighted(by_base, lambda terms: terms.sum(0).mean()), "the other way round"),
        ("4.2", weighted(lambda base, tuned: 1), "not weighted"),
        ("4.2", weighted(lambda base, tuned: 1, torch.mean), "not weighted"),
        ("4.2", weighted(lambda base, tuned: base), "weights are log-probabilities"),
        ("4.2", without_sign, "Keep the sign"),
        ("4.2", lambda base, tuned: kl(base, tuned) / math.log(2), "in bits"),
        ("4.2", lambda b, t: (kl(b, t) + kl(t, b)) / 2, "in both directions"),
        ("4.2", lambda b, t: kl(b, t) + kl(t, b), "in both directions"),
        ("4.2", cross_entropy, "cross-entropy"),
        ("4.2", weighted(by_base, lambda terms: terms.sum(-1)), "Take the mean over the tokens"),
        ("4.2", lambda base, tuned: [0.0], "returned a list"),
        ("4.2", lambda base, tuned: 7.0, "not 7.0000"),
        ("4.2", lambda base, tuned: float("nan"), "not nan"),
        ("4.2", tensors_only, "has no attribute 'exp'. Lists are to work too"),
        ("4.2", one_list_only, "For two lists it is"),
        ("4.2", rows_of_lists, "returned a list"),
        ("4.3", without_reference, "The reference is missing"),
        ("4.3", adding_the_reference, "to be subtracted, not added"),
        ("4.3", of_quotients, "log-likelihoods subtracted"),
        ("4.3", swapping_answers, "are swapped"),
        ("4.3", swapping_models, "are swapped"),
        ("4.3", of_margin(lambda m, beta: -logsigmoid(m)), "beta is missing"),
        ("4.3", of_margin(lambda m, beta: -beta * logsigmoid(m)), "inside the sigmoid"),
        ("4.3", of_margin(lambda m, beta: -logsigmoid(m / beta)), "beta multiplies"),
        ("4.3", of_margin(lambda m, beta: -(beta * m).sigmoid().mean()), "The logarithm"),
        ("4.3", of_margin(lambda m, beta: (beta * m).sigmoid().mean()), "The logarithm"),
        ("4.3", of_margin(lambda m, beta: 1 - (beta * m).sigmoid().mean()), "The logarithm"),
        ("4.3", of_margin(lambda m, beta: -beta * m.mean()), "The sigmoid is missing"),
        ("4.3", of_margin(lambda m, beta: logsigmoid(beta * m)), "The minus sign"),
        ("4.3", of_margin(lambda m, beta: -len(m) * logsigmoid(beta * m)), "the sum over"),
        ("4.3", of_margin(lambda m, beta: -logsigmoid(beta * m.mean())), "Average at the end"),
        ("4.3", of_margin(lambda m, beta: -(beta * m).sigmoid().mean().log()), "at the end"),
        ("4.3", of_margin(lambda m, beta: -functional.logsigmoid(beta * m)), "mean over the pairs"),
        ("4.3", of_margin(lambda m, beta: -logsigmoid(0.1 * m)), "a beta of 0.5"),
        ("4.3", of_margin(lambda m, beta: -(beta * m).sigmoid().log().mean()), "200, not inf"),
        ("4.3", of_margin(lambda m, beta: (1 + (-beta * m).exp()).log().mean()), "not inf"),
        ("4.3", of_margin(lambda m, beta: (1 + (beta * m).exp()).log().mean() - beta * m.mean()),
         "it is 0, not inf"),
        ("4.3", of_margin(lambda m, beta: -((beta * m).sigmoid() + 1e-9).log().mean()), "not 20.7"),
        ("4.3", by_math_log, "with a margin of -200. That far out the sigmoid is rounded"),
        ("4.3", lambda *pairs: [dpo_loss(*pairs)], "returned a list"),
    ],
)  # fmt: skip
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


def test_the_learners_own_errors_pass_through():
    for exercise in ("4.1", "4.2", "4.3"):
        message = grade(exercise, lambda *arguments: {}["gone"]).message
        assert "Your function raised KeyError: 'gone'" in message


def test_the_quiz_has_five_questions_and_an_open_one():
    entries = read_quiz(FOLDER / "04.json")
    assert [("open" in entry) for entry in entries] == [False] * 5 + [True]
    assert all(len(entry["options"]) == 4 for entry in entries[:5])
    places = [[o["correct"] for o in entry["options"]].index(True) for entry in entries[:5]]
    assert len(set(places)) > 2


def quiz_text(number):
    """Question `number` with all of its options, or the open one."""
    return json.dumps(read_quiz(FOLDER / "04.json")[number - 1])


def test_what_is_measured_nowhere_is_supposed():
    entries = read_quiz(FOLDER / "04.json")
    assert all(entry["question"].startswith("Suppose that ") for entry in entries[:5])


def test_the_numbers_of_the_first_question():
    text = quiz_text(1)
    assert "from 60 to 54 right answers of 100" in text
    assert f"lost {100 * (60 - 54) / 60:.0f} %: {60 - 54} of 60. In points it is {60 - 54}" in text
    assert "from 1.80 to 2.16 nats" in text
    rise = 2.16 - 1.80
    assert f"perplexity has risen by {headline(1.80, 2.16):.0f} %" in text
    assert (
        f"risen by {rise:.2f} nats, and e to the power of {rise:.2f} is {math.exp(rise):.2f}."
        in text
    )
    assert f"The loss is {100 * rise / 1.80:.0f} % higher" in text
    assert f"same {rise:.2f} would be {100 * rise / 0.90:.0f} % of a loss of 0.90" in text
    assert "as 6 points, as 10 % of the accuracy and as 20 % of the loss" in text


def test_the_numbers_of_the_second_question():
    text = quiz_text(2)
    assert "solves 90 of 100" in text and "The fall from 90 to 30" in text
    before, after = (fmean([same] * 4 + [number]) for same, number in ((2.0, 3.0), (0.0, 2.0)))
    fall = f"from {before:.1f} to {after:.1f}"
    assert f"training loss falls {fall} nats per token" in text
    assert f"from 2.0 to 0 nats and the number from 3.0 to 2.0, the mean falls {fall}" in text
    assert f"of about {100 * math.exp(-2.0):.0f} %" in text


def test_the_numbers_of_the_third_question():
    text = quiz_text(3)
    # Each rate lies far above the one before, so that the order within a domain is always right;
    # in the order of the domains the two hardly agree.
    places = np.arange(8), np.array([0, 2, 5, 7, 6, 4, 3, 1])
    kls, lost = (np.concatenate([order, 100 + order, 200 + order]) for order in places)
    assert f"Over the {len(kls)} runs" in text
    assert f"with points lost is {stats.spearmanr(kls, lost).statistic:.1f}. Within" in text
    within = [stats.spearmanr(kls[d::8], lost[d::8]).statistic for d in range(8)]
    assert f"Within each domain it is {min(within):.1f}; among" in text
    across = stats.spearmanr(*places).statistic
    assert f"runs of the same rate it is {across:.1f}." in text
    low, high = np.tanh(np.arctanh(0.1) + np.array([-1, 1]) * 1.96 / math.sqrt(8 - 3))
    assert f"of 0.1 goes from about minus {-low:.2f} to {high:.2f}." in text
    assert f"explains {100 * 0.9**2:.0f} %" in text


def test_the_numbers_of_the_fourth_question():
    text = quiz_text(4)
    assert "refuses 100 % of harmful requests instead of 90 %" in text
    assert "from 2 to 20 %, and that 10 of 1,000 requests" in text
    assert f"Then {10 * (100 - 90) / 100:.0f} more is rightly refused" in text
    assert f"and {(1_000 - 10) * (20 - 2) / 100:.0f} people more" in text


def test_the_numbers_of_the_fifth_question():
    text = quiz_text(5)
    shop, wider = 700, 1_000 - 700
    assert "1,000 questions a week, 700 of them" in text and f"{wider} others from 80 to 20" in text
    before, after = (shop * a + wider * b for a, b in ((0.6, 0.8), (0.8, 0.2)))
    assert f"{0.2 * shop:.0f} more are right, and of the others {0.6 * wider:.0f} fewer" in text
    assert f"{after:.0f} a week where there were {before:.0f}" in text
    assert f"from {before:.0f} to {after:.0f} of 1,000" in text
    gain, loss = 80 - 60, 80 - 20
    assert f"With {gain} points gained and {loss} lost" in text
    assert f"more than {100 * gain / (gain + loss):.0f} % of the questions" in text
    assert f"and here {100 * wider / 1_000:.0f} % are" in text
    left, right = 1_000 - 200, shop * 0.8 + (wider - 200) * 0.2
    assert f"{right:.0f} of {left} are right. That is {100 * right / left:.1f} %" in text
    assert f"better than the {100 * before / 1_000:.0f} % of the beginning" in text
    error = math.sqrt(sum(share * (1 - share) / wider for share in (0.8, 0.2)))
    assert f"the standard error of the difference is {100 * error:.1f} points" in text
