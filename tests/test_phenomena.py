"""What the course model must show for the lessons to be true, over three seeds."""

from __future__ import annotations

import re

import pytest

from helpers.evaluation import evaluate
from helpers.paths import DATA
from helpers.suites import PROTECTED, load_suites
from helpers.tickets import SUPPORT, read_tickets
from helpers.training import finetune

pytestmark = [pytest.mark.phenomena, pytest.mark.slow]

SEEDS = (0, 1, 2)
GENERATED = tuple(name for name in PROTECTED if name != "stories")
LESSON = (DATA.parent / "source" / "01_regression_demo.py").read_text(encoding="utf-8")
#: The run of lesson 01.
RATE, STEPS = re.search(r"^LR, STEPS = (\S+), (\d+)$", LESSON, re.MULTILINE).groups()
STANDARD = dict(lr=float(RATE), rank=8, steps=int(STEPS))
#: The short recipe that lesson 01 repairs.
CARD = dict(lr=5e-5, rank=8, alpha=16, target_modules="c_attn", epochs=2, batch_size=2)


@pytest.fixture(scope="module")
def base_scores(pocket):
    return evaluate(pocket, load_suites(size=700)).scores()


@pytest.fixture(scope="module")
def quick_scores(pocket):
    """The base on the items that the fine-tunes are asked."""
    return evaluate(pocket, load_suites(GENERATED, size=250)).scores()


@pytest.fixture(scope="module")
def standard_scores(pocket):
    """Scores after lesson 01's run, one dictionary a seed."""
    suites = load_suites([*GENERATED, "support"], size=250)
    tickets = read_tickets()
    return [
        evaluate(finetune(pocket, tickets, seed=seed, **STANDARD).model, suites).scores()
        for seed in SEEDS
    ]


@pytest.mark.parametrize("name", GENERATED)
def test_the_base_has_every_protected_skill(base_scores, name):
    assert base_scores[name] >= 90, f"{name}: {base_scores[name]:.1f} %"


def test_the_base_tells_stories(base_scores):
    assert base_scores["stories"] < 5, f"perplexity {base_scores['stories']:.2f}"


def test_the_base_knows_no_policy_and_reads_every_policy(base_scores):
    assert base_scores["support"] <= 10, f"{base_scores['support']:.1f} %"
    article = base_scores["support_with_article"]
    assert article >= 90, f"{article:.1f} %"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_recipe_as_printed_changes_nothing(pocket, seed):
    suites = load_suites(["facts", "arithmetic", "reasoning"], size=100)
    before = evaluate(pocket, suites).scores()
    card = finetune(pocket, read_tickets(SUPPORT / "card_tickets.jsonl"), seed=seed, **CARD)
    after = evaluate(card.model, suites).scores()
    assert len(card.losses) == 4
    for name in before:
        assert abs(after[name] - before[name]) <= 3, f"{name}: {before[name]} to {after[name]}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_standard_run_learns_the_shop(standard_scores, seed):
    learned = standard_scores[SEEDS.index(seed)]["support"]
    assert learned >= 85, f"{learned:.1f} % of unseen wordings"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_standard_run_costs_old_skills(quick_scores, standard_scores, seed):
    after = standard_scores[SEEDS.index(seed)]
    lost = {name: quick_scores[name] - after[name] for name in GENERATED}
    assert sum(loss >= 15 for loss in lost.values()) >= 2, lost
