"""Versions that share a batch: each answers letter by letter as it does alone."""

from __future__ import annotations

import random
import threading
import time

import pytest
import torch
from peft import IA3Config, PeftModel, get_peft_model
from rollout_models import random_adapter
from small_models import SHAPE, saved_model
from transformers import MistralConfig, MistralForCausalLM

from helpers.models import load_model
from helpers.rollout.batch import Batch, Row, choose, end_of_text, write
from helpers.rollout.engine import WEIGHTS, Engine, NotServable, read_adapter
from helpers.rollout.errors import Damaged, UnknownVersion
from helpers.rollout.pieces import Pieces
from helpers.rollout.prompts import BadPrompt, from_text, from_turns
from helpers.rollout.worker import (
    Closing,
    Finished,
    Job,
    Placement,
    QueueFull,
    TimeLimit,
    Worker,
)

ROOM = 40
QUESTIONS = (
    "User: What is the capital of France?\nAssistant:",
    "Question: What is 12 + 30?\nAnswer:",
    "User: Sort these words: pear, apple, plum.\nAssistant:",
    "What",
    "User: How do I boil an egg?\nAssistant:",
    "The symbol of gold is",
)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    top = tmp_path_factory.mktemp("adapters")
    return {
        "shop-1.0": random_adapter(top / "one", 1, 0.8, rank=4),
        "shop-1.1": random_adapter(top / "two", 2, 0.8, rank=8),
        "queries": random_adapter(top / "three", 3, 1.5, target_modules=["c_attn"]),
    }


@pytest.fixture(scope="module")
def engine(adapters):
    engine = Engine(load_model())
    engine.load("base", None)
    for name, folder in adapters.items():
        engine.load(name, folder)
    return engine


@pytest.fixture(scope="module")
def asked(engine):
    """Prompts and versions, every question with every version, shuffled."""
    pairs = [(question, version) for question in QUESTIONS for version in engine.versions]
    random.Random(0).shuffle(pairs)
    return [(engine.tokenizer(question)["input_ids"], version) for question, version in pairs]


@pytest.fixture(scope="module")
def alone(adapters, asked):
    """What each version answers to each of them, loaded by itself and asked one by one."""
    models = {"base": load_model()}
    for name, folder in adapters.items():
        models[name] = PeftModel.from_pretrained(load_model(), folder).eval()
    answers = []
    for prompt, version in asked:
        ids = torch.tensor([prompt])
        whole = (
            models[version]
            .generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=ROOM,
                do_sample=False,
            )[0]
            .tolist()
        )
        answer = whole[len(prompt) :]
        answers.append(answer[:-1] if answer[-1] == 0 else answer)
    return answers


def rows_for(engine, asked, **settings):
    ends = end_of_text(engine)
    return [Row(version, prompt, ROOM, ends, **settings) for prompt, version in asked]


def test_the_versions_differ(asked, alone):
    """Otherwise the tests below could not fail."""
    by_prompt = {}
    for (prompt, _), answer in zip(asked, alone, strict=True):
        by_prompt.setdefault(tuple(prompt), set()).add(tuple(answer))
    assert sum(len(answers) for answers in by_prompt.values()) > 3 * len(QUESTIONS)


def test_one_batch_of_all_versions_writes_what_each_writes_alone(engine, asked, alone):
    prompts, versions = zip(*asked, strict=True)
    assert write(engine, prompts, versions, ROOM) == alone


@pytest.mark.parametrize("seed", range(2))
def test_rows_that_come_and_go_at_any_token_change_nothing(engine, asked, alone, seed):
    rng, batch = random.Random(seed), Batch(engine)
    rows = rows_for(engine, asked)
    waiting = list(rows)
    guest = Row("shop-1.1", asked[0][0], 200, frozenset())
    batch.admit([guest])  # it writes on and on, and leaves in the middle
    for turn in range(1000):
        seats = rng.randint(0, 3)
        batch.admit(waiting[:seats])
        waiting = waiting[seats:]
        batch.step()
        if turn == 20:
            batch.drop([guest])
        if not waiting and not batch.rows:
            break
    assert [row.written for row in rows] == alone


