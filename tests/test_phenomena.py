"""What the course model must show for the lessons to be true, over three seeds."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch

from helpers.audit import CapabilityMap, audit
from helpers.evaluation import evaluate
from helpers.mechanics.loss import answer_loss, batch_of
from helpers.mitigations.methods import probe_rows
from helpers.paths import DATA
from helpers.suites import PROTECTED, load_suites
from helpers.tickets import SUPPORT, mix, read_tickets
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


#: A run that stays inside every margin: all weights, a low rate, three old examples per ticket.
CAREFUL = dict(lr=2e-4, rank="full", steps=360)
OLD_SHARE = 3 / 4


@pytest.fixture(scope="module")
def base(pocket):
    return evaluate(pocket, load_suites(size=700))


@pytest.fixture(scope="module")
def base_scores(base):
    return base.scores()


def first(snapshot, size):
    """The first items of each suite of a snapshot."""
    results = {name: rows[:size] for name, rows in snapshot.results.items()}
    return replace(snapshot, results=results)


@pytest.fixture(scope="module")
def standard_models(pocket):
    """Models after lesson 01's run, one a seed."""
    tickets = read_tickets()
    return [finetune(pocket, tickets, seed=seed, **STANDARD).model for seed in SEEDS]


@pytest.fixture(scope="module")
def standard_runs(standard_models):
    """Their snapshots."""
    suites = load_suites(size=250)
    return [evaluate(model, suites) for model in standard_models]


@pytest.fixture(scope="module")
def our_map():
    return CapabilityMap.load(DATA / "capability_map.yaml")


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
def test_the_recipe_as_printed_changes_nothing(pocket, base, seed):
    card = finetune(pocket, read_tickets(SUPPORT / "card_tickets.jsonl"), seed=seed, **CARD)
    after = evaluate(card.model, load_suites(GENERATED, size=100))
    assert len(card.losses) == 4
    for name, rows in first(base, 100).results.items():
        if name in GENERATED:
            pairs = zip(rows, after.results[name], strict=True)
            changed = sum(old.correct != new.correct for old, new in pairs)
            assert changed <= 2, f"{name}: {changed} of 100 answers changed sides"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_standard_run_learns_the_shop(standard_runs, seed):
    learned = standard_runs[SEEDS.index(seed)].score("support")
    assert learned >= 85, f"{learned:.1f} % of unseen wordings"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_standard_run_costs_old_skills(base, standard_runs, seed):
    before, after = first(base, 250).scores(), standard_runs[SEEDS.index(seed)].scores()
    lost = {name: before[name] - after[name] for name in GENERATED}
    assert sum(loss >= 15 for loss in lost.values()) >= 2, lost


@pytest.mark.parametrize("seed", SEEDS)
def test_the_courses_map_blocks_the_standard_run(base, standard_runs, our_map, seed):
    report = audit(first(base, 250), standard_runs[SEEDS.index(seed)], our_map)
    assert report.decision == "BLOCK" and report.exit_code == 1, report
    assert report["howto"].verdict == report["lists"].verdict == "BLOCK"
    assert report["support"].drop < -80, "the target improves, and that does not help"


def test_a_careful_run_ships(pocket, base, our_map):
    rows = mix(read_tickets(), read_tickets(SUPPORT / "replay.jsonl"), share=OLD_SHARE)
    careful = finetune(pocket, rows, **CAREFUL).model
    report = audit(base, evaluate(careful, load_suites(size=700)), our_map)
    assert report.decision == "SHIP" and report.exit_code == 0, report


@pytest.mark.parametrize("name", ["lists", "howto", "arithmetic"])
def test_the_gate_keeps_its_promise_on_answers_of_the_real_model(standard_runs, name):
    """Two runs that differ in nothing but the seed, their answers exchanged at random: no drop.

    With as many further answers turned wrong as the margin allows, the drop is the margin itself.
    """
    rng, count, margin, repeats = random.Random(name), 240, 5, 1_000
    text = f"version: 1\ncategories: {{{name}: {{task: pocket_{name}, margin: {margin}}}}}"
    only = CapabilityMap.parse(text)
    one, other = (run.results[name][:count] for run in standard_runs[:2])
    verdicts = {"no drop": Counter(), "at the margin": Counter()}
    for _ in range(repeats):
        pairs = [
            pair if rng.random() < 0.5 else pair[::-1] for pair in zip(one, other, strict=True)
        ]
        before, after = ([pair[side] for pair in pairs] for side in (0, 1))
        both = [n for n, (x, y) in enumerate(pairs) if x.correct and y.correct]
        worse = list(after)
        for n in rng.sample(both, min(len(both), count * margin // 100)):
            worse[n] = replace(after[n], correct=False)
        for label, rows in (("no drop", after), ("at the margin", worse)):
            snapshots = (replace(standard_runs[0], results={name: side}) for side in (before, rows))
            verdicts[label][audit(*snapshots, only)[name].verdict] += 1
    assert verdicts["no drop"]["BLOCK"] <= 0.05 * repeats
    if len(both) >= count * margin // 100:
        assert verdicts["at the margin"]["PASS"] <= 0.05 * repeats, verdicts
        assert verdicts["at the margin"]["BLOCK"] <= 0.05 * repeats, verdicts


def test_the_perplexity_of_old_answers_hardly_notices_the_damage(pocket, standard_models):
    """Lesson 07, verify and repair: a threshold of 1.15 is above what the whole plain run does."""
    rows = probe_rows()
    single = [batch_of(pocket, [row]) for row in rows]

    @torch.no_grad()
    def losses(model):
        whole = float(answer_loss(model, batch_of(pocket, rows)))
        return whole, [float(answer_loss(model, one)) for one in single]

    before, each = losses(pocket)
    for model in standard_models:
        after, now = losses(model)
        assert 1.11 < math.exp(after - before) < 1.15
        assert sum(b - a > 0.1 for a, b in zip(each, now, strict=True)) <= 25
