"""Where the course's data lies. No heavy library is imported here: the audit starts at once."""

from __future__ import annotations

from pathlib import Path

#: The folder with everything the course ships.
DATA = Path(__file__).resolve().parents[1] / "data"
