"""Files of JSON lines: one record per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


def read_lines(path: str | Path) -> Iterator[tuple[int, dict]]:
    """The records of a file with their line numbers; blank lines are skipped.

    Raises:
        ValueError: the file is not UTF-8, or a line is no JSON object; the message names it.
    """
    try:
        # "sig": some editors on Windows put a mark at the beginning.
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number} is {record!r}, and must be an object {{...}}.")
        yield number, record
