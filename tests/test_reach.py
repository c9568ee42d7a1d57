"""Out of reach or lost: other formats, a few examples again, and a stranger for comparison."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.mechanics import answer_loss, stored
from helpers.mechanics.gradients import Conflict
from helpers.mechanics.loss import batch_of
from helpers.mechanics.reach import FORMATS, asked_as, relearn, stranger
from helpers.runs import BadRuns
from helpers.suites import Item, Suite, load_suites
from helpers.training import finetune

TEN = [
    {"prompt": f"What is {number} + 1?", "completion": f" {number + 1}"} for number in range(1, 11)
]


def item(name, prompt, layout):
    return Item(name, "facts", "family", layout, prompt, f"answer {name}", ("no", f"answer {name}"))


SUITE = Suite(
    "facts",
    (
        item("one", "Who?", "bare"),
        item("two", "Question: What?\nAnswer:", "qa"),
        item("three", "User: Why?\nAssistant:", "chat"),
        item("four", "The shop is red.\nWhich colour?", "bare"),
    ),
    extract="(.*)",
)


# Other formats


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [
        ("bare", "", ""),
        ("question", "Question: ", "\nAnswer:"),
        ("chat", "User: ", "\nAssistant:"),
        ("customer", "Customer: ", "\nAgent:"),
    ],
)
def test_bare_questions_are_put_in_each_format(name, head, tail):
    found = asked_as(SUITE, name)
    questions = ["Who?", "The shop is red.\nWhich colour?"]
    assert [i.prompt for i in found.items] == [head + question + tail for question in questions]
    assert [i.id for i in found.items] == ["one", "four"]
    assert [i.answer for i in found.items] == ["answer one", "answer four"]
    assert [i.choices for i in found.items] == [("no", "answer one"), ("no", "answer four")]
    assert (found.name, found.kind, found.extract) == ("facts", "generate", "(.*)")
    assert SUITE.items[0].prompt == "Who?"


def test_the_formats_are_those_of_the_suites_and_the_tickets():
    """Layouts that a suite's own items have, cut out of their prompts."""
    (suite,), (support,) = load_suites("facts", size=700), load_suites("support", size=50)
    of = {
        layout: [i.prompt for i in suite.items if i.format == layout] for layout in ("qa", "chat")
    }
    of["support"] = [i.prompt for i in support.items]
    for layout, name in (("qa", "question"), ("chat", "chat"), ("support", "customer")):
        head, tail = FORMATS[name]
        assert of[layout] and all(p.startswith(head) and p.endswith(tail) for p in of[layout])


def test_an_unknown_format_names_those_there_are():
    with pytest.raises(
        ValueError, match=r"no format 'shout'\. There are bare, question, chat, cust"
    ):
        asked_as(SUITE, "shout")


def test_a_suite_without_bare_questions_is_refused():
    with pytest.raises(ValueError, match="'facts' has no bare questions"):
        asked_as(Suite("facts", SUITE.items[1:3]), "chat")


@pytest.mark.parametrize("name", stored.ASKED_DIFFERENTLY)
def test_the_skills_that_are_asked_differently_have_bare_questions(name):
    assert len(asked_as(load_suites(name, size=120)[0], "customer")) >= 20


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
    conflict = [{"layer": 0, "kind": "mlp", "cosine": -0.25, "old": 1.0, "new": 2.0}]
    look = {
        "conflict": conflict,
        "among_old": conflict,
        "drift": [{"layer": 0, "cka": 0.5, "change": 0.25}],
        **dict.fromkeys(("sharpness_old", "sharpness_new", "loss_old", "loss_new"), 0.0),
    }
    return {
        "setting": {"data": data, "seed": seed},
        "looks": [{**look, "step": step, "sharpness_old": 2.0 * step} for step in (0, 5)],
        "line": {"old": [1.0], "new": [2.0]},
        "scores": {"base": {"facts": 100.0}},
        "formats": {"base": {"bare": {"lists": 90.0}}},
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
    assert run.looks[1].conflict == (Conflict(0, "mlp", -0.25, 1.0, 2.0),)
    assert run.looks[1].drift[0].change == 0.25
    assert stored.curve(run.looks, "sharpness_old") == [(0, 0.0), (5, 10.0)]
    path.write_text(json.dumps({**records[0], "looks": [{"step": 0}]}))
    with pytest.raises(BadRuns, match="damaged"):
        stored.read_inside()


def test_the_examples_for_measuring_are_of_two_kinds_and_do_not_overlap():
    rows = stored.example_rows()
    assert [len(part) for part in rows] == [48, 48, 48, 10, 100]
    old = {row["prompt"] for part in (rows.old, rows.old_again, rows.ten) for row in part}
    assert len(old) == 106 and not old & set(rows.prompts)
    assert rows == stored.example_rows()
    assert all(row["prompt"].startswith("Customer: ") for row in rows.new)
