"""Checkers of lesson 00, Start here."""

from __future__ import annotations

from . import exercise  # noqa: F401
