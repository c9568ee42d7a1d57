"""Mitigations in `finetune`: what each adds to training, and what all of them leave alone."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from small_models import NEW, OLD, same, weights

from helpers import mechanics
from helpers.mechanics.loss import batch_of
from helpers.mitigations import (
    EWC,
    L2SP,
    SAM,
    FreezeBottom,
    KLToBase,
    LowPerplexityTokens,
    Mitigation,
    fisher,
    token_perplexity,
)
from helpers.mitigations.distill import _in_turn
from helpers.tickets import BadTickets
from helpers.training import finetune

SHORT = dict(lr=3e-3, rank=2, steps=3, batch_size=4)


def states(model):
    """All that a fine-tune could change in a model given to it."""
    flags = [p.requires_grad for p in model.parameters()]
    return weights(model), flags, [module.training for module in model.modules()]


def same_states(one, other):
    return same(one[0], other[0]) and one[1:] == other[1:]


def every_kind(model):
    fim = fisher(model, OLD).normalized()
    return [
        FreezeBottom(1), L2SP(0.1), EWC(fim, 0.1), KLToBase(0.5, OLD, batch_size=2), KLToBase(0.5),
        LowPerplexityTokens(1800.0), SAM(0.05), SAM(0.05, [1]), SAM(0.05, 1),
    ]  # fmt: skip


class Constant(Mitigation):
    """A penalty of one nat, whatever the model does."""

    def penalty(self, model, inputs):
        return torch.ones(())


# What all have in common


@pytest.mark.parametrize("rank", [2, "full"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_mitigation_that_does_nothing_changes_no_bit(tiny, rank, parts):
    options = SHORT | {"rank": rank, "batch_size": 4 // parts, "gradient_accumulation": parts}
    plain, hooked = (finetune(tiny, NEW, mitigation=m, **options) for m in (None, Mitigation()))
    assert plain.losses == hooked.losses
    assert same_states(states(plain.model), states(hooked.model))
    assert "mitigation" not in plain.settings and "mitigation" in hooked.settings


@pytest.mark.parametrize("rank", [2, "full"])
def test_the_model_given_stays_as_it_is(tiny, rank):
    model = copy.deepcopy(tiny)
    model.transformer.wpe.weight.requires_grad_(False)
    model.transformer.h[0].train()
    before = states(model)
    for mitigation in every_kind(model):
        tuned = finetune(model, NEW, mitigation=mitigation, **SHORT | {"rank": rank}).model
        assert same_states(states(model), before), mitigation
        assert not any(module.training for module in tuned.modules())


def test_one_object_serves_two_runs_alike(tiny):
    stateful = [KLToBase(0.5, OLD, batch_size=3), LowPerplexityTokens(1800.0), SAM(0.05, 1)]
    for mitigation in stateful:
        one, again = (finetune(tiny, NEW, mitigation=mitigation, **SHORT) for _ in range(2))
        assert one.losses == again.losses, mitigation


def test_the_settings_of_a_run_name_its_mitigation(tiny, tmp_path):
    run = finetune(tiny, NEW, mitigation=EWC(fisher(tiny, OLD), 2.0), **SHORT)
    assert run.settings["mitigation"].startswith("EWC(fisher=Fisher(per-sample")
    assert len(run.settings["mitigation"]) < 120
    assert (run.save(tmp_path) / "run.json").exists()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_penalty_counts_once_however_the_batch_is_split(tiny, parts):
    options = SHORT | {"batch_size": 4 // parts, "gradient_accumulation": parts}
    plain, more = (finetune(tiny, NEW, mitigation=m, **options) for m in (None, Constant()))
    for (_, without), (_, with_it) in zip(plain.losses, more.losses, strict=True):
        assert with_it == pytest.approx(without + 1, abs=1e-4)


@pytest.mark.parametrize("kind", [L2SP, lambda s: KLToBase(s, OLD), KLToBase])
def test_no_strength_is_plain_fine_tuning(tiny, kind):
    plain, held = (finetune(tiny, NEW, mitigation=m, **SHORT) for m in (None, kind(0.0)))
    assert [loss for _, loss in held.losses] == pytest.approx([loss for _, loss in plain.losses])


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_impossible_strength_is_refused(value):
    for kind in (L2SP, KLToBase, SAM):
        with pytest.raises(ValueError, match="must be a number of at least 0"):
            kind(value)


# Freezing


def test_no_adapter_is_made_for_frozen_layers(tiny):
    model = finetune(tiny, NEW, mitigation=FreezeBottom(1), **SHORT).model
    adapted = {name.split(".h.")[1][0] for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted == {"1"}
    free = finetune(tiny, NEW, mitigation=FreezeBottom(0), **SHORT)
    assert free.losses == finetune(tiny, NEW, **SHORT).losses


def test_frozen_layers_keep_every_bit_in_full_fine_tuning(tiny):
    run = finetune(tiny, NEW, mitigation=FreezeBottom(1), **SHORT | {"rank": "full"})
    before, after = states(tiny)[0], states(run.model)[0]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if ".h.1." in name or ".ln_f." in name}


@pytest.mark.parametrize("layers", [-1, 2, 7])
@pytest.mark.parametrize("rank", [2, "full"])
def test_freezing_everything_is_refused_with_the_number_of_layers(tiny, layers, rank):
    with pytest.raises(ValueError, match="has 2 layers, so 0 to 1 of them"):
        finetune(tiny, NEW, mitigation=FreezeBottom(layers), **SHORT | {"rank": rank})


# KL to the base


@pytest.fixture(scope="module")
def tuned(tiny):
    return finetune(tiny, NEW, lr=1e-2, rank=2, steps=6, batch_size=4).model


@pytest.fixture(scope="module")
def tuned_fully(tiny):
    return finetune(tiny, NEW, lr=3e-3, rank="full", steps=6, batch_size=4).model


@pytest.mark.parametrize("kind", ["tuned", "tuned_fully"])
def test_the_divergence_on_old_rows_is_the_one_the_mechanics_measure(tiny, kind, request):
    model = request.getfixturevalue(kind)
    hold = KLToBase(3.0, OLD, batch_size=len(OLD))
    hold.begin(tiny, model)
    expected = mechanics.kl_to_base(tiny, model, OLD)
    assert expected > 1e-3
    assert float(hold.penalty(model, {})) == pytest.approx(3 * expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["tuned", "tuned_fully"])
def test_without_rows_the_divergence_is_that_on_the_prompts(tiny, kind, request):
    model = request.getfixturevalue(kind)
    hold = KLToBase(1.0)
    hold.begin(tiny, model)
    batch = batch_of(tiny, NEW)
    found = float(hold.penalty(model, batch._asdict()))
    terms = []
    for row in NEW:
        ids = torch.tensor([tiny.tokenizer(row["prompt"])["input_ids"]])
        with torch.no_grad():
            old, new = (
                torch.distributions.Categorical(logits=each(input_ids=ids).logits[0, :-1])
                for each in (tiny, model)
            )
        terms += torch.distributions.kl_divergence(old, new).tolist()
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-3)


def test_the_adapter_is_on_again_and_learns_from_the_divergence(tiny, tuned):
    model = copy.deepcopy(tuned).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    hold = KLToBase(1.0, OLD)
    hold.begin(tiny, model)
    before = states(model)
    hold.penalty(model, {}).backward()
    assert same_states(states(model), before)
    reached = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    assert reached and all("lora_" in name for name in reached)


def test_holding_on_to_the_base_brings_the_model_nearer_to_it(tiny):
    longer = dict(lr=1e-2, rank=2, steps=12, batch_size=4)
    free, held = (
        finetune(tiny, NEW, mitigation=m, **longer).model for m in (None, KLToBase(20.0, OLD))
    )
    distances = [mechanics.kl_to_base(tiny, model, OLD) for model in (free, held)]
    assert distances[1] < distances[0] / 2


def test_old_rows_come_in_turn(tiny):
    batch = batch_of(tiny, OLD)
    turns = _in_turn(batch, 3, seed=0)
    seen = [tuple(row[row != tiny.config.pad_token_id].tolist())
            for _ in range(4) for row in next(turns).input_ids]  # fmt: skip
    assert all(len(set(seen[start : start + 4])) == 4 for start in (0, 4, 8))
    other = _in_turn(batch, 3, seed=1)
    assert [next(other).input_ids.tolist() for _ in range(4)] != [
        next(turns).input_ids.tolist() for _ in range(4)
    ]


def test_nothing_to_hold_on_to_is_refused(tiny):
    with pytest.raises(BadTickets, match="empty"):
        finetune(tiny, NEW, mitigation=KLToBase(1.0, []), **SHORT)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        KLToBase(1.0, OLD, batch_size=0)


# Low-perplexity tokens


def by_hand(tiny, rows, threshold):
    """NLL of the tokens that the base finds probable enough, and how many tokens there are."""
    kept, labelled = [], 0
    for row in rows:
        prompt = tiny.tokenizer(row["prompt"])["input_ids"]
        answer = [*tiny.tokenizer(row["completion"])["input_ids"], tiny.tokenizer.eos_token_id]
        with torch.no_grad():
            chances = tiny(input_ids=torch.tensor([prompt + answer])).logits[0].softmax(-1)
        for place, token in enumerate(answer, start=len(prompt)):
            labelled += 1
            chance = float(chances[place - 1, token])
            if 1 / chance <= threshold:
                kept.append(-math.log(chance))
    return kept, labelled


@pytest.mark.parametrize("rank", [2, "full"])
def test_only_tokens_that_are_probable_to_the_base_are_learned(tiny, rank):
    everything, _ = by_hand(tiny, NEW, float("inf"))
    threshold = math.exp(sorted(everything)[len(everything) // 2] + 1e-3)
    kept, labelled = by_hand(tiny, NEW, threshold)
    assert 0 < len(kept) < labelled
    only = LowPerplexityTokens(threshold)
    run = finetune(tiny, NEW, mitigation=only, **SHORT | {"rank": rank})
    # In the first step the student is the base. The mean is over the tokens that are kept.
    assert run.losses[0][1] == pytest.approx(sum(kept) / len(kept), abs=1e-3)
    assert only.kept == pytest.approx(len(kept) / labelled)


def test_a_high_threshold_is_plain_fine_tuning_and_a_low_one_teaches_nothing(tiny):
    plain = finetune(tiny, NEW, **SHORT)
    assert finetune(tiny, NEW, mitigation=LowPerplexityTokens(1e30), **SHORT).losses == plain.losses
    nothing = finetune(tiny, NEW, mitigation=LowPerplexityTokens(1.001), **SHORT)
    assert [loss for _, loss in nothing.losses] == [0, 0, 0]


def test_the_base_is_asked_and_not_the_student(tiny, tuned):
    batch = batch_of(tiny, NEW)._asdict()
    own = token_perplexity(tiny, batch)
    torch.testing.assert_close(token_perplexity(tuned, batch), own, rtol=1e-4, atol=1e-3)
    assert own.shape == batch["input_ids"].shape and bool((own[:, 0] == 1).all())


@pytest.mark.parametrize("threshold", [1, 0.5, float("nan")])
def test_a_threshold_no_token_can_meet_is_refused(threshold):
    with pytest.raises(ValueError, match="must be above 1"):
        LowPerplexityTokens(threshold)
