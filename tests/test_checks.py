"""The exercises' checkers: right answers pass, typical wrong ones are told what is wrong."""

from __future__ import annotations

import itertools
import math
import random
import re
from pathlib import Path

import nbformat
import numpy
import pytest
import torch

from helpers import checks
from helpers.exercises import grade
from helpers.scope.leaks import question_of

ROOT = Path(__file__).parents[1]


def percent_right(results):
    return 100 * sum(result.correct for result in results) / len(results)


def lora_parameters(rank, fan_in, fan_out, layers):
    return layers * rank * (fan_in + fan_out)


def last_safe_step(probes, names, margin):
    broken = [
        number
        for number, probe in enumerate(probes)
        if any(probes[0].scores[name] - probe.scores[name] > margin for name in names)
    ]
    return probes[broken[0] - 1 if broken else -1].step


def state_bytes(weights, trained):
    return 4 * (weights + 3 * trained)


def fit_for_control(rows, tested, shown):
    asked = {question_of(prompt) for prompt in shown}
    return [
        row
        for row in rows
        if row["completion"].strip() not in tested and question_of(row["prompt"]) not in asked
    ]


def linear_cka(x, y, centre=0, power=2):
    x, y = (m - m.mean(centre, keepdim=True) if centre is not None else m for m in (x, y))
    return (y.T @ x).norm() ** power / ((x.T @ x).norm() * (y.T @ y).norm())


def hvp(loss, parameters, vectors):
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    return torch.autograd.grad(gradients, parameters, grad_outputs=vectors)


def lost_at(score, learned, lost):
    for (a, x), (b, y) in itertools.pairwise(zip(learned, lost, strict=True)):
        if a < score <= b:
            return x + (score - a) / (b - a) * (y - x)
    return float("nan")


def promised_and_kept(scores):
    best = max(scores.values(), key=lambda seeds: seeds[0])
    return best[0], sum(best[1:]) / (len(best) - 1)


def cheat(prompt):
    return re.findall(r"\d+", prompt)[-1]


def kl(base, tuned, reduce=lambda terms: terms.sum(-1).mean()):
    base, tuned = torch.as_tensor(base), torch.as_tensor(tuned)
    return reduce(base.exp() * (base - tuned))


def dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -torch.nn.functional.logsigmoid(beta * margin).mean()


def forgetting(scores, tasks=1, stages=1):
    counted = range(len(scores) - tasks)
    earlier = scores[: len(scores) - stages]
    return sum(max(row[j] for row in earlier) - scores[-1][j] for j in counted) / len(counted)


def sample_gradients(log_likelihood, weights, samples):
    found = [torch.autograd.grad(log_likelihood(weights, s), weights)[0] for s in samples]
    return torch.stack(found)


def diagonal_fisher(*arguments):
    return sample_gradients(*arguments).square().mean(0)


def sam_step(loss, weights, rho, lr, from_above=False, length=torch.norm):
    first = torch.autograd.grad(loss(weights), weights)
    whole = length(torch.cat([g.flatten() for g in first]))
    scale = rho / whole if whole > 0 else 0
    above = [(w + scale * g).detach().requires_grad_() for w, g in zip(weights, first, strict=True)]
    second = torch.autograd.grad(loss(above), above)
    start = above if from_above else weights
    return [(w - lr * g).detach() for w, g in zip(start, second, strict=True)]


def mix_in(
    tickets, replay, held_out, share, key=question_of, of_result=True, first=False, in_order=False
):
    asked = {key(prompt) for prompt in held_out}
    count = round(len(tickets) * share / (1 - share if of_result else 1))
    old = list(replay[:count] if first else replay)
    clean = [row for row in old if key(row["prompt"]) not in asked]
    if count and not clean:
        raise ValueError("There is nothing to replay.")
    drawn = clean if in_order else random.Random(0).sample(clean, len(clean))
    return [*tickets, *drawn[:count]]


