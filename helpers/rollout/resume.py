"""Steps that survive a kill: each leaves its result in a folder, whole or not at all.

A step is made in a folder of another name, everything in it is brought to the disk, and only then
is it renamed: a rename is one act of the file system. Whoever starts again takes what is finished,
if it was made from the same inputs and is still what it was, and makes the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Where a step's own words about itself are; everything else in its folder are its files.
RESULT = "result.json"
#: Changes when steps come to mean something else: then nothing that lies on disks is taken.
FORM = 1


@dataclass(frozen=True)
class Done:
    """A finished step.

    Attributes:
        result: what it found, as JSON has it.
        files: name below `folder` to SHA-256.
        inputs: digest of everything it was made from.
        digest: of result and files; the same for the same inputs, whenever and after however many
            kills it was made.
        seconds: how long it took when it was made.
        fresh: whether it was made now, and not taken from the disk.
    """

    name: str
    folder: Path
    result: dict[str, Any]
    files: dict[str, str]
    inputs: str
    seconds: float
    fresh: bool

    @property
    def digest(self) -> str:
        return digest_of({"result": self.result, "files": self.files})


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: also of its folder.
        make: is given an empty folder for its files and the steps before by name, and returns its
            result, which JSON must be able to hold. No times: they differ from run to run.
        reads: the steps before whose results it uses.
        settings: all else that its result depends on, as JSON.
        again: whether it is made every time, because it is about something outside of its folder.
            It must not mind what it has done before.
    """

    name: str
    make: Callable[[Path, Mapping[str, Done]], dict[str, Any]]
    reads: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False

    def inputs(self, done: Mapping[str, Done]) -> str:
        """Digest of what the step would be made from now."""
        read = {name: done[name].digest for name in self.reads}
        return digest_of(
            {"form": FORM, "step": self.name, "settings": self.settings, "reads": read}
        )


def walk(steps: Sequence[Step], folder: Path) -> Iterator[Done]:
    """Take or make one step after the other; what comes out is on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, Done] = {}
    for step in steps:
        inputs = step.inputs(done)
        found = None if step.again else taken(folder / step.name, inputs)
        found = found or _made(step, folder, inputs, done)
        done[step.name] = found
        yield found


def taken(folder: Path, inputs: str) -> Done | None:
    """A finished step from the disk; None if it is missing, stale or damaged."""
    try:
        found = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        done = Done(
            folder.name, folder, found["result"], found["files"], found["inputs"],
            found["seconds"], fresh=False,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # What somebody has put beside them, such as a file browser, does no harm.
    whole = done.files.items() <= _files(folder).items()
    return done if done.inputs == inputs and whole else None


def _made(step: Step, folder: Path, inputs: str, done: Mapping[str, Done]) -> Done:
    place, making, old = (folder / f"{start}{step.name}" for start in ("", ".making-", ".old-"))
    for left in (making, old):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    making.mkdir()
    started = time.perf_counter()
    result = step.make(making, done)
    seconds = time.perf_counter() - started
    # Through JSON and back, so that a step made now and one from the disk are the same to a reader.
    result = json.loads(json.dumps(result))
    files = _files(making)
    told = {"inputs": inputs, "seconds": seconds, "result": result, "files": files}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (making / RESULT).write_text(text, encoding="utf-8")
    settle(making)
    if place.exists():
        place.rename(old)
    making.rename(place)
    sync(folder)
    shutil.rmtree(old, ignore_errors=True)
    return Done(step.name, place, result, files, inputs, seconds, fresh=True)


def replace(path: Path, text: str) -> None:
    """Write a file beside the old one, bring it to the disk, and put it in the other's place."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def settle(folder: Path) -> None:
    """Bring a folder and everything in it to the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Bring one file, or the list of a folder's names, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps their names in order by itself
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest_of(value: Any) -> str:
    """SHA-256 of what JSON makes of a value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / RESULT
    }
