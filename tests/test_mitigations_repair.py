"""Verify and repair: it shrinks the update when old rows suffer, and only then."""

from __future__ import annotations

import pytest
import torch
from small_models import NEW, OLD, same, weights

from helpers.mitigations import VerifyAndRepair, lora_update, squared_length, weight_updates
from helpers.mitigations.board import board_suites
from helpers.mitigations.methods import probe_rows
from helpers.mitigations.repair import shrink
from helpers.mitigations.updates import starting_weights
from helpers.scope.leaks import overlap
from helpers.training import finetune

RUN = dict(lr=3e-2, rank=2, steps=6, batch_size=4)


@pytest.mark.parametrize("rank", [2, "full"])
def test_a_lax_factor_leaves_the_run_alone(tiny, rank):
    options = RUN | {"rank": rank}
    lax = VerifyAndRepair(OLD, 1e6, every=2)
    plain, left = (finetune(tiny, NEW, mitigation=m, **options) for m in (None, lax))
    assert lax.log == [] and left.losses == plain.losses
    assert same(weights(left.model), weights(plain.model))


def test_the_last_look_comes_after_the_last_step(tiny, monkeypatch):
    looked = []
    monkeypatch.setattr(VerifyAndRepair, "verify", lambda self, model, step: looked.append(step))
    finetune(tiny, NEW, mitigation=VerifyAndRepair(OLD, every=4), **RUN)
    assert looked == [4, 6]


@pytest.fixture(scope="module")
def taught(tiny):
    """A base that knows the old rows: random weights have nothing to lose."""
    return finetune(tiny, OLD, lr=1e-2, rank="full", steps=40, batch_size=4).model


def test_a_look_stops_repairing_when_it_is_good_enough_or_tired(taught):
    model = finetune(taught, NEW, **RUN).model
    shrink(model, {}, 3)  # threefold, so that old rows suffer much
    tired = VerifyAndRepair(OLD, 1.15, pull=0.01, most=3)
    tired.begin(taught, model)
    tired.verify(model, 6)
    assert [(one.step, one.times) for one in tired.log] == [(6, 3)]
    able = VerifyAndRepair(OLD, 1.15, pull=0.5, most=50)
    able.begin(taught, model)
    able.verify(model, 6)
    assert able.log[0].before > 1.15 >= able.log[0].after and able.log[0].times < 50
    able.verify(model, 7)
    assert len(able.log) == 1  # nothing to repair any more


@pytest.mark.parametrize("rank", [2, "full"])
def test_shrinking_leaves_a_share_of_every_update(tiny, rank):
    model = finetune(tiny, NEW, **RUN | {"rank": rank}).model
    start = {n: w.clone() for n, w in starting_weights(tiny, model).items()}
    before = {name: update.detach().clone() for name, update in weight_updates(start, model)}
    shrink(model, start, 0.9)
    for name, update in weight_updates(start, model):
        assert torch.allclose(update, 0.9 * before[name], atol=1e-6), name


@pytest.mark.parametrize("rank", [2, "full"])
def test_the_squared_length_is_that_of_the_products_and_so_is_its_gradient(tiny, rank):
    model = finetune(tiny, NEW, **RUN | {"rank": rank}).model
    start = starting_weights(tiny, model)
    trained = [p for p in model.parameters() if p.requires_grad]
    short, long = (
        squared_length(start, model),
        sum(update.square().sum() for _, update in weight_updates(start, model)),
    )
    assert float(short) == pytest.approx(float(long), rel=1e-4) and float(short) > 0
    for one, other in zip(
        *(torch.autograd.grad(value, trained) for value in (short, long)), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_no_product_is_built_for_the_squared_length(tiny, monkeypatch):
    model = finetune(tiny, NEW, **RUN).model

    def forbidden(module):
        raise AssertionError("a product was built")

    monkeypatch.setattr("helpers.mitigations.updates.lora_update", forbidden)
    squared_length({}, model)
    with pytest.raises(AssertionError):
        list(weight_updates({}, model))
    assert lora_update is not forbidden


@pytest.mark.parametrize(
    "wrong",
    [{"factor": 1.0}, {"factor": float("nan")}, {"pull": 0}, {"pull": 1}, {"every": 0},
     {"most": 0}],
)  # fmt: skip
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError):
        VerifyAndRepair(OLD, **wrong)


def test_probe_rows_ask_and_answer_nothing_that_is_tested():
    rows = probe_rows()
    tested = {item.answer.strip() for suite in board_suites() for item in suite.items}
    assert len(rows) == 100 and overlap(rows, board_suites()) == []
    answers = [row["completion"].strip() for row in rows]
    assert not any(answer in tested for answer in answers if len(answer.split()) > 3)
    assert sum(len(answer.split()) > 3 for answer in answers) > 20
