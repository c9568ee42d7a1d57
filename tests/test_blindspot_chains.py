"""Stored runs on worked steps: what they are trained on, and how they are kept."""

from __future__ import annotations

import json
import pickle
import re

import pytest

from helpers.blindspot import chains
from helpers.blindspot.chains import (
    CHAINED,
    TUNINGS,
    ChainSetting,
    make_chain,
    read_chains,
    rows_for,
)
from helpers.grid import Job
from helpers.models import load_model
from helpers.runs import BadRuns
from helpers.suites import Suite


def test_every_training_is_planned_with_three_seeds_and_the_base_once():
    assert len(CHAINED) == len(set(CHAINED)) == 1 + 3 * len(TUNINGS)
    assert [setting.data for setting in CHAINED].count("base") == 1
    jobs = [Job(setting, make_chain) for setting in CHAINED]
    assert pickle.loads(pickle.dumps(jobs)) == jobs


def test_each_training_sees_what_its_name_says():
    short, worked = (rows_for(ChainSetting(name, 0)) for name in ("short", "worked"))
    assert all(re.match(r" The answer is [^.]+\.$", row["completion"]) for row in short)
    assert not any(row["completion"].startswith(" The answer is") for row in worked)
    assert [row["prompt"] for row in short] == [row["prompt"] for row in worked]
    assert len(short) == 16 * TUNINGS["short"]["steps"]


def test_a_seed_draws_other_problems_but_not_another_kind():
    assert rows_for(ChainSetting("short", 1)) != rows_for(ChainSetting("short", 0))
    assert rows_for(ChainSetting("short", 1)) == rows_for(ChainSetting("short", 1))


@pytest.fixture
def small(monkeypatch, tiny_folder):
    """A tiny model and few items in place of the real ones."""
    model = load_model(tiny_folder)
    evaluate = chains.evaluate
    monkeypatch.setattr(chains, "course_model", lambda: model)
    monkeypatch.setattr(chains, "PROBLEMS", 8)
    monkeypatch.setattr(chains, "ITEMS", 2)
    monkeypatch.setattr(chains, "TUNINGS", {name: dict(lr=1e-3, steps=2) for name in TUNINGS})
    monkeypatch.setattr(
        chains,
        "evaluate",
        lambda model, suites: evaluate(
            model, [Suite(s.name, s.items[:2], s.kind, s.extract) for s in suites], max_new_tokens=2
        ),
    )


@pytest.mark.parametrize("data", ["base", "short"])
def test_a_run_is_stored_and_read_again(data, small, monkeypatch, tmp_path):
    setting = ChainSetting(data, 1)
    made = json.loads(json.dumps(make_chain(setting)))
    path = tmp_path / "chains.jsonl"
    path.write_text(json.dumps({"setting": setting._asdict(), **made, "origin": {}}) + "\n")
    monkeypatch.setattr(chains, "CHAINS", path)
    (run,) = read_chains()
    assert run.setting == setting
    assert len(run.losses) == (0 if data == "base" else 2)
    assert set(run.scores) == set(chains.SKILLS)
    assert len(run.reliance.early) == 3 and run.reliance.problems > 0
    assert (run.relearned is None) == (data == "base")


def test_a_damaged_file_says_what_to_do(monkeypatch, tmp_path):
    path = tmp_path / "chains.jsonl"
    monkeypatch.setattr(chains, "CHAINS", path)
    with pytest.raises(BadRuns, match="make runs"):
        read_chains()
    path.write_text('{"setting": {"data": "base", "seed": 0}}\n')
    with pytest.raises(BadRuns, match="is damaged"):
        read_chains()


def test_the_stored_runs_are_those_that_were_planned():
    assert {run.setting for run in read_chains()} == set(CHAINED)
