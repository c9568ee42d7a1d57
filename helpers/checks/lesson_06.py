"""Checkers of the exercises in lesson 06."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from datasets import Dataset

from . import exercise

Row = dict[str, str]


def _row(prompt: str, completion: str = "yes") -> Row:
    return {"prompt": prompt, "completion": f" {completion}"}


def _sum(a: int, b: int, format: str = "{}") -> Row:
    return _row(format.format(f"What is {a} + {b}?"), str(a + b))


class Mix(NamedTuple):
    """What the mixer is given, and how many old rows belong into the result."""

    tickets: list[Row]
    replay: list[Row]
    held_out: list[str]
    share: float
    count: int


QA, CHAT = "Question: {}\nAnswer:", "User: {}\nAssistant:"
#: Every third sum is held out, in another format than most of the old rows have.
OLD = [_sum(a, b, (QA, CHAT)[(a + b) % 2]) for a in range(2, 12) for b in range(1, 31)]
HELD_OUT = [CHAT.format(f"What is {a} + {b}?") for a in range(2, 12) for b in range(1, 31, 3)]
NEW = [_row(f"Customer: Where is parcel {number}?\nAgent:") for number in range(90)]
MIXES = [
    Mix(NEW, OLD, HELD_OUT, 0.1, 10),
    Mix(NEW[:60], OLD, HELD_OUT, 0.25, 20),
    Mix(NEW[:30], OLD, HELD_OUT, 0.5, 30),
    Mix(NEW, OLD, HELD_OUT, 0.0, 0),
]
NO_REPLAY = "The old rows are all held out, so there is nothing to replay: raise a ValueError."


def _keys(rows: Iterable[Mapping[str, str]]) -> Counter[tuple[str, str]]:
    return Counter((row["prompt"], row["completion"]) for row in rows)


def _question(prompt: str) -> str:
    """What a prompt of these cases asks, whatever stands around it."""
    return prompt[prompt.index("What is") : prompt.index("?") + 1]


@exercise(
    "6.1",
    reading="`helpers.scope.replay.add_replay` has it, and refuses old data that leaks.",
)
def mix_in(function) -> str | None:
    found = []
    for mix in MIXES:
        given = copy.deepcopy(mix[:4])
        rows = function(*given)
        if mistake := _not_rows(rows):
            return mistake
        if list(given[:3]) != list(mix[:3]):
            return "The lists that were given are changed afterwards. Put the rows in a new list."
        found.append(_keys(rows))
    if mistake := _leak(found):
        return mistake
    for mix, rows in zip(MIXES, found, strict=True):
        if mistake := _mix_mistake(mix, rows):
            return mistake
    leaking = [_sum(3, 4, QA)]
    try:
        function(NEW, leaking, [CHAT.format("What is 3 + 4?")], 0.1)
    except Exception as error:
        if "raised ValueError" in str(error):  # the learner's errors come in a wrapping
            return None
        if "Your function" not in str(error):
            raise
        return f"{error}. {NO_REPLAY}"
    return NO_REPLAY


def _not_rows(found: Any) -> str | None:
    if not isinstance(found, (list, tuple, Dataset)):
        return f"It returned a {type(found).__name__}; a list of rows is asked for."
    if not all(
        isinstance(row, Mapping) and {"prompt", "completion"} <= row.keys() for row in found
    ):
        return 'Not all of what it returned are rows with a "prompt" and a "completion".'
    return None


def _leak(found: Sequence[Counter[tuple[str, str]]]) -> str | None:
    """What to say where rows of all the mixes together ask what is held out, or None."""
    asked = {_question(prompt) for prompt in HELD_OUT}
    old = _keys(OLD)
    leaks = [prompt for rows in found for prompt, _ in rows & old if _question(prompt) in asked]
    if not leaks:
        return None
    if not any(prompt in HELD_OUT for prompt in leaks):
        return (
            "It leaks: some old rows ask a held-out question in another format. Compare "
            "`question_of(prompt)` on both sides, not the prompts."
        )
    return (
        f"It leaks: {len(leaks)} old rows ask what the test asks, such as {_question(leaks[0])!r}. "
        "Who trains on the test measures memory, not retention."
    )


def _mix_mistake(mix: Mix, found: Counter[tuple[str, str]]) -> str | None:
    tickets, old = _keys(mix.tickets), _keys(mix.replay)
    replayed = found - tickets
    if set(replayed) - set(old):
        return "Some rows are neither tickets nor old rows. Take them over unchanged."
    if lost := sum((tickets - found).values()):
        return f"{lost} of {len(mix.tickets)} tickets are missing. Old rows come on top of them."
    some = f"With {len(mix.tickets)} tickets and a share of {mix.share:g}"
    if any(count > 1 for count in replayed.values()):
        return f"{some} some old rows come twice, while others have not been used yet."
    count = sum(replayed.values())
    if count == mix.count:
        return None
    if mix.count and count == round(mix.share * len(mix.tickets)):
        return (
            f"{some} it adds {count} old rows: a share of the tickets. Of all rows of the result "
            f"that is only {count / (count + len(mix.tickets)):.0%}."
        )
    remedy = " Take out what leaks first, and count after that." if count < mix.count else ""
    return f"{some} it adds {count} old rows; {mix.count} make the share.{remedy}"


def _break_even(trained: float, extra: float, changes: int, training: float = 3) -> int:
    return math.ceil(training * (1 + changes) * trained / extra)


#: Tokens trained on, further tokens to read per request, changes of policy.
COSTS = [(90_000, 30, 0), (90_000, 37, 4), (41_500, 24, 1), (1_000, 7, 12)]
ON_COSTS: Sequence[tuple[str, Callable[..., float]]] = [
    ("A token in training costs three times as much as one that is only read: it is read, and the "
     "way back takes twice that.",
     lambda *case: _break_even(*case, training=1)),
    ("The first training counts as well: with no change of policy there is one training.",
     lambda trained, extra, changes: _break_even(trained, extra, changes - 1)),
    ("Every change of policy needs a training of its own.",
     lambda trained, extra, changes: _break_even(trained, extra, 0)),
    ("That is the wrong way round: how many times do the further tokens go into the training?",
     lambda trained, extra, changes: extra / (3 * (1 + changes) * trained)),
    ("That many requests are not quite enough: round up.",
     lambda trained, extra, changes: 3 * (1 + changes) * trained // extra),
    ("That is no whole number of requests: round up.",
     lambda trained, extra, changes: 3 * (1 + changes) * trained / extra),
]  # fmt: skip


@exercise("6.2", reading="It counts computing only: nobody is paid for writing tickets in it.")
def break_even(function) -> str | None:
    found = [function(*case) for case in COSTS]
    for value in found:
        if not isinstance(value, Real):
            return f"It returned a {type(value).__name__}; one number is asked for."
    expected = [_break_even(*case) for case in COSTS]
    if [float(value) for value in found] == expected:
        return None
    for message, mistaken in ON_COSTS:
        wrong = [mistaken(*case) for case in COSTS]
        if all(math.isclose(v, w, rel_tol=1e-9) for v, w in zip(found, wrong, strict=True)):
            return message
    for (trained, extra, changes), value, right in zip(COSTS, found, expected, strict=True):
        if value != right:
            some = f"With {trained:,} tokens, {extra} further ones and {changes} changes"
            return f"{some} it is {right:,} requests, not {float(value):,.5g}."
    return None


#: Which article answers, which were found, and whether the answer was right.
RESULTS = [
    ("returns", ["returns", "refunds"], True),
    ("returns", ["refunds", "returns"], True),
    ("refunds", ["returns", "refunds"], False),
    ("gifts", ["returns"], False),
    ("gifts", ["repairs", "refunds"], False),
    ("repairs", [], False),
    ("repairs", ["refunds"], True),
    ("refunds", ["refunds"], True),
    ("gifts", ["gifts"], True),
    ("gifts", ["gifts", "returns"], True),
]
ALL_RIGHT = RESULTS[7:]


def _blame(
    results: Sequence[tuple[str, list[str], bool]], of_wrong: bool = False, first: bool = False
) -> tuple[float, float]:
    wrong = [(w, names[:1] if first else names) for w, names, right in results if not right]
    missed = sum(wanted not in names for wanted, names in wrong)
    total = len(wrong) if of_wrong else len(results)
    return 100 * missed / total, 100 * (len(wrong) - missed) / total


@exercise("6.3", reading="Searching better and reading better are two projects: ask which first.")
def blame(function) -> str | None:
    found = function(copy.deepcopy(RESULTS))
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        return f"It returned {found!r}; two numbers are asked for: searching, reading."
    if not all(isinstance(value, Real) for value in found):
        return f"It returned {found!r}; two numbers are asked for: searching, reading."
    searching, reading = map(float, found)
    right = _blame(RESULTS)
    if not _same(found, right):
        missed = sum(wanted not in names for wanted, names, _ in RESULTS)
        mistakes = [
            ((reading, searching), "That is the wrong way round: searching comes first."),
            (
                (100 * searching, 100 * reading),
                "Those are shares. In percent they are 100 times as much.",
            ),
        ]
        for swapped, message in mistakes:
            if _same(swapped, right):
                return message
        if _same(found, _blame(RESULTS, of_wrong=True)):
            return "Those are percent of the wrong answers. Divide by the number of all questions."
        if _same(found, _blame(RESULTS, first=True)):
            return "The model sees every article that was found, so look at all of them."
        if math.isclose(searching, 100 * missed / len(RESULTS)):
            return (
                "A right answer is nobody's fault, even where its article was not found: count the "
                "wrong ones only."
            )
        return f"Here it is {right[0]:g} and {right[1]:g}, not {searching:g} and {reading:g}."
    if not _same(function(copy.deepcopy(ALL_RIGHT)), (0, 0)):
        return "Where every answer is right, both are 0."
    return None


def _same(found: Sequence[float], expected: Sequence[float]) -> bool:
    return all(math.isclose(f, e, abs_tol=1e-9) for f, e in zip(found, expected, strict=True))
