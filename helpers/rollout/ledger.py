"""Storing the rows of many answers with few waits for the disk."""

from __future__ import annotations

import asyncio

from .errors import RolloutError
from .telemetry import AnswerRow, Telemetry


class Ledger:
    """Telemetry's `record` for coroutines; all of one event loop.

    A row is acknowledged when it is on the disk, and that takes milliseconds, however many rows are
    written. So those that arrive during one write are stored together by the next: group commit
    (DeWitt et al., SIGMOD 1984).
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
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
            for _, stored in together:
                if stored.done():  # whoever waited has gone; the row is stored all the same
                    continue
                stored.set_result(None) if problem is None else stored.set_exception(problem)
        self._task = None
