"""Storing the rows of many answers with few waits for the disk."""

from __future__ import annotations

import asyncio
import time

from .errors import NotStored, RolloutError
from .telemetry import AnswerRow, Telemetry

#: Seconds between looks whether a disk that was full takes rows again.
AGAIN = 1.0


class Ledger:
    """Telemetry's `record` for coroutines; all of one event loop.

    A row is acknowledged when it is on the disk, and that takes milliseconds, however many rows are
    written. So those that arrive during one write are stored together by the next: group commit
    (DeWitt et al., SIGMOD 1984).

    Attributes:
        full: the disk took no more when something was last stored.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.full = False
        self._looked = 0.0
        self._waiting: list[tuple[AnswerRow, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def record(self, row: AnswerRow) -> None:
        """Returns when the row is on the disk.

        Raises:
            RolloutError: it could not be stored, nor any that was stored together with it.
        """
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((row, stored))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        await stored

    async def feedback(self, answer: str, harm: bool, note: str) -> tuple[str, str] | None:
        """Store a word of feedback; raises what telemetry's `feedback` does.

        Returns:
            Version and arm of the answer; None where this was not the first word on it.
        """

        def store() -> tuple[str, str] | None:
            if self.telemetry.feedback(answer, harm, note):
                return self.telemetry.answered_by(answer)
            return None

        try:
            return await asyncio.to_thread(store)
        except NotStored:
            self.full = True
            raise

    async def look_again(self) -> None:
        """Where the disk was full, look whether it takes rows again.

        Else a server that nobody is sent to while it is full would stay so for ever.
        """
        if not self.full or time.monotonic() < self._looked + AGAIN:
            return
        self._looked = time.monotonic()
        try:
            await asyncio.to_thread(self.telemetry.store.touch)
            self.full = False
        except RolloutError:
            pass  # it still is

    async def _write(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting, []
            problem: Exception | None = None
            try:
                await asyncio.to_thread(self.telemetry.record, *(row for row, _ in together))
            except RolloutError as error:
                problem = error
            except Exception as error:  # nobody may wait for ever
                problem = RolloutError(f"{type(error).__name__}: {error}")
            self.full = isinstance(problem, NotStored)
            for _, stored in together:
                if stored.done():  # whoever waited has gone; the row is stored all the same
                    continue
                stored.set_result(None) if problem is None else stored.set_exception(problem)
        self._task = None
