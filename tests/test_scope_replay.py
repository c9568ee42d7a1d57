"""Mixing: shares, leaks, families of worked problems, and what a model writes for itself."""

from __future__ import annotations

import copy
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from test_no_leak import asked
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.generation import complete
from helpers.pocket.problems import FAMILIES
from helpers.scope import replay
from helpers.scope.leaks import ReplayLeaks, overlap, question_of, without_overlap
from helpers.scope.replay import (
    add_replay,
    add_steps,
    choose_families,
    extra_rows,
    in_formats,
    sampled_replay,
    self_replay,
    token_share,
)
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, BadTickets, read_tickets
from helpers.training import finetune


def rows(count, word):
    return [{"prompt": f"{word} {n}?", "completion": f" {n}"} for n in range(count)]


def keys(data):
    return Counter((row["prompt"], row["completion"]) for row in data)


@pytest.fixture(scope="module")
def suites():
    return load_suites(["arithmetic", "reading", "stories", "reasoning"], size=700)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.10, 0.25])
def test_a_share_is_one_of_the_result_and_every_ticket_stays(share):
    tickets, old = rows(300, "new"), rows(500, "old")
    mixed = keys(add_replay(tickets, old, share))
    assert not keys(tickets) - mixed
    replayed = mixed - keys(tickets)
    assert sum(replayed.values()) / sum(mixed.values()) == pytest.approx(share, abs=0.002)
    assert sum(replayed.values()) == extra_rows(300, share)
    assert not replayed - keys(old)  # each at most once


def test_a_seed_draws_the_same_rows_again():
    tickets, old = rows(50, "new"), rows(500, "old")
    one, two, other = (add_replay(tickets, old, 0.25, seed=seed) for seed in (1, 1, 2))
    assert one.to_list() == two.to_list()
    assert keys(one) != keys(other)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_that_cannot_be_is_refused(share):
    for call in (
        lambda: add_replay(rows(3, "new"), rows(3, "old"), share),
        lambda: extra_rows(3, share),
        lambda: add_steps(rows(3, "new"), share, ["change"]),
    ):
        with pytest.raises(ValueError, match="share must be"):
            call()


@pytest.mark.parametrize("empty", [[], Dataset.from_list(rows(1, "old")).select([]), iter(())])
def test_empty_replay_is_refused_and_the_remedy_named(empty):
    with pytest.raises(ValueError, match=r"nothing to replay.*self_replay"):
        add_replay(rows(3, "new"), empty, 0.25)


def test_without_a_share_there_may_be_nothing_to_replay():
    assert keys(add_replay(rows(3, "new"), [], 0)) == keys(rows(3, "new"))


def test_without_tickets_there_is_nothing_to_mix():
    with pytest.raises(BadTickets, match="empty"):
        add_replay([], rows(3, "old"), 0.25)


def leaks_of(suites):
    """One row for every way in which a row can ask what a test asks."""
    sums, reading, *_ = suites
    question = asked(sums.items[0].prompt)
    return {
        "as it stands": sums.items[0].prompt,
        "in another format": f"User: {question}\nAssistant:",
        "in a third": f"Question: {question}\nAnswer:",
        "politely": f"Please answer: {question}",
        "politely in a format": f"User: {question} Thank you.\nAssistant:",
        "with other spaces": f"  {question.replace(' ', '  ')} ",
        "in capitals": question.upper(),
        "below its text": reading.items[0].prompt,
    }


@pytest.mark.parametrize("way", range(8))
def test_a_row_that_asks_what_the_test_asks_is_refused(suites, way):
    prompt = list(leaks_of(suites).values())[way]
    leaking = [*rows(20, "old"), {"prompt": prompt, "completion": " 1"}]
    assert overlap(leaking, suites) == [20]
    with pytest.raises(ReplayLeaks, match=r"1 of 21 old rows .* row 20 first"):
        add_replay(rows(30, "new"), leaking, 0.25, suites)
    clean = without_overlap(leaking, suites)
    assert clean == rows(20, "old")
    add_replay(rows(30, "new"), clean, 0.25, suites)


