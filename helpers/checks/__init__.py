"""The checkers of the exercises, one module per lesson, and the register they stand in."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Takes the learner's answer; returns None when it is right, else a sentence on the likely mistake.
Checker = Callable[[Any], "str | None"]


@dataclass(frozen=True)
class Exercise:
    """A checker, and a sentence on what a right answer tells."""

    checker: Checker
    reading: str = ""


REGISTER: dict[str, Exercise] = {}


def exercise(exercise_id: str, reading: str = "") -> Callable[[Checker], Checker]:
    """Register the decorated function as the checker of an exercise such as "1.1".

    Raises:
        ValueError: another function checks this exercise already.
    """

    def register(checker: Checker) -> Checker:
        known = REGISTER.get(exercise_id)
        # The same function comes again when a module is reloaded.
        if known and _origin(known.checker) != _origin(checker):
            raise ValueError(f"Exercise {exercise_id} has two checkers.")
        REGISTER[exercise_id] = Exercise(checker, reading)
        return checker

    return register


def _origin(checker: Checker) -> tuple[str, str]:
    return checker.__module__, checker.__qualname__


def load_all() -> dict[str, Exercise]:
    """Import every lesson's checkers and return the register, by exercise."""
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("lesson_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return REGISTER
