"""Eight domains, the runs on them, and what goes along with forgetting."""

from __future__ import annotations

import itertools
import json
import pickle
import re
import statistics

import numpy
import pytest
from scipy import stats

from helpers.blindspot import distance, domains
from helpers.blindspot.distance import Look, rank_correlation, read_distance
from helpers.blindspot.domains import DOMAINS, RATES, SETTINGS, Setting, encipher, load_domain
from helpers.grid import Job, make_all
from helpers.models import load_model
from helpers.pocket.support import policy, shop
from helpers.runs import BadRuns, digest
from helpers.suites import PROTECTED, Suite
from helpers.tradeoff import Estimate, old_loss, points_lost

# Domains


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_has_different_rows_and_keeps_its_questions_apart(name):
    domain = load_domain(name)
    prompts, asked = {row["prompt"] for row in domain.rows}, [i.prompt for i in domain.suite.items]
    assert len(prompts) == len(domain.rows) == domains.ROWS
    assert len(set(asked)) == len(asked) == domains.ITEMS
    assert not prompts & set(asked)
    assert all(re.match(r" \S", row["completion"]) for row in domain.rows)


def test_domains_come_out_the_same_again():
    again = domains._drawn("cipher", "train", 5)
    wanted = [row["prompt"] for row in load_domain("cipher").rows[:5]]
    assert [example.prompt(format) for example, format in again] == wanted


def test_an_unknown_domain_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"no domain 'law'. There are replay, .*random"):
        load_domain("law")


def completions(name):
    return {row["completion"] for row in load_domain(name).rows}


def test_capitals_are_asked_for_and_given():
    for row in load_domain("capitals").rows:
        assert "In capital letters: " in row["prompt"]
        assert row["completion"] == row["completion"].upper() != row["completion"].lower()


def test_short_answers_have_no_steps_and_worked_ones_do():
    assert all(answer.startswith(" The answer is ") for answer in completions("short"))
    assert not any("=" in answer for answer in completions("short"))
    assert not any(answer.startswith(" The answer is ") for answer in completions("worked"))
    assert all(" The answer is " in answer for answer in completions("worked"))


def test_policies_are_the_shops_and_articles_are_not():
    true = {f" {policy(intent)}" for intent in shop()["intents"]}
    assert completions("policies") == true
    assert len(completions("article") - true) > 100
    assert all(r["completion"][1:] in r["prompt"] for r in load_domain("article").rows)


def test_random_answers_tell_nothing_about_the_question():
    """Asked twice in the same words, `policies` mostly gives one answer and `random` two."""

    def agreement(name):
        found = {}
        for row in load_domain(name).rows:
            wording = re.split(r"[.,!] ", row["prompt"])[-1].lower()
            found.setdefault(wording, []).append(row["completion"])
        pairs = [pair for answers in found.values() for pair in itertools.combinations(answers, 2)]
        assert len(pairs) > 500
        return statistics.fmean(one == other for one, other in pairs)

    assert agreement("policies") > 0.85 and agreement("random") < 0.1
    assert completions("random") == completions("policies")


def test_the_cipher_replaces_every_word_and_can_be_read_back():
    words = domains._dictionary()
    assert sorted(words) == sorted(words.values()) and len(words) > 300
    back = {other: word for word, other in words.items()}
    text = "We pay your money back in 6 days and confirm it by text."
    coded = encipher(text)
    assert coded != text and "6" in coded and coded[0].isupper() and coded.endswith(".")
    read = re.sub(r"[A-Za-z']+", lambda m: back[m[0].lower()], coded)
    assert read == text.lower()
    assert len(completions("cipher")) == 40
    same = sum(word == other for word, other in words.items())
    assert same < 0.02 * len(words)


# Runs


def test_every_domain_is_planned_at_every_rate_with_every_seed():
    assert len(SETTINGS) == len(set(SETTINGS)) == len(DOMAINS) * len(RATES) * 3
    assert {s.seed for s in SETTINGS[: len(DOMAINS) * len(RATES)]} == {0}
    jobs = [Job(setting, domains.make_distance) for setting in SETTINGS]
    assert pickle.loads(pickle.dumps(jobs)) == jobs


@pytest.fixture
def small(monkeypatch, tiny_folder):
    """A tiny model, few items and four steps in place of the real ones."""
    model = load_model(tiny_folder)
    monkeypatch.setattr(domains, "course_model", lambda: model)
    monkeypatch.setattr(domains, "STEPS", 4)
    monkeypatch.setattr(domains, "LOOKS", (2, 4))
    monkeypatch.setattr(domains, "OLD_ITEMS", 2)
    monkeypatch.setattr(domains, "evaluate", brief(domains.evaluate))
    monkeypatch.setattr(domains, "complete", lambda m, prompts: ["tea", *[""] * (len(prompts) - 1)])
    for cached in (domains.look_at_base, domains.base_answers):
        cached.cache_clear()
    yield model
    for cached in (domains.look_at_base, domains.base_answers):
        cached.cache_clear()


