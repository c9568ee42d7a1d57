"""Checking a learner's answers: `check("1.1", answer)` and `quiz("01")`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
from dataclasses import dataclass
from typing import Any

from . import checks
from .quizzes import Quiz, QuizError, quiz

__all__ = ["Quiz", "QuizError", "Result", "UnknownExercise", "check", "grade", "quiz"]


class UnknownExercise(LookupError):
    """There is no exercise with this number."""


@dataclass(frozen=True)
class Result:
    """How an answer was graded."""

    status: str  #: "right", "wrong" or "not attempted"
    message: str  #: the line the learner sees


class _NotAttempted(Exception):
    """The learner's function is still a stub."""


class _LearnerError(Exception):
    """The learner's function raised an exception, or stopped short of an answer."""


def check(exercise_id: str, answer: Any) -> None:
    """Print whether an answer is right and, when it is not, what the likely mistake is.

    Raises:
        UnknownExercise: there is no such exercise. A wrong answer never raises.
    """
    print(grade(exercise_id, answer).message)


def grade(exercise_id: str, answer: Any) -> Result:
    """Grade an answer: a value, or a function that the exercise's checker will call.

    Raises:
        UnknownExercise: there is no such exercise; the message names those there are.
    """
    known = checks.load_all()
    if exercise_id not in known:
        raise UnknownExercise(
            f"There is no exercise {exercise_id!r}. Known: {', '.join(sorted(known)) or 'none'}."
        )
    if _is_blank(answer):
        return _not_attempted(exercise_id)
    if inspect.isroutine(answer):
        answer = _watched(answer)
    try:
        mistake = known[exercise_id].checker(answer)
    except _NotAttempted:
        return _not_attempted(exercise_id)
    except _LearnerError as error:
        mistake = str(error)
    except Exception as error:
        # An answer of another kind than the exercise asks for breaks the comparison itself.
        if _trips_on_stub(error):
            return _not_attempted(exercise_id)
        mistake = (
            f"This answer could not be compared ({type(error).__name__}: {error}). "
            "Is it of the kind the exercise asks for?"
        )
    if mistake is None:
        reading = known[exercise_id].reading
        return Result("right", f"{exercise_id}: right." + (f" {reading}" if reading else ""))
    return Result("wrong", f"{exercise_id}: not yet. {mistake}")


def _not_attempted(exercise_id: str) -> Result:
    return Result("not attempted", f"{exercise_id}: not attempted yet")


def _is_blank(answer: Any) -> bool:
    """Whether an answer is an untouched stub: `...`, None, or a collection of such."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, (list, tuple)) and answer:
        return any(part is ... for part in answer) or all(part is None for part in answer)
    return answer is None or answer is ...


def _trips_on_stub(error: Exception) -> bool:
    """Whether code failed because it computed with a `...` that is still to be filled in."""
    return isinstance(error, (TypeError, AttributeError)) and "ellipsis" in str(error).lower()


def _watched(function):
    """The learner's function, telling a stub and a failure apart from an answer."""
    answered = False

    @functools.wraps(function)
    def call(*args, **kwargs):
        nonlocal answered
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                value = function(*args, **kwargs)
        except NotImplementedError:
            raise _NotAttempted from None
        except Exception as error:
            if _trips_on_stub(error):
                raise _NotAttempted from None
            raise _LearnerError(f"Your function raised {type(error).__name__}: {error}") from error
        if value is None and printed.getvalue().strip():
            raise _LearnerError(
                f"Your function prints its answer ({printed.getvalue().strip()[:40]}) and returns "
                "nothing. End it with `return`."
            )
        if _is_blank(value):
            # A function that has answered before is no stub: one of its branches ends early.
            if answered:
                raise _LearnerError(
                    "For some inputs your function returns nothing: is a `return` missing?"
                )
            raise _NotAttempted
        answered = True
        return value

    return call
