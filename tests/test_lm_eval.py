"""The suites as lm-eval tasks: the same answers, the same scores, item by item, offline."""

from __future__ import annotations

import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from helpers.evaluation import evaluate
from helpers.snapshots import Snapshot, as_sample
from helpers.suites import SUITES, load_suites

GENERATED = ("facts", "reasoning", "lists")


def run(model, tasks, limit):
    """lm-eval's samples by task."""
    manager = TaskManager(include_path=str(SUITES), include_defaults=False)
    return simple_evaluate(
        HFLM(pretrained=model, tokenizer=model.tokenizer, batch_size=20),
        tasks=tasks,
        task_manager=manager,
        limit=limit,
        bootstrap_iters=0,
    )["samples"]


@pytest.fixture(scope="module", params=[("tiny", 10), ("pocket", 60)], ids=["tiny", "pocket"])
def both(request) -> tuple[str, dict, Snapshot]:
    """The name of a model, lm-eval's samples and our snapshot."""
    name, limit = request.param
    model = request.getfixturevalue(name)
    tasks = [f"pocket_{suite}" for suite in GENERATED] + ["pocket_facts_choice"]
    return name, run(model, tasks, limit), evaluate(model, load_suites(GENERATED, size=limit))


@pytest.mark.parametrize("suite", GENERATED)
def test_the_answers_and_scores_are_the_same(both, suite):
    name, theirs, ours = both
    samples = theirs[f"pocket_{suite}"]
    assert len(samples) == len(ours.results[suite])
    for sample, result in zip(samples, ours.results[suite], strict=True):
        assert sample["doc"]["id"] == result.item.id
        # lm-eval cuts at the first line break, as we do; only the space in front is left to it.
        assert sample["resps"][0][0].strip() == result.output
        assert bool(sample["exact_match"]) == result.correct, sample
    if name == "pocket":
        assert ours.score(suite) > 50  # or agreement would mean little


def test_the_choices_are_the_same(both):
    _, theirs, ours = both
    verdicts = [bool(sample["acc"]) for sample in theirs["pocket_facts_choice"]]
    assert verdicts == [result.choice_correct for result in ours.results["facts"]]
    assert any(verdicts)


def test_items_have_the_same_hashes_in_our_files(both):
    _, theirs, ours = both
    for sample, result in zip(theirs["pocket_facts"], ours.results["facts"], strict=True):
        line = as_sample(0, result)
        assert line["doc_hash"] == sample["doc_hash"]
        assert line["prompt_hash"] == sample["prompt_hash"]
        assert line["target_hash"] == sample["target_hash"]


def test_every_task_of_the_folder_can_be_run(tiny):
    tasks = sorted(path.stem for path in SUITES.glob("pocket_*.yaml"))
    assert len(tasks) == 15
    samples = run(tiny, tasks, 1)
    assert sorted(samples) == tasks and all(len(rows) == 1 for rows in samples.values())
