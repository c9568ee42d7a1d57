"""Judges: answers of known worth, calibration, and what an unfit judge is kept from doing."""

from __future__ import annotations

import copy
import json
import math
import random
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.judging import (
    BAD,
    HELD_OUT,
    SEEN,
    BadKnownAnswers,
    ByScore,
    Calibration,
    ChatJudge,
    EndpointError,
    EndpointJudge,
    Judge,
    JudgeBelowChance,
    Known,
    LengthJudge,
    NoVerdict,
    Pair,
    PairwiseJudge,
    Requirements,
    RewardJudge,
    Share,
    Tally,
    UncalibratedJudge,
    best_threshold,
    bias_corrected_win_rate,
    calibrate,
    calibrate_pairs,
    judged,
    kappa,
    kappa_interval,
    known_answers,
    preference_pairs,
    read_known,
    require,
    swapped,
    train_reward_model,
)
from helpers.judging.pairs import APOLOGIES, COURTESIES, PROMISES
from helpers.judging.reward import completion, with_score_head
from helpers.mechanics import merged
from helpers.pocket.support import policy, shop
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import Item
from helpers.tickets import read_tickets
from helpers.training import LossIsNaN, finetune

TRUE = {policy(intent): intent["name"] for intent in shop()["intents"]}


class Scored:
    """A judge that scores by a function of prompt and answer."""

    def __init__(self, function, name="scored"):
        self.function, self.name = function, name

    def score(self, prompts, answers):
        return [float(self.function(p, a)) for p, a in zip(prompts, answers, strict=True)]


class Prefers:
    """A pairwise judge by a function of the two answers."""

    def __init__(self, function, name="prefers"):
        self.function, self.name, self.asked = function, name, 0

    def prefer(self, prompts, firsts, seconds):
        self.asked += len(prompts)
        return [self.function(a, b) for a, b in zip(firsts, seconds, strict=True)]


def bare(answer, split):
    """An answer without its courtesy."""
    for courtesy in COURTESIES[split]:
        answer = answer.removeprefix(courtesy)
    return answer


# Answers of known worth


def test_the_same_seed_makes_the_same_pairs():
    assert preference_pairs(50, seed=3) == preference_pairs(50, seed=3)
    assert preference_pairs(50, seed=3) != preference_pairs(50, seed=4)
    assert known_answers(3) == known_answers(3) != known_answers(4)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", BAD)
def test_the_good_answer_is_the_true_policy_and_the_bad_one_is_not(kind, split):
    for pair in preference_pairs(60, kinds=[kind], split=split):
        good, bad = bare(pair.good, split), bare(pair.bad, split)
        assert pair.kind == kind and good in TRUE and bad != good
        assert bad in TRUE if kind == "other_policy" else bad not in TRUE


def test_a_wrong_value_is_the_only_thing_wrong():
    for pair in preference_pairs(200, kinds=["wrong_value"]):
        good, bad = (bare(text, "train").split() for text in (pair.good, pair.bad))
        assert len(good) == len(bad)
        assert sum(a != b for a, b in zip(good, bad, strict=True)) == 1


def test_nothing_that_varies_is_shared_by_training_and_testing():
    train, test = (preference_pairs(4000, split=split) for split in ("train", "test"))
    assert not {pair.prompt for pair in train} & {pair.prompt for pair in test}
    wrong = [
        {bare(pair.bad, split) for pair in pairs if pair.kind == "wrong_value"}
        for pairs, split in ((train, "train"), (test, "test"))
    ]
    assert not wrong[0] & wrong[1]
    for texts in (APOLOGIES, PROMISES, COURTESIES):
        assert not set(texts["train"]) & set(texts["test"])


def test_some_defects_are_not_shown_in_training():
    assert HELD_OUT and set(SEEN) | set(HELD_OUT) == set(BAD)
    assert {pair.kind for pair in preference_pairs(500)} == set(SEEN)


def test_every_question_is_asked_once_with_every_kind():
    good, bad = known_answers()
    for kind in ("plain", "courteous", *BAD):
        prompts = [known.prompt for known in [*good, *bad] if known.kind == kind]
        assert len(prompts) == len(set(prompts)) == 3 * len(shop()["intents"])
    tickets = set(read_tickets()["prompt"])
    assert not tickets & {known.prompt for known in good}


