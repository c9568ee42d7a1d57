"""Between base and fine-tune: the line, the arc, the angle, and scores along the way."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from merging_models import arrays, moved, new_llama, with_adapter
from small_models import same, weights
from transformers import AutoTokenizer

from helpers.evaluation import evaluate
from helpers.mechanics import merged
from helpers.merging import NotAlike, angle, linear, slerp, sweep
from helpers.merging.line import arc_shares, radians
from helpers.suites import Suite, load_suites
from helpers.training import finetune


@pytest.fixture(scope="module", params=["gpt2", "llama", "tied llama"])
def pair(request, tiny):
    """A base and what a full fine-tune might have made of it."""
    base = tiny
    if request.param != "gpt2":
        base = new_llama(tiny.tokenizer, tied=request.param == "tied llama")
    return base, moved(base, seed=1)


def line_by_formula(base, tuned, alpha):
    """Wortsman et al. 2021: (1 - alpha) theta_0 + alpha theta_1."""
    return {name: (1 - alpha) * base[name] + alpha * tuned[name] for name in base}


def arc_by_formula(base, tuned, alpha):
    """Shoemake 1985, from the cosine of two tensors' directions."""
    found = {}
    for name, start in base.items():
        p, q = start.ravel(), tuned[name].ravel()
        found[name] = (1 - alpha) * start + alpha * tuned[name]
        if not p.any() or not q.any():
            continue
        cosine = np.dot(p, q) / np.sqrt(np.dot(p, p) * np.dot(q, q))
        omega = np.arccos(np.clip(cosine, -1, 1))
        if np.sin(omega) > 1e-4:
            found[name] = (
                np.sin((1 - alpha) * omega) * start + np.sin(alpha * omega) * tuned[name]
            ) / np.sin(omega)
    return found


def close(model, wanted, tolerance=1e-6):
    found = arrays(model)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
def test_line_and_arc_agree_with_the_formulas_in_numpy(pair, alpha):
    start, end = map(arrays, pair)
    close(linear(*pair, alpha), line_by_formula(start, end, alpha))
    close(slerp(*pair, alpha), arc_by_formula(start, end, alpha))


def test_the_models_are_far_enough_apart_for_line_and_arc_to_differ(pair):
    gap = np.concatenate(
        [
            (a - b).ravel()
            for a, b in zip(
                arrays(linear(*pair, 0.5)).values(),
                arrays(slerp(*pair, 0.5)).values(),
                strict=True,
            )
        ]
    )
    assert np.abs(gap).max() > 1e-3


@pytest.mark.parametrize("method", [linear, slerp])
def test_the_ends_are_the_models_themselves(pair, method):
    assert same(weights(method(*pair, 0)), weights(pair[0]))
    assert same(weights(method(*pair, 1)), weights(pair[1]))


@pytest.mark.parametrize("method", [linear, slerp])
def test_the_models_given_stay_as_they_are(pair, method):
    before = [weights(model) for model in pair]
    result = method(*pair, 0.5)
    assert all(same(weights(model), old) for model, old in zip(pair, before, strict=True))
    assert not {p.data_ptr() for p in result.parameters()} & {
        p.data_ptr() for model in pair for p in model.parameters()
    }


def test_tied_weights_stay_tied_and_move_once(tiny):
    tuned = moved(tiny, seed=1)
    result = linear(tiny, tuned, 0.5)
    assert result.lm_head.weight is result.transformer.wte.weight
    half = (tiny.lm_head.weight + tuned.lm_head.weight) / 2
    torch.testing.assert_close(result.lm_head.weight, half)


def test_the_result_can_be_scored_and_says_something_of_its_own(pair):
    suite = Suite("facts", load_suites("facts")[0].items[:3])
    nll = [evaluate(m, suite, max_new_tokens=2).nll("facts") for m in (*pair, linear(*pair, 0.5))]
    assert len({round(value, 6) for value in nll}) == 3
    assert linear(*pair, 0.5).tokenizer.get_vocab() == pair[0].tokenizer.get_vocab()


@pytest.mark.parametrize("method", [linear, slerp])
def test_an_adapter_is_added_into_the_weights_first(pair, method):
    base, _ = pair
    tuned = with_adapter(base, seed=2)
    before = weights(tuned)
    wanted = method(base, merged(tuned), 0.3)
    assert same(weights(method(base, tuned, 0.3)), weights(wanted))
    assert same(weights(tuned), before)
    assert not same(weights(wanted), weights(base))


