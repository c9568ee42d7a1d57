"""Killed with SIGKILL, at every step: what was promised is there, and nothing is there twice.

After a kill the journal must add up to a legal state by hand (`replay`), by our own fold and by the
tables; every call that had returned must be in it, and of the call that was cut off either all or
nothing. Then the program goes on.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
from rollout_child import KEY
from rollout_files import replay, ship, standings_by_tables, write_adapter, write_base

from helpers.paths import DATA
from helpers.rollout.journal import fold
from helpers.rollout.registry import Registry
from helpers.rollout.router import user_hash
from helpers.rollout.telemetry import Telemetry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")

TESTS = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DATA.parent), str(TESTS)])}


@pytest.fixture
def disk(tmp_path):
    """A folder in memory where there is one: a SIGKILL leaves there what it leaves on a disk.

    (What pulling the plug leaves is another question, which `synchronous=FULL` answers.)
    """
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def child(folder, what, kill):
    return subprocess.Popen(
        [sys.executable, str(TESTS / "rollout_child.py"), str(folder), what, kill],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def prepared(folder):
    write_base(folder / "base")
    write_adapter(folder / "adapter")
    return folder


def killed(folder, what, kill):
    """What the child had been promised when it died: (kind, name) pairs."""
    running = child(folder, what, kill)
    told, errors = running.communicate()
    assert running.returncode == -signal.SIGKILL, errors
    return promises(told)


def promises(told):
    lines = told.split("\n")
    return [tuple(line.split(" ", 1)) for line in lines[:-1]]  # a line without its end was cut off


def check(folder, promised):
    """Open what a dead process left, compare it with its promises, and go on from there."""
    registry = Registry(folder / "store.db", retention=timedelta(0))
    telemetry = Telemetry(folder / "store.db", KEY, keep_texts=timedelta(days=1))
    assert registry.store.read("PRAGMA integrity_check") == [("ok",)]
    lines = registry.journal()
    folded = {n: (s.state, s.share, s.since, s.kept_until) for n, s in fold(lines).items()}
    assert folded == standings_by_tables(registry) == replay(lines)
    # Every version in the tables has its line and its digests: no half of a registration.
    files = registry.store.read("SELECT version, count(*) FROM files GROUP BY version")
    assert dict(files) == {name: 4 for name in folded}
    # No acknowledged line is lost; of the call that was cut off there are all lines or none.
    acknowledged = max([int(name) for kind, name in promised if kind == "line"], default=0)
    after = lines[acknowledged:]
    assert len(lines) >= acknowledged and len({(line.action, line.time) for line in after}) <= 1
    if len(after) == 1:
        assert (after[0].action, after[0].from_state) not in {("go live", "live"),
                                                              ("roll back", "standby")}  # fmt: skip
    # No acknowledged answer is lost, none is doubled.
    ids = [row[0] for row in telemetry.store.read("SELECT id FROM answers")]
    words = [row[0] for row in telemetry.store.read("SELECT answer FROM feedback")]
    assert len(ids) == len(set(ids)) and len(words) == len(set(words)) and set(words) <= set(ids)
    forgotten = telemetry.store.read("SELECT user FROM answers WHERE user = ?",
                                     (user_hash(KEY, "user 2"),))  # fmt: skip
    lost = {name for kind, name in promised if kind == "answer"} - set(ids)
    assert all(name.startswith("v") and name.endswith("-2") for name in lost)  # of user 2
    assert not lost or not forgotten
    assert {name for kind, name in promised if kind == "feedback"} <= set(words)
    # A row is whole: the three of one call came together.
    assert len(ids) % 3 == 0 or any(name.startswith("v") for name in ids)
    # And it goes on: whoever is live has whole files, and there is a way back.
    state = registry.state()
    if state.live:
        assert registry.verify(state.live.name) == 4
    if state.live or state.candidate:
        leaving = (state.candidate or state.live).name
        assert registry.rollback("after the kill").rolled_back == leaving
    version = registry.register("next", folder / "base", folder / "adapter")
    registry.admit("next", ship(version))
    registry.stage("next", 0.5)
    assert registry.state().candidate.name == "next"
    registry.close()
    telemetry.close()
    return len(lines), len(ids)


def steps_of_a_life(folder):
    """How many statements and operations a life takes that nobody interrupts."""
    running = child(folder, "life", "-")
    told, errors = running.communicate()
    assert running.returncode == 0, errors
    found = promises(told)
    assert found[-1][0] == "steps"
    assert ("forgotten", "user 2") in found
    check(folder, found[:-1])
    return [int(count) for count in found[-1][1].split()]


def test_an_uninterrupted_life_makes_every_transition(tmp_path):
    statements, operations = steps_of_a_life(prepared(tmp_path))
    assert statements > 150 and operations > 1000


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.77, 0.97])
def test_some_kills_at_a_statement_and_within_one(tmp_path, share):
    statements, operations = steps_of_a_life(prepared(tmp_path / "whole"))
    for kind, count in (("s", statements), ("o", operations)):
        folder = prepared(tmp_path / kind)
        check(folder, killed(folder, "life", f"{kind}{int(share * count)}"))


@pytest.mark.slow
def test_a_kill_at_every_statement_of_every_transition(disk):
    statements, _ = steps_of_a_life(prepared(disk / "whole"))
    found = set()
    for step in range(1, statements + 1):
        folder = prepared(disk / f"s{step}")
        found.add(check(folder, killed(folder, "life", f"s{step}")))
        shutil.rmtree(folder)
    assert statements > 400 and len(found) > 20


@pytest.mark.slow
def test_kills_in_the_middle_of_statements(disk):
    _, operations = steps_of_a_life(prepared(disk / "whole"))
    for number in range(50):
        folder = prepared(disk / f"o{number}")
        check(folder, killed(folder, "life", f"o{10 + number * (operations - 20) // 50}"))
        shutil.rmtree(folder)


def kill_under_load(folder, kills, seed):
    """Kill and restart on one and the same store; returns all promises that were ever made.

    A registry beside it, in this process, writes to the store at the same time.
    """
    rng = random.Random(seed)
    promised = []
    registry = Registry(folder / "store.db", retention=timedelta(0))
    for number in range(kills):
        running = child(folder, "load", "-")
        first = running.stdout.readline()  # it is at work
        registry.register(f"p{number}", folder / "base", folder / "adapter")
        promised.append(("line", str(number + 1)))
        time.sleep(rng.uniform(0, 0.06))
        running.send_signal(signal.SIGKILL)
        told, errors = running.communicate()
        assert running.returncode == -signal.SIGKILL, errors
        new = promises(first + told)
        assert new
        promised += new
        telemetry = Telemetry(folder / "store.db", KEY)
        ids = {row[0] for row in telemetry.store.read("SELECT id FROM answers")}
        assert {name for kind, name in promised if kind == "answer"} <= ids
        telemetry.close()
    registry.close()
    return promised


def test_a_few_kills_under_load(tmp_path):
    folder = prepared(tmp_path)
    check(folder, kill_under_load(folder, 4, seed=0))


@pytest.mark.slow
def test_many_kills_under_load(tmp_path):
    folder = prepared(tmp_path)
    _, rows = check(folder, kill_under_load(folder, 60, seed=1))
    assert rows > 500
