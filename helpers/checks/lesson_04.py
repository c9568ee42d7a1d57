"""Checkers of the exercises in lesson 04."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from numbers import Real
from statistics import fmean
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from ..blindspot.steps import CONCLUSION, first_stop, two_step
from ..suites import load_suites
from . import exercise

#: What to say about a number, and how one arrives at it.
Mistakes = Sequence[tuple[str, Callable[..., Any]]]


def _not_numbers(found: list[Any], remedy: str = "") -> str | None:
    """What to say about answers that are not one number each, or None."""
    for value in found:
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            shape = tuple(value.shape)
            return f"It returned a tensor of shape {shape}; one number is asked for.{remedy}"
        if not isinstance(value, (Real, torch.Tensor)):
            return f"It returned a {type(value).__name__}; one number is asked for.{remedy}"
    return None


def _close(found: Any, expected: Any) -> bool:
    return math.isclose(float(found), float(expected), rel_tol=1e-4, abs_tol=1e-6)


def _mistake(found: list[Any], cases: list[tuple[Any, ...]], mistakes: Mistakes) -> str | None:
    """What to say where all the numbers come about by the same mistake, or None."""
    for message, mistaken in mistakes:
        if all(_close(value, mistaken(*case)) for value, case in zip(found, cases, strict=True)):
            return message
    return None


def _last_number(text: str) -> str:
    """Digits from the right, found without a regular expression."""
    end = max(place for place, sign in enumerate(text) if sign.isdigit()) + 1
    start = end
    while start and text[start - 1].isdigit():
        start -= 1
    return text[start:end]


#: What a rule that is right after no step has done, instead of copying.
THINKS = (
    "It is right in {0:.0f} % with no step there, where the base, read to its first full stop, was "
    "never right: your rule computes, or knows the results. What would a rule do that cannot think?"
)


@exercise(
    "4.1",
    reading="So 0, 0 and 100 % are no evidence of thought. A planted second result fools it, too.",
)
def cheat(function) -> str | None:
    (suite,) = load_suites("reasoning", size=40)
    problems = two_step(suite)
    prompts = [
        [" ".join([p.prompt, *p.chain.steps[:count], CONCLUSION]) for p in problems]
        for count in range(3)
    ]
    said = [[function(prompt) for prompt in each] for each in prompts]
    for text in (text for each in said for text in each):
        if not isinstance(text, str):
            return f"It returned a {type(text).__name__}; return what follows the prompt, as text."
    read = [[first_stop(text) for text in each] for each in said]
    right = [problem.chain.result for problem in problems]
    shares = [100 * fmean(map(str.__eq__, each, right)) for each in read]
    if shares[2] < 95:
        return _why_not_right(prompts[2], said[2], right, shares[2])
    if shares[0] > 5:
        return THINKS.format(shares[0])
    if shares[1] > 5:
        return (
            f"After one step it is right in {shares[1]:.0f} %, where the base was never right: it "
            "works out the second step. Let it read the steps and compute nothing."
        )
    return None


def _why_not_right(prompts: list[str], said: list[str], right: list[str], share: float) -> str:
    """What to say about a rule that does not name the result where both steps stand there."""
    if all(CONCLUSION in text for text in said):
        return f'"{CONCLUSION}" stands in the prompt already: return only what follows it.'
    if all(
        text.strip(" .") in prompt.split()[-1] for text, prompt in zip(said, prompts, strict=True)
    ):
        return 'The last word of every prompt is "is". Look for the last *number*.'
    digits = [_last_number(prompt)[-1] for prompt in prompts]
    if all(text.strip(" .") == digit for text, digit in zip(said, digits, strict=True)):
        return r"It takes one digit, and most results have two. `\d+` stands for a whole number."
    if any(text.strip(" .").startswith(("=", "+", "-", "x", "/")) for text in said):
        return "There is more than the number in it. Return the digits of the result alone."
    if len(set(said)) == 1:
        return f"It says {said[0]!r} to every prompt. The result stands in the prompt: where?"
    copied = zip([text.strip(" .") for text in said], prompts, strict=True)
    if all(re.search(rf"\b{re.escape(text)}\b", prompt) for text, prompt in copied):
        return (
            f"It copies a number, but is right in only {share:.0f} % with both steps there. Which "
            "number of the prompt is the result: the first, the largest, the last?"
        )
    example = f"for {prompts[0][-45:]!r} it returned {said[0]!r}, and the result is {right[0]}"
    return f"With both steps there it is right in {share:.0f} %; {example}."


def _logs(seed: int, tokens: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of two models."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(2, tokens, vocabulary, generator=generator)
    base, tuned = logits.log_softmax(-1)
    return base, tuned


def _kl(base: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
    """The mean over tokens, as the library has it: it wants the reference second."""
    return torch.nn.functional.kl_div(tuned, base, reduction="batchmean", log_target=True)


UNWEIGHTED = "The differences are not weighted: multiply each by the base's probability."
BOTH_WAYS = "That is the same in both directions. Only the one from the base is asked for."
SWAPPED = (
    "That is KL(tuned || base): the probabilities in front are those of the base. "
    "(`torch.nn.functional.kl_div` takes the two the other way round.)"
)
ON_KL: Mistakes = [
    (SWAPPED, lambda base, tuned: _kl(tuned, base)),
    ("The probabilities in front are those of the tuned model. Take the base's.",
     lambda base, tuned: -_kl(tuned, base)),
    ("The sign is wrong: no KL is below 0. Take the base's logarithm minus the tuned model's.",
     lambda base, tuned: -_kl(base, tuned)),
    ("That is the sum over the tokens, and grows with every answer. Take the mean over them.",
     lambda base, tuned: len(base) * _kl(base, tuned)),
    ("That is a mean over the vocabulary as well. Sum over it, and average over the tokens.",
     lambda base, tuned: _kl(base, tuned) / base.shape[1]),
    ("It is the other way round: sum over the vocabulary, and average over the tokens.",
     lambda base, tuned: _kl(base, tuned) * len(base) / base.shape[1]),
    (UNWEIGHTED, lambda base, tuned: (base - tuned).sum(-1).mean()),
    (UNWEIGHTED, lambda base, tuned: (base - tuned).mean()),
    ("The weights are log-probabilities. Their `exp` is the probability.",
     lambda base, tuned: (base * (base - tuned)).sum(-1).mean()),
    ("Keep the sign of each difference: where the tuned model is likelier, it counts below 0.",
     lambda base, tuned: (base.exp() * (base - tuned).abs()).sum(-1).mean()),
    ("That is in bits. With natural logarithms it is in nats.",
     lambda base, tuned: _kl(base, tuned) / math.log(2)),
    (BOTH_WAYS, lambda base, tuned: (_kl(base, tuned) + _kl(tuned, base)) / 2),
    (BOTH_WAYS, lambda base, tuned: _kl(base, tuned) + _kl(tuned, base)),
    ("That is the cross-entropy. Subtract the base's own entropy.",
     lambda base, tuned: -(base.exp() * tuned).sum(-1).mean()),
]  # fmt: skip


@exercise(
    "4.2", reading="`helpers.mechanics.kl_to_base` has it for two models and the rows of a dataset."
)
def kl(function) -> str | None:
    # More tokens than entries, and fewer: a mean over the wrong dimension is then far off.
    cases = [_logs(0, 5, 4), _logs(1, 2, 6)]
    expected = [_kl(*case) for case in cases]
    found = [function(*case) for case in cases]
    if mistake := _not_numbers(found, " Take the mean over the tokens."):
        return mistake
    if mistake := _mistake(found, cases, ON_KL):
        return mistake
    for (base, _), value, right in zip(cases, found, expected, strict=True):
        if not _close(value, right):
            size = f"{base.shape[0]} tokens and a vocabulary of {base.shape[1]}"
            return f"For {size} it is {float(right):.4f} nats, not {float(value):.4f}."
    remedy = "Lists are to work too: `torch.as_tensor` takes both"
    lists = [logs.tolist() for logs in _logs(2, 5, 4)]
    try:
        value = function(*lists)
    except Exception as error:
        if "Your function" not in str(error):
            raise
        return f"{error}. {remedy}."
    if mistake := _not_numbers([value]):
        return mistake
    if not _close(value, right := _kl(*_logs(2, 5, 4))):
        return f"For two lists it is {float(right):.4f} nats, not {float(value):.4f}. {remedy}."
    return None


def _pairs(seed: int, count: int) -> tuple[torch.Tensor, ...]:
    """Log-likelihoods of chosen and rejected answers: the model's, then the reference's."""
    generator = torch.Generator().manual_seed(seed)
    reference = 5 * torch.randn(2, count, generator=generator) - 30
    moved = 4 * torch.randn(2, count, generator=generator)
    return (*(reference + moved), *reference)


def _margin(chosen, rejected, ref_chosen, ref_rejected) -> torch.Tensor:
    return (chosen - rejected) - (ref_chosen - ref_rejected)


def _loss(margin: torch.Tensor) -> torch.Tensor:
    return -logsigmoid(margin).mean()


NO_LOG = "The logarithm is missing: it is minus the log of the sigmoid."
MEAN_LAST = "Average at the end: the mean of the pairs' losses is not the loss of their mean."
ON_DPO: Mistakes = [
    ("The reference is missing: subtract its log-likelihoods from the model's.",
     lambda c, r, ref_c, ref_r, beta: _loss(beta * (c - r))),
    ("The reference's log-likelihoods are to be subtracted, not added.",
     lambda c, r, ref_c, ref_r, beta: _loss(beta * (c + ref_c - r - ref_r))),
    ("Likelihoods are divided, and log-likelihoods subtracted.",
     lambda c, r, ref_c, ref_r, beta: _loss(beta * (c / ref_c - r / ref_r))),
    ("Chosen and rejected, or model and reference, are swapped: the loss has to fall where the "
     "chosen answer becomes likelier.",
     lambda *pairs: _loss(-pairs[-1] * _margin(*pairs[:-1]))),
    ("beta is missing.", lambda *pairs: _loss(_margin(*pairs[:-1]))),
    ("beta belongs inside the sigmoid.", lambda *pairs: pairs[-1] * _loss(_margin(*pairs[:-1]))),
    ("beta multiplies, it does not divide.",
     lambda *pairs: _loss(_margin(*pairs[:-1]) / pairs[-1])),
    (NO_LOG, lambda *pairs: -(pairs[-1] * _margin(*pairs[:-1])).sigmoid().mean()),
    (NO_LOG, lambda *pairs: (pairs[-1] * _margin(*pairs[:-1])).sigmoid().mean()),
    (NO_LOG, lambda *pairs: (-pairs[-1] * _margin(*pairs[:-1])).sigmoid().mean()),
    ("The sigmoid is missing: that is minus the margin times beta.",
     lambda *pairs: -pairs[-1] * _margin(*pairs[:-1]).mean()),
    ("The minus sign is missing: that is a log-probability, and a loss is minus that.",
     lambda *pairs: -_loss(pairs[-1] * _margin(*pairs[:-1]))),
    ("That is the sum over the pairs. Take the mean.",
     lambda *pairs: len(pairs[0]) * _loss(pairs[-1] * _margin(*pairs[:-1]))),
    (MEAN_LAST, lambda *pairs: _loss(pairs[-1] * _margin(*pairs[:-1]).mean())),
    (MEAN_LAST, lambda *pairs: -(pairs[-1] * _margin(*pairs[:-1])).sigmoid().mean().log()),
]  # fmt: skip


@exercise(
    "4.3", reading="At the first step the model is its own reference, and the loss log 2 = 0.693."
)
def dpo_loss(function) -> str | None:
    cases = [(*_pairs(0, 6), 0.1), (*_pairs(1, 4), 0.5)]
    found = [function(*case) for case in cases]
    if mistake := _not_numbers(found, " Take the mean over the pairs."):
        return mistake
    if mistake := _mistake(found, cases, ON_DPO):
        return mistake
    for case, value in zip(cases, found, strict=True):
        *pairs, beta = case
        # By softplus, another way to the same.
        right = torch.nn.functional.softplus(-beta * _margin(*pairs)).mean()
        if not _close(value, right):
            some = f"For {len(pairs[0])} pairs and a beta of {beta}"
            return f"{some} it is {float(right):.4f}, not {float(value):.4f}."
    remedy = "That far out the sigmoid is rounded to 0 or 1: `torch.nn.functional.logsigmoid` holds"
    reference = torch.full((3,), -300.0)
    for margin, right in ((-200, 200), (200, 0)):
        try:
            value = function(reference + margin, reference, reference, reference, 1.0)
        except Exception as error:
            if "Your function" not in str(error):
                raise
            return f"{error}, with a margin of {margin}. {remedy}."
        if mistake := _not_numbers([value]):
            return mistake
        if not _close(value, right):
            some = f"For pairs with a margin of {margin} and a beta of 1"
            return f"{some} it is {right}, not {float(value):.4g}. {remedy}."
    return None