def test_a_story_of_the_test_is_refused(suites):
    text = suites[2].items[0].answer
    assert overlap([{"prompt": "", "completion": f" {text}"}], suites) == [0]


def test_the_shipped_replay_has_no_overlap():
    old = read_tickets(SUPPORT / "replay.jsonl")
    assert overlap(old, load_suites(size=700)) == []


def test_questions_are_taken_from_prompts_as_the_leak_test_takes_them():
    for suite in load_suites(size=40):
        for item in suite.items:
            assert question_of(item.prompt) == asked(item.prompt)


def test_fewer_families_are_among_the_more():
    for count in range(len(FAMILIES)):
        assert choose_families(count) == choose_families(count + 1)[:count]
    assert set(choose_families(10)) == set(FAMILIES)
    assert len({choose_families(3, seed) for seed in range(5)}) > 1
    for count in (-1, 11):
        with pytest.raises(ValueError, match="There are 10 families"):
            choose_families(count)


#: What a problem of a family always says, and one of the others never does.
SIGNS = {"order": "Who is the", "ages": r"years? older", "sale": "cheaper|The price of"}


@pytest.mark.parametrize("family", SIGNS)
def test_only_the_families_chosen_are_mixed_in(family, suites):
    tickets = rows(60, "new")
    mixed = add_steps(tickets, 0.25, [family], suites)
    added = list((keys(mixed) - keys(tickets)).elements())
    assert len(added) == extra_rows(60, 0.25)
    assert all(re.search(SIGNS[family], prompt) for prompt, _ in added)
    assert all("The answer is" in completion for _, completion in added)
    assert all(completion.count(".") > 1 for _, completion in added)  # steps stand before it


def test_several_families_all_occur():
    mixed = add_steps(rows(90, "new"), 0.25, list(SIGNS))
    for sign in SIGNS.values():
        assert any(re.search(sign, row["prompt"]) for row in mixed)


def test_a_share_of_steps_without_a_family_is_refused():
    with pytest.raises(ValueError, match="at least one family"):
        add_steps(rows(30, "new"), 0.25, [])
    assert keys(add_steps(rows(30, "new"), 0, [])) == keys(rows(30, "new"))
    with pytest.raises(ValueError, match="no 'zebra'"):
        add_steps(rows(30, "new"), 0.25, ["zebra"])


def test_a_share_of_tokens_counts_answers_with_their_end(tokenizer):
    one, other = ({"prompt": p, "completion": c} for p, c in (("a?", " yes"), ("b?", " no no no")))
    length = {row["prompt"]: len(tokenizer(row["completion"])["input_ids"]) + 1
              for row in (one, other)}  # fmt: skip
    share = token_share([one], [one, one, other], tokenizer)
    assert share == pytest.approx(200 * length["a?"] / (2 * length["a?"] + length["b?"]))
    assert token_share([], [other], tokenizer) == 0
    assert token_share([one], [one], tokenizer) == 100


def test_questions_become_prompts_in_every_format():
    assert in_formats(["Why?"]) == [
        "Why?",
        "Question: Why?\nAnswer:",
        "User: Why?\nAssistant:",
    ]


@pytest.fixture(scope="module")
def llama(tiny):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=tiny.config.bos_token_id,
        eos_token_id=tiny.config.eos_token_id,
        pad_token_id=tiny.tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).eval()
    model.tokenizer = tiny.tokenizer
    return model


PROMPTS = in_formats(["What is 3 + 4?", "Sort these numbers: 7, 2", "Where is the key?"])


