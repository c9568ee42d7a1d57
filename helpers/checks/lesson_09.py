"""Checkers of the exercises in lesson 09."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from . import exercise

# 9.1


@exercise(
    "9.1",
    reading="The registry allowed every one of these lines. It keeps the files, the states and the "
    "journal honest; whether a step was wise is said by the monitor's line above it.",
)
def careless(answer: Any) -> str | None:
    from ..rollout.journals import cases

    if not isinstance(answer, Mapping):
        return 'Give a dict from letters to line numbers, such as {"A": 9, "B": None}.'
    known = {case.name: case for case in cases()[:SHOWN]}
    found = {str(letter).strip().upper(): line for letter, line in answer.items()}
    if unknown := sorted(found.keys() - known.keys()):
        return f"There is no journal {unknown[0]!r}; they are {', '.join(known)}."
    if missing := sorted(known.keys() - found.keys()):
        return f"{missing[0]} is missing. Where nothing was careless, say None."
    for letter, case in known.items():
        line = found[letter]
        if line is not None and (isinstance(line, bool) or line not in case.journal.index):
            return f"{letter}: {line!r} is no line of its journal, nor None."
        if line in case.lines or (line is None and not case.lines):
            continue
        if line is None:
            return (
                f"In {letter} one step should not have been taken. Hold each against what the "
                "monitor had said just before, to the end of its line."
            )
        if not case.lines:
            return (
                f"{letter}, line {line}: the plan allowed it at that hour, and so did the monitor. "
                "That it had to be taken back later does not make it careless."
            )
        if line > max(case.lines):
            return f"{letter}: line {line} is too late. A step before it was careless already."
        return f"{letter}: line {line} kept to the plan and to what was known at that hour."
    return None


#: How many of the journals are shown in the exercise.
SHOWN = 4


# 9.2

Floats = numpy.ndarray
#: Rates of harm (control, candidate), share, margin, bet: harmless, harmful, and one between.
BETS = (
    (0.05, 0.05, 0.25, 0.03, 0.5),
    (0.05, 0.20, 0.25, 0.03, 0.5),
    (0.10, 0.14, 0.10, 0.02, 0.3),
    (0.30, 0.10, 0.50, 0.05, 0.4),
)
ANSWERS = 200


def _draw_events(
    seed: int, control: float, candidate: float, share: float
) -> tuple[Floats, Floats]:
    rng = numpy.random.default_rng(seed)
    chosen = rng.random(ANSWERS) < share
    return chosen, rng.random(ANSWERS) < numpy.where(chosen, candidate, control)


def _scored(chosen: Floats, harmed: Floats, share: float) -> Floats:
    """What an answer says of the difference: on average, exactly the difference."""
    return harmed * numpy.where(chosen, 1 / share, -1 / (1 - share))


def _wealth(chosen: Floats, harmed: Floats, share: float, margin: float, bet: float) -> Floats:
    return numpy.cumprod(1 + bet * (_scored(chosen, harmed, share) - margin))


def _unweighted(chosen: Floats, harmed: Floats, margin: float, bet: float) -> Floats:
    return numpy.cumprod(1 + bet * (harmed * numpy.where(chosen, 1.0, -1.0) - margin))


#: What a wrong road of wealth comes from.
ON_WEALTH: Sequence[tuple[str, Callable[..., Floats]]] = (
    ("The margin is missing: who bets against \"at most the margin\" pays it at every answer.",
     lambda c, h, s, m, b: _wealth(c, h, s, 0.0, b)),
    ("The margin is added. What is claimed is taken off: an answer wins by how far it lies above "
     "the margin.", lambda c, h, s, m, b: _wealth(c, h, s, -m, b)),
    ("The wins are added up. Each bet stakes a part of what there is now, so they multiply.",
     lambda c, h, s, m, b: 1 + numpy.cumsum(b * (_scored(c, h, s) - m))),
    ("The arms are exchanged: this wealth grows when the old version does harm.",
     lambda c, h, s, m, b: _wealth(~c, h, 1 - s, m, b)),
    ("Harm counts alike in both arms. The candidate answers few: its harm counts 1/share, the "
     "control's 1/(1 - share), so that the difference is met on average.",
     lambda c, h, s, m, b: _unweighted(c, h, m, b)),
    ("Both arms are divided by the candidate's share. The control's is 1 - share.",
     lambda c, h, s, m, b: numpy.cumprod(1 + b * (h * numpy.where(c, 1 / s, -1 / s) - m))),
    ("An answer without harm leaves the wealth as it is. It should cost bet times margin: it "
     "speaks for the claim.",
     lambda c, h, s, m, b: numpy.cumprod(
         numpy.where(h, 1 + b * (_scored(c, h, s) - m), 1.0))),
    ("Only the candidate's answers count here. Harm by the old version is what is compared with.",
     lambda c, h, s, m, b: _wealth(c, h & c, s, m, b)),
    ("That is the logarithm of the wealth.",
     lambda c, h, s, m, b: numpy.log(_wealth(c, h, s, m, b))),
    ("That is the factor of each answer. The wealth is the product of all up to there.",
     lambda c, h, s, m, b: 1 + b * (_scored(c, h, s) - m)),
    ("The wealth begins at 0, and 0 times anything is 0: begin with 1.",
     lambda c, h, s, m, b: numpy.zeros(len(c))),
    ("That is the largest wealth so far. It is what one looks at in the end, but first give what "
     "there is after each answer.",
     lambda c, h, s, m, b: numpy.maximum.accumulate(_wealth(c, h, s, m, b))),
)  # fmt: skip


@exercise(
    "9.2",
    reading="Nobody earns on average while the claim holds, whatever is bet: so a wealth of 20 is "
    "reached by at most one harmless rollout in twenty, however often one looks.",
)
def wealth(function: Callable[..., Any]) -> str | None:
    given = []
    for seed, (control, candidate, share, margin, bet) in enumerate(BETS):
        chosen, harmed = _draw_events(seed, control, candidate, share)
        given.append((chosen, harmed, share, margin, bet))
    found = []
    for chosen, harmed, share, margin, bet in given:
        value = function(chosen.tolist(), harmed.tolist(), share, margin, bet)
        if mistake := _not_numbers(value):
            return mistake
        found.append(numpy.asarray(list(value), float))

    def matches(way: Callable[..., Floats]) -> bool:
        return all(
            len(value) == len(case[0]) and numpy.allclose(value, way(*case), 1e-6, 1e-9)
            for value, case in zip(found, given, strict=True)
        )

    if matches(_wealth):
        return None
    if all(
        len(value) == ANSWERS + 1 and numpy.allclose(value[1:], _wealth(*case), 1e-6, 1e-9)
        for value, case in zip(found, given, strict=True)
    ):
        return "The 1 before the first answer is in the list. Leave it out: one number an answer."
    for message, way in ON_WEALTH:
        if matches(way):
            return message
    if any(len(value) != ANSWERS for value in found):
        return f"For {ANSWERS} answers it returned {len(found[0])} numbers; one an answer, please."
    right = _wealth(*given[1])
    place = int(numpy.argmax(~numpy.isclose(found[1], right, 1e-6, 1e-9)))
    chosen, harmed, share, margin, bet = given[1]
    who = "candidate" if chosen[place] else "control"
    return (
        f"With share {share:g}, margin {margin:g} and bet {bet:g}, answer {place + 1} ({who}, "
        f"{'harm' if harmed[place] else 'no harm'}) should leave {right[place]:.4f}, and leaves "
        f"{found[1][place]:.4f}."
    )


def _not_numbers(value: Any) -> str | None:
    """What to say about an answer that is no row of numbers, or None."""
    try:
        numbers = numpy.asarray(list(value), float)
    except (TypeError, ValueError):
        return f"It returned a {type(value).__name__}; a list of numbers is asked for."
    if numbers.ndim != 1:
        return "A plain list of numbers is asked for, one an answer."
    return None


# 9.3

#: Answers an hour, margin in points, hours until feedback counts, and the old version's harm.
PER_HOUR, MARGIN, WINDOW, OLD = 1000, 1.0, 2.0, 0.03
#: What a plan must keep: hours until half of the harmless candidates are live, and extra users
#: harmed by candidates that harm so many points more.
LIVE_WITHIN, MOST = 20.0, {3: 65.0, 30: 60.0}
#: Another seed than any that the lesson shows: a plan is not fitted to the rollouts that try it.
TRIALS, SEED = 400, 9


@exercise(
    "9.3",
    reading="The narrow stage is for the catastrophe, and must last longer than feedback takes. "
    "Against a small harm, stages save little: there, time is paid with users.",
)
def plan(answer: Any) -> str | None:
    from ..rollout.errors import RolloutError
    from ..rollout.plan import Stages
    from ..rollout.traffic import Kind, Traffic
    from ..rollout.trial import try_stages

    if not isinstance(answer, Mapping):
        return 'Give a dict with a list of "stages".'
    try:
        stages = Stages.load(answer)
        trials = {
            points: try_stages(
                stages, Traffic((Kind("all", 1.0, OLD, OLD + points / 100),)), MARGIN,
                count=TRIALS, per_hour=PER_HOUR, seed=SEED,
            )
            for points in MOST
        }  # fmt: skip
    except RolloutError as error:
        return str(error)
    first = stages.stages[0]
    live = trials[3].hours_to_live
    told = "fewer than half go live" if numpy.isinf(live) else f"half are live in {live:.1f} h"
    if trials[30].harmed > MOST[30]:
        harmed = f"At 30 points it harms {trials[30].harmed:.0f} extra users"
        if first.share <= 0.05:
            return (
                f"{harmed}, although it begins with few. Feedback counts after {WINDOW:g} hours: a "
                "first stage that ends before has seen nothing. Give it `hours`, or a `within`."
            )
        return (
            f"{harmed}: until the first feedback counts, {100 * first.share:g} % of the users have "
            "it. Begin narrower."
        )
    if live > LIVE_WITHIN:
        why = (
            f"{100 * first.share:g} % of the users see too little in that time; widen sooner"
            if first.share < 0.05
            else "wait less, or widen further"
        )
        return f"Of harmless candidates {told}; {LIVE_WITHIN:g} h are allowed. {why.capitalize()}."
    if trials[3].harmed > MOST[3]:
        return (
            f"At 3 points it harms {trials[3].harmed:.0f} extra users; {MOST[3]:g} are allowed. It "
            "is too wide before much is ruled out: stay narrower, or ask for a smaller `within`."
        )
    return None
