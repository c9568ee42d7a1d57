"""The last stretch of pre-training: SAM's step there, and the packed differences."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from helpers.mitigations import OtherModel
from helpers.pocket import stretch
from helpers.pocket.pretrain import Recipe, batch_loss, make_batch, new_model, pretrain

RECIPE = Recipe(layers=2, width=32, heads=2, steps=3, rows=2, warmup=1)


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same(one, other):
    return all(value.equal(other[name]) for name, value in one.items())


def test_sam_takes_the_gradient_uphill_and_walks_from_where_it_was(
    tokenizer, tmp_path, monkeypatch
):
    """The gradient that the optimizers see is the one at w + rho g / |g|, worked out by hand."""
    recipe = replace(RECIPE, steps=1, rho=0.5)
    model = new_model(recipe, tokenizer)
    batch = make_batch(0, recipe, tokenizer)
    start = weights(model)
    names, parameters = zip(*model.named_parameters(), strict=True)
    first = torch.autograd.grad(batch_loss(model, batch), parameters)
    length = torch.sqrt(sum(g.double().square().sum() for g in first)).float()
    uphill = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, g in zip(uphill.parameters(), first, strict=True):
            parameter.add_(0.5 * g / length)
    wanted = torch.autograd.grad(batch_loss(uphill, batch), list(uphill.parameters()))
    seen = {}

    def look(parameters, limit):
        for name, parameter in zip(names, parameters, strict=True):
            seen[name] = (parameter.detach().clone(), parameter.grad.clone())

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", look)
    pretrain(recipe, tokenizer, tmp_path, model)
    for name, gradient in zip(names, wanted, strict=True):
        assert seen[name][0].equal(start[name])  # put back, to the last bit
        torch.testing.assert_close(seen[name][1], gradient, rtol=1e-3, atol=1e-6)


def test_sam_learns_something_else_and_the_same_again(tokenizer, tmp_path):
    sam = replace(RECIPE, rho=0.5)
    plain, one, again = (
        weights(pretrain(recipe, tokenizer, tmp_path / name))
        for name, recipe in (("plain", RECIPE), ("one", sam), ("again", sam))
    )
    assert same(one, again) and not same(one, plain)


def test_a_killed_stretch_ends_at_the_same_weights(tokenizer, tmp_path):
    sam = replace(RECIPE, rho=0.5)
    whole = weights(pretrain(sam, tokenizer, tmp_path / "whole"))
    pretrain(sam, tokenizer, tmp_path / "part", stop_at=1)
    assert same(weights(pretrain(sam, tokenizer, tmp_path / "part")), whole)


@pytest.fixture
def moved(tiny):
    """A copy of the tiny model with every weight moved, but for one row."""
    model = copy.deepcopy(tiny)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        model.transformer.wpe.weight[3] = tiny.transformer.wpe.weight[3]
    return model


def test_a_difference_is_packed_to_half_a_byte_and_brought_back(tiny, moved):
    packed = stretch.difference(tiny, moved)
    found = copy.deepcopy(tiny)
    stretch.apply(found, packed)
    before, wanted, got = weights(tiny), weights(moved), weights(found)
    for name, weight in wanted.items():
        change = weight - before[name]
        rows = change.reshape(len(change), -1) if change.ndim > 1 else change.reshape(1, -1)
        limit = rows.abs().amax(1, keepdim=True) / 14 * 1.001 + 1e-7  # half a level
        error = (got[name] - weight).reshape(rows.shape).abs()
        assert (error <= limit).all(), name
        assert packed[f"{name}.codes"].numel() == (weight.numel() + 1) // 2
    assert got["transformer.wpe.weight"][3].equal(before["transformer.wpe.weight"][3])
    assert not same(got, before)


def test_an_odd_number_of_weights_is_packed_too():
    one, other = torch.nn.Linear(3, 1, bias=False), torch.nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        one.weight.zero_()
        other.weight.copy_(torch.tensor([[7.0, -7.0, 3.0]]))
    packed = stretch.difference(one, other)
    stretch.apply(one, packed)
    assert one.weight.tolist() == [[7, -7, 3]] and packed["weight.codes"].numel() == 2


@pytest.fixture
def short(tiny, monkeypatch):
    """Stretches of two steps from the tiny model."""
    monkeypatch.setattr(stretch, "load_model", lambda name: copy.deepcopy(tiny))
    recipe = replace(RECIPE, steps=2)
    monkeypatch.setattr(stretch, "STRETCH", recipe)
    return tiny


def test_stretches_are_made_read_and_leave_no_checkpoints(short, tmp_path):
    stretch.make_stretches(tmp_path / "work", tmp_path / "out")
    assert list((tmp_path / "work").iterdir()) == []
    before = weights(short)
    plain, sam = (weights(stretch.load_stretch(n, tmp_path / "out")) for n in ("plain", "SAM"))
    assert not same(plain, before) and not same(sam, before) and not same(plain, sam)


def test_what_cannot_be_loaded_says_what_to_do(short, tmp_path, moved, monkeypatch):
    with pytest.raises(ValueError, match="There are plain, SAM"):
        stretch.load_stretch("flat")
    with pytest.raises(FileNotFoundError, match="--stretches"):
        stretch.load_stretch("SAM", tmp_path)
    stretch.make_stretches(tmp_path / "work", tmp_path)
    monkeypatch.setattr(stretch, "load_model", lambda name: moved)
    with pytest.raises(OtherModel, match="belongs to another base"):
        stretch.load_stretch("SAM", tmp_path)