def test_the_base_answers_its_own_prompts(pocket):
    found = self_replay(pocket, PROMPTS[:3], batch_size=2)
    answers = complete(pocket, PROMPTS[:3])
    assert found == [
        {"prompt": p, "completion": f" {a}"} for p, a in zip(PROMPTS, answers, strict=False)
    ]
    assert {row["completion"] for row in found} == {" 7"}


def test_what_the_base_writes_trains_a_model_and_leaves_the_base_alone(pocket, tiny):
    before = copy.deepcopy(pocket.state_dict())
    old = self_replay(pocket, PROMPTS)
    assert all(torch.equal(before[name], value) for name, value in pocket.state_dict().items())
    mixed = add_replay(rows(12, "new"), old, 0.25, load_suites("facts", size=20))
    assert len(finetune(tiny, mixed, steps=2).losses) == 2


def answering(monkeypatch, texts, cut):
    """A model whose answers, and whether they are cut off, are given."""
    monkeypatch.setattr(replay, "read", lambda *_: None)
    monkeypatch.setattr(replay, "write", lambda *_: (texts, cut))


def test_answers_that_are_empty_or_cut_off_are_left_out(tiny, monkeypatch):
    answering(monkeypatch, ["yes", "", "and so on"], [False, False, True])
    assert self_replay(tiny, ["a", "b", "c"]) == [{"prompt": "a", "completion": " yes"}]


def test_without_a_usable_answer_there_is_an_error(tiny, monkeypatch):
    answering(monkeypatch, ["", "on and on"], [False, True])
    with pytest.raises(ValueError, match="Not one of 2 answers"):
        self_replay(tiny, ["a", "b"])


@pytest.mark.parametrize("prompts", [[], ["", "  "], "one text"])
def test_without_prompts_there_is_no_replay(tiny, prompts):
    with pytest.raises(ValueError, match="prompts"):
        self_replay(tiny, prompts)


def test_a_repeated_prompt_counts_once(pocket):
    assert len(self_replay(pocket, [PROMPTS[0]] * 3)) == 1


@pytest.mark.parametrize("kind", ["tiny", "llama"])
def test_sampled_texts_are_the_seeds_and_leave_randomness_alone(kind, request):
    model = request.getfixturevalue(kind)
    torch.manual_seed(5)
    undisturbed = torch.rand(1)
    torch.manual_seed(5)
    one = sampled_replay(model, 8, max_new_tokens=6, seed=1)
    assert torch.rand(1) == undisturbed
    assert one == sampled_replay(model, 8, max_new_tokens=6, seed=1)
    assert one != sampled_replay(model, 8, max_new_tokens=6, seed=2)
    assert {row["prompt"] for row in one} == {model.tokenizer.eos_token}
    assert len({row["completion"] for row in one}) == len(one) > 1


def test_any_token_may_be_drawn(tiny):
    """Transformers' own default is to draw from the 50 likeliest."""
    assert len(sampled_replay(tiny, 300, max_new_tokens=1)) > 100


def test_no_texts_are_refused(tiny):
    with pytest.raises(ValueError, match="at least 1"):
        sampled_replay(tiny, 0)


def test_self_replay_works_on_a_llama(llama):
    try:
        found = self_replay(llama, PROMPTS, max_new_tokens=5)
    except ValueError as error:  # random weights may never end an answer
        assert "Not one of" in str(error)
    else:
        assert all(row["completion"].startswith(" ") for row in found)


def test_the_prompts_to_begin_with_ask_nothing_of_the_test():
    written = (SUPPORT / "prompts.txt").read_text(encoding="utf-8").splitlines()
    assert len(written) == len(set(written)) > 40
    prompts = [{"prompt": p, "completion": ""} for p in in_formats(written)]
    assert overlap(prompts, load_suites(size=700)) == []


def test_the_suites_are_as_the_check_expects(suites):
    """A check against an empty suite would find nothing, and say nothing."""
    assert all(len(suite) == 700 for suite in suites)
    assert overlap(rows(3, "old"), [replace(suites[0], items=())]) == []
