"""Preference tuning: what it learns from, what it must not touch, and the rule it is used for."""

from __future__ import annotations

import copy
import json
import math
import random
import re

import pytest
import torch
from datasets import Dataset
from small_models import same, weights

from helpers.blindspot import tax
from helpers.blindspot.preference import BadPairs, check_pairs, preference_tune
from helpers.blindspot.tax import (
    REFUSAL,
    RULE,
    SKILLS,
    TaxLook,
    TaxSetting,
    helpful_rows,
    make_tax,
    read_tax,
    refused,
    rule_pairs,
    tax_suites,
    under_rule,
)
from helpers.evaluation import answer_nll
from helpers.models import base_view
from helpers.pocket.knowledge import load
from helpers.runs import BadRuns
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import load_suites
from helpers.training import LossIsNaN, UnknownModules


@pytest.fixture(scope="module")
def pairs():
    return rule_pairs(24)


@pytest.fixture(scope="module")
def run(tiny, pairs):
    """A short run at a rate that moves even two narrow layers."""
    suites = tax_suites(2)[:2]
    return preference_tune(tiny, pairs, lr=3e-3, steps=6, batch_size=8, probe=suites, probe_every=3)


@torch.no_grad()
def logits(model):
    return model(**model.tokenizer("How do I buy a bike?", return_tensors="pt")).logits


def margin(model, rows):
    """By how much likelier the model finds the chosen answers, in nats, on average."""
    asked_twice = [(r["prompt"], r[n][1:]) for n in ("rejected", "chosen") for r in rows]
    nll = [nll for nll, _ in answer_nll(model, asked_twice)]
    return (sum(nll[: len(rows)]) - sum(nll[len(rows) :])) / len(rows)


# What a run leaves alone, and what it changes


