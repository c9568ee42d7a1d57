"""Out of reach or lost: a few examples again, a stranger for comparison, stored measurements."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.mechanics import answer_loss, stored
from helpers.mechanics.drift import Drift
from helpers.mechanics.loss import batch_of
from helpers.mechanics.reach import relearn, stranger
from helpers.runs import BadRuns
from helpers.scope.leaks import question_of
from helpers.training import finetune

TEN = [
    {"prompt": f"What is {number} + 1?", "completion": f" {number + 1}"} for number in range(1, 11)
]


# Relearning


def loss(model):
    with torch.no_grad():
        return float(answer_loss(model, batch_of(model, TEN)))


@pytest.fixture(scope="module")
def tuned(tiny):
    return finetune(tiny, TEN[:2], lr=1e-2, rank=2, steps=3, batch_size=2).model


@pytest.mark.parametrize("kind", ["tiny", "tuned"])
def test_relearning_learns_and_leaves_its_model_alone(kind, request):
    model = request.getfixturevalue(kind)
    before, first = {k: v.clone() for k, v in model.state_dict().items()}, loss(model)
    again = relearn(model, (row for row in TEN))
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert loss(model) == first
    assert loss(again) < first - 0.2
    assert not again.training


def test_the_seed_decides_what_is_relearned(tiny):
    one, again, other = (relearn(tiny, TEN, seed) for seed in (1, 1, 2))
    assert loss(one) == loss(again) != loss(other)


# A stranger


def test_a_stranger_has_the_same_shape_and_other_weights(tiny):
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    made = stranger(tiny, seed=5)  # `tiny` itself is what a seed of 0 gives
    shapes = {name: p.shape for name, p in tiny.named_parameters()}
    assert {name: p.shape for name, p in made.named_parameters()} == shapes
    for name, p in made.named_parameters():
        if p.ndim == 2:
            assert not torch.allclose(p, tiny.get_parameter(name), atol=1e-3), name
    assert all(torch.equal(v, tiny.state_dict()[k]) for k, v in before.items())
    assert made.dtype == tiny.dtype and not made.training
    assert made.tokenizer is tiny.tokenizer
    assert made.config.pad_token_id == tiny.config.pad_token_id


def test_strangers_of_one_seed_are_the_same(tiny):
    one, again, other = (stranger(tiny, seed).transformer.wte.weight for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_a_stranger_can_be_taught(tiny):
    made = stranger(tiny, seed=5)  # `tiny` itself is what a seed of 0 gives
    assert loss(relearn(made, TEN)) < loss(made) - 0.2


# Stored measurements


def inside(data="tickets", seed=0):
    """A record as `make_inside` makes it, small."""
    drift = [{"layer": 0, "cka": 0.5, "change": 0.25}]
    look = {
        "cosines": {"old and tickets": [{"attention": [-0.25], "mlp": [0.0]}]},
        "lengths": {"old": 1.0, "tickets": 2.0},
        "drift": drift,
    }
    scores = dict.fromkeys(stored.OLD_SKILLS, 90.0) | {"lists": 20.0, "support": 0.0}
    return {
        "setting": {"data": data, "seed": seed},
        "looks": [{**look, "step": step} for step in (0, 5)],
        "norm": 2.0,
        "scores": {"base": scores},
        "nll": {"base": scores},
        "drifts": {"turned": drift},
        "curvature": {"base": [1.0]},
        "lost": [["lists", "lists-000", "no"]],
        "origin": {"data": "abc"},
    }


def test_the_inside_of_runs_is_read_by_data_and_seed(tmp_path, monkeypatch):
    path = tmp_path / "inside.jsonl"
    monkeypatch.setattr(stored, "INSIDE", path)
    with pytest.raises(BadRuns, match=r"no file .*inside\.jsonl.*make runs"):
        stored.read_inside()
    records = [inside(data, seed) for data in ("tickets", "control") for seed in (10, 2)]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    assert [run.setting.seed for run in stored.read_inside("control")] == [2, 10]
    assert {run.setting.data for run in stored.read_inside("tickets")} == {"tickets"}
    assert len(stored.read_inside()) == 4
    run = stored.read_inside("tickets")[0]
    assert run.looks[1].drift == run.drifts["turned"] == (Drift(0, 0.5, 0.25),)
    assert run.mean("base") == 80 and run.worst("base") == ("lists", 20.0)
    assert run.lost == (("lists", "lists-000", "no"),)
    path.write_text(json.dumps({**records[0], "looks": [{"step": 0}]}))
    with pytest.raises(BadRuns, match="damaged"):
        stored.read_inside()
    with pytest.raises(ValueError, match="no runs on 'sums'"):
        stored.read_inside("sums")


def test_the_examples_for_measuring_and_for_the_control_do_not_overlap():
    rows = stored.example_rows()
    assert [len(part) for part in rows] == [4, 4, 98, 10, 10, len(rows.control)]
    assert {len(sample) for sample in (*rows.old, *rows.new)} == {21}
    old = [row["prompt"] for sample in rows.old for row in sample]
    assert len({*old, *rows.prompts}) == 84 + 98
    steps = [row["completion"].startswith(" 1. ") for row in rows.ten]
    assert sum(steps) == 1 and steps[0]
    assert not any(row["completion"].startswith(" 1. ") for row in rows.ten_without)
    assert len(rows.control) > 1000
    assert sum(row["completion"].startswith(" 1. ") for row in rows.control) > 20
    assert all(row["prompt"].startswith("Customer: ") for part in rows.new for row in part)


def test_no_row_of_the_control_shows_what_is_asked_or_its_answer():
    rows = stored.example_rows()
    asked = {question_of(item.prompt) for suite in stored.suites() for item in suite.items}
    asked |= {question_of(row["prompt"]) for sample in rows.old for row in sample}
    asked |= {question_of(prompt) for prompt in rows.prompts}
    tested = {item.answer for suite in stored.suites() for item in suite.items}
    for part in (rows.control, rows.ten, rows.ten_without):
        assert not {question_of(row["prompt"]) for row in part} & asked
        assert not {row["completion"].strip() for row in part} & tested
    shown = {row["completion"] for row in (*rows.ten, *rows.ten_without)}
    assert not {row["completion"] for row in rows.control} & shown
