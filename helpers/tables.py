"""What the course's HTML tables have in common."""

from __future__ import annotations

import html
from collections.abc import Iterable


def head(names: Iterable[str]) -> str:
    """The head of a table, its names above the left edge of their columns."""
    cells = "".join(
        f'<th scope="col" style="text-align:left">{html.escape(name)}</th>' for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"
