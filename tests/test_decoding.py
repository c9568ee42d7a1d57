"""Decoding by hand: against transformers' own `generate` and unbatched scoring, on three kinds."""

from __future__ import annotations

import pytest
import torch
from small_models import KINDS, saved_model

from helpers.decoding import nll_after, read, stop_tokens, write

PROMPTS = ["Hi", "What is the capital of France?", "Sort this list: tea, bread, lamp"]


@pytest.fixture(scope="module", params=["gpt2", *KINDS])
def model(request, tiny, tokenizer, tmp_path_factory):
    """A random model whose answers differ from prompt to prompt."""
    if request.param == "gpt2":
        return tiny
    folder = tmp_path_factory.mktemp(request.param)
    return saved_model(request.param, tokenizer, folder, initializer_range=0.2)


def ids(model, texts):
    return model.tokenizer(texts)["input_ids"]


@torch.no_grad()
def generated(model, prompt, limit):
    """One prompt through the library, without padding."""
    tokens = torch.tensor([ids(model, prompt)])
    output = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=limit, do_sample=False,
        eos_token_id=stop_tokens(model.tokenizer), pad_token_id=model.tokenizer.pad_token_id,
    )  # fmt: skip
    new = output[0, tokens.shape[1] :]
    text = model.tokenizer.decode(new, skip_special_tokens=True)
    return text.split("\n")[0].strip(), not bool(
        torch.isin(new, torch.tensor(stop_tokens(model.tokenizer))).any()
    )


@pytest.mark.parametrize("limit", [1, 12])
def test_what_is_written_is_what_generate_writes(model, limit):
    answers, cut = write(read(model, ids(model, PROMPTS), limit), limit)
    assert list(zip(answers, cut, strict=True)) == [generated(model, p, limit) for p in PROMPTS]


def test_the_course_model_too_where_rows_end_at_different_steps(pocket):
    prompts = [*PROMPTS, "How do I make tea?", "Translate to Spanish: the red house"]
    answers, cut = write(read(pocket, ids(pocket, prompts), 48), 48)
    assert list(zip(answers, cut, strict=True)) == [generated(pocket, p, 48) for p in prompts]
    assert cut == [True, False, False, False, False]  # "Hi" begins a story


@torch.no_grad()
def test_likelihoods_are_those_of_one_unpadded_pass(model):
    answers = ids(model, [" Paris", " a long answer of many words", " 3"])
    prompts = ids(model, PROMPTS)
    prefix = read(model, prompts)
    found = nll_after(prefix, answers)
    for prompt, answer, nll in zip(prompts, answers, found, strict=True):
        logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        expected = -sum(float(logits[p, token]) for p, token in zip(places, answer, strict=True))
        assert nll == pytest.approx(expected, rel=1e-4)
    # Scoring has not used the prefix up: the same again, and rows in another order, twice.
    assert nll_after(prefix, answers) == pytest.approx(found)
    twice = nll_after(prefix.take([2, 0, 2]), [answers[2], answers[0], answers[2]])
    assert twice == pytest.approx([found[2], found[0], found[2]], rel=1e-4)


def test_a_prompt_without_room_for_its_answer_is_named(tiny):
    with pytest.raises(ValueError, match="begins: 'Say this"):
        read(tiny, ids(tiny, ["Say this" + " 1" * 100]), room=100)