def test_length_is_no_giveaway():
    good, bad = known_answers()
    shortest, longest = (f(len(known.answer) for known in good) for f in (min, max))
    assert any(len(known.answer) > longest for known in bad)
    assert any(len(known.answer) < shortest for known in bad)
    for sign in (1, -1):
        found = calibrate(Scored(lambda _, answer, sign=sign: sign * len(answer)), good, bad)
        assert not found.usable and found.kappa < 0.4


def test_an_unknown_defect_is_named():
    with pytest.raises(BadKnownAnswers, match=r"no defect 'rude'.*wrong_value"):
        preference_pairs(1, kinds=["rude"])
    with pytest.raises(BadKnownAnswers, match="No kind"):
        known_answers(kinds=[])


def test_sorted_answers_are_read_from_a_file(tmp_path):
    path = tmp_path / "known.jsonl"
    rows = [
        {"prompt": "p", "answer": "a", "good": True},
        {"prompt": "p", "answer": "b", "good": False, "kind": "rude"},
        {"prompt": "p", "answer": "c", "good": False},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    good, bad = read_known(path)
    assert good == [Known("p", "a", "good")]
    assert bad == [Known("p", "b", "rude"), Known("p", "c", "bad")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "p", "answer": "a"}', "line 1 has no 'good'"),
        ('{"prompt": "p", "answer": "a", "good": "yes"}', "must be true or false"),
        ('{"prompt": "p", "answer": "a", "good": true}', "no bad answers"),
        ("{", "line 1 is not JSON"),
    ],
)
def test_a_malformed_file_is_refused_by_line(tmp_path, line, message):
    path = tmp_path / "known.jsonl"
    path.write_text(line)
    with pytest.raises(BadKnownAnswers, match=message):
        read_known(path)


# Preferences


def test_scores_become_preferences_and_a_tie_is_kept():
    judge = ByScore(LengthJudge(), margin=1)
    assert judge.prefer(["p"] * 4, ["aaa", "a", "aa", ""], ["a", "aaa", "a", ""]) == [
        "first", "second", "tie", "tie",
    ]  # fmt: skip
    assert isinstance(LengthJudge(), Judge) and isinstance(judge, PairwiseJudge)


def test_a_missing_score_is_no_tie():
    judge = ByScore(Scored(lambda _, answer: math.nan if answer == "?" else 1))
    assert judge.prefer(["p", "p"], ["?", "a"], ["a", "b"]) == ["invalid", "tie"]


def test_a_negative_margin_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        ByScore(LengthJudge(), margin=-1)


def test_a_judge_that_follows_the_place_ends_in_ties():
    judge = Prefers(lambda a, b: "first")
    both = swapped(judge).ask(["p"] * 3, ["a", "b", "c"], ["d", "e", "f"])
    assert judge.asked == 6
    assert both.verdicts == ["tie"] * 3
    assert both.inconsistency == 1 and both.for_the_first == 1


def test_a_consistent_judge_keeps_its_verdicts_in_both_orders():
    judge = swapped(ByScore(LengthJudge()))
    both = judge.ask(["p"] * 3, ["aa", "a", "a"], ["a", "aa", "b"])
    assert both.verdicts == judge.prefer(["p"] * 3, ["aa", "a", "a"], ["a", "aa", "b"])
    assert both.verdicts == ["first", "second", "tie"]
    assert both.inconsistency == 0 and math.isnan(both.for_the_first)


def test_half_a_win_is_a_tie_and_half_a_verdict_is_none():
    wavers = Prefers(lambda a, b: "first" if (a, b) == ("x", "y") else "tie")
    both = swapped(wavers).ask(["p", "p"], ["x", "q"], ["y", "r"])
    assert both.verdicts == ["tie", "tie"] and both.inconsistency == 0.5
    mute = Prefers(lambda a, b: "invalid" if a == "x" else "second")
    assert swapped(mute).prefer(["p"], ["x"], ["y"]) == ["invalid"]


def test_ties_are_counted_and_not_shared_out():
    tally = Tally.of(["first", "tie", "tie", "second", "first", "invalid"])
    assert (tally.first, tally.second, tally.ties, tally.invalid) == (2, 1, 2, 1)
    assert tally.win_rate == pytest.approx(2 / 3)
    assert math.isnan(Tally.of(["tie"]).win_rate)


# Agreement with the truth


def test_kappa_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(0)
    for _ in range(50):
        truth = [True, False, *(rng.random() < 0.3 for _ in range(40))]
        says = [t if rng.random() < 0.7 else not t for t in truth]
        pairs = list(zip(truth, says, strict=True))
        sensitivity = sum(t and s for t, s in pairs) / sum(truth)
        specificity = sum(not t and not s for t, s in pairs) / (len(truth) - sum(truth))
        ours = kappa(sensitivity, specificity, sum(truth) / len(truth))
        assert ours == pytest.approx(metrics.cohen_kappa_score(truth, says), abs=1e-12)