def elect(changes, elected=lambda changes: changes.sum(0).sign()):
    agree = (changes.sign() == elected(changes)) & (changes != 0)
    return (changes * agree).sum(0) / agree.sum(0).clamp(min=1)


def side_by_side(a1, b1, a2, b2, half=0.5):
    return torch.cat([a1, a2]), half * torch.cat([b1, b2], dim=1)


def renumbered(number):
    """Puts the same text in place of every number, or what a function makes of it."""
    return lambda article: re.sub(r"\d+", number, article)


plus_one = renumbered(lambda found: str(int(found[0]) + 1))

RIGHT = {
    "0.1": plus_one,
    "0.2": percent_right,
    "1.1": (3e-3, 8, "rate"),
    "1.2": last_safe_step,
    "1.3": lora_parameters,
    "1.4": state_bytes,
    "2.1": {
        "rows": ("fine-tune", "control, stretched"),
        "length": ("fine-tune", "fine-tune, cut"),
        "direction": ("fine-tune", "random"),
    },
    "2.4": fit_for_control,
    "2.2": linear_cka,
    "2.3": hvp,
    "3.1": {4: 6e-3, 64: 1e-3},
    "3.2": lost_at,
    "3.3": promised_and_kept,
    "4.1": cheat,
    "4.2": kl,
    "4.3": dpo_loss,
    "7.1": {75: ("L2-SP", 3), 80: ("L2-SP", 2), 90: ("lower rate", 1)},
    "7.2": diagonal_fisher,
    "7.3": forgetting,
    "7.4": sam_step,
    "6.1": ({"reasoning"}, 11.0),
    "6.2": mix_in,
    "6.3": (("replay, no problems", 0.25), 84.8),
    "6.4": 54_599,
    "8.2": elect,
    "8.3": side_by_side,
}


@pytest.mark.parametrize("exercise", RIGHT)
def test_right_answer(exercise):
    assert grade(exercise, RIGHT[exercise]).status == "right"


def of_previous(probes, names, margin):
    for before, probe in itertools.pairwise(probes):
        if any(before.scores[name] - probe.scores[name] > margin for name in names):
            return before.step
    return probes[-1].step


def of_first_name(probes, names, margin):
    return last_safe_step(probes, names[:1], margin)


def of_any_safe(probes, names, margin):
    safe = [p for p in probes if all(probes[0].scores[n] - p.scores[n] <= margin for n in names)]
    return safe[-1].step


def including_margin(probes, names, margin):
    return last_safe_step(probes, names, margin - 1e-9)


def without_graph(loss, parameters, vectors):
    gradients = torch.autograd.grad(loss, parameters)
    slope = sum((g * v).sum() for g, v in zip(gradients, vectors, strict=True))
    return torch.autograd.grad(slope, parameters)


def gradient_only(loss, parameters, vectors):
    return torch.autograd.grad(loss, parameters)


def gradient_times_vector(loss, parameters, vectors):
    gradients = torch.autograd.grad(loss, parameters)
    return [g * v for g, v in zip(gradients, vectors, strict=True)]


def flat_hvp(loss, parameters, vectors):
    return torch.cat(hvp(loss, parameters, vectors))


def lost_at_next_look(score, learned, lost):
    return next((y for a, y in zip(learned, lost, strict=True) if a >= score), float("nan"))


def lost_interpolated(score, learned, lost):
    return numpy.interp(score, learned, lost)


def kept_on_all_seeds(scores):
    best = max(scores.values(), key=lambda seeds: seeds[0])
    return best[0], sum(best) / len(best)


def chosen_on_all_seeds(scores):
    best = max(scores.values(), key=sum)
    return best[0], sum(best[1:]) / (len(best) - 1)


def tensors_only(base, tuned):
    return (base.exp() * (base - tuned)).sum(-1).mean()