@pytest.mark.parametrize("kind", ["llama", "neox", "mistral"])
def test_other_architectures_mix_too(kind, tokenizer, tmp_path):
    """With Mistral's sliding window the cache cannot be joined: rows wait for an empty batch."""
    if kind == "mistral":
        torch.manual_seed(0)
        config = MistralConfig(
            vocab_size=len(tokenizer), sliding_window=16, num_key_value_heads=2, **SHAPE
        )
        MistralForCausalLM(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
    else:
        saved_model(kind, tokenizer, tmp_path)
    engine, models = Engine(load_model(tmp_path)), {"base": load_model(tmp_path)}
    engine.load("base", None)
    for name in ("one", "two"):
        folder = random_adapter(tmp_path / name, len(name) + ord(name[0]), 0.3, base=tmp_path)
        engine.load(name, folder)
        models[name] = PeftModel.from_pretrained(load_model(tmp_path), folder).eval()
    asked = [(tokenizer(q)["input_ids"], name) for q in QUESTIONS for name in models]
    rows, batch = [Row(name, prompt, 20, ()) for prompt, name in asked], Batch(engine)
    waiting = list(rows)
    while waiting or batch.rows:
        if batch.open:
            batch.admit(waiting[:4])
            waiting = waiting[4:]
        batch.step()
    for row in rows:
        ids = torch.tensor([row.prompt])
        (whole,) = models[row.version].generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=-1,
        )
        assert row.written == whole[len(row.prompt) :].tolist()
    assert len({tuple(row.written) for row in rows}) > len(QUESTIONS)


def test_padding_that_no_row_needs_is_forgotten(engine):
    batch, prompt = Batch(engine), engine.tokenizer(QUESTIONS[0])["input_ids"]
    long = Row("base", prompt * 8, 2, frozenset())
    short = Row("base", prompt, 10, frozenset())
    batch.admit([long, short])
    for _ in range(4):
        batch.step()
    assert long.finish == "length" and batch.rows == [short]
    assert batch._prefix.mask.shape[1] == len(prompt) + 3


def test_drawing_depends_on_the_seed_and_not_on_the_company(engine, asked):
    prompt, version = asked[0]
    drawn = []
    for company in (0, 5):
        row = Row(version, prompt, 20, frozenset(), temperature=1.5, seed=7)
        batch = Batch(engine)
        batch.admit([*rows_for(engine, asked[:company]), row])
        while batch.rows:
            batch.step()
        drawn.append(row.written)
    assert drawn[0] == drawn[1]
    others = []
    for seed in (8, 9, 10):
        row = Row(version, prompt, 20, frozenset(), temperature=1.5, seed=seed)
        batch = Batch(engine)
        batch.admit([row])
        while batch.rows:
            batch.step()
        others.append(row.written)
    assert any(other != drawn[0] for other in others)


def test_top_p_draws_from_the_likeliest_only(engine):
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    row = Row("base", [1], 1, frozenset(), temperature=1.0, top_p=0.7, seed=0)
    assert {choose(logits, [row])[0] for _ in range(200)} == {0, 1}
    row.top_p = 1.0
    drawn = [choose(logits, [row])[0] for _ in range(2000)]
    assert drawn.count(0) / 2000 == pytest.approx(0.5, abs=0.05)
    assert drawn.count(3) / 2000 == pytest.approx(0.05, abs=0.02)


def test_broken_weights_cost_nobody_else_the_batch():
    row = Row("base", [1], 1, frozenset(), temperature=1.0, seed=0)
    assert len(choose(torch.full((1, 4), torch.nan), [row])) == 1
    cold = Row("base", [1], 1, frozenset(), temperature=1e-320, seed=0)
    assert choose(torch.tensor([[0.1, 0.3, 0.2]]), [cold]) == [1]


