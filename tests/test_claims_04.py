"""What lesson 04 says, and the attacks on it, over three seeds."""

from __future__ import annotations

import random
import re
from statistics import fmean

import pytest

from helpers.blindspot import distance, tax, taxed, wordings
from helpers.blindspot.chains import CHAINED, read_chains
from helpers.blindspot.chosen import RATES, by_target
from helpers.blindspot.steps import _answers, chain_of, copy_last, look_up, reliance, two_step
from helpers.generation import complete
from helpers.pocket.problems import FAMILIES, reasoning
from helpers.pocket.words import COUNTED, NAMES, THINGS
from helpers.runs import digest, find, read_runs
from helpers.suites import load_suites
from helpers.tradeoff import learned, points_lost

SEEDS = (0, 1, 2)


# The best by its own metric


def test_the_best_at_the_target_have_lost_half_or_more_and_others_hardly_anything():
    top = by_target(read_runs()).head(9)
    assert list(top["support right (%)"])[::8] == [96.7, 90.0]
    assert list(top["points lost"])[:5] == [95.4, 41.0, 50.2, 57.6, 98.3]
    assert top.index[8] == ("0.001", 64) and list(top["points lost"])[8] == 3.7
    assert top["worst skill"].iloc[8] == "reasoning, 12 points"


def test_on_each_seed_the_best_within_a_question_differ_in_what_they_lost():
    runs = [r for r in read_runs() if r.setting.alpha == "2r" and r.setting.lr in RATES]
    ranges = []
    for seed in SEEDS:
        of_seed = find(runs, seed=seed)
        best = max(learned(run.last) for run in of_seed)
        tied = [run for run in of_seed if learned(run.last) > best - 3.4]
        lost = [points_lost(run.base, run.last) for run in tied]
        ranges.append((round(min(lost)), round(max(lost))))
    assert ranges == [(42, 98), (45, 96), (32, 94)]


def test_within_a_standard_error_of_the_best_stands_the_winner_alone():
    """Ninety questions: the habit of the gentlest run within one standard error saves nothing."""
    table = by_target(read_runs())
    support, lost = table["support right (%)"], table["points lost"]
    error = (support.iloc[0] * (100 - support.iloc[0]) / 90) ** 0.5
    assert round(error, 1) == 1.9 and len(table) == 64
    assert list(lost[support >= support.iloc[0] - error]) == [95.4]
    others = list(lost[support >= support.iloc[0] - 2 * error])[1:]
    assert len(others) == 3 and (round(min(others)), round(max(others))) == (41, 58)


# Worked steps


@pytest.fixture(scope="module")
def stored():
    return read_chains()


def of(stored, data):
    return [run for run in stored if run.setting.data == data]


def test_the_old_test_measured_its_parser(stored):
    (base,) = of(stored, "base")
    assert base.reliance.early_first_stop == (0, 0, 100)
    assert base.reliance.early[0] > 85 and base.reliance.goes_on[0] > 90
    assert base.reliance.copies[1] > 95
    (suite,) = load_suites("reasoning", size=100)
    copied = reliance(copy_last, suite)
    assert copied.early_first_stop == base.reliance.early_first_stop
    assert copied.follows_last == base.reliance.follows_last == 100


def test_a_planted_mistake_and_a_tampered_step_tell_the_base_from_the_rules(stored):
    (base,) = of(stored, "base")
    (suite,) = load_suites("reasoning", size=100)
    copied, known = reliance(copy_last, suite), reliance(look_up(suite), suite)
    assert base.reliance.follows_first > 80 > 5 > copied.follows_first == known.follows_first
    assert base.reliance.tampered > 95 and base.reliance.corrects == 0 and known.corrects == 100


def test_the_base_follows_whatever_the_mistake_is(pocket):
    (suite,) = load_suites("reasoning", size=100)
    for seed in SEEDS:
        problems = two_step(suite, seed)
        said = _answers(pocket, problems, [problem.first.steps for problem in problems])
        results = [chain_of(text).result for text in said]
        follows = [r == p.first.result for r, p in zip(results, problems, strict=True)]
        assert fmean(follows) > 0.85
        assert not [r for r, p in zip(results, problems, strict=True) if r == p.chain.result]


