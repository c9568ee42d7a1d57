"""From a request to its answer: read, asked of the worker, recorded, and only then given.

An answer that could not be stored is not given: what nobody counts, no canary can see. While the
disk is full every request is told so (503), a stream that had begun ends with the error in place of
its last events, and the first row that fits ends it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ..models import context_length
from . import protocol, reserve
from .errors import RolloutError, UnknownAnswer
from .explained import explained
from .fleet import Fleet
from .ledger import Ledger
from .metrics import Metrics
from .prompts import BadPrompt, Prompt, from_text, from_turns
from .protocol import ApiError, ChatAsk, Feedback, TextAsk
from .telemetry import AnswerRow, Telemetry
from .worker import Event, Finished, Job, Worker

log = logging.getLogger(__name__)

#: Names by which this machine may be asked when no key is needed. A web page that makes its own
#: name point to 127.0.0.1 (DNS rebinding) is asking by another one.
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        body: bytes of its body.
        upload: seconds in which the body must have arrived.
        seconds: from its arrival to the end of its answer.
        room: tokens of an answer to a chat that names no `max_tokens`.
    """

    body: int = 64 * 1024
    upload: float = 10.0
    seconds: float = 30.0
    room: int = 64


@dataclass
class Service:
    """Everything that answers a request.

    Attributes:
        api_key: what a request must bring as `Authorization: Bearer ...`; None for this machine
            alone.
        categorize: names the category of a prompt, for the telemetry.
        refuses: whether an answer is a refusal, for the telemetry.
    """

    worker: Worker
    fleet: Fleet
    telemetry: Telemetry
    api_key: str | None = None
    limits: Limits = Limits()
    categorize: Callable[[str], str] = lambda prompt: "other"
    refuses: Callable[[str], bool] = lambda answer: False
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.telemetry)
        self._left: set[asyncio.Task] = set()  # rows of answers whose askers have gone

    async def guard(self, request: Request) -> None:
        """Let in who may ask.

        Raises:
            ApiError: 401 without the key; 403 for a request that came by way of a foreign web page.
        """
        if self.api_key is None:
            host = request.headers.get("host", "").rsplit(":", 1)[0]
            if host not in LOCAL:
                raise ApiError(403, "Ask this server as http://127.0.0.1.", "wrong_host")
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.api_key.encode()):
            raise ApiError(
                401,
                "The API key is missing or wrong. Send it as 'Authorization: Bearer ...'.",
                "invalid_api_key",
            )

    async def body(self, request: Request) -> bytes:
        """The body, read no further than it may be long.

        Raises:
            ApiError: 408 too slow, 413 too long, 415 no JSON.
        """
        # A form on a web page can post text to any address, but no JSON without being allowed to.
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            raise ApiError(415, "Send Content-Type: application/json.", "unsupported_media_type")
        raw = bytearray()

        async def read() -> None:
            async for part in request.stream():
                raw.extend(part)
                if len(raw) > self.limits.body:
                    raise ApiError(
                        413,
                        f"The body is longer than {self.limits.body} bytes. Shorten it.",
                        "request_too_large",
                    )

        try:
            await asyncio.wait_for(read(), self.limits.upload)
        except asyncio.TimeoutError:  # before Python 3.11 not the builtin one
            raise ApiError(408, "The body did not arrive in time.", "upload_time_limit") from None
        return bytes(raw)

    def prompt(self, ask: ChatAsk | TextAsk) -> tuple[Prompt, int]:
        """What the model reads, and how many tokens it may write.

        Raises:
            ApiError: 400 where they do not fit into the context, or there is nothing to answer.
        """
        engine = self.worker.engine
        try:
            if isinstance(ask, ChatAsk):
                prompt = from_turns(engine, [(turn.role, turn.text) for turn in ask.messages])
                wanted, field_name = ask.max_completion_tokens or ask.max_tokens, "messages"
                default = self.limits.room
            else:
                prompt, field_name = from_text(engine, ask.prompt), "prompt"
                wanted, default = ask.max_tokens, 16  # the protocol's own
        except BadPrompt as error:
            raise ApiError(400, str(error), "invalid_value", "messages") from error
        limit, length = context_length(engine.model), len(prompt.tokens)
        room = wanted or max(1, min(default, limit - length))
        if length + room > limit:
            raise ApiError(
                400,
                f"This model reads at most {limit} tokens. The request has {length} and asks for "
                f"{room} more. Shorten it, or lower max_tokens.",
                "context_length_exceeded",
                field_name,
            )
        return prompt, room

    async def complete(self, request: Request, kind: type[ChatAsk] | type[TextAsk]) -> Response:
        """Answer a request, at once or as a stream."""
        ask = protocol.parse(kind, await self.body(request))
        prompt, room = self.prompt(ask)
        loop, events = asyncio.get_running_loop(), asyncio.Queue()
        user = ask.user or request.headers.get("x-user-id") or None
        job = Job(
            model=ask.model,
            user=user and user[: protocol.LONGEST_NAME],
            prompt=prompt.tokens,
            room=room,
            ends=prompt.ends,
            deadline=time.monotonic() + self.limits.seconds,
            tell=lambda event: loop.call_soon_threadsafe(events.put_nowait, event),
            stops=ask.stops,
            trim=prompt.trim,
            stream=ask.stream,
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=ask.seed,
        )
        answer = _Answer(ask, prompt, job, events)
        try:
            self.worker.submit(job)
        except RolloutError as error:
            raise self._explain(error) from error
        try:
            first = await self._next(answer)
        except asyncio.CancelledError:
            job.abandoned = True
            raise
        if ask.stream:
            return StreamingResponse(
                self._stream(answer, first),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            )
        await self._record(answer, first)
        body = protocol.answer(answer.chat, answer.id, first.placement.version, first.text,
                               first.finish)  # fmt: skip
        return JSONResponse({**body, "usage": answer.usage(first)})

    async def _next(self, answer: _Answer) -> str | Finished:
        event = await answer.events.get()
        if isinstance(event, RolloutError):
            raise self._explain(event)
        return event

    async def _stream(self, answer: _Answer, event: str | Finished) -> AsyncIterator[str]:
        """Server-sent events. The last ones follow only when the row is stored."""
        told, done = "", False
        version = answer.job.placement.version

        def send(text: str | None, finish: str | None = None, first: bool = False) -> str:
            return _event(protocol.chunk(answer.chat, answer.id, version, text, finish, first))

        try:
            yield send("", first=True)
            while isinstance(event, str):
                told += event
                yield send(event)
                event = await self._next(answer)
            done = True
            await self._record(answer, event)
            yield send(None, event.finish)
            if answer.ask.stream_options and answer.ask.stream_options.include_usage:
                last = protocol.chunk(answer.chat, answer.id, version, None, None)
                yield _event({**last, "choices": [], "usage": answer.usage(event)})
            yield "data: [DONE]\n\n"
        except ApiError as error:
            done = True
            yield _event(error.body)
        finally:
            if not done:  # whoever asked has gone; what they have seen counts
                answer.job.abandoned = True
                self._keep(answer, told)

    def _keep(self, answer: _Answer, told: str) -> None:
        taken = time.monotonic() - answer.job.arrived
        written = len(self.worker.engine.tokenizer(told)["input_ids"]) if told else 0
        end = Finished(answer.job.placement, told, "length", written, taken)
        task = asyncio.create_task(self._record(answer, end))
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        task.add_done_callback(lambda finished: finished.exception())  # counted in `_record`

    async def _record(self, answer: _Answer, end: Finished) -> None:
        """Store the answer's row.

        Raises:
            ApiError: 503 where it could not be stored.
        """
        row = AnswerRow(
            id=answer.id,
            time=time.time(),
            user=answer.job.user,
            version=end.placement.version,
            arm=end.placement.arm,
            share=end.placement.share,
            category=self.categorize(answer.prompt.text),
            prompt_tokens=len(answer.prompt.tokens),
            answer_tokens=end.written,
            latency=end.latency,
            refused=self.refuses(end.text),
            truncated=end.finish == "length",
            prompt=answer.prompt.text,
            answer=end.text,
        )
        try:
            await self.ledger.record(row)
        except RolloutError as error:
            self.metrics.unrecorded.inc()
            raise self._explain(error) from error
        self.metrics.answered(end)

    async def feedback(self, request: Request) -> Response:
        """Note how an answer turned out. The first word counts; `recorded` says if this was it."""
        given = protocol.parse(Feedback, await self.body(request))
        try:
            first = await self.ledger.feedback(given.id, given.harm, given.note)
        except UnknownAnswer as error:
            raise ApiError(404, str(error), "answer_not_found", "id") from error
        except RolloutError as error:
            raise self._explain(error) from error
        if first:
            self.metrics.feedback.labels(*first, "yes" if given.harm else "no").inc()
        return JSONResponse({"id": given.id, "object": "feedback", "recorded": bool(first)})

    async def problems(self) -> list[str]:
        """Why this server does not answer as it should; names no version and no file."""
        await self.ledger.look_again()
        signs = {
            "no answers are being written": not self.worker.alive,
            "a version cannot be loaded": bool(self.fleet.broken),
            "the disk is full: answers cannot be stored, and are not given": self.ledger.full,
        }
        return [problem for problem, there in signs.items() if there]

    async def tidy(self) -> None:
        """Now and once an hour, until cancelled: delete kept texts whose time is over, and see that
        there is room for a rollback."""
        while True:
            if not await asyncio.to_thread(reserve.keep, self.telemetry.store.path):
                log.error("The disk is full: there may be no room for a rollback. Make some.")
            try:
                await asyncio.to_thread(self.telemetry.expire)
            except RolloutError as error:
                log.error("Old texts could not be deleted, and are tried again: %s", error)
            await asyncio.sleep(3600)

    async def settle(self) -> None:
        """Wait for the rows of those who have gone."""
        if self._left:
            await asyncio.wait(self._left)

    def _explain(self, error: RolloutError) -> ApiError:
        return explained(error, self.worker.patience)


@dataclass(frozen=True)
class _Answer:
    """A request on its way: what was asked, and where its events arrive."""

    ask: ChatAsk | TextAsk
    prompt: Prompt
    job: Job
    events: asyncio.Queue[Event]
    id: str = ""

    def __post_init__(self) -> None:
        kind = "chatcmpl" if self.chat else "cmpl"
        object.__setattr__(self, "id", f"{kind}-{secrets.token_hex(12)}")

    @property
    def chat(self) -> bool:
        return isinstance(self.ask, ChatAsk)

    def usage(self, end: Finished) -> dict[str, int]:
        return protocol.usage(len(self.prompt.tokens), end.written)


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"