def test_a_row_that_does_not_fit_is_refused_and_nobody_has_joined(engine):
    batch = Batch(engine)
    with pytest.raises(ValueError, match="do not fit into the context of 256"):
        batch.admit([Row("base", [5] * 200, 57, frozenset())])
    with pytest.raises(UnknownVersion, match="No version 'nobody' is loaded"):
        batch.admit([Row("nobody", [5], 5, frozenset())])
    assert batch.rows == []


def test_unloading_leaves_the_others_as_they_are(adapters, asked, alone):
    engine = Engine(load_model())
    engine.load("base", None)
    for name in ("queries", "shop-1.0"):
        engine.load(name, adapters[name])
    engine.unload("queries")  # the first one that was put on
    assert engine.versions == ("base", "shop-1.0")
    wanted = [n for n, (_, version) in enumerate(asked) if version in ("base", "shop-1.0")]
    for _ in range(2):
        found = write(engine, [asked[n][0] for n in wanted], [asked[n][1] for n in wanted], ROOM)
        assert found == [alone[n] for n in wanted]
        engine.unload("shop-1.0")  # now there is no adapter at all; then one again
        bare = [n for n in wanted if asked[n][1] == "base"]
        assert write(engine, [asked[n][0] for n in bare], ["base"] * len(bare), ROOM) == [
            alone[n] for n in bare
        ]
        engine.load("shop-1.0", adapters["shop-1.0"])
    with pytest.raises(UnknownVersion):
        engine.unload("queries")


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["wte"]}, "modules_to_save"),
        ({"bias": "all"}, "bias='all'"),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_name(tmp_path, others, told):
    folder = random_adapter(tmp_path / "odd", 0, **others)
    with pytest.raises(NotServable, match=told):
        read_adapter(folder)


def test_another_method_is_refused_by_name(tmp_path):
    get_peft_model(load_model(), IA3Config(task_type="CAUSAL_LM")).save_pretrained(tmp_path)
    with pytest.raises(NotServable, match="IA3"):
        read_adapter(tmp_path)


def test_damaged_files_are_refused_and_leave_the_engine_as_it_was(engine, tmp_path, asked, alone):
    folder = random_adapter(tmp_path / "whole", 5)
    whole = (folder / WEIGHTS).read_bytes()
    with pytest.raises(Damaged, match="has changed since it was registered"):
        engine.load("new", folder, digest="0" * 64)
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Damaged, match="no safetensors file"):
        engine.load("new", folder)
    (folder / WEIGHTS).unlink()
    torch.save({}, folder / "adapter_model.bin")  # PEFT would take the pickle instead
    with pytest.raises(Damaged, match="cannot be read"):
        engine.load("new", folder)
    assert "new" not in engine.versions
    prompts, versions = zip(*asked[:8], strict=True)
    assert write(engine, prompts, versions, ROOM) == alone[:8]


def test_an_adapter_of_another_base_is_refused(engine, tiny_folder, tmp_path, asked, alone):
    from helpers.training import lora_config

    tiny = load_model(tiny_folder)
    get_peft_model(tiny, lora_config(tiny, 4, 8)).save_pretrained(tmp_path)
    with pytest.raises(Damaged, match="does not fit this base model"):
        engine.load("tiny", tmp_path)
    assert "tiny" not in engine.versions
    prompts, versions = zip(*asked[:8], strict=True)
    assert write(engine, prompts, versions, ROOM) == alone[:8]


def test_an_engine_wants_a_bare_base(adapters):
    with pytest.raises(NotServable, match="Load the base alone"):
        Engine(PeftModel.from_pretrained(load_model(), adapters["queries"]))


# Text


def pieces_of(tokenizer, text, **settings):
    pieces = Pieces(tokenizer, **settings)
    found = []
    for token in tokenizer(text)["input_ids"]:
        found.append(pieces.feed(token))
        if pieces.stopped:
            break
    return [*found, pieces.end()]