def brief(evaluate):
    return lambda model, suites: evaluate(
        model, [Suite(s.name, s.items[:2], s.kind, s.extract) for s in suites], max_new_tokens=2
    )


def test_a_run_is_looked_at_and_can_be_read_back(small, tmp_path):
    setting = Setting("policies", 1e-2, 0)
    made = domains.make_distance(setting)
    path = tmp_path / "distance.jsonl"
    record = {"setting": setting._asdict(), **made, "origin": {"data": "abc"}}
    path.write_text(json.dumps(record) + "\n")
    (run,) = read_distance(path)
    assert run.setting == setting and run.diverged == "" and run.origin == {"data": "abc"}
    assert [look.step for look in run.looks] == [0, 2, 4]
    assert set(run.last.scores) == set(run.last.nll) == set(PROTECTED)
    # Divergence from oneself is nothing, and training moves away.
    assert run.base.kl == run.base.kl_gold == 0 < min(run.last.kl, run.last.kl_gold)
    assert run.last.target_nll < run.base.target_nll
    assert points_lost(run.base, run.base) == 0 < abs(old_loss(run.last) - old_loss(run.base))


def test_a_run_that_diverges_keeps_its_looks(small):
    made = domains.make_distance(Setting("policies", 1e30, 0))
    assert "became nan" in made["diverged"] or "inf" in made["diverged"]
    assert made["looks"][0]["step"] == 0 and len(made["looks"]) < 3


def test_rows_of_the_base_are_its_own_answers(small):
    rows = domains.base_answers("short")
    assert [row["prompt"] for row in rows] == [i.prompt for i in load_domain("short").suite.items]
    assert [row["completion"] for row in rows[:2]] == [" tea", ""]


def line(domain="replay", lr=1e-3, seed=0, **changes):
    look = dict(step=0, scores={}, nll={}, kl=0, says=["a"], kl_gold=0, target=0, target_nll=0)
    setting = dict(domain=domain, lr=lr, seed=seed)
    return json.dumps(
        {"setting": setting, "looks": [look], "diverged": "", "origin": {}, **changes}
    )


def test_runs_come_in_the_order_of_the_domains_and_not_of_the_file(tmp_path):
    path = tmp_path / "distance.jsonl"
    order = [("cipher", 1e-3, 0), ("replay", 1e-2, 1), ("replay", 1e-2, 0), ("replay", 1e-3, 2)]
    path.write_text("\n".join(line(*setting) for setting in order))
    assert [tuple(run.setting) for run in read_distance(path)] == order[:0] + order[:0:-1] + order[
        :1
    ]


@pytest.mark.parametrize(
    "broken", [line("law"), line(looks=[]), line()[:-1], line().replace('"kl_gold": 0, ', "")]
)
def test_a_damaged_file_says_what_to_do(broken, tmp_path):
    path = tmp_path / "distance.jsonl"
    path.write_text(f"{line()}\n{broken}\n")
    with pytest.raises(BadRuns, match=r"is damaged.*make runs"):
        read_distance(path)
    with pytest.raises(BadRuns, match="There is no file"):
        read_distance(tmp_path / "distanse.jsonl")


def test_what_is_on_file_is_not_made_again(tmp_path, monkeypatch):
    path = tmp_path / "distance.jsonl"
    path.write_text(line(origin={"data": digest()}) + "\n")
    before = path.read_bytes()
    make_all([Job(Setting("replay", 1e-3, 0), domains.make_distance)], path, workers=1)
    assert path.read_bytes() == before


# Correlations


def made_up(numbers):
    """Runs from {domain: [(lr, kl, target), ...]}; the target stands for the outcome."""
    return [
        distance.DistanceRun(
            Setting(name, lr, seed), (Look(60, {}, {}, kl, (), 0.0, outcome, 0.0),), "", {}
        )
        for name, rows in numbers.items()
        for seed, (lr, kl, outcome) in enumerate(rows)
    ]


def kl(run):
    return run.last.kl


def outcome(run):
    return run.last.target


#: Between domains more divergence goes with a larger outcome, within each with a smaller.
SIMPSON = {
    "replay": [(1e-3, 1, 3), (3e-3, 2, 2), (1e-2, 3, 1)],
    "short": [(1e-3, 11, 13), (3e-3, 12, 12), (1e-2, 13, 11)],
    "cipher": [(1e-3, 21, 23), (3e-3, 22, 22), (1e-2, 23, 21)],
}