def test_what_finetune_returns_can_be_merged(tiny):
    rows = [{"prompt": "How do I make tea?", "completion": " Boil water."}] * 8
    for rank in (2, "full"):
        tuned = finetune(tiny, rows, lr=1e-2, rank=rank, steps=2, batch_size=4).model
        start, end = arrays(tiny), arrays(merged(tuned))
        close(linear(tiny, tuned, 0.5), line_by_formula(start, end, 0.5))


def test_an_arc_keeps_the_length_where_both_ends_have_it():
    theta = 2.0
    one, other = arc_shares(theta, 0.3)
    start, end = np.array([1.0, 0]), np.array([math.cos(theta), math.sin(theta)])
    found = one * start + other * end
    assert np.linalg.norm(found) == pytest.approx(1)
    assert math.atan2(found[1], found[0]) == pytest.approx(0.3 * theta)


@pytest.mark.parametrize("theta", [0, 1e-5, math.pi, math.nan])
def test_without_an_arc_it_is_the_line(theta):
    assert arc_shares(theta, 0.3) == (0.7, 0.3)


def test_the_arc_joins_the_line_without_a_step():
    below, above = arc_shares(0.9999e-3, 0.3), arc_shares(1.0001e-3, 0.3)
    assert below == pytest.approx(above, abs=2e-7)


def test_bfloat16_is_computed_in_float32():
    values = torch.tensor([1.0, 3.0], dtype=torch.bfloat16)
    model, other = torch.nn.Linear(2, 1, bias=False).bfloat16(), torch.nn.Linear(2, 1, bias=False)
    other = other.bfloat16()
    with torch.no_grad():
        model.weight.copy_(values)
        other.weight.copy_(values * 1.0078125)
    assert linear(model, other, 0.5).weight.dtype == torch.bfloat16


# Angles


def test_angles_are_those_of_the_directions_in_degrees(pair):
    start, end = map(arrays, pair)
    found = angle(*pair)
    whole = [np.concatenate([v.ravel() for v in side.values()]) for side in (start, end)]

    def degrees(p, q):
        return np.degrees(np.arccos(p @ q / np.linalg.norm(p) / np.linalg.norm(q)))

    assert found.overall == pytest.approx(degrees(*whole), rel=1e-6)
    for name in start:
        if start[name].any():
            wanted = degrees(start[name].ravel(), end[name].ravel())
            assert found.tensors[name] == pytest.approx(wanted, rel=1e-6)
        else:
            assert math.isnan(found.tensors[name])
    name, widest = found.widest
    assert widest == max(v for v in found.tensors.values() if not math.isnan(v))
    assert f"{found.overall:.2f} degrees" in repr(found) and name in repr(found)


def test_a_longer_tensor_has_turned_by_nothing(pair):
    base, _ = pair
    twice = moved(base, seed=0, size=0)
    with torch.no_grad():
        for weight in twice.parameters():
            weight.mul_(2)
    assert angle(base, twice).overall == pytest.approx(0, abs=1e-12)


def test_tiny_angles_are_still_told_apart():
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for theta in (1e-9, 1e-5, 1.0, math.pi - 1e-5):
        end = 3 * torch.tensor([math.cos(theta), math.sin(theta)], dtype=torch.float64)
        assert radians([(start, end)]) == pytest.approx(theta, rel=1e-6)


def test_half_way_the_arc_is_longer_by_the_cosine_of_half_the_angle(pair):
    found = angle(*pair)
    name, _ = found.widest
    arc, straight = (float(weights(m(*pair, 0.5))[name].norm()) for m in (slerp, linear))
    assert 100 * (arc / straight - 1) == pytest.approx(found.longer, rel=1e-3)


def test_a_model_has_no_angle_to_itself(tiny):
    assert angle(tiny, tiny).overall == 0
    assert angle(tiny, tiny).longer == 0


# Sweeps


@pytest.fixture(scope="module")
def few():
    return [Suite(name, load_suites(name)[0].items[:3]) for name in ("facts", "support")]


