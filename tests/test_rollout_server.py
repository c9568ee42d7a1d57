"""The server, asked as its users ask it: with the `openai` client, over the loopback."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
import torch
from openai import OpenAI
from rollout_client import QUESTION, Process, ask, client_of, metrics_of, raw
from rollout_models import POCKET, passed, random_adapter, rolled_out

from helpers.generation import complete
from helpers.models import load_model
from helpers.rollout.batch import Batch
from helpers.rollout.category import Categories
from helpers.rollout.engine import WEIGHTS
from helpers.rollout.errors import BadSetting, Busy, NotStored
from helpers.rollout.router import Router
from helpers.rollout.serve import API_KEY, build, listen, main, read_key, serving
from helpers.rollout.service import Limits
from helpers.rollout.telemetry import AnswerRow, Telemetry

KEY = b"a key of 32 bytes for the tests."
#: The base goes on from here with a story of 78 tokens.
STORY = dict(model="(base)", prompt="What", max_tokens=200)
OFF = Router(KEY)
USERS = [f"user-{n}" for n in range(60)]
CANDIDATES = [user for user in USERS if OFF.arm(user, 0.5) == "candidate"]
CONTROLS = [user for user in USERS if OFF.arm(user, 0.5) == "control"]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    top = tmp_path_factory.mktemp("adapters")
    return random_adapter(top / "one", 1), random_adapter(top / "two", 2)


@pytest.fixture(scope="module")
def said(adapters):
    """What the base, "v1" and "v2" answer to the question, each loaded by itself."""
    asked = f"User: {QUESTION}\nAssistant:"
    models = [load_model(), *(load_model(folder) for folder in adapters)]
    answers = [complete(model, asked, 64) for model in models]
    assert len(set(answers)) == 3
    return dict(zip(("base", "v1", "v2"), answers, strict=True))


@pytest.fixture
def registry(tmp_path, adapters):
    registry = rolled_out(tmp_path / "shop.db", *adapters, 0.5)
    yield registry
    registry.close()


@pytest.fixture
def service(registry):
    return build(registry.store.path, key=KEY)


@pytest.fixture
def client(service):
    with serving(service) as address, client_of(address) as client:
        yield client


# Who answers


def test_users_get_their_arm_and_versions_their_name(client, said, registry, service):
    for user in CANDIDATES[:2]:
        reply = ask(client, user)
        assert (reply.model, reply.choices[0].message.content) == ("v2", said["v2"])
    reply = ask(client, CONTROLS[0])
    assert (reply.model, reply.choices[0].message.content) == ("v1", said["v1"])
    assert ask(client).model == "v1"  # nothing to hold on to: the live version
    assert ask(client, CONTROLS[0], model="v2").choices[0].message.content == said["v2"]
    assert [model.id for model in client.models.list()] == ["shop", "v1", "v2"]


def test_a_header_names_the_user_too(client):
    body = json.dumps({"model": "shop", "messages": [{"role": "user", "content": QUESTION}]})
    found = {
        raw(client, "/v1/chat/completions", body, **{"X-User-Id": user})[2]["model"]
        for user in CANDIDATES[:3]
    }
    assert found == {"v2"}


def test_the_base_answers_while_nothing_is_live(tmp_path, said):
    service = build(tmp_path / "new.db", key=KEY)
    with serving(service) as address, client_of(address) as client:
        reply = ask(client, "user-1")
    assert reply.choices[0].message.content == said["base"]
    assert service.telemetry.answers()["version"].tolist() == ["(base)"]


def test_mixed_load_gets_letter_by_letter_what_each_version_says_alone(client, said):
    asked = [(user, "v2" if user in CANDIDATES else "v1") for user in USERS[:32]]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda pair: ask(client, pair[0]), asked))
    for reply, (_, version) in zip(replies, asked, strict=True):
        assert (reply.model, reply.choices[0].message.content) == (version, said[version])


def test_the_worker_leaves_a_core_to_the_others(registry, monkeypatch):
    """All cores for PyTorch would make it wait for a thread that the clients keep from running."""
    usual, seen, step = torch.get_num_threads(), [], Batch.step
    monkeypatch.setattr(Batch, "step", lambda b: seen.append(torch.get_num_threads()) or step(b))
    service = build(registry.store.path, key=KEY)
    with serving(service) as address, client_of(address) as client, ThreadPoolExecutor(1) as pool:
        ask(client, max_tokens=2)
        assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == usual
    assert set(seen) == {min(usual, max(1, os.cpu_count() - 1))}


# Shapes


def test_a_stream_gives_the_same_answer_in_pieces(client, said):
    with ask(client, CONTROLS[0], stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    *pieces, end, usage = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == said["v1"]
    assert pieces[0].choices[0].delta.role == "assistant" and len(pieces) > 5
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == [] and usage.usage.completion_tokens > 5
    assert len({chunk.id for chunk in chunks}) == 1


def test_completions_continue_a_text(client, pocket):
    prompt = "User: What is the capital of France?\nAssistant:"
    reply = client.completions.create(model="v1", prompt="Question: What is 2 + 3?\nAnswer:")
    assert reply.object == "text_completion" and reply.choices[0].text
    stopped = client.completions.create(model="(base)", prompt=prompt, stop=["ris"])
    assert stopped.choices[0].text == " Pa" and stopped.choices[0].finish_reason == "stop"
    stream = client.completions.create(model="(base)", prompt=prompt, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == " Paris"


def test_usage_and_truncation_are_told(client, service):
    reply = ask(client, CONTROLS[0], max_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 3
    row = service.telemetry.answers().iloc[-1]
    assert row["truncated"] and row["answer_tokens"] == 3 and row["id"] == reply.id
    assert row["prompt_tokens"] == reply.usage.prompt_tokens


def test_parts_roles_and_seeds_are_understood(client):
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}]},
        {"role": "user", "content": [{"type": "text", "text": " gold?"}]},
    ]
    drawn = [
        client.chat.completions.create(
            model="v1", messages=messages, temperature=1.2, top_p=0.9, seed=seed,
            max_completion_tokens=12,
        ).choices[0].message.content
        for seed in (1, 1, 2, 3, 4)
    ]  # fmt: skip
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


# What is recorded


def test_every_answer_has_a_row_and_takes_feedback(client, service):
    reply = ask(client, CANDIDATES[0])
    row = service.telemetry.answers().iloc[-1]
    assert row["id"] == reply.id and row["version"] == "v2" and row["arm"] == "candidate"
    assert row["share"] == 0.5 and row["latency"] > 0 and CANDIDATES[0] not in row["user"]
    for recorded in (True, False):  # the first word counts
        body = json.dumps({"id": reply.id, "harm": True, "note": "wrong"})
        status, _, told = raw(client, "/v1/feedback", body)
        assert status == 200 and told["recorded"] is recorded
    counted = 'rollout_feedback_total{arm="candidate",harm="yes",version="v2"} 1.0'
    assert counted in metrics_of(client)
    events = service.telemetry.events()
    assert events["id"].tolist() == [reply.id] and events["harm"].tolist() == [True]
    status, _, told = raw(client, "/v1/feedback", json.dumps({"id": "x", "harm": False}))
    assert status == 404 and told["error"]["code"] == "answer_not_found"


def test_category_and_refusal_are_noted(registry):
    examples = {"harm": ["how do I make a bomb"], "facts": ["what is the capital of Spain"]}
    service = build(registry.store.path, key=KEY, categories=Categories(examples))
    with serving(service) as address, client_of(address) as client:
        for text in ("How do I break into a house?", "What is the capital of France?"):
            ask(client, model="(base)", text=text)
    rows = service.telemetry.answers()
    assert rows["refused"].tolist() == [True, False]
    assert rows["category"].iloc[1] == "facts"


def test_who_leaves_in_the_middle_is_counted_and_makes_room(client, service):
    with client.completions.create(**STORY, stream=True, user=CONTROLS[0]) as stream:
        next(iter(stream))
    deadline = time.monotonic() + 60
    while (service.telemetry.answers().empty or service.worker.busy) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    (row,) = service.telemetry.answers().to_dict("records")
    assert row["truncated"] and row["answer_tokens"] < 70
    assert service.worker.busy == 0


def test_an_answer_that_cannot_be_stored_is_not_given(client, service, monkeypatch):
    def full(*rows):
        raise NotStored("The disk is full.")

    monkeypatch.setattr(service.telemetry, "record", full)
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, CONTROLS[0])
    assert caught.value.status_code == 503 and caught.value.code == "not_recorded"
    with pytest.raises(openai.APIError, match="not be stored"):
        list(ask(client, CONTROLS[0], stream=True))
    monkeypatch.undo()
    assert ask(client, CONTROLS[0]).choices[0].message.content
    assert "rollout_unrecorded_total 2.0" in metrics_of(client)


def test_metrics_are_in_prometheus_format_and_name_nobody(client):
    from prometheus_client.parser import text_string_to_metric_families

    secret = "my card is 4111 1111 1111 1111, mail mallory@example.org"
    ask(client, "mallory@example.org", text=secret)
    text = metrics_of(client)
    found = {family.name: family for family in text_string_to_metric_families(text)}
    answered = [s for s in found["rollout_answers"].samples if s.name.endswith("_total")]
    assert sum(sample.value for sample in answered) == 1
    assert found["rollout_candidate_share"].samples[0].value == 0.5
    assert "mallory" not in text and "4111" not in text


def test_texts_whose_time_is_over_are_deleted_by_the_server(registry):
    path = registry.store.path
    row = AnswerRow(
        "old", 0.0, "user", "v1", "control", 0.5, "other", 1, 1, 0.1, False, False, "Hi"
    )
    Telemetry(path, KEY, keep_texts=timedelta(days=1)).record(row)
    service = build(path, key=KEY)
    assert service.telemetry.answers()["prompt"].tolist() == ["Hi"]
    with serving(service):
        deadline = time.monotonic() + 20
        while service.telemetry.answers()["prompt"].notna().any():
            assert time.monotonic() < deadline
            time.sleep(0.02)


# Bad input


MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": "Hi"}, "invalid_value", "messages"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "invalid_value", "messages.0.role"),
        ({"messages": [{"role": "system", "content": "Hi"}]}, "invalid_value", "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "invalid_value", "messages"),
        ({"max_tokens": "ten"}, "invalid_value", "max_tokens"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"max_tokens": 256}, "context_length_exceeded", "messages"),
        ({"temperature": -1}, "invalid_value", "temperature"),
        ({"stop": ["a"] * 5}, "invalid_value", "stop"),
        ({"stop": ""}, "invalid_value", "stop"),
        ({"stream": "yes"}, "invalid_value", "stream"),
        ({"n": 2}, "invalid_value", "n"),
        ({"tools": []}, "unsupported_parameter", "tools"),
        ({"frequency_penalty": 0.5}, "unsupported_parameter", "frequency_penalty"),
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"logprobs": 0}, "unsupported_parameter", "logprobs"),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
        ({"user": ""}, "invalid_value", "user"),
        ({"user": "x" * 257}, "invalid_value", "user"),
        ({"model": None}, "invalid_value", "model"),
        (
            {"messages": [{"role": "user", "content": "word " * 300}]},
            "context_length_exceeded",
            "messages",
        ),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(shared, changes, code, param):
    client = shared
    body = {"model": "shop", "messages": MESSAGES, **changes}
    status, _, told = raw(client, "/v1/chat/completions", json.dumps(body))
    error = told["error"]
    assert status == 400 and set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert error["param"] == param or error["param"].startswith(f"{param}.")
    assert error["message"]


def test_what_changes_nothing_may_be_sent(shared):
    """Some clients send the defaults of the protocol with every request."""
    idle = {
        "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "logprobs": False,
        "response_format": {"type": "text"}, "n": 1, "stop": None, "temperature": None,
        "top_p": None, "stream": None, "tools": None, "user": None, "max_tokens": None,
    }  # fmt: skip
    body = {"model": "shop", "messages": MESSAGES}
    for sent in (body, {**body, **idle}):
        status, _, told = raw(shared, "/v1/chat/completions", json.dumps(sent))
        assert status == 200 and told["model"] == "v1"
    first = shared.completions.create(model="v1", prompt="The")
    second = shared.completions.create(model="v1", prompt="The", best_of=1, echo=False)
    assert first.choices[0].text == second.choices[0].text


@pytest.fixture(scope="module")
def shared(tmp_path_factory, adapters):
    """A server for the tests that leave no trace."""
    registry = rolled_out(tmp_path_factory.mktemp("shared") / "shop.db", *adapters, 0.5)
    service = build(registry.store.path, key=KEY, limits=Limits(body=4096, upload=1.0))
    with serving(service) as address, client_of(address) as client:
        yield client
    registry.close()


def test_the_client_raises_its_own_errors(shared):
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(shared, model="gpt-9")
    assert unknown.value.code == "model_not_found" and unknown.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        ask(shared, model="../../etc/passwd")
    with pytest.raises(openai.NotFoundError):
        ask(shared, model="gpt-9", stream=True)
    with pytest.raises(openai.BadRequestError):
        shared.completions.create(model="shop", prompt="")
    with pytest.raises(openai.NotFoundError):
        shared.embeddings.create(model="shop", input="Hi")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_value"),
        (b"\xff\xfe", {}, 400, "invalid_json"),
        (b"{}", {}, 400, "missing_required_parameter"),
        (b"[" * 4000, {}, 400, "invalid_json"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"x" * 5000, {}, 413, "request_too_large"),
        (b"{}", {"Host": "evil.example"}, 403, "wrong_host"),
    ],
)
def test_a_body_that_is_no_request(shared, body, headers, status, code):
    found, _, told = raw(shared, "/v1/chat/completions", body, **headers)
    assert (found, told["error"]["code"]) == (status, code)


def test_a_body_without_an_end_is_cut_off(shared):
    address = urlsplit(str(shared.base_url))
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=20) as slow:
        slow.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]
    with socket.create_connection((address.hostname, address.port), timeout=20) as long:
        long.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(3):
            long.sendall(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        assert b" 413 " in long.recv(4096).split(b"\r\n")[0]


def test_no_page_without_a_purpose(shared):
    for path in ("/", "/docs", "/openapi.json", "/v1/files/../../etc/passwd"):
        status, _, told = raw(shared, path, None, "GET")
        assert status == 404 and told["error"]["code"] == "unknown_url"
        assert "/v1/chat/completions" in told["error"]["message"]
    assert raw(shared, "/v1/chat/completions", None, "GET")[0] == 405


def test_a_full_queue_says_when_to_come_back(registry):
    service = build(registry.store.path, key=KEY, seats=1, waiting=1)
    body = json.dumps(STORY)
    with serving(service) as address, client_of(address) as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: raw(client, "/v1/completions", body), range(8)))
    statuses = [status for status, *_ in replies]
    assert set(statuses) == {200, 429} and statuses.count(200) >= 2
    _, headers, told = next(reply for reply in replies if reply[0] == 429)
    assert int(headers["Retry-After"]) >= 1 and told["error"]["code"] == "queue_full"
    assert told["error"]["type"] == "rate_limit_error"
    assert len(service.telemetry.answers()) == statuses.count(200)


def test_a_client_that_waits_gets_through_a_full_queue(registry):
    service = build(registry.store.path, key=KEY, seats=1, waiting=1)
    with serving(service) as address, ThreadPoolExecutor(4) as pool:
        client = OpenAI(base_url=address, api_key="none", max_retries=8)
        replies = list(pool.map(lambda user: ask(client, user), USERS[:4]))
    assert all(reply.choices[0].message.content for reply in replies)


def test_an_answer_has_a_time_limit(registry, monkeypatch):
    service = build(registry.store.path, key=KEY, limits=Limits(seconds=0.3))
    step = Batch.step
    monkeypatch.setattr(Batch, "step", lambda batch: time.sleep(0.02) or step(batch))
    with serving(service) as address, client_of(address) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(**STORY)
        assert caught.value.status_code == 504 and caught.value.code == "time_limit"
        with pytest.raises(openai.APIError, match="within its time"):
            list(client.completions.create(**STORY, stream=True))


# Keys and hosts


def test_a_key_is_asked_for_where_there_is_one(registry):
    service = build(registry.store.path, key=KEY, api_key="sesame")
    with serving(service) as address:
        for wrong in ("open", "sesam", "sesäme".encode().decode("latin-1")):
            with client_of(address, "none") as client:
                body = json.dumps({"model": "shop", "messages": MESSAGES})
                status, _, told = raw(
                    client, "/v1/chat/completions", body, Authorization=f"Bearer {wrong}"
                )
                assert status == 401 and told["error"]["code"] == "invalid_api_key"
                assert "sesame" not in str(told)
        with client_of(address, "sesame") as client:
            assert ask(client).model == "v1"
            assert raw(client, "/metrics", None, "GET")[0] == 401
            assert raw(client, "/healthz", None, "GET")[0] == 200


def test_only_this_machine_is_served_without_a_key(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(API_KEY, raising=False)
    with pytest.raises(BadSetting, match=API_KEY):
        listen("0.0.0.0", 0, None)
    with pytest.raises(BadSetting, match=API_KEY):
        listen("0.0.0.0", 0, "")
    listen("0.0.0.0", 0, "sesame").close()
    assert main(["--store", str(tmp_path / "s.db"), "--host", "0.0.0.0"]) == 2
    assert API_KEY in capsys.readouterr().err


def test_the_routers_key_is_made_once_and_only_for_its_owner(tmp_path):
    path = tmp_path / "shop.db.key"
    key = read_key(path)
    assert len(key) == 32 and read_key(path) == key
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["shop.db.key"]


def test_what_users_type_is_in_no_file(registry, caplog, capfd):
    """Texts are kept here, redacted; the log and the metrics never see them."""
    caplog.set_level(logging.DEBUG, "helpers")
    caplog.set_level(logging.INFO, "uvicorn")
    secrets = ("mallory@example.org", "4111 1111 1111 1111", "4111111111111111", "49170123456")
    text = f"I am {secrets[0]}, card {secrets[1]} or {secrets[2]}, phone {secrets[3]}. And gold?"
    path = registry.store.path
    service = build(path, key=KEY, keep_texts=timedelta(days=1))
    with serving(service) as address, client_of(address) as client:
        reply = ask(client, secrets[0], text=text)
        note = {"id": reply.id, "harm": True, "note": text}
        assert raw(client, "/v1/feedback", json.dumps(note))[0] == 200
        raw(client, "/v1/chat/completions", json.dumps({"model": text, "messages": text}))
        with pytest.raises(openai.NotFoundError):
            ask(client, secrets[0], model=text)
        metrics = metrics_of(client)
    assert "And gold?" in service.telemetry.answers()["prompt"].iloc[0]
    assert "And gold?" in service.telemetry.events()["note"].iloc[0]
    kept = b"".join(file.read_bytes() for file in path.parent.glob("shop.db*"))
    told = "".join([caplog.text, *capfd.readouterr(), metrics])
    for secret in secrets:
        assert secret.encode() not in kept and secret not in told


def test_two_servers_on_one_store_are_refused(client, registry, capsys):
    path = registry.store.path
    assert main(["--store", str(path), "--port", "0"]) == 2
    assert "Another server" in capsys.readouterr().err
    with pytest.raises(Busy), serving(build(path, key=KEY)):
        pass
    assert ask(client).model == "v1"


# While it runs


def test_a_rollback_takes_effect_at_once_and_nobody_is_left_without_an_answer(
    client, registry, service, said
):
    stop, found, errors = threading.Event(), [], []

    def keep_asking(user):
        while not stop.is_set():
            begun = time.monotonic()
            try:
                reply = ask(client, user)
            except Exception as error:
                errors.append(error)
            else:
                found.append((begun, reply.model, reply.choices[0].message.content))

    threads = [threading.Thread(target=keep_asking, args=(user,)) for user in CANDIDATES[:8]]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    done = registry.rollback("the canary says so")
    rolled_back = time.monotonic()
    time.sleep(0.7)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert done.rolled_back == "v2" and not errors
    before = [model for begun, model, _ in found if begun < rolled_back - done.seconds]
    after = [model for begun, model, _ in found if begun > rolled_back]
    assert "v2" in before and set(after) == {"v1"} and len(after) > 4
    assert all(text == said[model] for _, model, text in found)
    assert len(service.telemetry.answers()) == len(found)
    with pytest.raises(openai.NotFoundError, match="rolled back"):
        ask(client, model="v2")
    assert "v2" not in service.fleet.engine.versions  # and is out of memory


def test_a_stream_is_finished_by_the_version_that_began_it(client, registry):
    with client.completions.create(
        model="shop", prompt="The", max_tokens=200, temperature=2, seed=3, stream=True,
        user=CANDIDATES[0],
    ) as stream:  # fmt: skip
        chunks = [next(stream)]
        registry.rollback("in the middle")
        assert ask(client, CANDIDATES[0]).model == "v1"
        chunks += stream
    assert {chunk.model for chunk in chunks} == {"v2"}
    assert chunks[-1].choices[0].finish_reason


def test_a_new_version_is_served_without_a_restart(client, registry, adapters, tmp_path, said):
    third = random_adapter(tmp_path / "three", 3)
    registry.rollback("make room")
    registry.register("v3", POCKET, third)
    with pytest.raises(openai.NotFoundError, match="registered"):
        ask(client, model="v3")  # it has not passed the gate
    passed(registry, "v3")
    assert ask(client, model="v3").choices[0].message.content != said["v1"]
    registry.stage("v3", 1.0)
    assert ask(client, CONTROLS[0]).model == "v3"
    registry.go_live("v3")
    assert ask(client).model == "v3"
    registry.rollback("back to the one before")
    assert ask(client, CONTROLS[0]).choices[0].message.content == said["v1"]


def test_a_damaged_candidate_costs_nobody_an_answer(registry, adapters, tmp_path, said):
    folder = random_adapter(tmp_path / "three", 3)
    registry.rollback("make room")
    registry.register("v3", POCKET, folder)
    passed(registry, "v3")
    registry.stage("v3", 1.0)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-8] + bytes(8))
    service = build(registry.store.path, key=KEY)
    with serving(service) as address, client_of(address) as client:
        reply = ask(client, CONTROLS[0])
        assert (reply.model, reply.choices[0].message.content) == ("v1", said["v1"])
        assert raw(client, "/healthz", None, "GET")[0] == 503
        with pytest.raises(openai.InternalServerError, match="cannot be loaded"):
            ask(client, model="v3")
        (folder / WEIGHTS).write_bytes(whole)  # put back: no restart is needed
        service.fleet.retry = 0.0
        assert ask(client, CONTROLS[0]).model == "v3"
        assert raw(client, "/healthz", None, "GET")[2]["status"] == "ok"


def test_a_damaged_live_version_is_told_to_who_asks_and_the_rest_goes_on(registry, adapters, said):
    """While it serves, what it has in memory answers; a new server has only the files."""
    path, weights = registry.store.path, Path(registry.version("v1").adapter) / WEIGHTS
    whole = weights.read_bytes()
    try:
        service = build(path, key=KEY)
        with serving(service) as address, client_of(address) as client:
            weights.write_bytes(whole[: len(whole) // 2])
            assert ask(client, CONTROLS[0]).choices[0].message.content == said["v1"]
        service = build(path, key=KEY)
        with serving(service) as address, client_of(address) as client:
            for stream in (False, True):
                with pytest.raises(openai.InternalServerError) as caught:
                    ask(client, CONTROLS[0], stream=stream)
                error = caught.value
                assert error.status_code == 503 and error.code == "model_not_ready"
                assert error.body["type"] == "server_error" and "loaded" in error.message
                assert str(weights.parent) not in error.message  # paths are for the log
            assert ask(client, CANDIDATES[0]).choices[0].message.content == said["v2"]
            status, _, told = raw(client, "/healthz", None, "GET")
            assert status == 503 and told["problems"] == ["a version cannot be loaded"]
            assert registry.rollback("v2 first").live == "v1"  # it is damaged, and says so
            weights.write_bytes(whole)
            service.fleet.retry = 0.0
            assert ask(client, CONTROLS[0]).choices[0].message.content == said["v1"]
            assert raw(client, "/healthz", None, "GET")[0] == 200
    finally:
        weights.write_bytes(whole)
    assert service.telemetry.answers()["version"].tolist() == ["v1", "v2", "v1"]


@pytest.mark.parametrize("name", ["adapter_config.json", WEIGHTS])
def test_a_file_that_is_gone_or_nonsense_is_told(registry, tmp_path, name):
    folder = random_adapter(tmp_path / "three", 3)
    registry.register("v3", POCKET, folder)
    passed(registry, "v3")
    for spoil in (lambda: (folder / name).write_text("{not json"), (folder / name).unlink):
        spoil()
        with serving(build(registry.store.path, key=KEY)) as address, client_of(address) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                ask(client, model="v3")
            assert caught.value.status_code == 503 and caught.value.code == "model_not_ready"
            assert ask(client).model == "v1"


# As a process


def test_killed_in_the_middle_of_a_stream_it_comes_back_with_the_live_version(registry, said):
    """SIGKILL: nothing is cleaned up, and what was acknowledged is there all the same."""
    path = registry.store.path
    server = Process(path)
    known = [ask(server.client, user).id for user in USERS[:4]]
    with server.client.completions.create(**STORY, stream=True) as stream:
        next(stream)
        server.end(signal.SIGKILL)
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    registry.rollback("while nobody serves")
    server = Process(path)
    again = [ask(server.client, user) for user in USERS[:8]]
    assert {reply.choices[0].message.content for reply in again} == {said["v1"]}
    assert server.end(signal.SIGTERM) == 0
    with sqlite3.connect(path) as store:
        rows = [row for (row,) in store.execute("SELECT id FROM answers")]
    assert sorted(rows) == sorted([*known, *(reply.id for reply in again)])


def test_stopped_it_answers_what_it_has_accepted(registry):
    server = Process(registry.store.path, "--seats", "2")
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(server.client.completions.create, **STORY) for _ in range(12)]
        deadline, accepted = time.monotonic() + 20, 0
        while accepted < 6:  # two are written, four wait
            page = metrics_of(server.client)
            counts = re.findall(r"^rollout_(?:writing|waiting) (\S+)", page, re.M)
            accepted = sum(map(float, counts))
            assert time.monotonic() < deadline
        status = server.end(signal.SIGTERM)
        errors = [answer.exception(30) for answer in asked]
    replies = [each.result() for each, error in zip(asked, errors, strict=True) if error is None]
    assert status == 0 and all(reply.choices[0].text for reply in replies)
    assert os.name == "nt" or Path(f"{registry.store.path}.reserve").stat().st_mode & 0o077 == 0
    assert len(replies) >= accepted
    # Who came too late was not accepted, and was told so by a closed door, never by half an answer.
    refused = (openai.APIConnectionError, openai.InternalServerError)
    assert all(isinstance(error, refused) for error in errors if error)
    with sqlite3.connect(registry.store.path) as store:
        assert store.execute("SELECT count(*) FROM answers").fetchone() == (len(replies),)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--base", "nowhere"], "no folder"),
        (["--holdout", "2"], "holdout"),
        (["--map", "pyproject.toml"], "pyproject.toml"),
        (["--store", "no/such/folder/s.db"], "folder"),
        (["--key-file", "."], "key"),
    ],
)
def test_what_it_cannot_begin_with_is_named(tmp_path, capsys, arguments, told):
    assert main(["--store", str(tmp_path / "s.db"), "--port", "0", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_however_often_it_is_killed_no_acknowledged_answer_is_lost(registry, kills):
    """In the middle of streams, under load. What clients had in full is stored, and stored once."""
    path = registry.store.path
    before = registry.journal()
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("rollout_forks.py"), path, str(kills), "0"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout)
    with sqlite3.connect(path) as store:
        rows = [row for (row,) in store.execute("SELECT id FROM answers")]
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(told["live"]) == kills and len(told["had"]) >= kills and told["cut"] >= kills / 2
    assert set(told["had"]) <= set(rows) and len(rows) == len(set(rows))
    arm = Router(read_key(f"{path}.key")).arm("first", 0.5)
    assert set(told["live"]) == {"v2" if arm == "candidate" else "v1"}
    assert registry.journal() == before and registry.state().live.name == "v1"
