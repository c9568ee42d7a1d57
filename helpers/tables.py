"""What the course's HTML tables have in common."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass


def head(names: Iterable[str]) -> str:
    """The head of a table, its names above the left edge of their columns."""
    cells = "".join(
        f'<th scope="col" style="text-align:left">{html.escape(name)}</th>' for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"


@dataclass(frozen=True)
class Table:
    """A table of texts: HTML in a notebook, aligned lines elsewhere.

    Attributes:
        names: of the columns; the first one holds what a row is about.
        rows: each with a text for every column.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.names, *self.rows, strict=True)]
        lines = (
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in (self.names, *self.rows)
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = 'style="text-align:left"'
        body = "".join(
            f'<tr><th scope="row" {left}>{html.escape(row[0])}</th>'
            + "".join(f"<td {left}>{html.escape(text)}</td>" for text in row[1:])
            + "</tr>"
            for row in self.rows
        )
        return f"<table>{head(self.names)}<tbody>{body}</tbody></table>"
