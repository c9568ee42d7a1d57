"""The course without a network, and without anything telling the libraries so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from helpers.paths import DATA

SCRIPT = """
import socket, sys

def refuse(*arguments, **options):
    raise OSError(f"no network here: {arguments[1:]}")

connect = socket.socket.connect

def connect_here(self, address):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        refuse(self, address)
    return connect(self, address)

socket.socket.connect = connect_here
socket.socket.connect_ex = connect_here
socket.getaddrinfo = refuse
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError as error:
    assert "no network here" in str(error)

from helpers.evaluation import evaluate
from helpers.models import load_model
from helpers.suites import load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune

model = load_model(sys.argv[1])
print(evaluate(model, load_suites("facts", size=5)))
print(finetune(model, read_tickets(), steps=2))
"""


@pytest.mark.parametrize("model", ["tiny", "pocket"])
def test_load_score_and_train_without_a_network(tiny_folder, model):
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_folder) if model == "tiny" else model],
        cwd=DATA.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "facts" in ran.stdout and "Run: 2 steps" in ran.stdout