@pytest.mark.parametrize("method", [linear, slerp])
def test_a_sweep_scores_the_model_at_each_alpha(tiny, few, method):
    tuned = with_adapter(tiny, seed=3)
    found = sweep(tiny, tuned, [0, 0.5, 1], few, method)
    assert list(found) == [0, 0.5, 1]
    for alpha, model in ((0, tiny), (0.5, method(tiny, tuned, 0.5)), (1, merged(tuned))):
        wanted = evaluate(model, few)
        for name in ("facts", "support"):
            assert found[alpha].nll(name) == pytest.approx(wanted.nll(name), rel=1e-6)
    assert len({round(snapshot.nll("facts"), 6) for snapshot in found.values()}) == 3


def test_a_sweep_may_go_beyond_the_fine_tune_when_told_to(tiny, few):
    tuned = moved(tiny, seed=1)
    found = sweep(tiny, tuned, [1.5], few[0], extrapolate=True)
    wanted = evaluate(linear(tiny, tuned, 1.5, extrapolate=True), few[0])
    assert found[1.5].nll("facts") == wanted.nll("facts")


def test_a_sweep_refuses_what_it_cannot_do_before_it_scores(tiny, few, monkeypatch):
    monkeypatch.setattr("helpers.merging.line.evaluate", lambda *a: pytest.fail("scored"))
    with pytest.raises(ValueError, match="at least one alpha"):
        sweep(tiny, tiny, [], few)
    with pytest.raises(ValueError, match="one suite"):
        sweep(tiny, tiny, [0], [])
    with pytest.raises(ValueError, match=r"not 1\.5"):
        sweep(tiny, tiny, [0, 1.5], few)


# Bad input


@pytest.mark.parametrize("method", [linear, slerp])
@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, math.inf])
def test_alpha_outside_its_range_is_refused(tiny, method, alpha):
    with pytest.raises(ValueError, match=r"from 0 .* to 1 .*extrapolate=True"):
        method(tiny, tiny, alpha)


def test_extrapolation_is_done_when_asked_for(tiny):
    tuned = moved(tiny, seed=1)
    start, end = arrays(tiny), arrays(tuned)
    for alpha in (-0.5, 1.5):
        close(linear(tiny, tuned, alpha, extrapolate=True), line_by_formula(start, end, alpha))
        close(slerp(tiny, tuned, alpha, extrapolate=True), arc_by_formula(start, end, alpha))
    with pytest.raises(ValueError, match="not nan"):
        linear(tiny, tuned, math.nan, extrapolate=True)


@pytest.mark.parametrize(
    "merge", [lambda a, b: linear(a, b, 0.5), lambda a, b: slerp(a, b, 0.5), angle]
)
def test_models_that_do_not_fit_are_refused(tiny, merge):
    tokenizer = tiny.tokenizer
    llama = new_llama(tokenizer)
    with pytest.raises(NotAlike, match=r"only one of them has 'transformer.wte.weight'"):
        merge(tiny, llama)
    with pytest.raises(
        NotAlike, match=r"differ in shape: 'model.embed_tokens.weight' is \(\d+, 32\)"
    ):
        merge(llama, new_llama(tokenizer, vocabulary=len(tokenizer) + 1))
    with pytest.raises(NotAlike, match=r"only one of them has 'lm_head.weight'"):
        merge(llama, new_llama(tokenizer, tied=True))


def test_models_of_different_vocabularies_are_refused(tiny, gpt2_folder):
    other = moved(tiny, seed=1)
    other.tokenizer = AutoTokenizer.from_pretrained(gpt2_folder)
    with pytest.raises(NotAlike, match=r"different vocabularies: the token .* is \d+ and \d+"):
        linear(tiny, other, 0.5)
    other.tokenizer = copy.deepcopy(tiny.tokenizer)
    other.tokenizer.add_tokens(["<refund>"])
    for pair in ((tiny, other), (other, tiny)):
        with pytest.raises(NotAlike, match=r"only one of them has the token '<refund>'"):
            linear(*pair, 0.5)


def test_a_model_that_diverged_is_refused(tiny):
    broken = moved(tiny, seed=1)
    with torch.no_grad():
        broken.transformer.wpe.weight[3, 3] = math.nan
    with pytest.raises(NotAlike, match=r"'transformer.wpe.weight' .*diverged"):
        linear(tiny, broken, 0.5)


def test_a_base_that_carries_the_adapter_in_its_layers_is_told_apart(tiny):
    tuned = with_adapter(tiny, seed=1)
    carrier = tuned.get_base_model()
    carrier.tokenizer = tiny.tokenizer
    with pytest.raises(NotAlike, match="An adapter sits in the layers"):
        linear(carrier, moved(tiny, seed=1), 0.5)