def test_the_base_believes_a_true_equation_from_nowhere(pocket):
    (suite,) = load_suites("reasoning", size=60)
    problems, rng = two_step(suite), random.Random(0)
    for _ in SEEDS:
        numbers = [(rng.randint(2, 9), rng.randint(2, 9)) for _ in problems]
        said = _answers(pocket, problems, [[f"{a} + {b} = {a + b}."] for a, b in numbers])
        right = [chain_of(t).result == p.chain.result for t, p in zip(said, problems, strict=True)]
        assert fmean(right) < 0.08


def test_without_steps_the_form_is_lost_and_the_arithmetic_is_not(stored):
    short, worked = of(stored, "short"), of(stored, "worked")
    assert [run.setting.seed for run in short] == [run.setting.seed for run in worked] == [0, 1, 2]
    for run in short:
        assert run.scores["reasoning"] < 15 and run.reliance.right < 5
        assert run.reliance.right_after_first < 10 and run.reliance.follows_first < 5
        assert run.reliance.begun < 10 and run.reliance.finishes > 95
        assert run.relearned < 20
        assert run.losses[1] < run.losses[0] / 4
    for run in worked:
        assert run.scores["reasoning"] > 95 and run.reliance.finishes > 95


# Other wordings


def shape(problem):
    """A problem without its names, things and numbers: what is left is its wording."""
    for words, mark in ((NAMES, "NAME"), (COUNTED, "THINGS"), (THINGS, "THING")):
        problem = re.sub(rf"\b({'|'.join(words)})\b", mark, problem)
    return re.sub(r"\d+", "N", problem)


def test_no_new_wording_is_one_of_pre_training():
    rng = random.Random(0)
    told = {shape(reasoning(rng, "train", family).question) for family in [*FAMILIES] * 300}
    assert shape(reasoning(random.Random(1), "train", "sale").question) in told
    new = {shape(q) for way in wordings.all_wordings() for q, _ in wordings.problems_of(*way)[:3]}
    assert len(wordings.all_wordings()) == 25 <= len(new) and not new & told


def test_in_wordings_that_the_base_reads_worked_steps_keep_the_skill_and_widen_it_nowhere():
    found = wordings.read_wordings()
    assert [run.setting for run in found] == sorted(CHAINED)
    assert {run.origin["data"] for run in found} == {digest()}
    base = found[0]
    reads = [share >= 50 for share in base.right["first"]]

    def right(run, wanted):
        pairs = zip(reads, run.right["second"], strict=True)
        return fmean(share for read, share in pairs if read is wanted)

    assert sum(reads) == 7 and (right(base, True), right(base, False)) == (
        pytest.approx((81.4, 23.3), abs=0.05)
    )
    worked, short = of(found, "worked"), of(found, "short")
    assert [round(right(run, True)) for run in worked] == [80, 81, 81]
    assert [round(right(run, False)) for run in worked] == [23, 21, 22]
    assert {round(right(run, part)) for run in short for part in (True, False)} == {1}
    assert round(fmean(base.right["second"])) == 40 and fmean(base.writes_steps) > 95


@pytest.mark.slow
def test_the_stored_answers_in_a_new_wording_are_those_of_today(pocket):
    base, way = wordings.read_wordings()[0], wordings.all_wordings()[0]
    problems = wordings.problems_of(*way)
    said = complete(pocket, [problem for problem, _ in problems])
    right = [chain_of(t).result == result for t, (_, result) in zip(said, problems, strict=True)]
    assert 100 * fmean(right) == base.right["second"][0]


# Distance


@pytest.fixture(scope="module")
def away():
    return distance.read_distance()


def test_a_free_rival_ranks_the_damage_as_well_as_the_kl(away):
    kl, rival = (distance.RIVALS[name] for name in ("KL to the base", "starting loss x rate"))

    def found(cause, outcome, within=None, runs=away):
        return round(distance.rank_correlation(runs, cause, outcome, within, 2).mean, 2)

    nats, points = distance.forgotten, distance.lost
    assert (found(kl, nats), found(rival, nats)) == (0.92, 0.89)
    assert (found(kl, nats, "lr"), found(rival, nats, "lr")) == (0.87, 0.95)
    assert found(kl, points, "lr") < 0.6 and found(rival, points, "lr") < 0.6
    for seed in SEEDS:
        runs = [run for run in away if run.setting.seed == seed and run.setting.lr > 1e-3]
        for cause in (kl, rival):
            for outcome in (nats, points):
                assert found(cause, outcome, "lr", runs) > 0.9
    assert found(lambda run: run.last.kl_gold, nats) == 0.88
    assert found(kl, nats, "domain") == 0.93
    assert found(lambda run: run.setting.lr, nats, "domain") == 0.94