def test_kappa_of_a_table_worked_by_hand():
    # 20 good (15 told), 30 bad (20 told): observed 35/50; by chance .4 * .5 + .6 * .5 = .5.
    assert kappa(15 / 20, 20 / 30, 20 / 50) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert kappa(1, 1, 0.1) == 1 and kappa(0.3, 0.7, 0.4) == pytest.approx(0)


def test_kappas_interval_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for sensitivity, specificity, goods, bads in [(0.9, 0.85, 60, 200), (0.98, 0.95, 60, 60)]:
        true = kappa(sensitivity, specificity, goods / (goods + bads))
        covered = 0
        for _ in range(1000):
            told = Share(int(rng.binomial(goods, sensitivity)), goods)
            caught = Share(int(rng.binomial(bads, specificity)), bads)
            low, high = kappa_interval(told, caught)
            covered += low <= true <= high
        assert 930 <= covered <= 985


def test_a_judge_without_a_mistake_is_not_certain_to_make_none():
    low, high = kappa_interval(Share(10, 10), Share(10, 10))
    assert low < 0.7 and high == 1


def rates(sensitivity, specificity):
    """What a calibration is asked for by the correction."""
    return SimpleNamespace(sensitivity=sensitivity, specificity=specificity)


@pytest.mark.parametrize(
    ("true", "sensitivity", "specificity", "goods", "bads", "n"),
    [
        (0.3, 0.9, 0.85, 60, 400, 250),
        (0.95, 0.9, 0.85, 60, 400, 250),
        (0.9, 0.98, 0.95, 60, 60, 250),
    ],
)
def test_the_corrected_rate_finds_the_truth_that_the_observed_one_misses(
    true, sensitivity, specificity, goods, bads, n
):
    rng = np.random.default_rng(1)
    corrected, covered, fooled = [], 0, 0
    for _ in range(1000):
        known = rates(
            Share(int(rng.binomial(goods, sensitivity)), goods),
            Share(int(rng.binomial(bads, specificity)), bads),
        )
        right = rng.binomial(n, true)
        said = int(rng.binomial(right, sensitivity) + rng.binomial(n - right, 1 - specificity))
        found = bias_corrected_win_rate(said, n, known)
        corrected.append(found.rate)
        covered += found.interval[0] <= true <= found.interval[1]
        low, high = Share(said, n).interval
        fooled += not low <= true <= high
    assert np.mean(corrected) == pytest.approx(true, abs=0.01)
    assert covered >= 935
    assert fooled > 1000 - covered


def test_a_perfect_judges_rate_stays_and_more_calibration_narrows_the_interval():
    few, many = (rates(Share(n, n), Share(n, n)) for n in (20, 20_000))
    found = [bias_corrected_win_rate(60, 100, known) for known in (few, many)]
    assert all(one.rate == pytest.approx(0.6) for one in found)
    widths = [one.interval[1] - one.interval[0] for one in found]
    assert widths[0] > widths[1]
    assert found[1].interval == pytest.approx(Share(60, 100).interval, abs=0.01)


def test_a_corrected_rate_is_a_share():
    found = bias_corrected_win_rate(1, 100, rates(Share(95, 100), Share(80, 100)))
    assert found.rate == 0 and found.interval[0] == 0 <= found.interval[1] < 0.1
    found = bias_corrected_win_rate(99, 100, rates(Share(80, 100), Share(95, 100)))
    assert found.rate == 1 and found.interval[1] == 1


def test_a_judge_below_chance_cannot_be_corrected():
    with pytest.raises(JudgeBelowChance, match="no information"):
        bias_corrected_win_rate(5, 10, rates(Share(5, 10), Share(5, 10)))


