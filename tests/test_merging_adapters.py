"""PEFT's combinations of two adapters against the mean of their updates, computed in numpy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from merging_models import arrays, moved, new_llama, with_adapter
from small_models import same, weights

from helpers.mechanics import merged
from helpers.merging import (
    NotAlike,
    add,
    combination_errors,
    combined,
    task_vector,
    updates,
)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def base(request, tiny):
    return tiny if request.param == "gpt2" else new_llama(tiny.tokenizer)


@pytest.fixture(scope="module")
def adapted(base):
    return [with_adapter(base, seed) for seed in (1, 2)]


def factors(model):
    """A, B (as PEFT keeps them) and the scale of each adapted layer, in numpy."""
    found = {}
    for name, weight in model.named_parameters():
        if "lora_A" in name:
            place = name.split(".lora_A")[0]
            down = dict(model.named_parameters())[name.replace("lora_A", "lora_B")]
            found[place] = [m.detach().double().numpy() for m in (weight, down)]
    config = model.peft_config["default"]
    return found, config.lora_alpha / config.r


def exact_and(way, models):
    """Relative error and length of a combination, by its formula; layers as (out, in)."""
    (one, scale), (other, _) = (factors(model) for model in models)
    wrong = exact_size = size = 0.0
    for place, (a1, b1) in one.items():
        a2, b2 = other[place]
        exact = scale * (b1 @ a1 + b2 @ a2) / 2
        if way == "linear":
            found = scale / 2 * (b1 + b2) @ (a1 + a2)
        else:
            u, s, v = np.linalg.svd(exact)
            found = (u[:, : len(a1)] * s[: len(a1)]) @ v[: len(a1)]
        wrong += ((found - exact) ** 2).sum()
        exact_size += (exact**2).sum()
        size += (found**2).sum()
    return np.sqrt(wrong / exact_size), np.sqrt(size / exact_size)


def test_linear_and_svd_are_as_wrong_as_their_formulas_say(adapted):
    for found in combination_errors(adapted, ways=("linear", "svd")):
        error, length = exact_and(found.way, adapted)
        assert found.error == pytest.approx(error, rel=1e-4)
        assert found.length == pytest.approx(length, rel=1e-4)
        assert found.rank == 4
        assert found.error > 0.3


def test_side_by_side_is_exact_and_the_ranks_add_up(adapted):
    (found,) = combination_errors(adapted, ways=("cat",))
    assert found.error < 1e-6 and found.rank == 8
    assert found.length == pytest.approx(1, rel=1e-6)


def test_random_factors_make_linear_as_wrong_as_no_update_at_all(adapted):
    """The cross terms are as long as the update itself and point elsewhere."""
    (found,) = combination_errors(adapted, ways=("linear",))
    assert found.error == pytest.approx(1, abs=0.1)
    assert found.length == pytest.approx(2**0.5, abs=0.1)


def test_with_the_same_a_linear_is_twice_too_long(base, adapted):
    """As it nearly is for adapters trained from one seed: the direction is right."""
    twin = with_adapter(base, seed=2, same_a=adapted[0])
    (found,) = combination_errors([adapted[0], twin], ways=("linear",))
    assert found.error == pytest.approx(1, rel=1e-5)
    assert found.length == pytest.approx(2, rel=1e-5)


def test_updates_are_what_merging_adds_to_the_weights(base, adapted):
    before, after = arrays(base), arrays(merged(adapted[0]))
    found = updates(adapted[0])
    assert len(found) == len(factors(adapted[0])[0])
    for place, update in found.items():
        name = place.removeprefix("base_model.model.") + ".weight"
        np.testing.assert_allclose(update, after[name] - before[name], rtol=0, atol=1e-6)


def test_side_by_side_merged_is_the_mean_of_the_merged_models(base, adapted):
    result = combined(adapted)
    mean = add(base, [task_vector(base, model) for model in adapted], [0.5, 0.5])
    found, wanted = arrays(merged(result)), arrays(mean)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6)
    assert list(result.peft_config) == ["merged"] and result.tokenizer is base.tokenizer


def test_weights_are_kept_to(base, adapted):
    shares = [0.8, -0.3]
    wanted = arrays(add(base, [task_vector(base, model) for model in adapted], shares))
    found = arrays(merged(combined(adapted, shares)))
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6)
    (error,) = combination_errors(adapted, shares, ways=("cat",))
    assert error.error < 1e-6


def test_other_ranks_are_put_side_by_side_too(base, adapted):
    models = [adapted[0], with_adapter(base, seed=7, rank=2)]
    found = {c.way: c for c in combination_errors(models, ways=("svd", "cat"))}
    assert found["cat"].rank == 6 and found["cat"].error < 1e-6
    assert found["svd"].rank == 4


def test_the_models_given_stay_as_they_are(adapted):
    before = [weights(model) for model in adapted]
    combination_errors(adapted)
    assert all(same(weights(model), old) for model, old in zip(adapted, before, strict=True))
    assert [list(model.peft_config) for model in adapted] == [["default"]] * 2


# Bad input


def test_what_peft_gets_wrong_without_a_word_is_refused(base):
    """`add_weighted_adapter` forgets that rsLoRA divides by the root of the rank."""
    models = [with_adapter(base, seed, use_rslora=True) for seed in (1, 2)]
    both = copy.deepcopy(models[0])
    both.add_adapter("other", copy.deepcopy(models[1].peft_config["default"]))
    with torch.no_grad():
        state = dict(models[1].named_parameters())
        for name, weight in both.named_parameters():
            if ".other." in name:
                weight.copy_(state[name.replace(".other.", ".default.")])
    both.base_model.add_weighted_adapter(["default", "other"], [0.5, 0.5], "mean", "cat")
    wanted = [updates(model) for model in models]
    place = next(iter(wanted[0]))
    mean = (wanted[0][place] + wanted[1][place]) / 2
    ratio = float(updates(both, "mean")[place].norm() / mean.norm())
    assert ratio == pytest.approx(8**0.5, rel=1e-4)
    with pytest.raises(ValueError, match=r"Adapter 0 uses rsLoRA or DoRA.*`add`"):
        combined(models)


def test_adapters_that_do_not_belong_together_are_refused(base, adapted):
    elsewhere = with_adapter(moved(base, seed=9), seed=2)
    with pytest.raises(NotAlike, match="Adapter 1 sits on another base"):
        combined([adapted[0], elsewhere])
    with pytest.raises(NotAlike, match="adapts other layers"):
        names = {"c_attn"} if hasattr(base, "transformer") else {"q_proj"}
        combined([adapted[0], with_adapter(base, seed=2, target_modules=names)])


def test_bad_arguments_name_the_remedy(base, adapted):
    with pytest.raises(ValueError, match="at least two"):
        combined(adapted[:1])
    with pytest.raises(ValueError, match="at least two"):
        combination_errors([])
    with pytest.raises(ValueError, match="no such LoRA adapter"):
        combined([base, base])
    with pytest.raises(ValueError, match="no such LoRA adapter"):
        updates(adapted[0], "gone")
    with pytest.raises(ValueError, match="2 adapters and 3 weights"):
        combined(adapted, [1, 2, 3])
    with pytest.raises(ValueError, match="There are linear, svd, cat"):
        combined(adapted, way="mean")
    fresh = [copy.deepcopy(model) for model in adapted]
    with torch.no_grad():
        for model in fresh:
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.zero_()
    with pytest.raises(ValueError, match="train first"):
        combination_errors(fresh)
