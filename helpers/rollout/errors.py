"""What can go wrong in a rollout, each with a name of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator


class RolloutError(RuntimeError):
    """A rollout cannot do what it was asked; the message says what to do instead."""


class BadSetting(RolloutError, ValueError):
    """A name, a share, a key or a plan is not of the form it must have."""


class BadStore(RolloutError):
    """A file is no store, was made by a newer version, or lies where a store cannot lie."""


class Busy(RolloutError):
    """Another server holds the store, or another process has been writing to it for too long."""


class NotStored(RolloutError):
    """The disk took no more. Nothing of this call was stored; all that was before it is there."""


class NotAllowed(RolloutError):
    """The table of transitions has no such transition from the state the version is in."""


class NotAdmitted(RolloutError):
    """There is no audit report that says SHIP about these very weights."""


class TooEarly(RolloutError):
    """A version is kept for a way back until a time that has not come yet."""


class Damaged(RolloutError):
    """The files of a version are not the ones that were registered."""


class UnknownVersion(RolloutError):
    """No version has this name."""


class UnknownAnswer(RolloutError):
    """No answer has this id: it was never recorded, or its user is forgotten."""


@contextlib.contextmanager
def explain_refusal() -> Iterator[None]:
    """A row that the store refuses, as an error of ours."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise BadSetting(f"The store refuses this row: {error}. Nothing is stored.") from error
