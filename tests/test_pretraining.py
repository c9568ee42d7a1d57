"""Pre-training: packing, data by step, exact resume, and its errors."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from helpers.models import load_model
from helpers.pocket import __main__ as command
from helpers.pocket import muon
from helpers.pocket import pretrain as pretrain_module
from helpers.pocket.muon import Muon, orthogonalize
from helpers.pocket.pretrain import (
    Recipe,
    attention_mask,
    batch_loss,
    checkpoint_note,
    dtype_for,
    encode,
    load_checkpoint,
    make_batch,
    make_optimizers,
    new_model,
    pretrain,
    run_note,
)
from helpers.suites import load_suites

RECIPE = Recipe(layers=2, width=32, heads=2, steps=8, rows=2, warmup=2)


@pytest.fixture(scope="module")
def finished(tokenizer, tmp_path_factory):
    """A run that nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return pretrain(RECIPE, tokenizer, folder), folder


@torch.no_grad()
def test_a_packed_document_reads_as_if_it_stood_alone(tokenizer):
    model = new_model(RECIPE, tokenizer).eval()
    batch = make_batch(0, RECIPE, tokenizer)
    packed = model(
        batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=attention_mask(batch.documents, torch.float32),
    ).logits
    compared = 0
    for row in range(RECIPE.rows):
        for number in range(int(batch.documents[row].max()) + 1):
            here = batch.documents[row] == number
            alone = model(batch.input_ids[row, here][None]).logits[0]
            torch.testing.assert_close(packed[row, here], alone, atol=1e-5, rtol=1e-4)
            compared += 1
    assert compared >= 2 * RECIPE.rows  # several documents share a row


def test_a_batch_depends_on_its_step_alone(tokenizer):
    first = make_batch(3, RECIPE, tokenizer)
    make_batch(4, RECIPE, tokenizer)
    again, other = make_batch(3, RECIPE, tokenizer), make_batch(4, RECIPE, tokenizer)
    for name in ("input_ids", "weights", "position_ids", "documents"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.input_ids, other.input_ids)
    seeded = make_batch(3, replace(RECIPE, seed=1), tokenizer)
    assert not torch.equal(first.input_ids, seeded.input_ids)


def test_documents_are_packed_whole(tokenizer):
    batch = make_batch(0, RECIPE, tokenizer)
    for ids, documents in zip(batch.input_ids, batch.documents, strict=True):
        for number in range(int(documents.max()) + 1):
            assert ids[documents == number][-1] == tokenizer.eos_token_id


def test_only_answers_are_learned_and_each_by_its_length(tokenizer):
    pieces = [("What is 2 + 2?", False), (" 4<|endoftext|>", True), ("\n\nAgain?", False)]
    encoded = encode(pieces, tokenizer)
    prompt, answer, second = (len(tokenizer(text)["input_ids"]) for text, _ in pieces)
    assert encoded.weights == [0.0] * prompt + [answer**-0.5] * answer + [0.0] * second


def test_a_killed_and_resumed_run_ends_at_the_same_weights(finished, tokenizer, tmp_path):
    pretrain(RECIPE, tokenizer, tmp_path, stop_at=4)
    fresh = new_model(RECIPE, tokenizer)
    run = run_note(RECIPE, tokenizer, fresh)
    assert load_checkpoint(tmp_path, run, fresh, make_optimizers(fresh, RECIPE)) == 4
    resumed = pretrain(RECIPE, tokenizer, tmp_path)
    whole = dict(finished[0].named_parameters())
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole[name]), name
    assert not torch.equal(fresh.transformer.wte.weight, whole["transformer.wte.weight"])


def test_a_trained_model_is_continued_and_resumes_alike(finished, tokenizer, tmp_path):
    def start():
        return copy.deepcopy(finished[0])

    recipe = replace(RECIPE, seed=5, steps=4)
    whole = pretrain(recipe, tokenizer, tmp_path / "whole", start())
    pretrain(recipe, tokenizer, tmp_path / "cut", start(), stop_at=2)
    resumed = pretrain(recipe, tokenizer, tmp_path / "cut", start())
    wte = "transformer.wte.weight"
    assert not torch.equal(whole.state_dict()[wte], finished[0].state_dict()[wte])
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.state_dict()[name]), name


