"""Fine-tuning: what it must not touch, what it learns from, and its errors."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from small_models import same, saved_model, weights
from transformers import TrainerCallback

from helpers.fingerprint import OtherModel
from helpers.models import load_model, parameter_counts
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, BadTickets, mix, read_tickets
from helpers.training import LossIsNaN, UnknownModules, finetune


@pytest.fixture(scope="module")
def tickets():
    return read_tickets()


@pytest.fixture(scope="module")
def run(tiny, tickets):
    """A short run with probes."""
    suites = load_suites(["facts", "stories"], size=4)
    return finetune(tiny, tickets, steps=5, batch_size=4, probe=suites, probe_every=2)


@torch.no_grad()
def logits(model):
    return model(**model.tokenizer("What is 2 + 2?", return_tensors="pt")).logits


# What a run leaves alone, and what it changes


@pytest.mark.parametrize("rank", [8, "full"])
def test_the_base_stays_as_it_is(tiny, tickets, rank):
    model = copy.deepcopy(tiny)
    model.transformer.wpe.weight.requires_grad_(False)
    model.transformer.h[0].train()
    before = weights(model), [p.requires_grad for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    modules = [name for name, _ in model.named_modules()]
    tuned = finetune(model, tickets, steps=2, batch_size=4, rank=rank)
    assert same(weights(model), before[0])
    assert [p.requires_grad for p in model.parameters()] == before[1]
    assert [module.training for module in model.modules()] == modes
    assert [name for name, _ in model.named_modules()] == modules
    assert not torch.equal(logits(tuned.model), logits(tiny))
    assert not tuned.model.training


@pytest.mark.parametrize("rank", [2, "full"])
def test_a_copy_of_a_fine_tuned_model_stands_on_its_own(tiny, tickets, rank):
    model = finetune(tiny, tickets, lr=1e-3, rank=rank, steps=2, batch_size=2).model
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        twin = copy.deepcopy(model)
        for parameter in twin.parameters():
            parameter.mul_(0)
        assert not twin(input_ids=ids).logits.any()
        assert torch.equal(model(input_ids=ids).logits, before)


def test_full_fine_tuning_trains_every_weight(tiny, tickets):
    tuned = finetune(tiny, tickets, steps=2, batch_size=4, rank="full").model
    before, after = weights(tiny), weights(tuned)
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    counts = parameter_counts(tuned)
    assert counts["total"] == counts["trainable"] == parameter_counts(tiny)["total"]


def test_lora_trains_the_adapter_only(tiny, run):
    counts = parameter_counts(run.model)
    assert 0 < counts["trainable"] == counts["total"] - parameter_counts(tiny)["total"]
    with run.model.disable_adapter():
        assert torch.equal(logits(run.model), logits(tiny))


def test_the_seed_decides(tiny, tickets):
    options = dict(steps=3, batch_size=4)
    one, again, other = (
        weights(finetune(tiny, tickets, seed=seed, **options).model) for seed in (1, 1, 2)
    )
    assert same(one, again) and not same(one, other)


# What is learned


def test_the_loss_is_that_of_the_completions_with_their_end(tiny, tickets):
    rows = tickets.select(range(4))
    total, count = 0.0, 0
    for row in rows:
        lead = tiny.tokenizer(row["prompt"])["input_ids"]
        tail = [*tiny.tokenizer(row["completion"])["input_ids"], tiny.tokenizer.eos_token_id]
        with torch.no_grad():
            found = torch.log_softmax(tiny(torch.tensor([lead + tail])).logits[0], -1)
        for place, token in enumerate(tail, start=len(lead)):
            total -= float(found[place - 1, token])
            count += 1
    tuned = finetune(tiny, rows, steps=1, batch_size=4)
    assert tuned.losses == [(1, pytest.approx(total / count, rel=1e-4))]


def test_the_loss_falls(tiny, tickets):
    tuned = finetune(tiny, tickets, rank="full", steps=10, lr=1e-2, batch_size=4)
    losses = [loss for _, loss in tuned.losses]
    assert losses[-1] < 0.9 * losses[0]


def test_gradients_of_small_batches_add_up(tiny, tickets):
    rows = tickets.select(range(48))
    whole = finetune(tiny, rows, steps=3, batch_size=16)
    parts = finetune(tiny, rows, steps=3, batch_size=4, gradient_accumulation=4)
    assert [loss for _, loss in parts.losses] == pytest.approx(
        [loss for _, loss in whole.losses], abs=1e-3
    )
    assert whole.losses[0][1] - whole.losses[2][1] > 1e-3  # or there was nothing to compare
    assert parts.settings["batch_size"] == whole.settings["batch_size"] == 16


def test_probes_stand_at_the_asked_steps_and_begin_with_the_base(tiny, run):
    assert [probe.step for probe in run.probes] == [0, 2, 4, 5]
    assert [step for step, _ in run.losses] == [1, 2, 3, 4, 5]
    assert all(set(probe.scores) == set(probe.nll) == {"facts", "stories"} for probe in run.probes)
    first, last = run.probes[0], run.probes[-1]
    assert first.scores["stories"] == pytest.approx(math.exp(first.nll["stories"]))
    assert first.nll["facts"] != last.nll["facts"]


def test_probes_do_not_change_the_run(tiny, tickets, run):
    without = finetune(tiny, tickets, steps=5, batch_size=4)
    assert without.losses == run.losses
    assert same(weights(without.model), weights(run.model))


def test_epochs_decide_the_number_of_steps(tiny):
    card = read_tickets(SUPPORT / "card_tickets.jsonl")
    assert len(finetune(tiny, card, epochs=2, batch_size=2).losses) == 4


class Rates(TrainerCallback):
    """Notes the rate at which each step is made."""

    def __init__(self):
        self.rates = []

    def on_step_begin(self, args, state, control, lr_scheduler=None, **kwargs):
        self.rates.append(lr_scheduler.get_last_lr()[0])


@pytest.mark.parametrize(
    ("schedule", "warmup_steps", "rates"),
    [
        ("linear", 0, [8, 6, 4, 2]),
        ("linear", 2, [0, 4, 8, 4]),
        ("cosine", 0, [4 + 4 * math.cos(math.pi * step / 4) for step in range(4)]),
        ("constant", 0, [8, 8, 8, 8]),
        ("constant_with_warmup", 2, [0, 4, 8, 8]),
    ],
)
def test_the_rate_follows_its_schedule(tiny, tickets, schedule, warmup_steps, rates):
    seen = Rates()
    options = dict(schedule=schedule, warmup_steps=warmup_steps, callbacks=[seen])
    run = finetune(tiny, tickets, lr=8e-4, steps=4, batch_size=2, **options)
    assert seen.rates == pytest.approx([rate * 1e-4 for rate in rates])
    assert run.settings["schedule"] == schedule and run.settings["warmup_steps"] == warmup_steps


def test_without_a_word_the_rate_falls_linearly(tiny, tickets):
    seen = Rates()
    run = finetune(tiny, tickets, lr=4e-4, steps=2, batch_size=2, callbacks=[seen])
    assert seen.rates == pytest.approx([4e-4, 2e-4])
    assert (run.settings["schedule"], run.settings["warmup_steps"]) == ("linear", 0)


def test_a_llama_is_tuned_too(tokenizer, tickets, tmp_path):
    ends = dict(bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id)
    llama = saved_model("llama", tokenizer, tmp_path, num_key_value_heads=1, **ends)
    before = weights(llama)
    suites = load_suites("facts", size=3)
    tuned = finetune(llama, tickets, steps=3, batch_size=4, probe=suites, probe_every=3)
    adapted = {name.split(".")[-4] for name in weights(tuned.model) if "lora_A" in name}
    assert {"q_proj", "v_proj", "down_proj"} <= adapted and "lm_head" not in adapted
    assert same(weights(llama), before)
    assert not torch.equal(logits(tuned.model), logits(llama))
    with pytest.raises(UnknownModules, match=r"'c_attn'\. LoRA can adapt: .*q_proj"):
        finetune(llama, tickets, target_modules="c_attn")


# Saving


def test_a_saved_adapter_gives_the_same_model_again(tiny, run, tmp_path):
    folder = run.save(tmp_path / "run")
    assert load_file(folder / "adapter_model.safetensors")
    again = PeftModel.from_pretrained(copy.deepcopy(tiny), folder).eval()
    again.tokenizer = tiny.tokenizer
    assert torch.equal(logits(again), logits(run.model))
    log = json.loads((folder / "run.json").read_text())
    assert log["settings"] == run.settings and log["settings"]["rank"] == 8
    assert [tuple(pair) for pair in log["losses"]] == run.losses
    assert [probe["step"] for probe in log["probes"]] == [0, 2, 4, 5]


def test_an_adapter_is_not_put_onto_other_weights_than_its_own(tiny, tickets, tmp_path):
    """A base that was itself fine-tuned still has the name of the model it came from."""
    first = finetune(tiny, tickets, rank="full", steps=1, batch_size=4).model
    assert first.name_or_path == tiny.name_or_path
    folder = finetune(first, tickets, steps=1, batch_size=4).save(tmp_path / "second")
    with pytest.raises(OtherModel, match="was trained on other weights"):
        load_model(folder)
    folder = finetune(tiny, tickets, steps=1, batch_size=4).save(tmp_path / "first")
    assert load_model(folder).tokenizer.padding_side == "left"


def test_a_saved_full_fine_tune_is_a_model(tiny, tickets, tmp_path):
    tuned = finetune(tiny, tickets, steps=1, batch_size=4, rank="full")
    assert torch.equal(logits(load_model(tuned.save(tmp_path))), logits(tuned.model))


# Errors


@pytest.mark.parametrize(
    "numbers", [dict(steps=0), dict(epochs=0), dict(epochs=-1.0), dict(probe_every=0)]
)
def test_numbers_that_mean_nothing_are_refused(tiny, tickets, numbers):
    with pytest.raises(ValueError, match=r"at least 1|above 0"):
        finetune(tiny, tickets, **numbers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(schedule="lineal"), "linear, cosine, constant, constant_with_warmup"),
        (dict(schedule="reduce_lr_on_plateau"), "The valid ones are: linear"),
        (dict(warmup_steps=-1), "whole number of steps, not -1"),
        (dict(warmup_steps=0.1), r"whole number of steps, not 0\.1"),
        (dict(warmup_steps=5, steps=5), "never reach its peak"),
        (dict(schedule="constant", warmup_steps=2), 'Say schedule="constant_with_warmup"'),
    ],
)
def test_a_schedule_that_cannot_be_had_is_refused(tiny, tickets, options, message):
    with pytest.raises(ValueError, match=message):
        finetune(tiny, tickets, **options)


def test_an_alpha_of_zero_is_not_taken_for_none(tiny, tickets):
    run = finetune(tiny, tickets, alpha=0, steps=1, batch_size=2)
    assert run.settings["alpha"] == 0


def test_a_model_with_an_adapter_is_refused_with_what_to_do(run, tickets):
    with pytest.raises(ValueError, match="merge_and_unload"):
        finetune(run.model, tickets, steps=1)


def test_the_student_is_trained_where_its_base_is(tiny, tickets):
    """Elsewhere the trainer would move it to a GPU, and comparing it with its base would fail."""
    seen = []

    class Look(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            seen.append(args.use_cpu)

    finetune(tiny, tickets, steps=1, batch_size=2, callbacks=[Look()])
    assert tiny.device.type == "cpu" and seen == [True]


def test_unknown_modules_are_refused_with_the_valid_ones(tiny, tickets):
    with pytest.raises(UnknownModules, match=r"'q_proj'\. LoRA can adapt: .*c_attn.*c_fc"):
        finetune(tiny, tickets, target_modules=["c_attn", "q_proj"])


def test_a_diverging_run_is_stopped(tiny, tickets):
    with pytest.raises(LossIsNaN, match=r"step \d.*Lower the learning rate \(it was 1e\+30\)"):
        finetune(tiny, tickets, lr=1e30, rank="full", steps=5, batch_size=4)


def test_a_run_whose_last_step_diverges_is_no_model(tiny, tickets):
    with pytest.raises(LossIsNaN, match=r"After the last step.*it was 1e\+30"):
        finetune(tiny, tickets, lr=1e30, rank="full", steps=1, batch_size=4)


LONG = {"prompt": "Customer: " + "please " * 400, "completion": " Yes."}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "is empty"),
        (Dataset.from_dict({"prompt": [], "completion": []}), "is empty"),
        ([{"prompt": "a", "answer": "b"}], "no column completion; it has prompt, answer"),
        ([{"prompt": "a", "completion": " b"}, LONG], r"Ticket 1 has \d{3} tokens.*at most 256"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(tiny, rows, message):
    with pytest.raises(BadTickets, match=message):
        finetune(tiny, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"tickets\.jsonl holds no tickets"),
        ("\n\n", r"tickets\.jsonl holds no tickets"),
        ('{"prompt": "a", "completion": " b"}\n{"prompt', r"tickets\.jsonl, line 2 is not JSON"),
        ('\n{"prompt": "a"}', r'tickets\.jsonl, line 2 needs "prompt" and "completion"'),
        ("[1]", r"tickets\.jsonl, line 1 is \[1\]"),
        ('{"prompt": "a", "completion": 5}', r"tickets\.jsonl, line 1: .* must be text"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(tmp_path, text, message):
    path = tmp_path / "tickets.jsonl"
    path.write_text(text)
    with pytest.raises(BadTickets, match=message):
        read_tickets(path)


# Mixing


@pytest.mark.parametrize(("share", "replayed"), [(0, 0), (1 / 8, 171), (1 / 2, 1200), (0.9, 10800)])
def test_a_share_of_the_mix_is_old(tickets, share, replayed):
    old = read_tickets(SUPPORT / "replay.jsonl")
    mixed = [(row["prompt"], row["completion"]) for row in mix(tickets, old, share)]
    new = {(row["prompt"], row["completion"]) for row in tickets}
    assert sum(pair in new for pair in mixed) == len(tickets) == 1200
    assert len(mixed) - 1200 == replayed
    if 0 < replayed <= len(old):
        assert len(set(mixed)) == len(mixed)  # none twice while they last
        assert mixed != [(r["prompt"], r["completion"]) for r in mix(tickets, old, share, seed=1)]


@pytest.mark.parametrize("share", [-0.1, 1, 1.5])
def test_an_impossible_share_is_refused(tickets, share):
    with pytest.raises(ValueError, match="share must be"):
        mix(tickets, tickets, share)


def test_an_empty_replay_is_refused(tickets):
    with pytest.raises(ValueError, match="nothing to replay"):
        mix(tickets, tickets.select([]), 0.5)