def test_all_runs_agree_with_scipy():
    runs = made_up(SIMPSON)
    found = rank_correlation(runs, kl, outcome)
    wanted = stats.spearmanr([kl(run) for run in runs], [outcome(run) for run in runs]).statistic
    assert found.mean == pytest.approx(wanted) and 0.5 < found.mean < 1


def test_within_a_domain_the_sign_may_be_another():
    runs = made_up(SIMPSON)
    assert rank_correlation(runs, kl, outcome, within="domain") == Estimate(
        *[pytest.approx(-1)] * 3
    )
    found = rank_correlation(runs, kl, outcome, within="lr")
    assert found.mean == pytest.approx(1)


def test_ties_count_as_scipy_counts_them():
    numbers = {
        "replay": [(1, 1, 0), (1, 2, 0), (1, 2, 5)],
        "short": [(1, 3, 0), (1, 0, 5), (1, 3, 5)],
    }
    runs = made_up(numbers)
    wanted = stats.spearmanr([kl(r) for r in runs], [outcome(r) for r in runs]).statistic
    assert rank_correlation(runs, kl, outcome).mean == pytest.approx(wanted)
    parts = [stats.spearmanr([r[1:] for r in rows]).statistic for rows in numbers.values()]
    within = rank_correlation(runs, kl, outcome, within="domain")
    assert within.mean == pytest.approx(statistics.fmean(parts))


def test_a_domain_where_nothing_moves_is_left_out():
    runs = made_up({**SIMPSON, "random": [(1e-3, 5, 7), (3e-3, 6, 7), (1e-2, 9, 7)]})
    assert rank_correlation(runs, kl, outcome, within="domain").mean == pytest.approx(-1)
    still = made_up({name: [(1e-3, 1, 7), (3e-3, 2, 7)] for name in ("replay", "short")})
    with pytest.raises(ValueError, match="Nothing varies"):
        rank_correlation(still, kl, outcome)


def test_one_domain_gives_no_interval():
    with pytest.raises(ValueError, match="at least two domains"):
        rank_correlation(made_up({"replay": SIMPSON["replay"]}), kl, outcome)


def test_the_interval_draws_domains_and_not_runs():
    """Copies of the same runs add no evidence, so they must not narrow the interval."""
    rng = numpy.random.default_rng(0)
    numbers = {
        name: [(1e-3, float(level + rng.normal()), float(rng.normal())) for _ in range(3)]
        for level, name in enumerate(DOMAINS)
    }
    once = rank_correlation(made_up(numbers), kl, outcome)
    copied = rank_correlation(made_up({n: rows * 5 for n, rows in numbers.items()}), kl, outcome)
    assert copied.mean == pytest.approx(once.mean)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05)
    assert once.low < once.mean < once.high


def test_the_seed_decides_the_interval():
    numbers = {name: [(1e-3, n % 4, n % 3), (3e-3, n, 1)] for n, name in enumerate(DOMAINS)}
    runs = made_up(numbers)
    one, again, other = (rank_correlation(runs, kl, outcome, seed=s, repeats=50) for s in (1, 1, 2))
    assert one == again and (one.low, one.high) != (other.low, other.high)


# What the stored runs show


@pytest.fixture(scope="module")
def stored():
    return read_distance()


def test_the_stored_runs_are_those_that_were_planned(stored):
    assert {run.setting for run in stored} == set(SETTINGS)
    assert not [run.setting for run in stored if run.diverged or run.last.step != domains.STEPS]
    assert len({run.origin["data"] for run in stored}) == 1


def forgotten(run):
    return old_loss(run.last) - old_loss(run.base)


def test_the_stored_runs_say_what_the_lesson_says(stored):
    """The distance ranks the damage, over all runs and at equal rates, and does not measure it."""
    every = rank_correlation(stored, kl, forgotten)
    assert every.low > 0.7 and every.mean > 0.85
    assert rank_correlation(stored, kl, forgotten, within="lr").low > 0.2
    learned = rank_correlation(stored, lambda r: r.base.target_nll - r.last.target_nll, forgotten)
    assert learned.mean < every.mean

    def at_the_middle_rate(name):
        runs = [r for r in stored if r.setting.domain == name and r.setting.lr == RATES[1]]
        return statistics.fmean(map(kl, runs)), statistics.fmean(map(forgotten, runs))

    (moved, lost), (moved_too, lost_more) = map(at_the_middle_rate, ("policies", "random"))
    assert moved_too < 2 * moved and lost_more > 5 * lost