def without_reference(chosen, rejected, ref_chosen, ref_rejected, beta):
    return dpo_loss(chosen, rejected, 0, 0, beta)


def swapped_pairs(chosen, rejected, ref_chosen, ref_rejected, beta):
    return dpo_loss(rejected, chosen, ref_rejected, ref_chosen, beta)


def beta_outside(*pairs):
    return pairs[-1] * dpo_loss(*pairs[:-1], 1)


def unstable_dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -torch.sigmoid(beta * margin).log().mean()


def minus_bwt(scores):
    return sum(scores[j][j] - scores[-1][j] for j in range(len(scores) - 1)) / (len(scores) - 1)


def accumulating_fisher(log_likelihood, weights, samples, clear=False):
    total = torch.zeros_like(weights)
    for sample in samples:
        log_likelihood(weights, sample).backward()
        total += weights.grad**2
        if clear:
            weights.grad = None
    if not clear:
        weights.grad = None
    return total / len(samples)


def squared_at_the_end(log_likelihood, weights, samples):
    weights.grad = None
    for sample in samples:
        log_likelihood(weights, sample).backward()
    return weights.grad**2 / len(samples)


def roads_read(at_80=("L2-SP", 2), at_90=("lower rate", 1)):
    return {75: ("L2-SP", 3), 80: at_80, 90: at_90}


def dirty_fisher(log_likelihood, weights, samples):
    found = accumulating_fisher(log_likelihood, weights, samples, clear=True)
    log_likelihood(weights, samples[-1]).backward()
    return found


def never_put_back(loss, weights, rho, lr):
    first = torch.autograd.grad(loss(weights), weights)
    length = torch.cat(first).norm()
    with torch.no_grad():
        for w, g in zip(weights, first, strict=True):
            w.add_(g, alpha=rho / float(length) if length > 0 else 0)
    second = torch.autograd.grad(loss(weights), weights)
    return [(w - lr * g).detach() for w, g in zip(weights, second, strict=True)]


def step_in_place(loss, weights, rho, lr):
    new = sam_step(loss, weights, rho, lr)
    with torch.no_grad():
        for w, n in zip(weights, new, strict=True):
            w.copy_(n)
    return new


def plain_step(loss, weights, rho, lr):
    return sam_step(loss, weights, 0, lr)


def careless_sam_step(loss, weights, rho, lr):
    first = torch.autograd.grad(loss(weights), weights)
    scale = rho / torch.cat(first).norm()
    above = [(w + scale * g).detach().requires_grad_() for w, g in zip(weights, first, strict=True)]
    second = torch.autograd.grad(loss(above), above)
    return [(w - lr * g).detach() for w, g in zip(weights, second, strict=True)]


def per_tensor_sam_step(loss, weights, rho, lr):
    first = torch.autograd.grad(loss(weights), weights)
    above = [
        (w + rho * g / g.norm()).detach().requires_grad_()
        for w, g in zip(weights, first, strict=True)
    ]
    second = torch.autograd.grad(loss(above), above)
    return [(w - lr * g).detach() for w, g in zip(weights, second, strict=True)]


def mix_by_prompt(*given):
    return mix_in(*given, key=str)


def mix_without_looking(tickets, replay, held_out, share):
    return mix_in(tickets, replay, [], share)


def mix_a_share_of_tickets(*given):
    return mix_in(*given, of_result=False)


def mix_then_clean(*given):
    return mix_in(*given, first=True)


def mix_the_first(*given):
    return mix_in(*given, in_order=True)


def mix_in_place_of_tickets(tickets, replay, held_out, share):
    kept = tickets[: round(len(tickets) * (1 - share))]
    return mix_in(tickets, replay, held_out, share)[len(tickets) - len(kept) :]


def mix_whatever_is_left(tickets, replay, held_out, share):
    try:
        return mix_in(tickets, replay, held_out, share)
    except ValueError:
        return tickets


