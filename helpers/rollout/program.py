"""The server as a process of its own, started from a notebook: one that can be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from ..paths import DATA
from .errors import RolloutError


class Program:
    """`python -m helpers.rollout.serve` on a free port of this machine.

    Use it in a `with` block, which kills it at the end if it still runs.

    Args:
        store: the file of the rollout.
        arguments: further ones of the command.

    Attributes:
        url: to ask at, once it is up: `OpenAI(base_url=program.url, api_key="none")`.

    Raises:
        RolloutError: the server could not begin; says what it said.
    """

    def __init__(self, store: str | Path, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "helpers.rollout.serve",
            "--store",
            str(Path(store).resolve()),
        ]
        # What it complains of goes to a file: a pipe that nobody reads would stop it when full.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*command, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=DATA.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        found = re.search(r"http://\S+", self.process.stdout.readline())
        if not found:
            self.kill()
            raise RolloutError(
                f"The server could not begin: {self.complaints or 'it said nothing'}"
            )
        self.url = found[0]

    @property
    def complaints(self) -> str:
        """What it has written to its error stream so far."""
        self._said.seek(0)
        return self._said.read().strip()

    def kill(self) -> int:
        """End it as a power cut would, whatever it is doing; returns its exit status."""
        self.process.kill()
        return self.process.wait()

    def stop(self) -> int:
        """Ask it to stop, and wait until all it has accepted is answered; returns its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self.process.stdout.close()
        self._said.close()
