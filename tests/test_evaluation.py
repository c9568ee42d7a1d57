"""Scoring: against slow loops, under padding, at the limits, and what is saved."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import binomtest
from tokenizers import AddedToken

from helpers import decoding
from helpers.evaluation import answer_nll, evaluate, is_right
from helpers.generation import complete
from helpers.plotting import capability_bars
from helpers.snapshots import ItemResult, Snapshot, wilson
from helpers.suites import Item, Suite, load_suites

ITEM = Item("one", "facts", "f", "bare", "Say a:", "a")


@torch.no_grad()
def slow_nll(model, prompt, answer):
    """Token by token, unbatched, in double precision."""
    model = copy.deepcopy(model).double()
    lead = model.tokenizer(prompt)["input_ids"] if prompt else []
    ids = lead + model.tokenizer(f" {answer}" if prompt else answer)["input_ids"]
    total = 0.0
    for place in range(max(len(lead), 1), len(ids)):
        logits = model(torch.tensor([ids[:place]])).logits[0, -1]
        total -= float(torch.log_softmax(logits, -1)[ids[place]])
    return total, len(ids) - max(len(lead), 1)


def always(model, token):
    """A copy of the model that says one token whatever it is asked."""
    model = copy.deepcopy(model)
    (number,) = model.tokenizer(token)["input_ids"]
    bias = torch.zeros(model.config.vocab_size)
    bias[number] = 1000.0
    model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + bias)
    return model


# Likelihoods and choices


@pytest.mark.parametrize("name", ["reasoning", "support_with_article", "stories"])
def test_nll_equals_a_slow_loop(tiny, name):
    (suite,) = load_suites(name, size=6)
    # A random model finds every token alike; larger weights make the answers differ.
    model = copy.deepcopy(tiny)
    model.lm_head.register_forward_hook(lambda module, inputs, logits: 20 * logits)
    pairs = [("" if suite.kind == "text" else i.prompt, i.answer) for i in suite.items]
    for (nll, tokens), pair in zip(answer_nll(model, pairs, batch_size=4), pairs, strict=True):
        slow = copy.deepcopy(model)
        expected, count = slow_nll(slow, *pair)
        assert tokens == count
        assert nll == pytest.approx(expected, rel=1e-4)


def test_the_likeliest_choice_is_chosen(tiny):
    snapshot = evaluate(tiny, load_suites("facts", size=12))
    chosen = set()
    for result in snapshot.results["facts"]:
        item = result.item
        expected = min(item.choices, key=lambda c: slow_nll(tiny, item.prompt, c)[0])
        assert result.choice == expected
        assert result.choice_correct == (expected == item.answer)
        chosen.add(item.choices.index(expected))
    assert len(chosen) > 1
    right = sum(r.choice_correct for r in snapshot.results["facts"])
    assert snapshot.choice_score("facts") == pytest.approx(100 * right / 12)
    assert snapshot.chance("facts") == pytest.approx(25)


def test_where_likelihoods_are_no_numbers_nothing_is_chosen(tiny):
    broken = copy.deepcopy(tiny)
    with torch.no_grad():
        broken.transformer.ln_f.weight.fill_(math.nan)
    snapshot = evaluate(broken, load_suites("facts", size=12))
    assert {result.choice for result in snapshot.results["facts"]} == {""}
    assert snapshot.choice_score("facts") == 0 and not snapshot.measurable_by_choice("facts")


@pytest.mark.parametrize("batch_size", [2, 50])
def test_long_prompts_and_long_answers_need_not_fit_together(tiny, batch_size):
    long = " ".join(["tea"] * 140)
    pairs = [(f"Say tea: {long}", "tea"), ("Say tea:", long), ("Say:", "a")]
    sizes = [len(tiny.tokenizer(text)["input_ids"]) for pair in pairs for text in pair]
    assert 2 * max(sizes) > 256 > max(sizes) + 9
    alone = answer_nll(tiny, pairs, batch_size=1)
    together = answer_nll(tiny, pairs, batch_size=batch_size)
    for (nll, tokens), (expected, count) in zip(together, alone, strict=True):
        assert nll == pytest.approx(expected, rel=1e-5) and tokens == count
    items = [Item(str(n), "facts", "f", "bare", *pair) for n, pair in enumerate(pairs)]
    snapshot = evaluate(tiny, Suite("facts", tuple(items)), batch_size, max_new_tokens=4)
    assert [r.nll for r in snapshot.results["facts"]] == pytest.approx([n for n, _ in alone])


def test_a_suite_without_items_is_refused(tiny):
    with pytest.raises(ValueError, match="No items in facts"):
        evaluate(tiny, Suite("facts", ()))


# Answers


@pytest.mark.parametrize(
    ("answer", "gold", "extract", "right"),
    [
        ("Paris", "Paris", None, True),
        ("Paris.", "Paris", None, False),
        ("paris", "Paris", None, False),
        ("", "Paris", None, False),
        ("2 + 2 = 4. The answer is 4.", "1 + 3 = 4. The answer is 4.", r"is ([^.\n]+)", True),
        ("The answer is 3. The answer is 4.", "The answer is 4.", r"is ([^.\n]+)", True),
        ("The answer is 4. The answer is 3.", "The answer is 4.", r"is ([^.\n]+)", False),
        ("4", "The answer is 4.", r"is ([^.\n]+)", False),
    ],
)
def test_exact_match(answer, gold, extract, right):
    assert is_right(answer, gold, extract) is right


def test_a_gold_answer_without_what_counts_is_told():
    with pytest.raises(ValueError, match="'4' has nothing that"):
        is_right("The answer is 4.", "4", r"is ([^.\n]+)")


def test_a_right_answer_is_counted_and_an_unfinished_one_is_marked(tiny):
    unfinished = evaluate(always(tiny, "a"), Suite("facts", (ITEM,)), max_new_tokens=3)
    (result,) = unfinished.results["facts"]
    assert (result.output, result.correct, result.truncated) == ("aaa", False, True)
    assert unfinished.truncation_rate("facts") == 100
    assert "100 % of the answers cut off" in repr(unfinished)
    exact = Suite("facts", (replace(ITEM, answer="aaa"),))
    assert evaluate(always(tiny, "a"), exact, max_new_tokens=3).score("facts") == 100


@pytest.mark.parametrize("end", ["<|endoftext|>", "\n"])
def test_an_answer_ends_at_the_end_token_and_at_a_line_break(tiny, end):
    (result,) = evaluate(always(tiny, end), Suite("facts", (ITEM,))).results["facts"]
    assert (result.output, result.truncated) == ("", False)


def test_a_full_stop_with_a_line_break_in_one_token_ends_an_answer_and_belongs_to_it(tiny):
    """Qwen's and Llama 3's vocabularies have such tokens."""
    model = copy.deepcopy(tiny)
    model.tokenizer.add_tokens(AddedToken(".\n", normalized=False))
    model.resize_token_embeddings(len(model.tokenizer))
    model = always(model, ".\n")
    for gold, right in ((".", True), ("a", False)):
        item = replace(ITEM, answer=gold)
        (result,) = evaluate(model, Suite("facts", (item,))).results["facts"]
        assert (result.output, result.truncated, result.correct) == (".", False, right)


def test_a_gold_answer_is_not_accepted_where_a_last_full_stop_follows(tiny, monkeypatch):
    monkeypatch.setattr(decoding, "last_words", lambda tokenizer, stop: "b")
    model = always(tiny, "<|endoftext|>")
    prompts = model.tokenizer(["Say:"])["input_ids"]
    assert decoding.follow(decoding.read(model, prompts, 4), [[]], 4)[1] == [None]


def test_padding_does_not_matter(pocket):
    suites = load_suites(["facts", "reasoning", "reading", "sentiment"], size=16)
    one, many = (evaluate(pocket, suites, batch_size=size) for size in (1, 32))
    for name in one.results:
        for a, b in zip(one.results[name], many.results[name], strict=True):
            assert (a.item, a.output, a.choice, a.truncated) == (
                (b.item, b.output, b.choice, b.truncated)
            )
            assert a.nll == pytest.approx(b.nll, rel=1e-3, abs=1e-4)


def test_padding_changes_no_likelihood(tiny):
    pairs = [(i.prompt, i.answer) for i in load_suites("reasoning", size=8)[0].items]
    pairs += [(i.prompt, i.answer) for i in load_suites("facts", size=8)[0].items]
    one, many = (answer_nll(tiny, pairs, batch_size=size) for size in (1, 16))
    assert [tokens for _, tokens in one] == [tokens for _, tokens in many]
    assert [nll for nll, _ in one] == pytest.approx([nll for nll, _ in many], rel=1e-5)


def test_the_models_mode_is_left_as_it_was(tiny):
    model = copy.deepcopy(tiny).train()
    evaluate(model, load_suites("facts", size=2), max_new_tokens=2)
    complete(model, "Hello", max_new_tokens=2)
    assert model.training


def test_a_prompt_that_does_not_fit_is_refused(tiny):
    long = Suite("facts", (replace(ITEM, prompt=" 1" * 115),))
    with pytest.raises(ValueError, match=r"230 tokens and 48 that follow do not fit.* 256"):
        evaluate(tiny, long)
    with pytest.raises(ValueError, match="do not fit"):
        answer_nll(tiny, [(" 1" * 127, " 1 1")])


# Numbers of a snapshot


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (231, 250)])
def test_the_interval_is_wilsons(right, n):
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((100 * expected.low, 100 * expected.high), abs=0.01)


def made_up(*correct, nll=1.0, tokens=2):
    rows = [
        ItemResult(replace(ITEM, id=str(n)), "x", c, nll, tokens) for n, c in enumerate(correct)
    ]
    return Snapshot({"facts": rows}, {"dtype": "float32"})


def test_scores_by_hand():
    snapshot = made_up(True, True, False, True)
    assert snapshot.score("facts") == 75 and snapshot.nll("facts") == 0.5
    assert [row.item.id for row in snapshot.wrong("facts")] == ["2"]
    assert snapshot.interval("facts") == wilson(3, 4)
    assert snapshot.choice_score("facts") is None and snapshot.chance("facts") == 0
    assert not made_up(*[False] * 50).measurable("facts")
    assert made_up(*[True] * 50).measurable("facts")
    assert "cut off" not in repr(snapshot)


def test_what_guessing_gets_right_is_no_skill():
    """Of two choices half is right by chance, whatever the floor; two thirds of 50 is more."""

    def with_choices(*correct):
        rows = made_up(*correct).results["facts"]
        item = replace(ITEM, answer="positive", choices=("positive", "negative"))
        return Snapshot({"facts": [
            replace(row, item=item, choice="positive" if row.correct else "negative")
            for row in rows
        ]})  # fmt: skip

    half, most = with_choices(*[True, False] * 25), with_choices(*[True] * 40, *[False] * 10)
    assert not half.measurable("facts") and not half.measurable_by_choice("facts")
    assert most.measurable("facts") and most.measurable_by_choice("facts")
    assert not made_up(*[True] * 50).measurable_by_choice("facts")  # nothing to choose from


def test_scores_by_hand_as_they_are_shown():
    snapshot = made_up(True, True, False, True)
    assert "75.0 % (30 to 95)" in repr(snapshot) and "75.0 %" in snapshot._repr_html_()


def test_running_text_is_scored_by_perplexity(tiny):
    snapshot = evaluate(tiny, load_suites("stories", size=4))
    rows = snapshot.results["stories"]
    mean = sum(row.nll for row in rows) / sum(row.tokens for row in rows)
    assert snapshot.score("stories") == pytest.approx(math.exp(mean))
    assert snapshot.is_text("stories") and "perplexity" in repr(snapshot)


# Saving


def test_ones_stand_for_right_answers_and_running_text_has_none():
    answered = [ItemResult(ITEM, said, said == "a", 0.1, 1) for said in ("a", "b", "a")]
    told = ItemResult(ITEM, "", None, 2.0, 4)
    assert Snapshot({"facts": answered, "stories": [told]}).ones() == {"facts": "101"}


def test_a_snapshot_is_read_back_as_it_was(tiny, tmp_path):
    snapshot = evaluate(tiny, load_suites(["facts", "reasoning", "stories"], size=3))
    assert Snapshot.load(snapshot.save(tmp_path / "deep" / "folder")) == snapshot


def test_the_newest_snapshot_of_a_folder_is_read(tmp_path):
    made_up(True).save(tmp_path)
    made_up(False).save(tmp_path)
    assert Snapshot.load(tmp_path).score("facts") == 0


def test_the_files_are_laid_out_as_lm_eval_does(tiny, tmp_path):
    evaluate(tiny, load_suites(["facts", "stories"], size=3)).save(tmp_path)
    (results,) = tmp_path.glob("results_*.json")
    report = json.loads(results.read_text())
    stamp = results.stem.removeprefix("results_")
    assert set(report["results"]) == {"pocket_facts", "pocket_stories"}
    assert report["results"]["pocket_facts"]["exact_match,none"] == 0.0
    assert report["n-samples"]["pocket_facts"] == {"original": 3, "effective": 3}
    assert report["config"]["decoding"] == "greedy"
    samples = (tmp_path / f"samples_pocket_facts_{stamp}.jsonl").read_text().splitlines()
    assert len(samples) == 3
    hashes = [tuple(json.loads(s)[f"{k}_hash"] for k in ("doc", "prompt")) for s in samples]
    assert len(set(hashes)) == 3 and all(len(h) == 64 for pair in hashes for h in pair)


def test_a_folder_without_a_snapshot_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no snapshot"):
        Snapshot.load(tmp_path)


# Comparing


def graded(*right, **settings):
    rows = [
        ItemResult(replace(ITEM, id=str(n)), "a", value, 1.0, 1) for n, value in enumerate(right)
    ]
    return Snapshot({"facts": rows}, {"model": "one", "batch_size": 50, **settings})


def test_snapshots_of_two_models_on_the_same_items_are_compared():
    graded(True, False).check_comparable(graded(False, False, model="other"))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (graded(True, False, batch_size=1), "cannot be compared: batch_size 50 and 1"),
        (graded(True, False, dtype="bfloat16"), "cannot be compared: dtype None and 'bfloat16'"),
        (graded(True), "different items of 'facts'"),
        (Snapshot({}), "The second snapshot has no facts"),
    ],
)
def test_snapshots_that_cannot_be_compared_are_refused(after, message):
    with pytest.raises(ValueError, match=message):
        graded(True, False).check_comparable(after)
    with pytest.raises(ValueError, match=message):
        capability_bars(graded(True, False), after)


def test_a_perplexity_beyond_all_numbers_is_infinite():
    text = ItemResult(replace(ITEM, prompt=""), "", None, 7_100.0, 10)
    snapshot = Snapshot({"stories": [text]})
    assert snapshot.score("stories") == math.inf and "inf" in repr(snapshot)