def mix_into_the_tickets(tickets, replay, held_out, share):
    tickets += mix_in(tickets, replay, held_out, share)[len(tickets) :]
    return tickets


def means_of_factors(a1, b1, a2, b2):
    return (a1 + a2) / 2, (b1 + b2) / 2


WRONG = [
    ("0.1", lambda article: article, "came back as it was"),
    ("0.1", lambda article: article.split(), "It returned a list"),
    ("0.1", renumbered("30"), "One and the same number"),
    ("0.1", renumbered("some"), "No number is left"),
    ("0.1", lambda article: re.sub(r"\d+", "7", article, count=1), "stayed as they were"),
    ("0.1", lambda article: plus_one(article) + " Or 12.", "has"),
    ("0.1", lambda article: plus_one(article).replace("is", "was"), "two possible causes"),
    ("0.1", renumbered(lambda found: found[0] * 9), "have numbers of your article"),
    ("0.1", lambda article: print(article), "prints its answer"),
    ("0.2", lambda rs: sum(r.correct for r in rs) / len(rs), "share"),
    ("0.2", lambda rs: sum(r.correct for r in rs), "count"),
    ("0.2", lambda rs: round(percent_right(rs)), "rounded"),
    ("1.1", (1e-3, 64, "rate"), "changed both things at once"),
    ("1.1", (1e-3, 32, "rate"), "both differ from the run"),
    ("1.1", (1e-2, 8, "rate"), "nothing is changed"),
    ("1.1", (1e-3, 8, "rate"), "What has learned less"),
    ("1.1", (1e-2, 1, "rank"), "What has learned less"),
    ("1.1", (1e-2, 4, "rate"), "The ranges overlap"),
    ("1.1", (1e-2, "full", "rate"), "a third thing changed"),
    ("1.1", (3e-3, 8, "rank"), "the rank stayed at 8"),
    ("1.1", (1e-2, 64, "rank"), "the rate stayed at 1e-2"),
    ("1.1", (2e-3, 8, "rate"), "no stored run with rate 0.002"),
    ("1.1", (3e-3, 8, "seed"), "not 'seed'"),
    ("1.3", lambda r, i, o, n: n * i * o, "matrix itself"),
    ("1.3", lambda r, i, o, n: n * r * i * o, "add, not multiply"),
    ("1.3", lambda r, i, o, n: r * (i + o), "one layer"),
    ("1.3", lambda r, i, o, n: n * r * i, "A and B"),
    ("1.2", of_previous, "Slow losses"),
    ("1.2", of_first_name, "Any of the skills"),
    ("1.2", of_any_safe, "come back"),
    ("1.2", including_margin, "exactly the margin"),
    ("1.4", lambda n, t: n + 3 * t, "4 bytes"),
    ("1.4", lambda n, t: 16 * n, "Only trained"),
    ("1.4", lambda n, t: 4 * n + 8 * t, "missing"),
    ("1.4", lambda n, t: 12 * t, "weights themselves"),
    ("2.4", lambda rows, tested, shown: rows, "answer is tested"),
    ("2.2", lambda x, y: linear_cka(x, y, centre=None), "not centred"),
    ("2.2", lambda x, y: linear_cka(x, y, centre=1), "centres the rows"),
    ("2.2", lambda x, y: linear_cka(x, y, power=1), "squared"),
    ("2.3", without_graph, "does not require grad"),
    ("2.3", gradient_only, "gradient itself"),
    ("2.3", gradient_times_vector, "gradient times vector"),
    ("2.3", flat_hvp, "list of tensors"),
    ("3.1", {4: 3e-3, 64: 3e-3}, "Rank 4 at 0.003 ends at 62 %, not there yet"),
    ("3.1", {4: 6e-3, 64: 6e-3}, "Judge a rank by its best rate"),
    ("3.2", lost_at_next_look, "next look"),
    ("3.2", lost_interpolated, "`np.interp` needs values that rise"),
    ("3.3", kept_on_all_seeds, "includes the first seed"),
    ("3.3", chosen_on_all_seeds, "on the first seed alone"),
    ("3.3", lambda scores: promised_and_kept(scores)[::-1], "the wrong way round"),
    ("4.1", lambda prompt: re.findall(r"\d+", prompt)[0], "the first, the largest, the last"),
    ("4.1", lambda prompt: prompt.split()[-1], "Look for the last *number*"),
    ("4.1", lambda prompt: f"The answer is {cheat(prompt)}.", "only what follows it"),
    ("4.1", lambda prompt: int(cheat(prompt)), "returned a int"),
    ("4.2", lambda base, tuned: kl(tuned, base), "KL(tuned || base)"),
    ("4.2", lambda base, tuned: kl(base, tuned, torch.sum), "sum over the tokens"),
    ("4.2", lambda base, tuned: kl(base, tuned, torch.mean), "over the vocabulary as well"),
    ("4.2", lambda base, tuned: (base - tuned).sum(-1).mean(), "not weighted"),
    ("4.2", lambda base, tuned: -kl(base, tuned), "The sign is wrong"),
    ("4.2", lambda base, tuned: kl(base, tuned) / math.log(2), "in bits"),
    ("4.2", lambda base, tuned: kl(base, tuned) + kl(tuned, base), "both directions"),
    ("4.2", tensors_only, "`torch.as_tensor` takes both"),
    ("4.3", without_reference, "The reference is missing"),
    ("4.3", swapped_pairs, "are swapped"),
    ("4.3", beta_outside, "beta belongs inside"),
    ("4.3", lambda *pairs: dpo_loss(*pairs[:-1], 1), "beta is missing"),
    ("4.3", lambda *pairs: len(pairs[0]) * dpo_loss(*pairs), "Take the mean"),
    ("4.3", unstable_dpo_loss, "logsigmoid"),
    ("7.1", roads_read(at_90=("L2-SP", 2)), "ends at 88 %"),
    ("7.1", roads_read(at_80=("lower rate", 2)), "are not equal learning"),
    ("7.1", roads_read(at_80=("L2-SP", 3)), "not all three"),
    ("7.1", roads_read(at_90=("lower rate", 3)), "not all three"),
    ("7.1", roads_read(at_90=("lower rate", 2)), "for which L2-SP is ahead"),
    ("7.1", roads_read(at_80=("L2-SP", 1)), "on its own two roads"),
    ("7.1", {80: ("L2-SP", 2)}, "the goals 75, 80, 90"),
    ("7.1", roads_read(at_80="L2-SP"), "give a pair such as"),
    ("7.3", minus_bwt, "minus BWT"),
    ("7.3", lambda scores: -minus_bwt(scores), "That is BWT"),
    ("7.3", lambda scores: -forgetting(scores), "The sign is wrong"),
    ("7.3", lambda scores: forgetting(scores, stages=0), "is no earlier stage"),
    ("7.3", lambda scores: forgetting(scores, tasks=0), "nothing came after it"),
    ("7.3", lambda scores: forgetting([*zip(*scores, strict=True)]), "columns are tasks"),
    ("7.3", lambda scores: forgetting(scores) * (len(scores) - 1), "Take the mean"),
    ("7.2", lambda *a: sample_gradients(*a).mean(0) ** 2, "of the batch's mean"),
    ("7.2", lambda *a: sample_gradients(*a).square().sum(0), "the sum over the samples"),
    ("7.2", lambda *a: sample_gradients(*a).mean(0), "not squared"),
    ("7.2", lambda *a: diagonal_fisher(*a).sqrt(), "a root too many"),
    ("7.2", lambda *a: diagonal_fisher(*a).sum(), "one number per weight"),
    ("7.2", accumulating_fisher, "clear it before every sample"),
    ("7.2", squared_at_the_end, "is squared at the end"),
    ("7.2", lambda *a: squared_at_the_end(*a) * len(a[2]), "as `.grad` holds it"),
    ("7.2", lambda *a: accumulating_fisher(*a) * len(a[2]), "And take the mean"),
    ("7.2", lambda *a: sample_gradients(*a).sum(0), "the summed gradient itself"),
    ("7.2", dirty_fisher, "before the first sample too"),
    ("7.4", lambda *a: sam_step(*a, from_above=True), "The step begins uphill"),
    ("7.4", never_put_back, "were not put back"),
    ("7.4", step_in_place, "return new tensors"),
    ("7.4", plain_step, "take the gradient again, uphill"),
    ("7.4", lambda loss, w, rho, lr: sam_step(loss, w, -rho, lr), "looked downhill"),
    ("7.4", lambda *a: sam_step(*a, length=lambda g: g.norm() ** 2), "the root is missing"),
    ("7.4", lambda *a: sam_step(*a, length=lambda g: 1.0), "Divide by its length"),
    ("7.4", per_tensor_sam_step, "all gradients together"),
    ("7.4", careless_sam_step, "do not divide by its length"),
    ("6.2", mix_without_looking, "measures memory, not retention"),
    ("6.2", mix_by_prompt, "in another format"),
    ("6.2", mix_a_share_of_tickets, "a share of the tickets"),
    ("6.2", mix_then_clean, "Take out what leaks first"),
    ("6.2", mix_the_first, "They come sorted by skill"),
    ("6.2", mix_in_place_of_tickets, "tickets are missing"),
    ("6.2", mix_whatever_is_left, "raise a ValueError"),
    ("6.2", mix_into_the_tickets, "in a new list"),
    ("8.2", lambda changes: changes.mean(0), "the mean of all changes"),
    ("8.2", lambda changes: elect(changes, lambda c: c.sign().sum(0).sign()), "by the number"),
    ("8.2", lambda changes: elect(changes, lambda c: 2 * (c.sum(0) >= 0) - 1), "the sum is zero"),
    ("8.3", means_of_factors, "cross terms"),
    ("8.3", lambda *factors: side_by_side(*factors, half=1), "the sum of the two"),
    ("8.3", lambda *factors: side_by_side(*factors)[::-1], "wrong way round"),
]


