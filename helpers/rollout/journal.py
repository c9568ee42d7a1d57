"""The journal of a rollout, and the state that it adds up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from ..tables import Table


@dataclass(frozen=True)
class Line:
    """One thing that happened to one version.

    Attributes:
        number: 1, 2, 3, ... without gaps.
        time: seconds since 1970, UTC.
        action: what was done, such as "stage" or "roll back".
        share: of the users, 0 to 1, that the version got by it.
        report: SHA-256 of the audit report that let the version pass; only of "admit".
        kept_until: when the version may be retired at the earliest, 0 for at once.
    """

    number: int
    time: float
    action: str
    version: str
    from_state: str
    to_state: str
    share: float
    reason: str
    report: str | None = None
    kept_until: float = 0.0


def moment(time: float) -> str:
    """A time in seconds since 1970 as a person reads it, in UTC."""
    return f"{datetime.fromtimestamp(time, timezone.utc):%d %b %H:%M:%S}"


class Journal(list[Line]):
    """Lines in their order, shown as a table."""

    @property
    def table(self) -> Table:
        rows = (
            (
                str(line.number),
                moment(line.time),
                line.version,
                line.action,
                f"{line.from_state} → {line.to_state}",
                f"{100 * line.share:g} %" if line.share else "",
                line.reason,
            )
            for line in self
        )
        heads = ("line", "time (UTC)", "version", "action", "state", "share", "reason")
        return Table(heads, tuple(rows))

    def __repr__(self) -> str:
        return repr(self.table) if self else "The journal has no line yet."

    def _repr_html_(self) -> str:
        return self.table._repr_html_() if self else f"<p>{self!r}</p>"


@dataclass(frozen=True)
class Standing:
    """Where a version stands: its state, its share of the users, since when, kept until when."""

    state: str = "new"
    share: float = 0.0
    since: float | None = None
    kept_until: float = 0.0
    report: str | None = None


def fold(lines: Iterable[Line]) -> dict[str, Standing]:
    """What a journal adds up to: the standing of every version in it, by name.

    This is the definition of the state. The tables of the store must agree with it, after a kill
    and always. Lines are taken in their order, and each one replaces what was known of its version;
    only the report that let a version pass is remembered.

    Returns:
        In the order of the versions' last lines, so that the one that moved last is last.
    """
    found: dict[str, Standing] = {}
    for line in lines:
        before = found.pop(line.version, Standing())
        found[line.version] = Standing(
            state=line.to_state,
            share=line.share,
            since=line.time,
            kept_until=line.kept_until,
            report=line.report or before.report,
        )
    return found


def in_state(standings: Mapping[str, Standing], state: str) -> str | None:
    """The version in a state, or of several the one that came into it last; None without one."""
    names = [name for name, standing in standings.items() if standing.state == state]
    return names[-1] if names else None