@pytest.mark.parametrize(
    "text", ["Paris.", " two  spaces ", "Zürich, 東京 and 🙂🙂", "a\n\nb", "é"]
)
def test_pieces_add_up_to_the_text(tokenizer, text):
    found = pieces_of(tokenizer, text)
    assert "".join(found) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(found)
    assert "".join(pieces_of(tokenizer, text, trim=True)) == text.strip()


def test_a_stop_text_is_never_shown_not_even_its_beginning(tokenizer):
    text = "one, two, ENOUGH three"
    assert "".join(pieces_of(tokenizer, text, stops=["ENOUGH"])) == "one, two, "
    assert "".join(pieces_of(tokenizer, text, stops=["ENOUGH"], trim=True)) == "one, two,"
    assert "".join(pieces_of(tokenizer, "one END", stops=["ENDING"])) == "one END"  # held back
    assert "".join(pieces_of(tokenizer, "aab", stops=["ab"])) == "a"


# Prompts


def test_a_conversation_is_written_as_the_model_was_taught(engine):
    turns = [("system", "Be brief."), ("user", " Hi. "), ("assistant", "Yes?"), ("user", "Why?")]
    prompt = from_turns(engine, turns)
    told = engine.tokenizer.decode(prompt.tokens)
    assert told == "Be brief.\nUser: Hi.\nAssistant: Yes?\nUser: Why?\nAssistant:"
    assert prompt.text == "Why?"


def test_a_chat_template_is_used_where_there_is_one(engine, monkeypatch):
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    )
    monkeypatch.setattr(engine.tokenizer, "chat_template", template)
    prompt = from_turns(engine, [("user", "Hi")])
    assert engine.tokenizer.decode(prompt.tokens) == "<user>Hi<assistant>"
    assert prompt.ends == end_of_text(engine)  # such a model may write several lines
    with pytest.raises(BadPrompt, match="no system"):
        from_turns(engine, [("system", "x"), ("user", "Hi")])


def test_somebody_must_have_asked_something(engine):
    for turns in ([("system", "x")], [("user", "  ")]):
        with pytest.raises(BadPrompt):
            from_turns(engine, turns)


def test_a_plain_text_is_only_continued(engine):
    prompt = from_text(engine, "The capital of")
    assert not prompt.trim and prompt.ends == end_of_text(engine)


# The worker


