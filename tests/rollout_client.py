"""Asking a server, and running one as a process of its own; shared by the tests of the server."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import weakref
from urllib.parse import urlsplit

import pytest
from openai import OpenAI

QUESTION = "How do I boil an egg?"
#: Sent with every raw request.
HEADERS: dict[str, str] = {}


def client_of(address, key="none"):
    return OpenAI(base_url=address, api_key=key, max_retries=0, timeout=120)


def ask(client, user=None, model="shop", text=QUESTION, **settings):
    extra = {} if user is None else {"user": user}
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **extra, **settings
    )


def raw(client, path, body, method="POST", **headers):
    """Status, headers and parsed body of a request that the client would never send."""
    address = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    sent = {"Content-Type": "application/json", **HEADERS, **headers}
    connection.request(method, path, body, sent)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, reply.headers, json.loads(text) if text.startswith(b"{") else text


def metrics_of(client):
    return raw(client, "/metrics", None, "GET")[2].decode()


class Process:
    """The server as its own process."""

    def __init__(self, store, *arguments):
        command = [sys.executable, "-X", "faulthandler", "-m", "helpers.rollout.serve"]
        self.popen = subprocess.Popen(
            [*command, "--store", str(store), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        weakref.finalize(self, self.popen.kill)  # also where a test fails before it ends it
        if not select.select([self.popen.stdout], [], [], 120)[0]:
            self.popen.send_signal(signal.SIGABRT)  # to see where it stands
            pytest.fail(self.popen.communicate(timeout=20)[1])
        line = self.popen.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + self.popen.communicate(timeout=20)[1]
        self.client = client_of(found[0])

    def end(self, how):
        self.popen.send_signal(how)
        _, self.errors = self.popen.communicate(timeout=40)
        return self.popen.returncode
