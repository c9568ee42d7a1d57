"""The web application: OpenAI's protocol, feedback, health and metrics, over one `Service`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import protocol
from .metrics import Metrics
from .protocol import ApiError, ChatAsk, TextAsk
from .service import Service

#: What a client is told that asks for something else, such as one whose address lacks the /v1.
THERE = (
    "POST /v1/chat/completions, /v1/completions and /v1/feedback; "
    "GET /v1/models, /healthz and /metrics"
)


class Counted:
    """Counts responses by their status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, noted)


def create_app(service: Service) -> FastAPI:
    """The application. Its worker begins with it, and answers what is accepted before it ends."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.worker.start()
        tidying = asyncio.create_task(service.tidy())
        yield
        tidying.cancel()
        await asyncio.to_thread(service.worker.close)
        await service.settle()

    # The pages for trying an API out would load scripts from a public address.
    app = FastAPI(title="rollout", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)

    app.add_middleware(Counted, metrics=service.metrics)

    @app.exception_handler(ApiError)
    async def wrong(request: Request, error: ApiError) -> JSONResponse:
        wait = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return JSONResponse(error.body, error.status, headers=wait)

    @app.exception_handler(HTTPException)
    async def elsewhere(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {error.detail}. There is {THERE}."
        told = ApiError(error.status_code, text, "unknown_url")
        return JSONResponse(told.body, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        service.metrics.requests.labels("500").inc()  # this one goes past the middleware
        told = ApiError(500, "The server failed. Its log says why.", "failed", type="server_error")
        return JSONResponse(told.body, 500)

    guarded = [Depends(service.guard)]

    @app.post("/v1/chat/completions", dependencies=guarded)
    async def chat(request: Request) -> Response:
        return await service.complete(request, ChatAsk)

    @app.post("/v1/completions", dependencies=guarded)
    async def text(request: Request) -> Response:
        return await service.complete(request, TextAsk)

    @app.post("/v1/feedback", dependencies=guarded)
    async def feedback(request: Request) -> Response:
        return await service.feedback(request)

    @app.get("/v1/models", dependencies=guarded)
    async def models() -> Response:
        served = [version.name for version in service.fleet.served()]
        return JSONResponse(protocol.models([service.fleet.service, *served]))

    @app.get("/healthz")
    async def health() -> Response:
        problems = await service.problems()
        return JSONResponse({"status": "failing" if problems else "ok", "problems": problems},
                            503 if problems else 200)  # fmt: skip

    @app.get("/metrics", dependencies=guarded)
    async def metrics() -> Response:
        page = service.metrics.page(service.worker, service.fleet.state.share)
        return Response(page, media_type=CONTENT_TYPE_LATEST)

    return app