def test_bfloat16_gives_nearly_the_same_loss_and_other_weights(finished, tokenizer, tmp_path):
    model, batch = finished[0], make_batch(0, RECIPE, tokenizer)
    full, half = (batch_loss(model, batch, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert full != half
    torch.testing.assert_close(full, half, rtol=1e-2, atol=0)
    short = replace(RECIPE, dtype="bfloat16")
    other = pretrain(short, tokenizer, tmp_path).transformer.wte.weight
    assert other.dtype == torch.float32
    assert not torch.equal(other, model.transformer.wte.weight)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_goes_on_in_the_dtype_it_began_in(tokenizer, tmp_path, monkeypatch, dtype):
    other = {"float32": torch.bfloat16, "bfloat16": torch.float32}[dtype]
    monkeypatch.setattr(pretrain_module, "faster_dtype", lambda: other)
    assert dtype_for(tmp_path) == str(other).removeprefix("torch.")
    pretrain(replace(RECIPE, dtype=dtype), tokenizer, tmp_path, stop_at=1)
    assert dtype_for(tmp_path) == dtype


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [((1.0, 0.5), torch.bfloat16), ((1.0, 0.9), torch.float32), ((1.0, 2.0), torch.float32)],
)
def test_bfloat16_is_taken_only_where_it_is_clearly_faster(monkeypatch, seconds, chosen):
    """A clock that gives each of ten products in float32, then in bfloat16, its time."""
    readings = [value for each in seconds for value in (0.0, each) * 10]
    monkeypatch.setattr(muon.time, "perf_counter", iter(readings).__next__)
    assert muon.faster_dtype() == chosen


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_muon_takes_the_same_steps_as_the_one_in_torch(shape):
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(shape))
    theirs = torch.nn.Parameter(ours.detach().clone())
    optimizers = [
        Muon([ours], lr=0.02, dtype=torch.bfloat16),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.0),
    ]
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)  # bfloat16 has 8 bits


def test_orthogonalizing_keeps_the_directions_and_evens_out_the_lengths():
    torch.manual_seed(0)
    matrix = torch.randn(8, 24)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalize(matrix, torch.float32)
    inside = left.T @ found @ right.T
    assert values.max() / values.min() > 2
    assert inside.diag().min() > 0.6 and inside.diag().max() < 1.3
    assert (inside - inside.diag().diag()).abs().max() < 1e-3


def test_muon_is_for_matrices():
    with pytest.raises(ValueError, match="AdamW"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)


def test_the_checkpoint_of_another_recipe_is_refused(finished, tokenizer):
    with pytest.raises(ValueError, match="another run"):
        pretrain(replace(RECIPE, seed=1), tokenizer, finished[1])


def test_the_checkpoint_of_another_world_is_refused(finished, tokenizer, monkeypatch):
    other = [("2 + 2 =", False), (" 4<|endoftext|>", True)]
    monkeypatch.setattr(pretrain_module, "document", lambda rng, end: other)
    with pytest.raises(ValueError, match="another run"):
        pretrain(RECIPE, tokenizer, finished[1])


def test_the_checkpoint_of_another_starting_model_is_refused(finished, tokenizer, tmp_path):
    recipe = replace(RECIPE, seed=5, steps=4)
    start = copy.deepcopy(finished[0])
    pretrain(recipe, tokenizer, tmp_path, copy.deepcopy(start), stop_at=2)
    with torch.no_grad():
        start.transformer.wte.weight[3, 2] += 1e-3
    with pytest.raises(ValueError, match="the weights it began with"):
        pretrain(recipe, tokenizer, tmp_path, start)


def test_a_diverging_run_is_stopped(tokenizer, tmp_path):
    with pytest.raises(FloatingPointError, match="lower the rates"):
        pretrain(replace(RECIPE, muon_lr=1e30, adam_lr=1e30, warmup=1), tokenizer, tmp_path)


def test_the_command_shows_the_new_model_beside_the_shipped_one(
    tokenizer, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(command, "build", lambda: None)
    monkeypatch.setattr(command, "train_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(command, "Recipe", lambda: RECIPE)
    few = partial(load_suites, ["facts", "stories"])
    monkeypatch.setattr(command, "load_suites", lambda size: few(size=size // 100))
    folders = ["--out", str(tmp_path / "model"), "--work", str(tmp_path), "--steps", "2"]
    monkeypatch.setattr("sys.argv", ["pocket", *folders])
    card = (command.SHIPPED / "README.md").read_text(encoding="utf-8")

    def interrupted(*_):
        raise KeyboardInterrupt

    for step in ("evaluate", "load_model"):  # the scores of the new model, and of the shipped one
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(command, step, interrupted)
            command.main()
        assert (tmp_path / "checkpoint.safetensors").exists()  # nothing is trained twice
        assert not (tmp_path / "model").exists()
    assert checkpoint_note(tmp_path)["step"] == "2"
    command.main()
    shown = capsys.readouterr().out
    assert "| interval | shipped |" in shown.replace("95 % ", "") and "| facts | 7 |" in shown
    assert load_model(tmp_path / "model").config.n_layer == 2
    assert not (tmp_path / "checkpoint.safetensors").exists()
    assert (command.SHIPPED / "README.md").read_text(encoding="utf-8") == card


def test_a_run_of_no_steps_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pocket", "--steps", "0"])
    with pytest.raises(SystemExit):
        command.main()
    assert "1 or more" in capsys.readouterr().err