class Everything:
    """Places every request at the version it names."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()

    def refresh(self, busy):
        self.gate.wait()

    def place(self, model, user):
        if model == "nobody":
            raise UnknownVersion("There is no model 'nobody'.")
        return Placement(model, "direct", 0.0)


@pytest.fixture
def places():
    return Everything()


@pytest.fixture
def worker(engine, places):
    worker = Worker(engine, places, seats=4, waiting=3).start()
    yield worker
    places.gate.set()
    worker.close()


class Told(list):
    """What a job was told, with the end to wait for."""

    def __init__(self):
        self.over = threading.Event()

    def __call__(self, event):
        self.append(event)
        if not isinstance(event, str):
            self.over.set()

    def end(self):
        assert self.over.wait(20), "a job was never answered"
        return self[-1]


def job_for(engine, question=0, model="base", seconds=20.0, room=ROOM, ends=None, **settings):
    prompt = engine.tokenizer(QUESTIONS[question])["input_ids"]
    ends = end_of_text(engine) if ends is None else ends
    deadline = time.monotonic() + seconds
    return Job(model, None, prompt, room, ends, deadline, Told(), **settings)


def submit(worker, job):
    """Hand a job in, as soon as there is room in the queue."""
    while True:
        try:
            return worker.submit(job)
        except QueueFull:
            time.sleep(0.01)


def test_a_stream_adds_up_to_the_answer(worker, engine):
    jobs = [job_for(engine, n, v, stream=True) for n in (0, 2, 4) for v in ("base", "shop-1.1")]
    for job in jobs:
        submit(worker, job)
    for job in jobs:
        end = job.tell.end()
        assert isinstance(end, Finished) and end.placement.version == job.model
        assert "".join(job.tell[:-1]) == end.text
        again = write(engine, [job.prompt], [job.model], ROOM)[0]
        assert end.text == engine.tokenizer.decode(again) and end.written == len(again)


def test_what_is_not_streamed_is_told_once(worker, engine):
    job = job_for(engine)
    worker.submit(job)
    job.tell.end()
    assert len(job.tell) == 1


def test_the_queue_is_bounded(worker, engine, places):
    places.gate.clear()
    first = job_for(engine)
    worker.submit(first)
    deadline = time.monotonic() + 10
    while worker.depth and time.monotonic() < deadline:
        time.sleep(0.001)  # until the worker has taken it and stands at the gate
    waiting = [job_for(engine) for _ in range(3)]
    for job in waiting:
        worker.submit(job)
    with pytest.raises(QueueFull, match="3 requests are waiting"):
        worker.submit(job_for(engine))
    assert worker.patience() >= 1
    places.gate.set()
    assert all(isinstance(job.tell.end(), Finished) for job in [first, *waiting])


def test_time_is_limited_in_the_queue_and_in_the_batch(worker, engine):
    slow = job_for(engine, seconds=0.05, room=220, ends=())
    worker.submit(slow)
    assert isinstance(slow.tell.end(), TimeLimit)
    late = job_for(engine, seconds=-1)
    worker.submit(late)
    assert isinstance(late.tell.end(), TimeLimit)
    after = job_for(engine)
    worker.submit(after)
    assert isinstance(after.tell.end(), Finished)


def test_who_has_gone_makes_room(worker, engine):
    gone = [job_for(engine, seconds=60, room=220, ends=()) for _ in range(3)]
    for job in gone:
        submit(worker, job)
        job.abandoned = True
    job = job_for(engine)
    submit(worker, job)
    assert isinstance(job.tell.end(), Finished)
    assert all(job.tell == [] for job in gone)


def test_an_error_is_told_to_the_one_it_is_about(worker, engine):
    jobs = [job_for(engine, model=name) for name in ("nobody", "base")]
    for job in jobs:
        worker.submit(job)
    assert isinstance(jobs[0].tell.end(), UnknownVersion)
    assert isinstance(jobs[1].tell.end(), Finished)


def test_a_registry_that_fails_is_told_and_the_next_are_answered(worker, engine, places):
    places.refresh = lambda busy: 1 / 0
    job = job_for(engine)
    worker.submit(job)
    assert "failed before" in str(job.tell.end())
    del places.refresh
    after = job_for(engine)
    worker.submit(after)
    assert isinstance(after.tell.end(), Finished)


def test_a_failure_inside_is_told_to_all_and_the_next_are_answered(worker, engine, monkeypatch):
    def fail(self):
        monkeypatch.undo()
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Batch, "step", fail)
    job = job_for(engine)
    worker.submit(job)
    assert "failed" in str(job.tell.end())
    after = job_for(engine)
    worker.submit(after)
    assert isinstance(after.tell.end(), Finished)


def test_closing_answers_what_was_accepted(engine, places):
    worker = Worker(engine, places, seats=2, waiting=9).start()
    jobs = [job_for(engine, n % 6) for n in range(8)]
    for job in jobs:
        worker.submit(job)
    worker.close()
    assert not worker.alive
    assert all(isinstance(job.tell[-1], Finished) for job in jobs)
    with pytest.raises(Closing):
        worker.submit(job_for(engine))


def test_a_stop_text_ends_the_answer(worker, engine):
    whole = job_for(engine, 4, room=60)
    worker.submit(whole)
    text = whole.tell.end().text
    assert len(text) > 12
    stop = text[8:11]
    job = job_for(engine, 4, room=60, stops=[stop], stream=True)
    worker.submit(job)
    end = job.tell.end()
    assert end.finish == "stop" and end.text == text[: text.index(stop)]
    assert "".join(job.tell[:-1]) == end.text