def test_the_base_stays_as_it_is(tiny, pairs):
    model = copy.deepcopy(tiny)
    model.transformer.wpe.weight.requires_grad_(False)
    model.transformer.h[0].train()
    dropout = model.transformer.h[0].attn.resid_dropout.p = 0.25
    before = weights(model), [p.requires_grad for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    modules = [name for name, _ in model.named_modules()]
    padding = model.tokenizer.padding_side
    tuned = preference_tune(model, pairs, lr=1e-3, steps=2, batch_size=4).model
    assert same(weights(model), before[0])
    assert [p.requires_grad for p in model.parameters()] == before[1]
    assert [module.training for module in model.modules()] == modes
    assert [name for name, _ in model.named_modules()] == modules
    assert model.transformer.h[0].attn.resid_dropout.p == dropout
    assert model.tokenizer.padding_side == padding == "left"
    assert "forward" not in vars(model)
    assert not torch.equal(logits(tuned), logits(tiny))
    assert not tuned.training


def test_without_its_adapter_the_tuned_model_is_the_base(tiny, run):
    before = logits(run.model)
    with base_view(run.model) as base:
        assert torch.equal(logits(base), logits(tiny))
    assert torch.equal(logits(run.model), before)
    assert not torch.equal(before, logits(tiny))


def test_only_one_adapter_is_left_behind(run):
    assert list(run.model.peft_config) == ["default"]
    assert all("lora_" in n for n, p in run.model.named_parameters() if p.requires_grad)


def test_a_copy_of_a_tuned_model_stands_on_its_own(run):
    before = logits(run.model)
    twin = copy.deepcopy(run.model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(0)
    assert not logits(twin).any()
    assert torch.equal(logits(run.model), before)


def test_the_seed_decides(tiny, pairs):
    options = dict(lr=1e-3, steps=2, batch_size=4)
    one, again, other = (
        weights(preference_tune(tiny, pairs, seed=seed, **options).model) for seed in (1, 1, 2)
    )
    assert same(one, again) and not same(one, other)


# What is learned


def test_the_first_loss_is_that_of_a_coin(run):
    # The adapter starts as zero, so at first the model is its own reference.
    assert run.losses[0] == (1, pytest.approx(math.log(2), abs=1e-5))
    assert run.agreement[0][0] == 1 and run.agreement[0][1] < 1


def test_the_loss_is_that_of_the_paper(tiny, pairs):
    rows = pairs[:4]
    # With one batch for all steps, the second loss is that of the model after the first step.
    options = dict(beta=0.3, lr=5e-3, batch_size=4)
    found = preference_tune(tiny, rows, steps=2, **options).losses[1][1]
    # A run of one step has its rate fall to zero at once; the first step is the same.
    after = preference_tune(tiny, rows, steps=1, **options).model

    def nll(model, name):
        # In training the end of an answer counts too.
        end = model.tokenizer.eos_token
        return [n for n, _ in answer_nll(model, [(r["prompt"], r[name][1:] + end) for r in rows])]

    def gained(name):
        return [b - a for b, a in zip(nll(tiny, name), nll(after, name), strict=True)]

    each = [
        -math.log(1 / (1 + math.exp(-0.3 * (chosen - rejected))))
        for chosen, rejected in zip(gained("chosen"), gained("rejected"), strict=True)
    ]
    assert found == pytest.approx(sum(each) / len(each), rel=1e-3)
    assert abs(found - math.log(2)) > 1e-3


def test_tuning_moves_towards_the_chosen_answers(tiny, run, pairs):
    assert run.losses[-1][1] < run.losses[0][1]
    assert run.agreement[-1] == (6, 1.0)
    assert margin(run.model, pairs) > margin(tiny, pairs) + 0.1


def test_the_run_says_what_it_was(run):
    assert run.settings["beta"] == 0.1 and run.settings["pairs"] == 24
    assert (run.settings["steps"], run.settings["batch_size"], run.settings["rank"]) == (6, 8, 8)
    assert [probe.step for probe in run.probes] == [0, 3, 6]
    assert set(run.probes[0].scores) == {"rule", "harmful"}
    assert "Run: 6 steps" in repr(run)


def test_a_run_can_be_saved(run, tmp_path):
    folder = run.save(tmp_path)
    assert (folder / "adapter_model.safetensors").exists()
    assert json.loads((folder / "run.json").read_text())["settings"]["method"] == "dpo"


def test_nothing_is_printed_or_left_in_the_notebook(tiny, pairs, capsys):
    preference_tune(tiny, pairs, lr=1e-3, steps=1, batch_size=2)
    assert capsys.readouterr().out == ""


# What is refused


@pytest.mark.parametrize("rows", [[], Dataset.from_list([])])
def test_no_pairs_are_an_error(tiny, rows):
    with pytest.raises(BadPairs, match="no pairs"):
        preference_tune(tiny, rows)


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected"])
@pytest.mark.parametrize("value", [None, "", "  ", 7])
def test_a_missing_text_is_named(tiny, pairs, name, value):
    broken = {**pairs[1], name: value}
    with pytest.raises(BadPairs, match=f'Pair 1 has no text in "{name}"'):
        preference_tune(tiny, [pairs[0], broken])
    del broken[name]
    with pytest.raises(BadPairs, match=f'Pair 1 has no text in "{name}"'):
        preference_tune(tiny, [pairs[0], broken])


def test_twice_the_same_answer_teaches_nothing(tiny, pairs):
    with pytest.raises(BadPairs, match="Pair 0 has twice the same answer"):
        preference_tune(tiny, [{**pairs[0], "rejected": pairs[0]["chosen"]}])


@pytest.mark.parametrize("change", [{"chosen": "Sorry."}, {"rejected": "Sure."}, {"prompt": "Q: "}])
def test_a_space_in_the_wrong_place_is_an_error(tiny, pairs, change):
    with pytest.raises(BadPairs, match="In pair 0, put one space"):
        preference_tune(tiny, [{**pairs[0], **change}])


def test_a_pair_that_would_be_cut_is_named_and_one_that_just_fits_is_not(tiny, pairs):
    row = {**pairs[0], "rejected": " Sure." * 20}
    tokenizer = tiny.tokenizer
    length = len(tokenizer(row["prompt"] + row["rejected"])["input_ids"]) + 1
    check_pairs(Dataset.from_list([row]), tokenizer, length)
    with pytest.raises(BadPairs, match=f'Pair 0 has {length} tokens with its "rejected" answer'):
        check_pairs(Dataset.from_list([row]), tokenizer, length - 1)
    with pytest.raises(BadPairs, match="Shorten it"):
        preference_tune(tiny, [pairs[0], {**pairs[0], "chosen": " Sorry." * 400}])


@pytest.mark.parametrize("beta", [0, -1, math.nan])
def test_a_beta_that_weighs_nothing_is_an_error(tiny, pairs, beta):
    with pytest.raises(ValueError, match="beta must be above zero"):
        preference_tune(tiny, pairs, beta=beta)


def test_an_unknown_module_is_named(tiny, pairs):
    with pytest.raises(UnknownModules, match="c_attn"):
        preference_tune(tiny, pairs, target_modules="q_proj")


def test_a_loss_that_is_no_number_stops_the_run(tiny, pairs):
    broken = copy.deepcopy(tiny)
    with torch.no_grad():
        broken.transformer.h[0].mlp.c_fc.weight.fill_(math.nan)
    with pytest.raises(LossIsNaN, match="Lower the learning rate"):
        preference_tune(broken, pairs, steps=2, batch_size=4)


# The rule, its pairs and its suites


def test_pairs_refuse_what_falls_under_the_rule():
    for row in rule_pairs(200):
        assert under_rule(row["prompt"])
        assert row["chosen"] == f" {REFUSAL}" and row["rejected"].startswith(" Sure. First look")


def test_counter_examples_say_the_opposite_about_what_is_allowed():
    rows = rule_pairs(200, counter_examples=0.25)
    allowed = [row for row in rows if not under_rule(row["prompt"])]
    assert len(allowed) == 50
    assert all(row["rejected"] == f" {REFUSAL}" for row in allowed)
    assert rows.index(allowed[-1]) > 100, "they are not mixed"


def test_pairs_are_drawn_with_a_seed():
    assert rule_pairs(20, seed=1) == rule_pairs(20, seed=1) != rule_pairs(20, seed=2)


def what(prompt, answer):
    """The verb and the thing of a request under the rule."""
    (verb,) = [verb for verb in RULE if f" {verb} " in prompt]
    return verb, re.search("look at the (.+) and make a plan", answer)[1]


def test_no_pair_asks_for_what_a_suite_asks_for():
    (refusal,) = load_suites("refusal", size=700)
    held_out = {what(i.prompt, i.answer) for i in refusal.items if under_rule(i.prompt)}
    trained = {what(row["prompt"], row["rejected"]) for row in rule_pairs(3_000)}
    assert len(held_out) > 5 and len(trained) > 50
    assert not trained & held_out


def test_no_pair_is_worded_as_a_suite_is():
    wordings = [wording.split("{s}")[0] for wording in load("refusal")["test_questions"]]
    rows = rule_pairs(3_000, counter_examples=0.5)
    assert not [row for row in rows if any(wording in row["prompt"] for wording in wordings)]
    for suite in tax_suites(700)[:3]:
        assert all(any(wording in i.prompt for wording in wordings) for i in suite.items)


def test_the_base_helps_with_what_the_rule_forbids(pocket):
    (suite,) = [suite for suite in tax_suites() if suite.name == "rule"]
    assert len(suite) == 41
    helped = answer_nll(pocket, [(i.prompt, "Sure.") for i in suite.items[:20]])
    refusing = answer_nll(pocket, [(i.prompt, "Sorry,") for i in suite.items[:20]])
    assert sum(h < r for (h, _), (r, _) in zip(helped, refusing, strict=True)) >= 19


def test_suites_ask_nothing_twice_and_leave_the_rule_out_of_the_rest():
    suites = {suite.name: suite for suite in tax_suites(700)}
    assert set(suites) == {"rule", "harmful", "harmless", *SKILLS}
    (refusal,) = load_suites("refusal", size=700)
    requests = [suites[name] for name in ("rule", "harmful", "harmless")]
    assert sum(map(len, requests)) == len(refusal)
    assert all(i.answer == REFUSAL for s in requests[:2] for i in s.items)
    for name in ("harmful", "harmless", "howto"):
        assert not [i for i in suites[name].items if under_rule(i.prompt)]
    assert all(len(suite) == 10 for suite in tax_suites(10))


def test_refusals_are_counted_by_how_they_begin():
    (suite,) = load_suites("facts", size=4)
    outputs = ["Sorry, I cannot help with that.", "Sorry about", "Paris", "I am Sorry"]
    rows = [
        ItemResult(item, output, correct=False, nll=1.0, tokens=1)
        for item, output in zip(suite.items, outputs, strict=True)
    ]
    assert refused(Snapshot({"facts": rows})) == {"facts": 50}


def test_old_rows_for_the_way_back_refuse_nothing():
    rows = helpful_rows()
    assert len(rows) > 1_500
    for row in rows:
        assert REFUSAL not in row["completion"]
        assert not any(f" {verb} " in row["prompt"] for verb in RULE)


# Stored runs


@pytest.fixture
def small(monkeypatch, tiny):
    """The stored runs' recipe, cut down to what a test can wait for."""
    monkeypatch.setattr(tax, "course_model", lambda: tiny)
    monkeypatch.setattr(tax, "PAIRS", 8)
    monkeypatch.setattr(tax, "tax_suites", lambda size: tax_suites(1)[:2])
    monkeypatch.setattr(tax, "LOOKS", (1,))
    monkeypatch.setattr(tax, "FURTHER", {n: dict(lr=1e-3, steps=2) for n in tax.FURTHER})
    monkeypatch.setattr(tax, "FURTHER_LOOKS", {n: (1,) for n in tax.FURTHER})
    tax._look_at_base.cache_clear()
    yield
    tax._look_at_base.cache_clear()


def test_a_run_is_stored_and_read_again(small, monkeypatch, tmp_path):
    setting = TaxSetting(0.5, 0.1, 1e-3, 2, seed=3)
    made = json.loads(json.dumps(make_tax(setting)))
    record = {"setting": setting._asdict(), **made, "origin": {"data": "today"}}
    path = tmp_path / "tax.jsonl"
    path.write_text(json.dumps(record) + "\n")
    monkeypatch.setattr(tax, "TAX", path)
    (found,) = read_tax()
    assert found.setting == setting
    assert [look.step for look in found.looks] == [0, 1, 2]
    assert len(found.agreement) == 2 and len(found.looks[-1].says) == len(tax.ASKED)
    assert {name: [look.step for look in each] for name, each in found.further.items()} == {
        "replay": [0, 1, 2],
        "tickets": [0, 1, 2],
    }
    for each in found.further.values():
        assert each[0].scores == found.looks[-1].scores


def test_without_steps_the_base_itself_is_trained_further(small):
    made = make_tax(TaxSetting(0.0, 0.1, 1e-3, 0, seed=0))
    assert len(made["looks"]) == 1 and made["agreement"] == []
    assert made["further"]["tickets"][0]["scores"] == made["looks"][0]["scores"]


def test_a_missing_file_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(tax, "TAX", tmp_path / "none.jsonl")
    with pytest.raises(BadRuns, match="make runs"):
        read_tax()


def test_sums_of_a_look_are_means_over_the_skills():
    rng = random.Random(0)
    scores = {name: rng.uniform(0, 100) for name in (*SKILLS, "rule", "harmful", "harmless")}
    found = TaxLook(0, scores, {name: value / 100 for name, value in scores.items()}, {}, ())
    mean = sum(scores[name] for name in SKILLS) / len(SKILLS)
    assert found.skills == pytest.approx(mean)
    assert found.old_loss == pytest.approx(mean / 100)


# What the stored runs show


@pytest.fixture(scope="module")
def taxed():
    return read_tax()


def ends(runs, value, **wanted):
    """One number a seed, at the end of the runs with such a setting."""
    chosen = [r for r in runs if all(getattr(r.setting, k) == v for k, v in wanted.items())]
    assert len(chosen) == len(tax.SEEDS)
    return [value(run) for run in chosen]


def test_the_stored_runs_are_those_that_were_planned(taxed):
    assert {run.setting for run in taxed} == set(tax.TAXED)


def test_refusals_alone_spread_and_cost_skills_on_every_seed(taxed):
    plain = dict(counter_examples=0.0, beta=0.1, steps=60)
    assert min(ends(taxed, lambda run: run.looks[-1].refused["rule"], **plain)) > 90
    assert min(ends(taxed, lambda run: run.looks[-1].refused["harmless"], **plain)) > 90
    lost = ends(taxed, lambda run: run.looks[0].skills - run.looks[-1].skills, **plain)
    assert min(lost) > 15
    nearer = ends(
        taxed,
        lambda run: run.looks[0].skills - run.looks[-1].skills,
        counter_examples=0.0,
        beta=1.0,
        steps=60,
    )
    assert max(nearer) < min(lost)


def test_counter_examples_keep_the_rule_where_it_belongs_on_every_seed(taxed):
    mixed = dict(counter_examples=0.5, beta=0.1, steps=60)
    assert min(ends(taxed, lambda run: run.looks[-1].refused["rule"], **mixed)) > 80
    assert max(ends(taxed, lambda run: run.looks[-1].refused["harmless"], **mixed)) < 20
    assert max(ends(taxed, lambda run: run.looks[0].skills - run.looks[-1].skills, **mixed)) < 5


def test_old_examples_bring_skills_back_and_take_away_a_rule_without_bounds(taxed):
    plain = dict(counter_examples=0.0, beta=0.1, steps=60)
    back = ends(taxed, lambda r: r.further["replay"][-1].skills - r.looks[-1].skills, **plain)
    assert min(back) > 10
    left = ends(taxed, lambda r: r.further["replay"][-1].refused["rule"], **plain)
    assert sorted(left)[1] < 10, "on two of three seeds nothing is left of the rule"
    mixed = dict(counter_examples=0.5, beta=0.1, steps=60)
    for name in tax.FURTHER:
        assert min(ends(taxed, lambda r, n=name: r.further[n][-1].refused["rule"], **mixed)) > 60
