"""The registry: which versions of a model there are, which one answers, and how it came to that.

    registered -> admitted -> staged -> live -> standby -> retired
                                 |        |        |
                                 +--------+--> rolled back    (and standby -> live again)

A version is a base with or without an adapter. Each call that changes something is one transaction
of the store and writes one line of the journal for each version it moves. What may follow on what
is a table of the store (`schema.TRANSITIONS`), and the store refuses the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import time as clocks
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..fingerprint import folder_digest
from . import reserve
from .admission import check, text_of
from .errors import (
    BadSetting,
    Busy,
    Damaged,
    NotAdmitted,
    NotAllowed,
    NotStored,
    RolloutError,
    TooEarly,
    UnknownVersion,
)
from .files import compare, digests_of
from .journal import Journal, Line, Standing, fold, in_state
from .refusals import refusal
from .store import Store
from .versions import Rollback, State, Version

if TYPE_CHECKING:  # both take long to import, and a server starts without them
    import pandas

    from ..audit import AuditReport

__all__ = [
    "BadSetting", "Busy", "Damaged", "NotAdmitted", "NotAllowed", "NotStored", "Registry",
    "Rollback", "RolloutError", "State", "TooEarly", "UnknownVersion", "Version",
]  # fmt: skip

#: Names go into URLs and answers, so they are plain. None of them can be taken for a path.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Registry:
    """The versions of a model and the journal of what was done with them.

    Args:
        path: the store, a file; made where there is none.
        retention: how long a version that has answered users is kept as a way back.
        clock: seconds since 1970.

    Raises:
        BadStore, Busy, NotStored: the store cannot be opened; see `store.connect`.
    """

    def __init__(
        self,
        path: str | Path,
        retention: timedelta = timedelta(days=30),
        clock: Callable[[], float] = clocks.time,
    ) -> None:
        if retention < timedelta(0):
            raise BadSetting(f"A retention time is not negative, as {retention} is.")
        self.store = Store(path)
        self.retention, self.clock = retention, clock

    def close(self) -> None:
        """Close the store. Nothing is lost without it."""
        self.store.close()

    # What may be done with a version, in the order of its life.

    def register(
        self, name: str, base: str | Path, adapter: str | Path | None = None, note: str = ""
    ) -> Version:
        """Take a version in: its folders, and the digests of the files in them.

        The files stay where they are. Whatever is done to them from now on will be noticed.

        Args:
            name: letters, digits, ".", "_" and "-", 64 at most; not used before.
            base: the folder of a model in safetensors.
            adapter: the folder of a PEFT adapter for it.

        Raises:
            BadSetting: the name is of another form.
            Damaged: a folder has no safetensors, or broken ones.
            NotAllowed: the name is taken.
        """
        if not NAME.fullmatch(name):
            raise BadSetting(
                f"{name!r} is no name for a version: up to 64 letters, digits, '.', '_' and '-', "
                "beginning with a letter or a digit."
            )
        folders = {"base": Path(base).resolve()}
        if adapter is not None:
            folders["adapter"] = Path(adapter).resolve()
        files = {part: digests_of(folder) for part, folder in folders.items()}
        digests = {part: folder_digest(found) for part, found in files.items()}
        row = (
            name, str(folders["base"]), str(folders["adapter"]) if adapter is not None else None,
            digests["base"], digests.get("adapter"), note,
        )  # fmt: skip
        now = self.clock()
        with self._told(name, "register", "registered"), self.store.writing() as db:
            db.execute(
                "INSERT INTO versions (name, base, adapter, base_digest, adapter_digest, note) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            db.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?)",
                [
                    (name, part, file, digest)
                    for part, found in files.items()
                    for file, digest in found.items()
                ],
            )
            self._write(db, now, "register", name, "new", "registered", reason=note)
        return self.version(name)

    def admit(self, name: str, report: AuditReport | Mapping[str, Any] | str | Path) -> Version:
        """Let a version pass, by an audit report that says SHIP about these very weights.

        Args:
            report: an `AuditReport`, the dict of its JSON, or the path of its JSON file. Its
                `weights` must be the version's digests: see `audit.AuditReport.weights`.

        Raises:
            NotAdmitted: the verdict is another one, the weights are others or are not named, or
                the same report has let this version pass before it was rolled back.
            NotAllowed: the version is not waiting to be admitted.
            UnknownVersion: there is no such version.
        """
        version = self.version(name)
        text = text_of(report)
        check(text, name, version.base_digest, version.adapter_digest)
        digest = hashlib.sha256(text.encode()).hexdigest()
        now = self.clock()
        with self._told(name, "admit", "admitted"), self.store.writing() as db:
            db.execute(
                "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?)",
                (name, digest, "SHIP", version.base_digest, version.adapter_digest, text),
            )
            told = f"SHIP, report {digest[:12]}"
            self._write(
                db, now, "admit", name, version.state, "admitted", reason=told, report=digest
            )
        return self.version(name)

    def stage(self, name: str, share: float, reason: str = "") -> Version:
        """Give an admitted version a share of the users.

        Args:
            share: above 0, at most 1.

        Raises:
            NotAllowed: it is not admitted, or another version is staged.
            Damaged: its files are no longer those that were audited.
        """
        self._check_share(share)
        self.verify(name)
        return self._move(name, "stage", "staged", share, reason)

    def widen(self, name: str, share: float, reason: str = "") -> Version:
        """Give the staged version a larger share. A smaller one is a rollback.

        Raises:
            NotAllowed: it is not staged, or the share is not larger.
        """
        self._check_share(share)
        return self._move(name, "widen", "staged", share, reason)

    def go_live(self, name: str, reason: str = "") -> Version:
        """Let the staged version answer everybody. The one before stands by as the way back.

        Raises:
            NotAllowed: it is not staged.
            Damaged: its files are no longer those that were audited.
        """
        self.verify(name)
        now = self.clock()
        with self._told(name, "go live", "live"), self.store.writing() as db:
            standings = self._standings()
            before = in_state(standings, "live")
            if before is not None and before != name:
                self._write(
                    db, now, "go live", before, "live", "standby",
                    reason=f"{name} goes live", kept_until=self._keep(now),
                )  # fmt: skip
            state = standings.get(name, Standing()).state
            self._write(db, now, "go live", name, state, "live", 1.0, reason)
        return self.version(name)

    def rollback(self, reason: str) -> Rollback:
        """Take the newest version away from the users: in one call, and without a network.

        The candidate is taken back if there is one. Otherwise the live version is, and the one that
        was live before it answers again; where there was none, the base does by itself. Before
        that version gets the users, its files are read and compared with their digests. A live
        version that keeps them is read when the candidate is gone.

        Raises:
            NotAllowed: nothing is staged or live.
            Damaged: the files of the version to go back to are not those that were registered. The
                live version goes on answering; put the files back and call again.
            NotStored: the disk is full, and no reserve of a server is left; see `reserve`.
        """
        try:
            return self._roll_back(reason)
        except NotStored:
            if not reserve.spend(self.store.path):
                raise
            return self._roll_back(reason)

    def _roll_back(self, reason: str) -> Rollback:
        started = clocks.perf_counter()
        while True:
            leaving, target, live = self._way_back(self._standings())
            # Who answers all the time is read afterwards: reading takes as long as the files are
            # large, and until the line is written the candidate goes on.
            takes_over = target is not None and target != live
            checked = self.verify(target) if takes_over else 0
            now = self.clock()
            with self._told(leaving, "roll back", "rolled back"), self.store.writing() as db:
                standings = self._standings()
                if self._way_back(standings) != (leaving, target, live):
                    continue  # somebody was faster, while the files were read: look again
                self._write(
                    db, now, "roll back", leaving, standings[leaving].state, "rolled back",
                    reason=reason, kept_until=self._keep(now),
                )  # fmt: skip
                if takes_over:
                    told = f"instead of {leaving}"
                    self._write(db, now, "roll back", target, "standby", "live", 1.0, told)
            seconds, damage = clocks.perf_counter() - started, ""
            if target and not takes_over:
                try:
                    checked = self.verify(target)
                except Damaged as error:
                    damage = str(error)  # without the candidate, users are better off all the same
            return Rollback(leaving, target, seconds, checked, reason, damage)

    @staticmethod
    def _way_back(standings: dict[str, Standing]) -> tuple[str, str | None, str | None]:
        """Who leaves in a rollback, who answers everybody afterwards, and who is live before it."""
        candidate, live = (in_state(standings, state) for state in ("staged", "live"))
        leaving = candidate or live
        if leaving is None:
            raise NotAllowed("There is nothing to roll back: no version is staged or live.")
        return leaving, live if candidate else in_state(standings, "standby"), live

    def retire(self, name: str, reason: str = "") -> Version:
        """Give a version up. Its files may be deleted afterwards; the journal keeps its story.

        Raises:
            TooEarly: it has answered users, and is still kept as a way back; says until when.
            NotAllowed: it is answering users.
        """
        return self._move(name, "retire", "retired", 0.0, reason)

    # What can be asked.

    def state(self) -> State:
        """Who answers now: the journal's fold."""
        with self.store.reading():
            lines = self.journal()
            versions = {version.name: version for version in self._versions(lines)}
        standings = fold(lines)
        live, candidate = (versions.get(in_state(standings, s)) for s in ("live", "staged"))
        changed = [
            line.time for line in lines if {line.from_state, line.to_state} & {"live", "staged"}
        ]
        share = candidate.share if candidate else 0.0
        return State(live, candidate, share, changed[-1] if changed else 0.0)

    def version(self, name: str) -> Version:
        """One version.

        Raises:
            UnknownVersion: the message lists those that there are.
        """
        versions = self.versions()
        for version in versions:
            if version.name == name:
                return version
        known = ", ".join(version.name for version in versions) or "none yet"
        raise UnknownVersion(f"There is no version {name!r}. Registered: {known}.")

    def versions(self) -> list[Version]:
        """All versions, in the order in which they were registered."""
        with self.store.reading():
            return self._versions(self.journal())

    def journal(self) -> Journal:
        """Every line that was ever written."""
        query = (
            "SELECT number, time, action, version, from_state, to_state, share, reason, report, "
            "kept_until FROM journal ORDER BY number"
        )
        return Journal(Line(*row) for row in self.store.read(query))

    def journal_frame(self) -> pandas.DataFrame:
        """The journal as a table: one row a line, `time` as UTC."""
        import pandas

        names = list(Line.__dataclass_fields__)
        frame = pandas.DataFrame([asdict(line) for line in self.journal()], columns=names)
        frame["time"] = pandas.to_datetime(frame["time"], unit="s", utc=True)
        return frame.set_index("number")

    def report(self, name: str) -> dict[str, Any] | None:
        """The audit report that let a version pass, or None if none has."""
        digest = self.version(name).report
        query = "SELECT text FROM reports WHERE version = ? AND digest = ?"
        rows = self.store.read(query, (name, digest))
        return json.loads(rows[0][0]) if rows else None

    def digests(self, name: str) -> dict[str, dict[str, str]]:
        """SHA-256 of each file of a version: "base" (and "adapter") to file name to digest.

        Raises:
            UnknownVersion: there is no such version.
        """
        version = self.version(name)
        found = {"base": {}} if version.adapter is None else {"base": {}, "adapter": {}}
        rows = self.store.read("SELECT part, name, digest FROM files WHERE version = ?", (name,))
        for part, file, digest in rows:
            found[part][file] = digest
        return found

    def verify(self, name: str) -> int:
        """Read the files of a version and compare them with the digests they were registered with.

        Returns:
            How many files there are.

        Raises:
            Damaged: a file is missing, is another one, or is there in addition.
            UnknownVersion: there is no such version.
        """
        digests, version = self.digests(name), self.version(name)
        for part, known in digests.items():
            compare(name, Path(version.base if part == "base" else version.adapter), known)
        return sum(map(len, digests.values()))

    # How it is done.

    def _versions(self, lines: list[Line]) -> list[Version]:
        standings = fold(lines)
        rows = self.store.read(
            "SELECT name, base, adapter, base_digest, adapter_digest, note FROM versions "
            "ORDER BY rowid"
        )
        return [Version(*row, **asdict(standings[row[0]])) for row in rows]

    def _standings(self) -> dict[str, Standing]:
        return fold(self.journal())

    def _move(self, name: str, action: str, to: str, share: float, reason: str) -> Version:
        version, now = self.version(name), self.clock()
        with self._told(name, action, to), self.store.writing() as db:
            self._write(db, now, action, name, version.state, to, share, reason)
        return self.version(name)

    def _write(
        self,
        db: sqlite3.Connection,
        now: float,
        action: str,
        name: str,
        state: str,
        to: str,
        share: float = 0.0,
        reason: str = "",
        report: str | None = None,
        kept_until: float = 0.0,
    ) -> None:
        """One line of the journal. All else follows from it, by the triggers of the store."""
        db.execute(
            "INSERT INTO journal (time, action, version, from_state, to_state, share, reason, "
            "report, kept_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (now, action, name, state, to, share, reason, report, kept_until),
        )

    def _keep(self, now: float) -> float:
        return now + self.retention.total_seconds()

    @staticmethod
    def _check_share(share: float) -> None:
        if not 0 < share <= 1:
            raise BadSetting(f"A share is above 0 and at most 1 (for all), not {share}.")

    @contextlib.contextmanager
    def _told(self, name: str, action: str, to: str) -> Iterator[None]:
        """What the store refuses, in words that say what can be done instead."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            told = str(error)
            if "name is taken" in told:
                raise NotAllowed(
                    f"There is a version {name!r} already. A new one needs a new name."
                ) from error
            raise refusal(self.version(name), action, to, told, self.state()) from error
