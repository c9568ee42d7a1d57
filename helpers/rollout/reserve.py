"""Room on the disk for a rollback: what telemetry fills must not keep a bad version live.

A rollback is a line in the journal, and a full disk takes none. So a server keeps a file of zeros
beside its store, which a rollback deletes when it finds no room.
"""

from __future__ import annotations

from pathlib import Path

#: Bytes; a rollback needs a few pages of the store and of its log.
SIZE = 256 * 1024


def _file(store: str | Path) -> Path:
    return Path(f"{store}.reserve")


def keep(store: str | Path) -> bool:
    """Make the reserve of a store where it is missing; False where there is no room for it."""
    path = _file(store)
    try:
        if not path.exists() or path.stat().st_size < SIZE:
            path.write_bytes(bytes(SIZE))
    except OSError:
        path.unlink(missing_ok=True)  # half of it would only be in the way
        return False
    return True


def spend(store: str | Path) -> bool:
    """Delete the reserve; False where there is none."""
    try:
        _file(store).unlink()
    except OSError:
        return False
    return True