@pytest.mark.parametrize(("wins", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_impossible_counts_are_refused(wins, n):
    with pytest.raises(ValueError, match="no win rate"):
        bias_corrected_win_rate(wins, n, rates(Share(9, 10), Share(9, 10)))


# Calibration

ORACLE = Scored(lambda prompt, answer: bare(answer, "test") in TRUE and answer != "", "oracle")


def made_up(prompts=60):
    """Good answers that say "yes" and bad ones that say "no", to the same prompts."""
    good = [Known(f"p{number}", "yes") for number in range(prompts)]
    return good, [Known(known.prompt, "no", "denial") for known in good]


def test_the_threshold_is_the_best_there_is():
    rng = random.Random(0)
    for _ in range(30):
        scored = [(rng.randint(0, 9), rng.random() < 0.5) for _ in range(25)]
        scored += [(3.0, True), (4.0, False), (math.nan, True)]

        def gain(threshold, scored=scored):
            rows = [row for row in scored if not math.isnan(row[0])]
            told = [s > threshold for s, good in rows if good]
            caught = [s <= threshold for s, good in rows if not good]
            return sum(told) / len(told) + sum(caught) / len(caught)

        best = max(gain(number - 0.5) for number in range(11))
        assert gain(best_threshold(scored)) == pytest.approx(best)


def test_what_chose_the_threshold_does_not_measure_it():
    # A judge of pure noise looks better than chance on the half that chose the threshold.
    measured, flattering = [], []
    for seed in range(40):
        rng = random.Random(seed)
        noise = {}
        judge = Scored(lambda p, a, noise=noise, rng=rng: noise.setdefault((p, a), rng.random()))
        good, bad = made_up(40)
        found = calibrate(judge, good, bad, seed=seed)
        measured.append(found.sensitivity.value + found.specificity.value - 1)
        scored = [(noise[k.prompt, k.answer], k in good) for k in [*good, *bad]]
        threshold = best_threshold(scored)
        told = np.mean([score > threshold for score, is_good in scored if is_good])
        caught = np.mean([score <= threshold for score, is_good in scored if not is_good])
        flattering.append(told + caught - 1)
    assert abs(np.mean(measured)) < 0.05 < 0.1 < np.mean(flattering)


def test_half_of_the_prompts_measure_with_all_their_answers():
    good, bad = known_answers()
    found = calibrate(ORACLE, good, bad)
    assert found.sensitivity.n == len(good) / 2 and found.specificity.n == len(bad) / 2
    assert {share.n for share in found.kinds.values()} == {60}
    assert calibrate(ORACLE, good, bad, seed=1).kinds.keys() == {"plain", "courteous", *BAD}


def test_a_judge_that_is_always_right_but_cannot_see_the_wrong_topic():
    # The oracle knows all true policies, and takes each of them for an answer to anything.
    good, bad = known_answers()
    found = calibrate(ORACLE, good, bad)
    assert found.blind_spots == ["other_policy"] and found.sensitivity.value == 1
    assert found.specificity.value == pytest.approx(6 / 7)
    assert not found.usable
    with pytest.raises(UncalibratedJudge, match=r"'oracle'.*blind spot 'other_policy'"):
        require(found)
    narrower = calibrate(ORACLE, good, [known for known in bad if known.kind != "other_policy"])
    assert require(narrower) is narrower and narrower.kappa == 1


def test_an_untested_judge_decides_nothing():
    with pytest.raises(UncalibratedJudge, match=r"calibrate\(judge"):
        require(None)


def test_what_a_judge_lacks_is_named():
    good, bad = made_up()
    found = calibrate(Scored(lambda p, a: int(p[1:]) % 2), good, bad)
    assert {"κ", "sensitivity", "blind"} & {text.split()[0] for text in found.shortfalls}
    assert all("needed" in text for text in found.shortfalls)
    strict = calibrate(Scored(lambda p, a: a == "yes"), good, bad, Requirements(sensitivity=0.999))
    assert [text.split()[0] for text in strict.shortfalls] == ["sensitivity"]
    easy = calibrate(Scored(lambda p, a: a == "yes"), good, bad)
    assert easy.usable and easy.threshold == 0.5


def test_few_answers_are_no_proof():
    good, bad = made_up(6)
    found = calibrate(Scored(lambda p, a: a == "yes"), good, bad)
    assert found.sensitivity.value == found.specificity.value == 1 and not found.usable


def test_answers_without_a_score_count_against_the_judge():
    good, bad = made_up()
    mute = Scored(lambda p, a: math.nan if p in {f"p{n}" for n in range(0, 60, 2)} else a == "yes")
    found = calibrate(mute, good, bad)
    assert found.sensitivity.value == 1 and found.undecided.value > 0.2
    assert found.kinds["denial"].value < 0.8
    assert any("undecided" in text for text in found.shortfalls)


def test_a_half_without_good_or_bad_answers_is_refused():
    good, bad = made_up(1)
    with pytest.raises(BadKnownAnswers, match="Give more prompts"):
        calibrate(LengthJudge(), good, bad)
    with pytest.raises(BadKnownAnswers, match="Give more prompts"):
        calibrate(LengthJudge(), made_up()[0], [])


def made_pairs(count=60):
    good, bad = made_up(count)
    return [Pair(g.prompt, g.answer, b.answer, b.kind) for g, b in zip(good, bad, strict=True)]


def test_a_pairwise_judge_is_calibrated_in_random_order():
    right = Prefers(lambda a, b: "first" if a == "yes" else "second")
    found = calibrate_pairs(right, made_pairs())
    assert found.usable and found.threshold is None and found.kappa == 1
    assert found.sensitivity.n == found.specificity.n == 30
    by_place = calibrate_pairs(Prefers(lambda a, b: "first"), made_pairs())
    assert by_place.sensitivity.value == 1 and by_place.specificity.value == 0
    assert by_place.kappa == 0 and not by_place.usable


def test_a_judge_that_only_ties_is_not_usable():
    found = calibrate_pairs(swapped(Prefers(lambda a, b: "first")), made_pairs())
    assert found.undecided.value == 1 and math.isnan(found.kappa)
    assert found.kinds["denial"].value == 0 and not found.usable
    assert "denial" in repr(found)


def test_a_calibration_shows_every_number():
    good, bad = known_answers()
    found = calibrate(LengthJudge(), good, bad)
    for text in (repr(found), found._repr_html_()):
        assert all(word in text for word in ("Cohen", "sensitivity", "blind spot", *BAD))
    assert "<script>" not in calibrate(
        Scored(lambda p, a: a == "yes", "<script>"), *made_up()
    )._repr_html_()  # fmt: skip


# The reward model


@pytest.fixture(scope="module")
def easy_pairs():
    return preference_pairs(160, kinds=["empty", "repetition"])


@pytest.fixture(scope="module")
def reward(tiny, easy_pairs):
    """A judge that has learned what even two narrow layers can learn."""
    return train_reward_model(tiny, easy_pairs, lr=3e-3, steps=30, batch_size=8, seed=0)


def scores(judge, pairs):
    prompts = [pair.prompt for pair in pairs]
    return judge.score(prompts, [p.good for p in pairs]), judge.score(
        prompts, [p.bad for p in pairs]
    )


def test_a_reward_model_learns_to_put_the_better_first(reward):
    held_out = preference_pairs(60, seed=9, kinds=["empty", "repetition"], split="test")
    good, bad = scores(reward, held_out)
    assert sum(g > b for g, b in zip(good, bad, strict=True)) >= 54
    assert [step for step, _ in reward.losses] == list(range(1, 31))
    assert reward.losses[-1][1] < 0.4 < reward.losses[0][1]
    assert isinstance(reward, Judge)


def test_the_base_stays_as_it_is(tiny, easy_pairs):
    before = {name: p.detach().clone() for name, p in tiny.named_parameters()}
    train_reward_model(tiny, easy_pairs, steps=1, batch_size=4)
    assert all(torch.equal(p, before[name]) for name, p in tiny.named_parameters())
    assert tiny.tokenizer.padding_side == "left"
    assert not any("forward" in module.__dict__ for module in tiny.modules())


def test_the_same_seed_gives_the_same_judge(tiny, easy_pairs):
    made = [
        train_reward_model(tiny, easy_pairs, steps=2, batch_size=4, seed=seed) for seed in (0, 0, 1)
    ]
    one, again, other = (scores(judge, easy_pairs[:5]) for judge in made)
    assert one == again != other


def test_nothing_of_the_trainer_stays_on_the_judge(reward):
    assert not any("forward" in module.__dict__ for module in reward.model.modules())
    assert not reward.model.training


def test_a_score_does_not_depend_on_the_batch(reward, easy_pairs):
    together = scores(reward, easy_pairs[:20])
    alone = [scores(reward, [pair]) for pair in easy_pairs[:20]]
    assert together[0] == pytest.approx([good[0] for good, _ in alone], abs=1e-5)
    assert together[1] == pytest.approx([bad[0] for _, bad in alone], abs=1e-5)


def test_a_score_does_not_depend_on_the_batch_where_padding_is_the_end_token(tiny, easy_pairs):
    # As in GPT-2, which has no padding token of its own.
    model = copy.deepcopy(tiny)
    model.tokenizer.pad_token = model.tokenizer.eos_token
    model.config.pad_token_id = model.tokenizer.eos_token_id
    judge = train_reward_model(model, easy_pairs, steps=1, batch_size=4)
    together, _ = scores(judge, easy_pairs[:10])
    alone = [scores(judge, [pair])[0][0] for pair in easy_pairs[:10]]
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_score_is_the_heads_at_the_last_token(reward, easy_pairs):
    pair = easy_pairs[0]
    text = pair.prompt + completion(pair.good) + reward.tokenizer.eos_token
    ids = reward.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        hidden = reward.model.transformer(ids).last_hidden_state[0, -1]
        expected = reward.model.score(hidden).item()
    assert reward.score([pair.prompt], [pair.good]) == [pytest.approx(expected, abs=1e-5)]


def test_a_judge_is_saved_as_safetensors_and_loaded_the_same(reward, easy_pairs, tmp_path):
    folder = reward.save(tmp_path / "judge")
    assert (folder / "model.safetensors").exists()
    assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    loaded = RewardJudge.load(folder)
    assert loaded.name == reward.name
    assert scores(loaded, easy_pairs[:5]) == scores(reward, easy_pairs[:5])


def test_a_folder_without_a_judge_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no judge"):
        RewardJudge.load(tmp_path)


def test_any_causal_language_model_can_become_a_judge(tiny, easy_pairs):
    config = LlamaConfig(
        vocab_size=len(tiny.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=256, pad_token_id=1, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    llama = LlamaForCausalLM(config)
    llama.tokenizer = tiny.tokenizer
    judge = train_reward_model(llama, easy_pairs, lr=3e-3, steps=30, batch_size=8)
    good, bad = scores(judge, easy_pairs[:40])
    assert sum(g > b for g, b in zip(good, bad, strict=True)) >= 36


def test_a_judge_begins_where_its_base_is_and_takes_an_adapter_along(tiny):
    tuned = finetune(tiny, read_tickets(), steps=3, batch_size=4, lr=1e-2).model
    ids = tiny.tokenizer("Customer: Hello\nAgent:", return_tensors="pt")["input_ids"]
    for base in (tiny, tuned):
        with torch.no_grad():
            hidden = with_score_head(base).eval().transformer(ids).last_hidden_state
            expected = merged(base).transformer(ids).last_hidden_state
        assert torch.equal(hidden, expected)


def test_pairs_that_cannot_be_learned_from_are_refused(tiny, easy_pairs):
    with pytest.raises(BadKnownAnswers, match="no pairs"):
        train_reward_model(tiny, [])
    long = Pair("Customer: Hello\nAgent:", "yes", "no " * 500, "repetition")
    with pytest.raises(ValueError, match="Answer 1 with its prompt has"):
        train_reward_model(tiny, [easy_pairs[0], long])


def test_an_answer_that_does_not_fit_is_refused(reward):
    with pytest.raises(ValueError, match="reads at most"):
        reward.score(["Customer: Hello\nAgent:"], ["no " * 500])


def test_a_judge_that_diverges_is_stopped(tiny, easy_pairs):
    with pytest.raises(LossIsNaN, match="Lower lr"):
        train_reward_model(tiny, easy_pairs, lr=1e30, steps=5, batch_size=4)


# A local chat model


@pytest.fixture
def chat_model(tiny):
    """The instructions are longer than the tiny model's context, so this one has more room."""
    config = LlamaConfig(
        vocab_size=len(tiny.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=1024, pad_token_id=1, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    model.tokenizer = copy.deepcopy(tiny.tokenizer)
    return model


@torch.no_grad()
def log_likelihood(model, ids, tail):
    """By one plain pass over the whole text."""
    logits = model(torch.tensor([ids + tail])).logits[0].log_softmax(-1)
    return sum(logits[len(ids) + place - 1, token].item() for place, token in enumerate(tail))


def test_a_chat_judge_compares_the_likelihoods_of_its_verdicts(chat_model):
    judge = ChatJudge(chat_model, name="chat")
    prompts, answers = ["Customer: Hello\nAgent:", "Customer: When?\nAgent:"], ["Yes.", "No. {x}"]
    encode = chat_model.tokenizer
    for prompt, answer, score in zip(prompts, answers, judge.score(prompts, answers), strict=True):
        text = judge.one_answer.format(prompt=prompt, answer=answer)
        assert answer in text
        ids = encode(f"{text}\nVerdict:")["input_ids"]
        good, bad = (
            log_likelihood(chat_model, ids, encode(verdict)["input_ids"])
            for verdict in (" good", " bad")
        )
        assert score == pytest.approx(good - bad, abs=1e-4)
    assert isinstance(judge, Judge) and isinstance(judge, PairwiseJudge)


def test_a_chat_judge_prefers_the_likeliest_verdict(chat_model, monkeypatch):
    judge = ChatJudge(chat_model, margin=0.5)
    told = [(-1.0, -3.0, -2.0), (-3.0, -1.0, -2.0), (-2.0, -2.4, -9.0), (-2.0, -3.0, -1.0)]
    monkeypatch.setattr(judge, "_log_likelihoods", lambda asked, verdicts: told)
    assert judge.prefer(["p"] * 4, ["a"] * 4, ["b"] * 4) == ["first", "second", "tie", "tie"]


def test_a_chat_judge_shows_the_answers_in_their_order(chat_model):
    judge = swapped(ChatJudge(chat_model))
    both = judge.ask(["Customer: Hello\nAgent:"], ["Yes."], ["No."])
    assert len(both.verdicts) == 1 and 0 <= both.inconsistency <= 1
    asked = []
    judge.judge._log_likelihoods = lambda questions, _: (
        asked.extend(questions) or [(0, -1, -2)] * len(questions)
    )
    judge.prefer(["p"], ["Oslo"], ["Rome"])
    assert [text.index("Oslo") < text.index("Rome") for text in asked] == [True, False]


def test_a_chat_template_is_used_where_there_is_one(chat_model):
    tokenizer = chat_model.tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{{ bos_token }}[{{ m.role }}] {{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    judge = ChatJudge(chat_model)
    text = judge.one_answer.format(prompt="p", answer="a")
    start = tokenizer(f"{tokenizer.bos_token}[user] {text}[assistant]")["input_ids"]
    assert start.count(tokenizer.bos_token_id) == 1
    good, bad = (
        log_likelihood(chat_model, start, tokenizer(verdict)["input_ids"])
        for verdict in ("good", "bad")
    )
    assert judge.score(["p"], ["a"]) == [pytest.approx(good - bad, abs=1e-4)]


def test_a_chat_judge_is_read_from_a_folder(chat_model, tmp_path):
    chat_model.save_pretrained(tmp_path / "chat")
    chat_model.tokenizer.save_pretrained(tmp_path / "chat")
    judge = ChatJudge(tmp_path / "chat")
    assert judge.name == "chat judge chat"
    assert judge.score(["p"], ["a"]) == pytest.approx(ChatJudge(chat_model).score(["p"], ["a"]))


# An endpoint


class Replies(BaseHTTPRequestHandler):
    """Answers each request with the next (status, text) of `plan`, or the last one for ever."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers, body))
        plan = self.server.plan
        status, text = plan.pop(0) if len(plan) > 1 else plan[0]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.server.seen.append((self.path, self.headers, None))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Replies)
    server.url, server.seen = f"http://127.0.0.1:{server.server_port}", []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def says(text):
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def endpoint(server, **options):
    options = {"key_variable": None, "wait": 0, **options}
    return EndpointJudge(f"{server.url}/v1", "some-model", **options)


def test_an_endpoints_verdicts_are_read_strictly(server):
    server.plan = [says(text) for text in ("A", " B\n", "tie", "A is better", "a", "", None)]
    verdicts = endpoint(server).prefer(["p"] * 7, ["x"] * 7, ["y"] * 7)
    assert verdicts == ["first", "second", "tie", *["invalid"] * 4]
    server.plan = [says(text) for text in ("good", "bad", "Good!")]
    found = endpoint(server).score(["p"] * 3, ["x"] * 3)
    assert found[:2] == [1, 0] and math.isnan(found[2])


def test_an_endpoint_is_asked_in_the_chat_completions_format(server, monkeypatch):
    monkeypatch.setenv("COURSE_JUDGE_KEY", "very-secret")
    server.plan = [says("good")]
    judge = endpoint(server, key_variable="COURSE_JUDGE_KEY", options={"max_tokens": 2})
    judge.score(["Customer: Hello\nAgent:"], ["Yes {0}."])
    ((path, headers, body),) = server.seen
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer very-secret"
    assert body["model"] == "some-model" and body["max_tokens"] == 2
    (message,) = body["messages"]
    assert message["role"] == "user"
    assert "Customer: Hello" in message["content"] and "Yes {0}." in message["content"]
    assert "very-secret" not in repr(vars(judge))


def test_a_busy_endpoint_is_asked_again_and_a_refusing_one_is_not(server, monkeypatch):
    server.plan = [(503, "busy"), (429, "slow down"), says("good")]
    assert endpoint(server).score(["p"], ["a"]) == [1] and len(server.seen) == 3
    server.plan = [(500, "broken")]
    with pytest.raises(EndpointError, match=r"3 attempt.*status 500.*broken"):
        endpoint(server).score(["p"], ["a"])
    monkeypatch.setenv("COURSE_JUDGE_KEY", "very-secret")
    server.seen.clear()
    server.plan = [(401, "who are you?")]
    with pytest.raises(EndpointError, match=r"1 attempt.*401.*who are you") as caught:
        endpoint(server, key_variable="COURSE_JUDGE_KEY").score(["p"], ["a"])
    assert len(server.seen) == 1 and "very-secret" not in str(caught.value)


def test_a_redirect_is_not_followed(server):
    server.plan = [(302, "")]
    with pytest.raises(EndpointError, match="status 302"):
        endpoint(server).score(["p"], ["a"])
    assert [path for path, _, _ in server.seen] == ["/v1/chat/completions"]


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"choices": []}', '{"choices": [{}]}'])
def test_another_format_is_an_error(server, text):
    server.plan = [(200, text)]
    with pytest.raises(EndpointError, match="chat-completions format"):
        endpoint(server).score(["p"], ["a"])


def test_an_endpoint_out_of_reach_is_named():
    with HTTPServer(("127.0.0.1", 0), Replies) as closed:
        port = closed.server_port
    judge = EndpointJudge(f"http://127.0.0.1:{port}/v1", "m", None, retries=1, wait=0)
    with pytest.raises(EndpointError, match=r"2 attempt.*Check the address"):
        judge.score(["p"], ["a"])


def test_a_badly_configured_endpoint_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="no web address"):
        EndpointJudge("file:///etc/hosts", "m", None)
    monkeypatch.delenv("COURSE_JUDGE_KEY", raising=False)
    with pytest.raises(ValueError, match="COURSE_JUDGE_KEY is not set"):
        EndpointJudge("http://localhost/v1", "m", "COURSE_JUDGE_KEY")


# Verdicts as a suite


def answered(outputs):
    """A snapshot whose model gave these answers to a support suite."""
    rows = [
        ItemResult(
            item=Item(f"support-{n}", "support", "f", "support", f"p{n}", "yes"),
            output=output, correct=output == "yes", nll=1.0, tokens=2,
        )
        for n, output in enumerate(outputs)
    ]  # fmt: skip
    return Snapshot({"support": rows}, {"batch_size": 4})


POLITE = Scored(lambda p, a: a.removeprefix("Sure. ") == "yes", "polite")


@pytest.fixture
def passed():
    return calibrate(POLITE, *made_up())


def test_a_judges_verdicts_become_one_more_suite(passed, tmp_path):
    snapshot = answered(["yes", "Sure. yes", "no"])
    found = judged(snapshot, POLITE, passed)
    assert [row.correct for row in found.results["support_judged"]] == [True, True, False]
    assert found.results["support"] == snapshot.results["support"]
    assert snapshot.results.keys() == {"support"} and snapshot.settings == {"batch_size": 4}
    loaded = Snapshot.load(found.save(tmp_path))
    assert loaded == found and loaded.score("support_judged") == pytest.approx(200 / 3)


def test_answers_judged_differently_are_not_compared(passed):
    snapshot = answered(["yes"])
    one = judged(snapshot, POLITE, passed)
    stricter = Calibration(**{**vars(passed), "threshold": 0.9})
    other = judged(snapshot, POLITE, stricter)
    assert one.settings != other.settings
    assert one.settings["pocket_support_judged.judge"] == "polite, threshold 0.5"


def test_an_unfit_judge_judges_nothing(passed):
    snapshot = answered(["yes"])
    with pytest.raises(UncalibratedJudge, match="not been calibrated"):
        judged(snapshot, POLITE, None)
    with pytest.raises(UncalibratedJudge, match="did not pass"):
        judged(snapshot, LengthJudge(), calibrate(LengthJudge(), *known_answers()))
    with pytest.raises(UncalibratedJudge, match="is of 'polite', and the judge is 'length'"):
        judged(snapshot, LengthJudge(), passed)


def test_an_unreadable_verdict_is_neither_right_nor_wrong(passed):
    mute = Scored(lambda p, a: math.nan, "polite")
    with pytest.raises(NoVerdict, match="2 of 2 answers"):
        judged(answered(["yes", "no"]), mute, passed)


def test_a_suite_that_is_not_there_is_named(passed):
    with pytest.raises(ValueError, match=r"no answers of 'returns'.*only support"):
        judged(answered(["yes"]), POLITE, passed, suite="returns")
