"""The checkers of lesson 04 at their edges."""

from __future__ import annotations

import math
import re
from functools import cache
from statistics import fmean

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.blindspot.steps import look_up
from helpers.exercises import grade
from helpers.suites import load_suites


def cheat(prompt):
    return re.findall(r"\d+", prompt)[-1] + "."


def cheat_by_words(prompt):
    return [word.strip("?.") for word in prompt.split() if word.strip("?.").isdigit()][-1]


@cache
def results():
    return look_up(load_suites("reasoning", size=40)[0])


def knows(prompt):
    """Looks every result up."""
    return results()(prompt)


def computes_the_rest(prompt):
    """Right after both steps, and after the first one too."""
    return knows(prompt) if "= " in prompt else "7."


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
        ("4.1", cheat),
        ("4.1", cheat_by_words),
        ("4.1", lambda prompt: f" {cheat(prompt)} That is all."),
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
        ("4.1", lambda prompt: ...),
        ("4.2", lambda base, tuned: (... * (base - tuned)).sum(-1).mean()),
        ("4.3", lambda c, r, ref_c, ref_r, beta: -functional.logsigmoid(beta * ...).mean()),
        ("4.3", lambda c, r, ref_c, ref_r, beta: -functional.logsigmoid(...).mean()),
    ],
)
def test_a_half_filled_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


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
        ("4.1", lambda prompt: re.findall(r"\d+", prompt)[0], "the first, the largest, the last"),
        ("4.1", lambda prompt: max(re.findall(r"\d+", prompt), key=int), "the largest, the last"),
        ("4.1", lambda prompt: re.findall(r"\d", prompt)[-1], "takes one digit"),
        ("4.1", lambda prompt: prompt.split()[-1], "Look for the last *number*"),
        ("4.1", lambda prompt: f"The answer is {cheat(prompt)}", "return only what follows it"),
        ("4.1", lambda prompt: f"= {cheat(prompt)}", "more than the number"),
        ("4.1", lambda prompt: "42.", "says '42.' to every prompt"),
        ("4.1", lambda prompt: f"So it is {cheat(prompt)}", "and the result is"),
        ("4.1", lambda prompt: int(cheat(prompt)[:-1]), "returned a int"),
        ("4.1", knows, "your rule computes, or knows"),
        ("4.1", computes_the_rest, "works out the second step"),
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