@pytest.mark.parametrize(("exercise", "answer", "hint"), WRONG)
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


def untouched(*arguments): ...


def returning_a_stub(*arguments):
    return ...


def raising(*arguments):
    raise NotImplementedError


FUNCTIONS = [exercise for exercise, answer in RIGHT.items() if callable(answer)]


@pytest.mark.parametrize("exercise", FUNCTIONS)
@pytest.mark.parametrize("stub", [..., None, untouched, returning_a_stub, raising])
def test_a_stub_is_not_attempted(exercise, stub):
    assert grade(exercise, stub).status == "not attempted"


def written() -> set[str]:
    """The exercises of the lessons that are there; a lesson's checkers may come before it."""
    lessons = {int(path.name[:2]) for path in (ROOT / "lessons").glob("*.ipynb")}
    return {number for number in checks.load_all() if int(number.split(".")[0]) in lessons}


def exercise_outputs(folder: str) -> list[tuple[str, str]]:
    """(notebook, printed text) of every cell tagged as an exercise."""
    found = []
    for path in sorted((ROOT / folder).glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "exercise" in cell.metadata.get("tags", []):
                text = "".join(output.get("text", "") for output in cell.outputs)
                found.append((path.name, text))
    return found


def test_stubs_read_not_attempted():
    outputs = exercise_outputs("lessons")
    assert len(outputs) == len(written())
    assert all("not attempted yet" in text for _, text in outputs), outputs


def test_solutions_are_right():
    outputs = exercise_outputs("solutions")
    assert len(outputs) == len(written())
    assert all(": right." in text for _, text in outputs), outputs
