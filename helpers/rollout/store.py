"""One SQLite file for versions, journal and telemetry, opened so that a kill loses nothing.

What SQLite has acknowledged is on the disk: the write-ahead log is synced at every commit
(`synchronous=FULL`), and a transaction that was cut off is undone when the file is next opened
(https://www.sqlite.org/wal.html). Readers never wait; of writers there is one at a time.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from .errors import BadStore, Busy, NotStored
from .schema import APPLICATION, TABLES, TRANSITIONS, TRIGGERS, VERSION

#: So many seconds a writer waits for another one before it gives up as `Busy`.
PATIENCE = 5.0
#: Bytes that must be free on a disk that has been full, before it counts as having room again.
ROOM = 2**20


def connect(path: str | Path, patience: float = PATIENCE) -> sqlite3.Connection:
    """Open a store, and make it where there is none.

    Nothing is written outside of `writing(connection)`: the connection begins no transaction by
    itself. It may be handed from thread to thread, but one at a time: see `Store`.

    Args:
        patience: seconds to wait for another writer.

    Raises:
        BadStore: the file is something else, comes from a newer version of this course, or lies in
            a place where a store cannot work.
        Busy: another process is writing, and does not stop.
        NotStored: the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise BadStore(f"There is no folder {path.parent} to keep a store in. Make it first.")
    try:
        connection = sqlite3.connect(
            path, timeout=patience, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise BadStore(f"{path} cannot be opened: {error}.") from error
    try:
        with explained(path):
            _open(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _open(connection: sqlite3.Connection, path: Path) -> None:
    _check(connection, path)  # before anything is written into a file that is not ours
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise BadStore(f"{path} is where SQLite keeps no log. Put it on a disk of this machine.")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten with zeros
    connection.execute("PRAGMA temp_store = MEMORY")  # and leaves no traces beside the store
    if not _check(connection, path):
        with writing(connection):
            if not _check(connection, path):  # somebody else may have been faster
                _make(connection)


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the store has its tables; a file of something else is refused."""
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if ours and version > VERSION:
        raise BadStore(
            f"{path} has layout {version}, and this course knows layouts up to {VERSION}. "
            "Bring the course up to date."
        )
    if not ours and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise BadStore(f"{path} is a database of something else. Give the store its own file.")
    return ours


def _make(connection: sqlite3.Connection) -> None:
    """All tables, the transitions, and then the triggers that fix them; in one transaction."""
    for statement in statements(TABLES):
        connection.execute(statement)
    connection.executemany("INSERT INTO transitions VALUES (?, ?, ?)", TRANSITIONS)
    for statement in statements(TRIGGERS):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one. `executescript` would commit behind our back."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction: all of the block is stored, on the disk, when it ends; or nothing of it.

    Raises:
        Busy, NotStored: and then nothing is stored.
        sqlite3.IntegrityError: a constraint of the store refused it; nothing is stored.
    """
    with explained():
        connection.execute("BEGIN IMMEDIATE")  # waits here for other writers, not in the middle
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # on a full disk SQLite has already gone back by itself
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def explained(path: str | Path = "the store") -> Iterator[None]:
    """What SQLite says about locks, disks and files, in errors of ours."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        told = str(error)
        if "locked" in told:
            raise Busy(
                f"Another process keeps writing to {path}. Try again; if it never ends, find the "
                "process that has the store open."
            ) from error
        if "full" in told or "I/O" in told or "readonly" in told or "read-only" in told:
            raise NotStored(
                f"{path} could not be written ({told}). Nothing of this call is stored, and all "
                "that was stored before is there. Make room on the disk and try again."
            ) from error
        if "unable to open" in told:
            raise BadStore(
                f"{path} cannot be opened. Its folder must be there, and yours to write in."
            ) from error
        if "not a database" in told or "malformed" in told:
            raise BadStore(f"{path} is damaged or no store: {told}.") from error
        raise


class Store:
    """A connection and the lock that lets the threads of a server take turns on it."""

    def __init__(self, path: str | Path, patience: float = PATIENCE) -> None:
        self.path = Path(path)
        self.connection = connect(path, patience)
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, inside a transaction: see `writing`."""
        with self._lock, writing(self.connection):
            yield self.connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Everything read inside is from one moment, whatever others write meanwhile."""
        with self._lock, explained(self.path):
            if self.connection.in_transaction:  # it is from one moment already
                yield
                return
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.connection.execute("ROLLBACK")  # there is nothing to keep

    def read(self, query: str, values: tuple | dict = ()) -> list[tuple]:
        """All rows that a query finds."""
        with self._lock, explained(self.path):
            return self.connection.execute(query, values).fetchall()

    def touch(self) -> None:
        """Write what is there already, to see whether the disk takes it and has room for more.

        Raises:
            Busy, NotStored: it does not.
        """
        if shutil.disk_usage(self.path.parent).free < ROOM:
            raise NotStored(f"The disk of {self.path} has hardly any room. Make some.")
        with self.writing() as db:
            db.execute(f"PRAGMA user_version = {VERSION}")

    def wipe(self) -> None:
        """Bring the log into the file and empty it, so that deleted texts are in neither.

        Raises:
            Busy: somebody has been reading for so long that the log could not be emptied. What was
                deleted is deleted, and traces of it stay in the log until `wipe` is called again.
        """
        with self._lock, explained(self.path):
            busy, *_ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise Busy(
                f"The rows are deleted, but a reader of {self.path} keeps the log from being "
                "emptied, and traces of them are still in it. Let it finish and try again."
            )

    def close(self) -> None:
        """Close the file. Nothing is lost without it."""
        with self._lock:
            self.connection.close()


@contextlib.contextmanager
def hold(path: str | Path) -> Iterator[None]:
    """Be the one server of a store, for the length of a `with` block.

    Notebooks and monitors may read and write beside a server: SQLite lets them take turns. Two
    servers would answer the same users from two memories. The sign is a lock on a file beside the
    store, which the operating system takes back when the process dies, however it dies.

    Raises:
        Busy: another server has it.
        NotStored: the file cannot be written.
    """
    sign = Path(f"{path}.server")
    with explained(sign):
        connection = sqlite3.connect(sign, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        try:
            with explained(sign):
                connection.execute("BEGIN EXCLUSIVE")
        except Busy as error:
            raise Busy(
                f"Another server answers from {path}. Stop it first, or give this one a store of "
                "its own."
            ) from error
        yield
    finally:
        connection.close()
