"""What is killed in test_rollout_kill.py: a small program that says what it has been promised.

    python rollout_child.py FOLDER life KILL     the life of two versions, killed as KILL says
    python rollout_child.py FOLDER load -        telemetry as fast as it goes, killed from outside

After every call that has returned, one line goes to the standard output, at once. KILL is "s17" to
die before the seventeenth statement of those in transactions that write, which are also those that
make the store and those of its triggers; "o950" to die after 950 operations of SQLite's virtual
machine, in the middle of a statement; "-" to live.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path

from rollout_files import ship

from helpers.rollout.registry import Registry
from helpers.rollout.telemetry import AnswerRow, Telemetry

KEY = b"k" * 32
CONNECT = sqlite3.connect


class Steps:
    """Counts statements and operations of connections, and kills the process at one of them."""

    def __init__(self, kill):
        self.at = {"s": None, "o": None} | ({kill[0]: int(kill[1:])} if kill != "-" else {})
        self.done = {"s": 0, "o": 0}
        self.writing = self.committed = False

    def connect(self, *arguments, **options):
        connection = CONNECT(*arguments, **options)
        connection.set_trace_callback(self.statement)
        connection.set_progress_handler(lambda: self.step("o", 10), 10)
        return connection

    def statement(self, text):
        """Called before each statement; between two that only read there is nothing to kill."""
        if self.writing or text.startswith("BEGIN IMMEDIATE"):
            self.step("s", 1)
        # What follows a COMMIT is counted too: then it is on the disk, and nobody knows yet.
        self.writing = text.startswith("BEGIN IMMEDIATE") or (
            self.writing and not self.committed and text != "ROLLBACK"
        )
        self.committed = text == "COMMIT"

    def step(self, kind, count):
        self.done[kind] += count
        if self.at[kind] is not None and self.done[kind] >= self.at[kind]:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0


def say(text):
    os.write(1, f"{text}\n".encode())


def answer(name, number):
    return AnswerRow(f"{name}-{number}", float(number), f"user {number % 7}", "v1", "control", 0.05,
                     "facts", 9, 3, 0.1, False, False, f"question {number}", "x" * 200)  # fmt: skip


def life(registry, telemetry, folder):
    """Every transition there is, with answers in between. Each line is said once it is certain."""

    def act(call, *arguments):
        call(*arguments)
        say(f"line {registry.journal()[-1].number}")

    for name in ("v1", "v2", "v3", "v4"):
        act(registry.register, name, folder / "base", folder / "adapter")
        version = registry.version(name)
        act(registry.admit, name, ship(version, after=name))
        if name == "v4":
            act(registry.retire, name)
            continue
        act(registry.stage, name, 0.01)
        act(registry.widen, name, 0.25)
        telemetry.record(answer(name, 1), answer(name, 2))
        say(f"answer {name}-1")
        say(f"answer {name}-2")
        telemetry.feedback(f"{name}-1", True, "wrong")
        say(f"feedback {name}-1")
        if name == "v3":
            act(registry.rollback, "the candidate does harm")
            act(registry.admit, name, ship(version, after="another look"))
            continue
        act(registry.go_live, name)
    act(registry.rollback, "the live one does harm")
    act(registry.retire, "v2")
    telemetry.forget("user 2")
    say("forgotten user 2")


def load(telemetry):
    """Rows in threes, feedback on every fifth, until somebody kills it."""
    number = len(telemetry.store.read("SELECT 1 FROM answers"))
    while True:
        ids = [f"r{os.getpid()}-{number + i}" for i in range(3)]
        telemetry.record(*(answer(f"r{os.getpid()}", number + i) for i in range(3)))
        for name in ids:
            say(f"answer {name}")
        if number % 5 == 0:
            telemetry.feedback(ids[0], number % 10 == 0, "note")
            say(f"feedback {ids[0]}")
        number += 3


if __name__ == "__main__":
    folder, what, kill = Path(sys.argv[1]), *sys.argv[2:]
    steps = Steps(kill)
    sqlite3.connect = steps.connect
    registry = Registry(folder / "store.db", retention=timedelta(0))
    telemetry = Telemetry(folder / "store.db", KEY, keep_texts=timedelta(days=1))
    if what == "load":
        load(telemetry)
    life(registry, telemetry, folder)
    # A rollback waits for no big library and for no network: not even the means for one are there.
    assert not {"numpy", "torch", "socket", "ssl"} & set(sys.modules)
    say(f"steps {steps.done['s']} {steps.done['o']}")
