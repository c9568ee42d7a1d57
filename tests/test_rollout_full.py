"""The disk fills up under a running server: it says so, loses nothing, and goes on when it may.

Twice: on a small file system of its own, where the machine lets us mount one, and by a limit on the
size of the server's files, which is raised again from outside.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import openai
import pytest
from rollout_client import Process, ask, metrics_of, raw
from rollout_models import random_adapter, rolled_out

from helpers.rollout.errors import NotAllowed, NotStored

resource = pytest.importorskip("resource", reason="Windows has no limits of this kind")


class SmallDisk:
    """A file system of 6 MiB in memory."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.ballast = folder, folder / "ballast"
        mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("This machine does not let us mount a small file system.")

    def squeeze(self, server):
        with open(self.ballast, "wb", buffering=0) as file:
            for size in (65536, 4096):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass

    def release(self, server):
        self.ballast.unlink()

    def close(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class SmallFiles:
    """A folder in which the server may write no file that is longer than its log is now."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        if not hasattr(resource, "prlimit"):
            pytest.skip("Only Linux changes the limits of another process.")

    def squeeze(self, server):
        size = (self.folder / "shop.db-wal").stat().st_size
        self._limit(server, size + 2_000)

    def release(self, server):
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server, size):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.popen.pid, resource.RLIMIT_FSIZE, (size, hard))

    def close(self):
        pass


@pytest.fixture(params=[SmallDisk, SmallFiles])
def disk(request, tmp_path):
    disk = request.param(tmp_path / "disk")
    yield disk
    disk.close()


def refused(call, *arguments, **settings):
    """The error of a request that gets a 503."""
    with pytest.raises(openai.InternalServerError) as caught:
        call(*arguments, **settings)
    assert caught.value.status_code == 503 and caught.value.code == "not_recorded"
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert int(caught.value.response.headers["retry-after"]) >= 1
    return caught.value


def answers_until_it_is_full(client, given):
    """Ask until the first answer is refused; notes the ids of those that were given."""
    for _ in range(400):
        try:
            given.append(ask(client, "user-1", max_tokens=1).id)
        except openai.InternalServerError:
            return
    pytest.fail("The disk does not fill up.")


def say(client, answer):
    return raw(client, "/v1/feedback", json.dumps({"id": answer, "harm": True, "note": "n" * 999}))


def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(disk):
    path = disk.folder / "shop.db"
    registry = rolled_out(path, None, None, 0.5)
    server = Process(path, "--keep-texts", "1")
    client, given, said = server.client, [], []
    given += [ask(client, f"user-{number}").id for number in range(3)]
    assert raw(client, "/healthz", None, "GET")[0] == 200
    disk.squeeze(server)
    answers_until_it_is_full(client, given)
    error = refused(ask, client, "user-1")
    assert "could not be stored" in error.message and str(disk.folder) not in error.message
    with pytest.raises(openai.APIError, match="could not be stored"):
        list(ask(client, "user-2", stream=True))
    for answer in given:  # one of them does not fit any more, and says so
        status, headers, told = say(client, answer)
        if status != 200:
            break
        said.append(answer)
    assert status == 503 and told["error"]["code"] == "not_recorded" and headers["Retry-After"]
    status, _, told = raw(client, "/healthz", None, "GET")
    assert status == 503 and "disk is full" in told["problems"][0]
    unrecorded = [x for x in metrics_of(client).splitlines() if x.startswith("rollout_unrecorded_")]
    assert float(unrecorded[0].split()[1]) >= 3
    assert [model.id for model in client.models.list()] == ["shop"]  # what needs no disk goes on

    disk.release(server)
    deadline = time.monotonic() + 20
    while raw(client, "/healthz", None, "GET")[0] != 200:  # without any request in between
        assert time.monotonic() < deadline
        time.sleep(0.1)
    given += [ask(client, f"user-{number}").id for number in range(3)]
    assert say(client, given[-1])[2]["recorded"]
    said.append(given[-1])
    assert server.end(signal.SIGTERM) == 0
    assert "Make room on the disk" in server.errors and "Traceback" not in server.errors
    check(path, given, said)
    registry.close()


def check(path, given, said):
    """What was acknowledged is there, once, and nothing else is."""
    with sqlite3.connect(path) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = [row for (row,) in store.execute("SELECT id FROM answers")]
        words = [row for (row,) in store.execute("SELECT answer FROM feedback")]
    assert sorted(rows) == sorted(given) and sorted(words) == sorted(said)


@pytest.mark.slow
def test_killed_and_rolled_back_on_a_full_disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    path = disk.folder / "shop.db"
    try:
        registry = rolled_out(path, None, random_adapter(tmp_path / "two", 2), 0.5)
        server = Process(path)
        given = [ask(server.client, f"user-{number}").id for number in range(3)]
        disk.squeeze(server)
        answers_until_it_is_full(server.client, given)
        with pytest.raises(NotStored):
            registry.widen("v2", 0.6)  # a change that may wait does wait
        assert registry.rollback("it harms").rolled_back == "v2"  # into the reserve
        assert not Path(f"{path}.reserve").exists()
        disk.squeeze(server)
        with pytest.raises(NotAllowed):
            registry.rollback("again")
        server.end(signal.SIGKILL)
        server = Process(path)  # on the full disk: it begins, says what is wrong, and gives nothing
        refused(ask, server.client, "user-1")
        assert raw(server.client, "/healthz", None, "GET")[0] == 503
        server.end(signal.SIGKILL)
        disk.release(server)
        server = Process(path)
        given.append(ask(server.client, "user-1").id)
        assert Path(f"{path}.reserve").exists()
        assert server.end(signal.SIGTERM) == 0
        check(path, given, [])
        registry.close()
    finally:
        disk.close()
