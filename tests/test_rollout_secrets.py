"""What people type in confidence, planted in every field, is afterwards in none of our files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta

import openai
import pandas
import pytest
from rollout_client import client_of, metrics_of, raw
from rollout_models import rolled_out

from helpers.rollout.serve import read_key
from helpers.rollout.telemetry import Telemetry

#: Each is looked for whole, and without what separates its groups.
PLANTED = {
    "address": "mallory.w@mail.example.org",
    "odd address": '"m w"@example.org',
    "phone": "+49 (0)171 234-56 78",
    "plain phone": "01712345678",
    "card": "4111 1111 1111 1111",
    "dashed card": "5500-0000-0000-0004",
    "plain card": "378282246310005",
    "iban": "DE89 3704 0044 0532 0130 00",
    "iban with letters": "GB29 NWBK 6016 1331 9268 19",
    "plain iban": "FR1420041010050500013M02606",
    "api key": "sk-proj-Zq8vT1xW0rLmB4nYc7Kd",
    "cloud key": "AKIAIOSFODNN7EXAMPLE",
    "user id": "customer_mallory",
}
USER = PLANTED["user id"]
#: A server whose model says again whatever it was told, as models do.
ECHO = """
import dataclasses, sys
from helpers.rollout.serve import main
from helpers.rollout.worker import Finished, Worker

def end(worker, seat, event, whole=Worker._end):
    if isinstance(event, Finished):
        event = dataclasses.replace(event, text=worker.engine.tokenizer.decode(seat.job.prompt))
    whole(worker, seat, event)

Worker._end = end
sys.exit(main(sys.argv[1:]))
"""


def texts():
    """Every planted string in a sentence, few to a text: the model's context is short."""
    said = [f"My {name} is {value}, and gold?" for name, value in PLANTED.items()]
    return [" ".join(said[start : start + 3]) for start in range(0, len(said), 3)]


def wrong_requests():
    """Bodies that end in an error each, with everything planted in them."""
    whole = " ".join(texts())
    turns = [{"role": "user", "content": whole}]
    yield {"model": "shop", "messages": turns * 3, "user": USER}  # too long
    yield {"model": "shop", "messages": whole, "user": USER}  # wrong type
    yield {"model": whole[:250], "messages": [{"role": "user", "content": "Hi"}], "user": USER}
    yield {"model": "shop", "messages": turns, "user": USER, whole[:80]: 1}  # unknown parameter
    yield {"model": "shop", "messages": [{"role": whole, "content": whole}]}
    yield {"model": "shop", "messages": turns, "max_tokens": whole}


def talk(client):
    """Plant everything everywhere; returns how many answers and errors there were."""
    given = failed = 0
    for text in texts():
        for asked in (
            {"messages": [{"role": "user", "content": text}]},
            {"messages": [{"role": "user", "content": text}], "stream": True},
        ):
            reply = client.chat.completions.create(model="shop", user=USER, max_tokens=2, **asked)
            answer = next(iter(list(reply))).id if "stream" in asked else reply.id
            note = json.dumps({"id": answer, "harm": True, "note": text})
            assert raw(client, "/v1/feedback", note)[0] == 200
            given += 1
        client.completions.create(model="shop", prompt=text, user=USER, max_tokens=2)
        given += 1
        note = json.dumps({"id": text[:200], "harm": True, "note": text})
        failed += raw(client, "/v1/feedback", note)[0] == 404
    for name in ("address", "phone", "card"):
        text = "Hello, and gold?"
        client.completions.create(model="shop", prompt=text, user=PLANTED[name], max_tokens=2)
        given += 1
    for body in wrong_requests():
        for path in ("/v1/chat/completions", "/v1/completions", f"/v1/{USER}?q=4111111111111111"):
            failed += raw(client, path, json.dumps(body))[0] >= 400
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key=PLANTED["api key"]).models.list()
    return given, failed


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_of_it_is_in_a_file_a_log_or_the_metrics(tmp_path, keep, monkeypatch):
    monkeypatch.setenv("ROLLOUT_API_KEY", "sesame")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = tmp_path / "shop.db"
    rolled_out(path, None, None, 0.5).close()
    arguments = ["--store", str(path), "--port", "0", *(["--keep-texts", "1"] if keep else [])]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen([sys.executable, "-c", ECHO, *arguments], text=True,
                                  stdout=subprocess.PIPE, stderr=log)  # fmt: skip
        line = server.stdout.readline()
        try:
            client = client_of(re.search(r"http://\S+", line)[0], "sesame")
            monkeypatch.setattr("rollout_client.HEADERS", {"Authorization": "Bearer sesame"})
            given, failed = talk(client)
            page = metrics_of(client)
            # While it runs, the newest rows are in the log of the store alone.
            files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        finally:
            server.kill()
            told = line + server.communicate()[0]
    assert failed == len(texts()) + 3 * len(list(wrong_requests()))
    files |= {f"{file.name}, later": file.read_bytes() for file in tmp_path.iterdir()}
    telemetry = Telemetry(path, read_key(f"{path}.key"), timedelta(days=1))
    export = pandas.read_parquet(telemetry.export(tmp_path / "answers.parquet"))
    events = telemetry.events()
    assert len(export) == given and len(events) == 2 * len(texts())
    files["export"] = export.to_csv().encode()
    files["events"] = events.to_csv().encode()
    telemetry.close()
    files |= {"stdout": told.encode(), "metrics": page.encode()}
    assert {"shop.db", "shop.db-wal", "log", "export", "metrics"} <= set(files)
    found = {
        f"{name} in {file}"
        for file, content in files.items()
        for name, value in PLANTED.items()
        for form in {value, re.sub(r"[\s()-]", "", value)}
        if form.encode() in content
    }
    assert not found
    # And this was no empty store: the harmless part is there where it is to be kept.
    kept = [text for text in [*export["prompt"], *export["answer"], *events["note"]] if text]
    assert all("and gold?" in text for text in kept)
    assert len(kept) == (2 * given + len(events) if keep else 0)
