"""Checkers of lesson 01, The regression demo."""

from __future__ import annotations

from . import exercise  # noqa: F401
