"""Task vectors, TIES and DARE against plain loops, against PEFT and by their typical mistakes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from merging_models import arrays, moved, new_llama, with_adapter
from peft.utils import merge_utils
from small_models import same, weights

from helpers.mechanics import merged
from helpers.merging import (
    NotAlike,
    add,
    agreement,
    dare,
    disjoint_mean,
    linear,
    task_vector,
    ties,
    trim,
)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def models(request, tiny):
    """A base and three fine-tunes of it."""
    base = tiny if request.param == "gpt2" else new_llama(tiny.tokenizer)
    return base, [moved(base, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def vectors(models):
    base, tuned = models
    return [task_vector(base, model) for model in tuned]


def close(model, wanted, tolerance=2e-6):
    found = arrays(model)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=tolerance, err_msg=name)


# Task vectors


def test_a_task_vector_leads_from_the_base_to_the_fine_tune(models, vectors):
    base, tuned = models
    close(add(base, vectors[:1], [1]), arrays(tuned[0]))
    assert same(weights(add(base, vectors[:1], [0])), weights(base))


def test_a_weighted_sum_agrees_with_numpy(models, vectors):
    base, tuned = models
    start, ends = arrays(base), [arrays(model) for model in tuned]
    shares = [0.7, -0.4, 1.3]
    wanted = {
        name: values + sum(w * (end[name] - values) for w, end in zip(shares, ends, strict=True))
        for name, values in start.items()
    }
    close(add(base, vectors, shares), wanted)


def test_tied_weights_stand_in_a_vector_once(tiny):
    vector = task_vector(tiny, moved(tiny, seed=1))
    assert "transformer.wte.weight" in vector and "lm_head.weight" not in vector
    result = add(tiny, [vector], [2])
    assert result.lm_head.weight is result.transformer.wte.weight
    wanted = tiny.lm_head.weight + 2 * vector["transformer.wte.weight"]
    torch.testing.assert_close(result.lm_head.weight, wanted)


def test_one_vector_with_a_weight_is_the_line(models, vectors):
    base, tuned = models
    close(add(base, vectors[:1], [0.3]), arrays(linear(base, tuned[0], 0.3)))


def test_a_vector_of_an_adapter_is_its_update(models):
    base, _ = models
    tuned = with_adapter(base, seed=5)
    before = weights(tuned)
    vector = task_vector(base, tuned)
    adapted = [name for name, values in vector.items() if values.any()]
    assert len(adapted) == sum("lora_A" in name for name in before)
    close(add(base, [vector], [1]), arrays(merged(tuned)))
    assert same(weights(tuned), before)


# TIES


def ties_in_loops(start, ends, density, scale, per_tensor):
    """Algorithm 1 of Yadav et al. (2023), weight by weight."""
    changes = [{name: end[name] - start[name] for name in start} for end in ends]
    for change in changes:
        groups = [[name] for name in start] if per_tensor else [list(start)]
        for group in groups:
            sizes = sorted((abs(x) for name in group for x in change[name].ravel()), reverse=True)
            smallest = sizes[max(1, math.floor(density * len(sizes))) - 1]
            for name in group:
                change[name] = np.where(abs(change[name]) >= smallest, change[name], 0)
    merged_change = {}
    for name in start:
        flat = np.zeros(start[name].size)
        for place in range(flat.size):
            column = [change[name].ravel()[place] for change in changes]
            sign = np.sign(sum(column))
            chosen = [x for x in column if x != 0 and np.sign(x) == sign]
            flat[place] = sum(chosen) / len(chosen) if chosen else 0
        merged_change[name] = flat.reshape(start[name].shape)
    return {name: start[name] + scale * merged_change[name] for name in start}


@pytest.mark.parametrize("per_tensor", [False, True])
def test_ties_agrees_with_the_algorithm_in_loops(tiny, per_tensor):
    base = new_llama(tiny.tokenizer, vocabulary=60)
    tuned = [moved(base, seed) for seed in (1, 2, 3)]
    vectors = [task_vector(base, model) for model in tuned]
    ends = [{n: v.double().numpy() for n, v in vector.items()} for vector in vectors]
    start = {name: np.zeros_like(values) for name, values in ends[0].items()}
    wanted = ties_in_loops(start, ends, 0.3, 0.7, per_tensor)
    found = arrays(ties(base, vectors, 0.3, 0.7, per_tensor=per_tensor))
    for name, values in arrays(base).items():
        np.testing.assert_allclose(found[name] - values, wanted[name], rtol=0, atol=2e-6)


def test_the_two_ways_to_trim_are_two(tiny):
    """The paper ranks the weights of the whole model, the tools those of each tensor."""
    vector = {"large": torch.tensor([3.0, -4.0, 5.0, 6.0]), "small": torch.tensor([0.1, -0.3])}
    whole, each = trim(vector, 0.5), trim(vector, 0.5, per_tensor=True)
    assert whole["large"].tolist() == [0, -4, 5, 6] and whole["small"].tolist() == [0, 0]
    assert each["large"].tolist() == [0, 0, 5, 6]
    assert each["small"].tolist() == [0, pytest.approx(-0.3)]
    assert trim(vector, 0.01)["large"].tolist() == [0, 0, 0, 6]
    assert same(trim(vector, 1), vector)


def test_of_equal_entries_the_first_stay():
    """As mergekit has it; `topk` may take any, and a large tensor in float32 has some."""
    vector = {"a": torch.tensor([1.0, -2.0, 1.0, 2.0]).repeat(10_000)}
    kept = trim(vector, 0.25)["a"].nonzero().flatten()
    assert kept.tolist() == [place for place in range(20_000) if place % 2]
    kept = trim(vector, 0.75)["a"].nonzero().flatten()
    assert kept.tolist() == [place for place in range(40_000) if place % 2 or place < 20_000]


@pytest.mark.parametrize("density", [0.25, 0.9])
def test_ties_agrees_with_the_function_in_peft(models, vectors, density):
    base, _ = models
    found, start = arrays(ties(base, vectors, density, per_tensor=True)), arrays(base)
    for name in start:
        columns = [vector[name] for vector in vectors]
        change = merge_utils.ties(columns, torch.ones(3), density, "total")
        np.testing.assert_allclose(found[name] - start[name], change, rtol=0, atol=2e-6)


def test_the_larger_sum_elects_the_sign_and_losers_do_not_count():
    columns = torch.tensor(
        [[1.0, 1.0, 2.0, 0.0, 0.0], [1.0, -3.0, 0.0, 0.0, -1.0], [1.0, 1.0, 4.0, 0.0, 1.0]]
    )
    # By count the second weight would be positive; a plain mean of it is -1/3.
    assert disjoint_mean(list(columns)).tolist() == [1, -3, 3, 0, 0]


def test_at_full_density_a_single_vector_comes_back(models, vectors):
    base, tuned = models
    close(ties(base, vectors[:1], 1.0), arrays(tuned[0]))


def test_agreement_counts_the_weights_that_several_vectors_change():
    one = {"a": torch.tensor([1.0, -1.0, 2.0, 0.0]), "b": torch.tensor([3.0])}
    other = {"a": torch.tensor([2.0, 1.0, 0.0, 0.0]), "b": torch.tensor([4.0])}
    assert agreement([one, other]) == pytest.approx(2 / 3)
    assert agreement([one, one, other]) == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="No weight is changed by two"):
        agreement([{"a": torch.tensor([1.0, 0.0])}, {"a": torch.tensor([0.0, 1.0])}])
    with pytest.raises(ValueError, match="at least two"):
        agreement([one])


# DARE


@pytest.mark.parametrize("drop", [0.5, 0.9])
def test_dare_drops_its_share_and_rescales_the_rest(vectors, drop):
    whole = torch.cat([v.flatten() for v in vectors[0].values()])
    found = torch.cat([v.flatten() for v in dare(vectors[0], drop, seed=1).values()])
    kept = found != 0
    torch.testing.assert_close(found[kept], whole[kept] / (1 - drop))
    changed = whole != 0
    count = int(changed.sum())
    spread = 4 * math.sqrt(drop * (1 - drop) / count)
    assert float(kept[changed].float().mean()) == pytest.approx(1 - drop, abs=spread)


def test_dare_keeps_the_mean():
    vector = {"a": torch.linspace(-1, 2, 50)}
    mean = sum(dare(vector, 0.8, seed)["a"] for seed in range(4_000)) / 4_000
    # Each entry has a standard error of |value| * sqrt(0.8 / 0.2 / 4000).
    assert ((mean - vector["a"]).abs() <= 4.5 * vector["a"].abs() * math.sqrt(4 / 4_000)).all()


def test_dare_is_the_same_again_and_another_with_another_seed(vectors):
    assert same(dare(vectors[0], seed=1), dare(vectors[0], seed=1))
    assert not same(dare(vectors[0], seed=1), dare(vectors[0], seed=2))
    state = torch.get_rng_state()
    dare(vectors[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert same(dare(vectors[0], drop=0), vectors[0])


def test_what_dare_leaves_can_be_added_and_elected(models, vectors):
    base, _ = models
    sparse = [dare(vector, 0.5, seed) for seed, vector in enumerate(vectors)]
    start = arrays(base)
    total = {n: start[n] + sum(s[n].double().numpy() for s in sparse) / 3 for n in start}
    close(add(base, sparse, [1 / 3] * 3), total)
    elected = {n: start[n] + disjoint_mean([s[n] for s in sparse]).double().numpy() for n in start}
    close(ties(base, sparse, 1.0), elected)


# Bad input


def test_empty_and_unequal_lists_are_refused(tiny):
    vector = task_vector(tiny, moved(tiny, seed=1))
    for merge in (lambda v: add(tiny, v, []), lambda v: ties(tiny, v)):
        with pytest.raises(ValueError, match="nothing to merge"):
            merge([])
        with pytest.raises(ValueError, match=r"\[vector\]"):
            merge(vector)
    with pytest.raises(ValueError, match="1 vectors and 2 weights"):
        add(tiny, [vector], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        add(tiny, [vector], [math.nan])


def test_a_vector_of_another_model_is_refused(tiny):
    llama = new_llama(tiny.tokenizer)
    vector = task_vector(llama, moved(llama, seed=1))
    for merge in (lambda v: add(tiny, v, [1] * len(v)), lambda v: ties(tiny, v)):
        with pytest.raises(NotAlike, match="base and task vector 1 differ"):
            merge([task_vector(tiny, tiny), vector])
    with pytest.raises(NotAlike, match="only one of them"):
        task_vector(tiny, llama)


@pytest.mark.parametrize("density", [0, -0.1, 1.1, math.nan])
def test_a_density_outside_its_range_is_refused(tiny, density):
    with pytest.raises(ValueError, match="share that is kept"):
        ties(tiny, [task_vector(tiny, tiny)], density)


@pytest.mark.parametrize("drop", [1, -0.1, math.nan])
def test_a_drop_outside_its_range_is_refused(drop):
    with pytest.raises(ValueError, match="probability"):
        dare({"a": torch.ones(2)}, drop)
