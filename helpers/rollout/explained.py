"""Errors of ours in the protocol's form: what is told to whoever asks, and what only to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .errors import Busy, NotStored, RolloutError, UnknownVersion
from .fleet import NotReady
from .protocol import ApiError
from .worker import Closing, QueueFull, TimeLimit

log = logging.getLogger(__name__)

#: What is told of errors whose own words name files: the code, and the message.
TOLD = {
    NotReady: ("model_not_ready", "The version that should answer cannot be loaded. Ask later."),
    Busy: ("store_busy", "This could not be stored, because the store is busy. Ask again."),
    NotStored: ("not_recorded", "This could not be stored, and so is not done. Ask again later."),
}


def explained(error: RolloutError, patience: Callable[[], int]) -> ApiError:
    """What a client is told about an error.

    Args:
        patience: seconds until a full queue should have room.
    """
    text = str(error)
    if isinstance(error, QueueFull):
        return ApiError(
            429, text, "queue_full", type="rate_limit_error", retry_after=patience()
        )  # fmt: skip
    if isinstance(error, UnknownVersion):
        return ApiError(404, text, "model_not_found", "model")
    if isinstance(error, TimeLimit):
        return ApiError(504, text, "time_limit", type="server_error")
    if isinstance(error, Closing):
        return _unavailable(text, "shutting_down")
    for kind, (code, told) in TOLD.items():
        if isinstance(error, kind):
            log.error("%s", error)
            return _unavailable(told, code)
    log.error("Not foreseen: %s: %s", type(error).__name__, error)
    return ApiError(500, "The server failed. Its log says why.", "failed", type="server_error")


def _unavailable(text: str, code: str) -> ApiError:
    return ApiError(503, text, code, type="server_error", retry_after=1)
