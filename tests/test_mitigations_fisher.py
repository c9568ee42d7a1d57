"""L2-SP, the Fisher and EWC, against loops over single examples and the merged weights."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from small_models import NEW as MORE_NEW
from small_models import OLD, saved_model, small_gpt2

from helpers import mechanics
from helpers.mechanics.loss import Batch
from helpers.mitigations import (
    EWC,
    L2SP,
    SAM,
    Fisher,
    FreezeBottom,
    KLToBase,
    LowPerplexityTokens,
    OtherModel,
    fisher,
    weight_updates,
)
from helpers.mitigations.estimate import _redrawn
from helpers.mitigations.updates import starting_weights
from helpers.tickets import BadTickets
from helpers.training import finetune

NEW = MORE_NEW[:2]
SHORT = dict(lr=1e-2, rank=2, steps=4, batch_size=2)
OTHERS = {"llama": dict(num_key_value_heads=1), "neox": {}}


@pytest.fixture(scope="module", params=["gpt2", *OTHERS])
def base(request, tiny, tokenizer, tmp_path_factory):
    """A small model of each architecture."""
    if request.param == "gpt2":
        return tiny
    folder = tmp_path_factory.mktemp(request.param)
    return saved_model(request.param, tokenizer, folder, **OTHERS[request.param])


@pytest.fixture(scope="module", params=[2, "full"])
def pair(request, base):
    """A base and its fine-tune, by LoRA and in full."""
    return base, finetune(base, NEW, **SHORT | {"rank": request.param}).model


def squares(model, batches):
    """Squared gradient of the mean log-likelihood of each batch, averaged; by plain backward."""
    model = copy.deepcopy(model).requires_grad_(True)
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for batch in batches:
        model.zero_grad()
        for row in batch:
            prompt = model.tokenizer(row["prompt"])["input_ids"]
            answer = model.tokenizer(row["completion"])["input_ids"]
            answer = [*answer, model.tokenizer.eos_token_id]
            logs = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            likely = sum(logs[place, token] for place, token in enumerate(answer, len(prompt) - 1))
            (likely / len(batch)).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                total[name] += parameter.grad**2
    return {name: value / len(batches) for name, value in total.items()}


def agree(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-6 * float(value.max()))


# The Fisher


def test_the_fisher_agrees_with_a_loop_over_single_examples(base):
    agree(fisher(base, OLD).values, squares(base, [[row] for row in OLD]))


def test_the_batch_mean_fisher_squares_after_averaging(tiny):
    found = fisher(tiny, OLD, kind="batch-mean", batch_size=2)
    agree(found.values, squares(tiny, [OLD[:2], OLD[2:]]))
    single = fisher(tiny, OLD, kind="batch-mean", batch_size=1)
    agree(single.values, fisher(tiny, OLD).values)
    ratio = sum(v.sum() for v in found.values.values()) / sum(
        v.sum() for v in single.values.values()
    )
    assert ratio < 0.8  # gradients of different rows cancel before they are squared


def test_identity_is_all_ones(tiny):
    found = fisher(tiny, OLD, kind="identity")
    assert all(bool((value == 1).all()) for value in found.values.values())
    assert {name: v.shape for name, v in found.values.items()} == {
        name: p.shape for name, p in tiny.named_parameters()
    }


def test_labels_are_drawn_from_what_the_model_says_one_place_before():
    chances = torch.tensor([[0.5, 0.5, 0, 0], [0.1, 0.2, 0.7, 0], [0, 0, 0, 1.0]])
    model = lambda input_ids, attention_mask: SimpleNamespace(logits=chances.log()[None])  # noqa: E731
    labels = torch.tensor([[-100, -100, 3]]).repeat(3_000, 1)
    ids = torch.zeros_like(labels)
    drawn = _redrawn(model, Batch(ids, ids + 1, labels), seed=0).labels
    assert bool((drawn[:, :2] == -100).all()) and bool((labels[:, 2] == 3).all())
    shares = [float((drawn[:, 2] == token).float().mean()) for token in range(4)]
    assert shares == pytest.approx([0.1, 0.2, 0.7, 0], abs=0.03)
    again = _redrawn(model, Batch(ids, ids + 1, labels), seed=0).labels
    assert torch.equal(drawn, again)


def test_the_sampled_fisher_is_another_one(tiny):
    gold, one, two = (
        fisher(tiny, OLD, labels=labels, seed=seed)
        for labels, seed in (("gold", 0), ("sampled", 0), ("sampled", 1))
    )
    name = "transformer.h.0.mlp.c_fc.weight"
    assert not torch.allclose(gold.values[name], one.values[name])
    assert not torch.allclose(two.values[name], one.values[name])


def test_taking_the_fisher_changes_nothing(tiny):
    model = copy.deepcopy(tiny)
    model.transformer.wpe.weight.requires_grad_(False)
    before = [p.clone() for p in model.parameters()]
    flags = [p.requires_grad for p in model.parameters()]
    fisher(model, OLD, labels="sampled")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())


def test_of_an_adapted_model_the_fisher_is_that_of_the_merged_weights(tiny):
    tuned = finetune(tiny, NEW, **SHORT).model
    plain = mechanics.merged(tuned)
    one, other = fisher(tuned, OLD), fisher(plain, OLD)
    agree(one.values, other.values)
    assert one.model == other.model


@pytest.mark.parametrize("options", [dict(kind="exact"), dict(labels="silver")])
def test_an_unknown_fisher_is_refused(tiny, options):
    with pytest.raises(ValueError, match="must be one of"):
        fisher(tiny, OLD, **options)


def test_a_fisher_of_nothing_is_refused(tiny):
    with pytest.raises(BadTickets, match="empty"):
        fisher(tiny, [])


# Scale, sequence, storage


def test_normalized_means_a_mean_of_one_inside_the_layers_and_shuffled_keeps_it(tiny):
    fim = fisher(tiny, OLD)
    inside = [name for name in fim.values if ".h." in name and fim.values[name].ndim == 2]
    scaled = fim.normalized()
    values = torch.cat([scaled.values[name].flatten() for name in inside])
    assert float(values.mean()) == pytest.approx(1, rel=1e-4)
    ratios = [float(scaled.values[n].sum() / fim.values[n].sum()) for n in fim.values]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-4)
    dealt, again, other = (scaled.shuffled(seed) for seed in (0, 0, 1))
    for name, value in scaled.values.items():
        assert dealt.values[name].flatten().sort()[0].equal(value.flatten().sort()[0])
        assert dealt.values[name].shape == value.shape
        assert again.values[name].equal(dealt.values[name])
    assert any(not other.values[name].equal(dealt.values[name]) for name in scaled.values)
    assert (dealt.model, dealt.samples) == (scaled.model, scaled.samples)
    empty = Fisher({"w": torch.zeros(2)}, "", "per-sample", 1)
    with pytest.raises(ValueError, match="zero everywhere"):
        empty.normalized()


def test_the_running_sum_takes_no_more_room_than_one_fisher(tiny):
    tuned = mechanics.merged(finetune(tiny, NEW, **SHORT).model)
    first, second = fisher(tiny, OLD), fisher(tuned, NEW)
    both = first.followed_by(second)
    expected = {name: first.values[name] + second.values[name] for name in first.values}
    agree(both.values, expected)
    half = first.followed_by(second, decay=0.5).values["transformer.h.0.mlp.c_fc.weight"]
    name = "transformer.h.0.mlp.c_fc.weight"
    torch.testing.assert_close(half, 0.5 * first.values[name] + second.values[name])
    weights = sum(p.nbytes for p in tiny.parameters())
    assert first.storage() == both.storage() == both.followed_by(second).storage() == weights
    assert (both.model, both.tasks, both.samples) == (second.model, 2, 6)
    finetune(tuned, NEW, mitigation=EWC(both, 1.0), **SHORT)
    with pytest.raises(ValueError, match="decay must be between 0 and 1"):
        first.followed_by(second, decay=1.5)


def test_a_saved_fisher_is_the_same_again(tiny, tmp_path):
    fim = fisher(tiny, OLD)
    again = Fisher.load(fim.save(tmp_path / "old.safetensors"))
    assert again.values.keys() == fim.values.keys()
    assert all(torch.equal(again.values[name], fim.values[name]) for name in fim.values)
    assert (again.model, again.kind, again.samples, again.tasks) == (fim.model, "per-sample", 4, 1)


def test_other_files_are_refused(tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file({"w": torch.zeros(2)}, weights)
    text = tmp_path / "text.safetensors"
    text.write_text("no tensors here")
    for path in (weights, text):
        with pytest.raises(ValueError, match=r"is no file that Fisher\.save wrote"):
            Fisher.load(path)
    with pytest.raises(FileNotFoundError):
        Fisher.load(tmp_path / "missing.safetensors")


# The penalties


def moved(base, tuned):
    """The update of every weight, from the merged model: not the way the penalties take."""
    after = dict(mechanics.merged(tuned).named_parameters())
    return {name: (after[name] - p).detach() for name, p in base.named_parameters()}


def test_updates_are_those_of_the_merged_weights(pair):
    base, tuned = pair
    tuned = copy.deepcopy(tuned).requires_grad_(True)
    expected = moved(base, tuned)
    found = dict(weight_updates(starting_weights(base, tuned), tuned))
    for name, update in expected.items():
        own = found.get(name, torch.zeros_like(update))
        torch.testing.assert_close(own, update, rtol=1e-3, atol=1e-6)


def trainable(model):
    """A copy as it is while it trains."""
    model = copy.deepcopy(model)
    adapted = any("lora_" in name for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not adapted or "lora_" in name)
    return model


def test_l2_sp_pulls_on_the_merged_weights(pair):
    base, tuned = pair
    pull = L2SP(0.3)
    student = trainable(tuned)
    pull.begin(base, student)
    expected = 0.15 * sum(float(u.square().sum()) for u in moved(base, tuned).values())
    assert expected > 1e-3
    assert float(pull.penalty(student, {})) == pytest.approx(expected, rel=1e-3)


def test_the_pull_agrees_with_finite_differences(pair):
    base, tuned = pair
    base, student = copy.deepcopy(base).double(), trainable(tuned).double()
    pull = L2SP(0.3)
    pull.begin(base, student)
    pull.penalty(student, {}).backward()
    generator = torch.Generator().manual_seed(0)
    for parameter in [p for p in student.parameters() if p.requires_grad][:6]:
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * 1e-5)
                total = sum(u.square().sum() for u in moved(base, student).values())
                values.append(0.15 * float(total))
                parameter.add_(direction, alpha=-sign * 1e-5)
        slope = (values[0] - values[1]) / 2e-5
        expected = float((parameter.grad * direction).sum())
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_ewc_weighs_every_squared_update_with_its_fisher(pair):
    base, tuned = pair
    fim = fisher(base, OLD)
    hold = EWC(fim, 50.0)
    student = trainable(tuned)
    hold.begin(base, student)
    updates = moved(base, tuned)
    expected = 25 * sum(float((fim.values[n] * u.square()).sum()) for n, u in updates.items())
    assert float(hold.penalty(student, {})) == pytest.approx(expected, rel=1e-3)
    assert hold.storage() == fim.storage()


def test_ewc_with_the_identity_is_l2_sp(pair):
    base, tuned = pair
    values = []
    for hold in (EWC(fisher(base, OLD, kind="identity"), 0.3), L2SP(0.3)):
        student = trainable(tuned)
        hold.begin(base, student)
        values.append(float(hold.penalty(student, {})))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_a_strong_pull_holds_the_weights(pair):
    base, tuned = pair
    rank = 2 if hasattr(tuned, "peft_config") else "full"
    held = finetune(base, NEW, mitigation=L2SP(1e3), **SHORT | {"rank": rank}).model
    free, near = (
        sum(float(u.square().sum()) for u in moved(base, model).values()) ** 0.5
        for model in (tuned, held)
    )
    assert near < free / 3


def test_a_weight_the_fisher_does_not_name_important_may_move(tiny):
    fim = fisher(tiny, OLD, kind="identity")
    for name, value in fim.values.items():
        value.mul_(".h.0." in name)  # only the lower layer is protected
    updates = moved(tiny, finetune(tiny, NEW, mitigation=EWC(fim, 1e3), **SHORT).model)
    lower, upper = (
        sum(float(u.square().sum()) for name, u in updates.items() if layer in name) ** 0.5
        for layer in (".h.0.", ".h.1.")
    )
    assert lower < upper / 3


def test_a_penalty_for_another_model_is_refused(tiny, tokenizer):
    fim = fisher(tiny, OLD)
    narrow = small_gpt2(tokenizer, width=16)
    deep = small_gpt2(tokenizer, layers=3)
    other = copy.deepcopy(tiny)
    with torch.no_grad():
        other.transformer.h[1].mlp.c_fc.weight[0, 0] += 1e-3
    cases = [(narrow, "has the shape"), (deep, "has no weight transformer.h.2"),
             (other, r"Take it anew")]  # fmt: skip
    for model, message in cases:
        for rank in (2, "full"):
            with pytest.raises(OtherModel, match=message):
                finetune(model, NEW, mitigation=EWC(fim, 1.0), **SHORT | {"rank": rank})
    with pytest.raises(OtherModel):
        fim.followed_by(fisher(other, OLD)).followed_by(
            Fisher({"w": torch.ones(1)}, "", "per-sample", 1)
        )


def test_every_mitigation_trains_every_architecture(base):
    fim = fisher(base, OLD).normalized()
    by_lora = [FreezeBottom(1), KLToBase(0.1, OLD), LowPerplexityTokens(3_000.0), SAM(0.01, 1)]
    in_full = [FreezeBottom(1), EWC(fim, 0.01), KLToBase(0.1), SAM(0.01, [1])]
    for rank, mitigations in ((2, by_lora), ("full", in_full)):
        for mitigation in mitigations:
            run = finetune(base, NEW, mitigation=mitigation, **SHORT | {"rank": rank})
            assert run.losses[-1][1] < run.losses[0][1], (mitigation, rank)
