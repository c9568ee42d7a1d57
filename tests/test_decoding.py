"""Decoding by hand: against transformers' own `generate` and unbatched scoring, on three kinds."""

from __future__ import annotations

import pytest
import torch
from small_models import KINDS, saved_model
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from helpers import decoding
from helpers.decoding import encode_pair, follow, nll_after, read, stop_tokens, write

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


@torch.no_grad()
def test_an_answer_is_recognised_exactly_where_it_would_be_written(model, monkeypatch):
    prompts = ids(model, PROMPTS)
    prefix, steps = read(model, prompts, 12), []
    for _ in range(12):
        steps.append(prefix.logits.argmax(dim=-1))
        prefix.extend(steps[-1][:, None])
    likeliest = torch.stack(steps, dim=1).tolist()
    # A random model does not stop by itself: let the first token that a row has not written before
    # be what ends answers.
    row, length = next(
        (row, place)
        for row, tokens in enumerate(likeliest)
        for place in range(1, 12)
        if tokens[place] not in tokens[:place]
    )
    end = likeliest[row][length]
    monkeypatch.setattr(decoding, "stop_tokens", lambda _: [end])

    answers = [tokens[:length] for tokens in likeliest]
    nlls, texts = follow(read(model, prompts, 12), answers, 12)
    assert nlls == pytest.approx(nll_after(read(model, prompts, 12), answers), rel=1e-4)
    would = [end not in tokens[:length] and tokens[length] == end for tokens in likeliest]
    assert would[row] and [text is not None for text in texts] == would
    written, cut = write(read(model, prompts, 12), 12)
    assert (texts[row], False) == (written[row], cut[row])
    # Where the limit leaves no place for what ends it, the answer counts as cut off.
    assert write(read(model, prompts, 12), length)[1][row]
    assert follow(read(model, prompts, 12), answers, length)[1][row] is None


def test_the_course_model_is_followed_through_long_and_short_answers(pocket):
    prompts = ids(pocket, ["How do I make tea?", "Translate to Spanish: the red house", "2 + 2 ="])
    written, cut = write(read(pocket, prompts, 48), 48)
    assert not any(cut)
    golds = ids(pocket, [f" {text}" for text in written])
    assert follow(read(pocket, prompts, 48), golds, 48)[1] == written
    # Stopping early, going on, or another token at any place: not what the model would say.
    for wrong in (
        [gold[:-1] for gold in golds],
        [[*gold, gold[-1]] for gold in golds],
        [[gold[0] + 1, *gold[1:]] for gold in golds],
    ):
        shorter_than_one = [answer or golds[2][:1] for answer in wrong]
        assert follow(read(pocket, prompts, 48), shorter_than_one, 48)[1][:2] == [None, None]
    # With no room for the end of text, `write` would call the answer cut off.
    longest = max(map(len, golds))
    assert follow(read(pocket, prompts, 48), golds, longest)[1].count(None) == 1


def test_a_stop_token_inside_an_answer_ends_it(pocket, monkeypatch):
    prompts = ids(pocket, ["How do I make tea?"])
    (written,), _ = write(read(pocket, prompts, 48), 48)
    (gold,) = ids(pocket, [f" {written}"])
    stops = stop_tokens(pocket.tokenizer)
    monkeypatch.setattr(decoding, "stop_tokens", lambda _: [*stops, gold[4]])
    (shorter,), _ = write(read(pocket, prompts, 48), 48)
    assert written.startswith(shorter) and shorter != written
    assert follow(read(pocket, prompts, 48), [gold], 48)[1] == [None]
    assert follow(read(pocket, prompts, 48), [gold[:4]], 48)[1] == [shorter]


def test_what_a_tokenizer_puts_before_a_text_is_not_put_before_an_answer(tiny_folder):
    """Llama's tokenizer begins every text with a token of its own; so must none of ours inside."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    plain = encode_pair(tokenizer, "2 + 2 =", " 4")
    assert plain == (tokenizer("2 + 2 =")["input_ids"], tokenizer(" 4")["input_ids"])
    start = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.eos_token_id)]
    )
    assert tokenizer(" 4")["input_ids"][0] == tokenizer.eos_token_id
    lead, tail = encode_pair(tokenizer, "2 + 2 =", " 4")
    assert lead == [tokenizer.eos_token_id, *plain[0]] and tail == plain[1]


def test_a_prompt_without_room_for_its_answer_is_named(tiny):
    with pytest.raises(ValueError, match="begins: 'Say this"):
        read(tiny, ids(tiny, ["Say this" + " 1" * 100]), room=100)