def test_one_of_five_new_domains_is_learned(away):
    table = distance.by_domain(away, 1e-2)
    new = table[table["right before (%)"] < 50]
    assert list(new.index[new["right after (%)"] > 50]) == ["policies"]
    assert new["right after (%)"].drop("policies").max() < 8
    kept = table[table["right after (%)"] > 50]
    assert kept["KL to the base"].idxmax() == kept["starting loss"].idxmax() == "policies"
    ratio = table.loc["random"] / table.loc["policies"]
    assert ratio["KL to the base"] < 1.2 and 9 < ratio["old loss risen"] < 10


# Preference tuning


@pytest.fixture(scope="module")
def tuned():
    return tax.read_tax()


def at_learning(tuned, name):
    return [taxed.first_at(run, 85) for run in taxed.seeds_of(tuned, name)]


def test_at_equal_learning_refusals_alone_cost_little_skill_and_all_harmless_requests(tuned):
    alone, firm, mixed = (at_learning(tuned, name) for name in taxed.TUNINGS)
    base = tuned[0].looks[0]
    for look in alone + firm:
        assert 0 <= base.skills - look.skills < 4 and look.refused["harmless"] > 80
        others = [name for name in tax.SKILLS if name not in ("howto", "lists")]
        assert all(look.scores[name] == base.scores[name] for name in others)
    for look in mixed:
        assert base.skills - look.skills < 1 and look.refused["harmless"] <= 5


def test_where_the_rule_stands_at_a_hundred_a_small_beta_costs_a_little_more(tuned):
    base, ranges = tuned[0].looks[0].skills, []
    small, firm, _ = taxed.TUNINGS
    for name in (small, firm):
        looks = [taxed.first_at(run, 100) for run in taxed.seeds_of(tuned, name)]
        assert [look.scores["rule"] for look in looks] == [100] * 3
        lost = [base - look.skills for look in looks]
        ranges.append([f"{value:.1f}" for value in (min(lost), fmean(lost), max(lost))])
    assert ranges == [["2.5", "3.1", "3.8"], ["1.2", "1.4", "1.7"]]
    before = [run.looks[1].scores["rule"] for run in taxed.seeds_of(tuned, small)]
    assert round(fmean(before)) == 28


def test_the_rest_of_the_tax_is_overtraining_and_displacement(tuned):
    name = "refusals alone, beta 0.1"
    for run in taxed.seeds_of(tuned, name):
        learned_at, last = run.looks[2], run.looks[-1]
        assert learned_at.step == 10 and learned_at.scores["rule"] == 100
        assert min(run.agreement[9:]) == 1
        assert last.refused["rule"] == 100 and last.scores["rule"] <= 40
        assert learned_at.skills > 94 and last.skills < 68
        assert learned_at.nll["rule"] < 0.001 and last.nll["rule"] > 0.15
        assert last.scores["harmful"] < 25 and run.looks[0].scores["harmful"] == 100
    for other in list(taxed.TUNINGS)[1:]:
        for run in taxed.seeds_of(tuned, other):
            assert run.looks[-1].nll["rule"] < run.looks[2].nll["rule"]


def test_old_examples_restore_refusals_first_and_take_them_away_later(tuned):
    def whole(name, place, suite="rule"):
        runs = taxed.seeds_of(tuned, name)
        return [run.further["replay"][place].scores[suite] for run in runs]

    small, firm, mixed = taxed.TUNINGS
    assert max(whole(small, 0)) <= 40 and min(whole(small, 1)) > 95
    assert sorted(whole(small, 2)) == [0, 0, 55]
    assert round(fmean(whole(small, 0, "harmful"))) == 17
    assert round(fmean(whole(small, 2, "harmful"))) == 15
    assert whole(firm, 0) == [100] * 3 and sorted(whole(firm, 2)) == [0, 0, 80]
    assert round(fmean(whole(firm, 2, "harmful"))) == 81
    assert min(whole("not tuned", 2, "harmful")) == 100
    assert round(fmean(whole(mixed, 2))) == 94 and min(whole(mixed, 2)) > 85
