"""The thread that writes all answers: it lets requests in, steps the batch, hands out pieces."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from ..decoding import TokenIds
from .batch import Batch, Row
from .engine import Engine
from .errors import RolloutError
from .pieces import Pieces

log = logging.getLogger(__name__)


class QueueFull(RolloutError):
    """As many requests wait as may wait."""


class Closing(RolloutError):
    """The server is shutting down and takes nothing new."""


class TimeLimit(RolloutError):
    """An answer was not finished within its time."""


class Broken(RolloutError):
    """Something went wrong inside; the log says what."""


@dataclass(frozen=True)
class Placement:
    """Which version answers a request, and why.

    Attributes:
        arm: "candidate", "control" or "holdout" for a user in the experiment, else "direct".
        share: of the candidate at that moment, from 0 to 1.
    """

    version: str
    arm: Literal["candidate", "control", "holdout", "direct"]
    share: float


@dataclass(frozen=True)
class Finished:
    """An answer's end: its whole text, and why it ended.

    Attributes:
        latency: seconds from the request's arrival.
    """

    placement: Placement
    text: str
    finish: str
    written: int
    latency: float


#: What a job's `tell` is given: a piece of text, the end, or what went wrong instead.
Event = str | Finished | RolloutError


@dataclass(eq=False)
class Job:
    """A request that has been accepted: exactly one `Finished` or error is told about it.

    Attributes:
        model: the name that was asked for, the service's or a version's.
        user: the id that keeps a user on one version; None for none.
        tell: called from the worker's thread, so it must return at once. Pieces of text are told
            only when `stream` is set.
        deadline: on `time.monotonic`'s clock.
        abandoned: set from any thread when nobody waits any longer.
    """

    model: str
    user: str | None
    prompt: TokenIds
    room: int
    ends: Collection[int]
    deadline: float
    tell: Callable[[Event], None]
    stops: Sequence[str] = ()
    trim: bool = False
    stream: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    placement: Placement | None = None
    abandoned: bool = False
    arrived: float = field(default_factory=time.monotonic)


class Places(Protocol):
    """What the worker asks which version a request gets; `Fleet` is one."""

    def refresh(self, busy: Collection[str]) -> None:
        """Look at the registry; `busy` versions are being written and must stay loaded."""

    def place(self, model: str, user: str | None) -> Placement:
        """The version for a request, loaded; raises `RolloutError` where there is none."""


@dataclass(eq=False)
class _Seat:
    job: Job
    row: Row
    pieces: Pieces
    text: list[str] = field(default_factory=list)
    fed: int = 0
    begun: float = field(default_factory=time.monotonic)


class Worker:
    """Answers jobs in one thread of its own, in the order of their arrival.

    Before every admission it asks `places` anew which version is for whom. After a rollback, the
    next request gets the restored version, also one that has been waiting; an answer that has been
    begun is finished by the version that began it.

    Args:
        seats: how many answers are written side by side.
        waiting: how many more may wait.
        threads: to compute with; one core less than there are when left out. If PyTorch had all of
            them, its threads would wait for each other whenever a client or the web server needs
            one: on two busy cores we have seen everything take over ten times as long.
    """

    def __init__(
        self,
        engine: Engine,
        places: Places,
        seats: int = 16,
        waiting: int = 64,
        threads: int | None = None,
    ) -> None:
        self.engine, self.places, self.seats, self.waiting = engine, places, seats, waiting
        self.threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self.error: BaseException | None = None
        self._queue: deque[Job] = deque()
        self._batch = Batch(engine)
        self._seats: dict[Row, _Seat] = {}
        self._wake = threading.Condition()
        self._begun = threading.Event()
        self._closing = False
        self._typical = 1.0  # seconds in which an answer is written, smoothed
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> Worker:
        """Begin; returns the worker."""
        usual = torch.get_num_threads()
        self._thread.start()
        self._begun.wait()
        torch.set_num_threads(usual)  # of all threads that are yet to come
        return self

    def submit(self, job: Job) -> None:
        """Accept a job. Callable from any thread.

        Raises:
            QueueFull: too many are waiting.
            Closing: nothing new is taken.
        """
        with self._wake:
            if self._closing:
                raise Closing("The server is shutting down. Ask again in a moment.")
            if len(self._queue) >= self.waiting:
                raise QueueFull(f"{self.waiting} requests are waiting already. Ask again later.")
            self._queue.append(job)
            self._wake.notify()

    @property
    def depth(self) -> int:
        """How many jobs wait."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """How many answers are being written."""
        return len(self._seats)

    @property
    def alive(self) -> bool:
        """Whether jobs are being answered."""
        return self._thread.is_alive()

    def patience(self) -> int:
        """Whole seconds, at least one, in which the jobs that wait now should be answered."""
        return max(1, min(60, math.ceil(len(self._queue) / self.seats * self._typical)))

    def close(self, timeout: float | None = None) -> None:
        """Take nothing new, answer everything accepted, and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        torch.set_num_threads(min(self.threads, torch.get_num_threads()))  # of this thread alone
        self._begun.set()
        while self._wait():
            try:
                self._give_up_late()
                self._admit()
                self._step()
            except Exception as error:
                # Whatever it was: those who wait are told, and the next ones get a new batch.
                log.exception("A batch of %d answers failed.", len(self._seats))
                self.error = error
                for seat in self._seats.values():
                    self._tell(seat.job, Broken("The server failed while it wrote this answer."))
                self._batch, self._seats = Batch(self.engine), {}

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when there never will be."""
        with self._wake:
            while not self._seats and not self._queue:
                if self._closing:
                    return False
                self._wake.wait()
        return True

    def _give_up_late(self) -> None:
        """Tell those whose time is over, and forget those who do not wait any longer."""
        now = time.monotonic()
        for seat in list(self._seats.values()):
            if seat.job.abandoned or seat.job.deadline <= now:
                self._end(seat, None if seat.job.abandoned else _too_late("finished"))
        # Everybody has the same time, so the first in the queue are the first to be late.
        while self._queue and (self._queue[0].abandoned or self._queue[0].deadline <= now):
            job = self._queue.popleft()
            if not job.abandoned:
                self._tell(job, _too_late("begun"))

    def _admit(self) -> None:
        """Give free seats to those who wait longest."""
        count = min(self.seats - len(self._seats), len(self._queue)) if self._batch.open else 0
        if count <= 0:
            return
        jobs = [self._queue.popleft() for _ in range(count)]
        rows = []
        try:
            self.places.refresh({row.version for row in self._seats})
        except Exception as error:
            for job in jobs:
                self._tell(job, _ours(error))
            return
        for job in jobs:
            try:
                job.placement = self.places.place(job.model, job.user)
            except Exception as error:
                self._tell(job, _ours(error))
                continue
            row = Row(
                job.placement.version,
                job.prompt,
                job.room,
                job.ends,
                job.temperature,
                job.top_p,
                job.seed,
            )
            pieces = Pieces(self.engine.tokenizer, job.stops, job.trim)
            self._seats[row] = _Seat(job, row, pieces)  # from here on an error is told to it too
            rows.append(row)
        self._batch.admit(rows)

    def _step(self) -> None:
        """One token for everybody."""
        for row in self._batch.step():
            seat = self._seats[row]
            piece = seat.pieces.feed(row.written[-1]) if len(row.written) > seat.fed else ""
            seat.fed = len(row.written)
            if seat.pieces.stopped:
                row.finish = "stop"
            if row.finish:
                piece += seat.pieces.end()
            seat.text.append(piece)
            if piece and seat.job.stream:
                self._tell(seat.job, piece)
            if row.finish:
                taken = time.monotonic() - seat.job.arrived
                self._typical += 0.1 * (time.monotonic() - seat.begun - self._typical)
                text = "".join(seat.text)
                end = Finished(seat.job.placement, text, row.finish, len(row.written), taken)
                self._end(seat, end)

    def _end(self, seat: _Seat, event: Finished | RolloutError | None) -> None:
        del self._seats[seat.row]
        self._batch.drop([seat.row])
        if event is not None:
            self._tell(seat.job, event)

    def _tell(self, job: Job, event: Event) -> None:
        try:
            job.tell(event)
        except Exception:  # the listener is gone, which must not cost the others their answers
            log.exception("Nobody took an answer.")


def _ours(error: Exception) -> RolloutError:
    """What is told about an error; one that was not foreseen is logged, and told in general."""
    if isinstance(error, RolloutError):
        return error
    log.error("A request could not be placed.", exc_info=error)
    return Broken("The server failed before it began this answer.")


def _too_late(what: str) -> TimeLimit:
    return TimeLimit(f"The answer was not {what} within its time. Ask for less, or again later.")
