"""Rollouts that are looked at every so often: what comes in between two looks is counted at once.

The monitor of `canary` learns the harm rates anew with every answer. One that learns them at its
looks only bets a little later and is valid for the same reason: each bet is fixed before what it is
on. It is computed look by look and not answer by answer, whatever the traffic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy

from .eprocess import PRIOR_ANSWERS, PRIOR_RATE, Counts, Floats, best_bet, unbiased


class Came(NamedTuple):
    """What came in, one entry per rollout (and look): counts, and harm that was told of too late.

    Attributes:
        counts: answers of either arm, and harm that was told of in time.
        late: of the candidate's answers, those whose harm was not.
    """

    counts: Counts
    late: Floats


def draw(
    rng: numpy.random.Generator,
    answers: numpy.ndarray | int,
    share: Floats | float,
    rates: tuple[float, float],
    seen: float,
    shape: tuple[int, ...],
) -> Came:
    """Answers of users who ask once.

    Args:
        answers: how many there are, both arms together.
        share: the chance of each to be the candidate's.
        rates: harm rates of candidate and control.
        seen: the share of the harm that is told of in time.
        shape: rollouts, or rollouts and looks.
    """
    candidate = rng.binomial(numpy.broadcast_to(answers, shape), share)
    control = answers - candidate
    told = rng.binomial(candidate, rates[0] * seen)
    told_control = rng.binomial(control, rates[1] * seen)
    unseen = rates[0] * (1 - seen) / max(1 - rates[0] * seen, 1e-12)
    late = rng.binomial(candidate - told, unseen) if unseen else numpy.zeros_like(told)
    return Came(Counts(candidate, control, told, told_control), late)


def believed(seen: Counts) -> tuple[Floats, Floats]:
    """The harm rates of candidate and control after so many answers, as the monitor has them."""
    total = PRIOR_RATE * PRIOR_ANSWERS
    return (
        (seen.candidate_harmed + total) / (seen.candidate + PRIOR_ANSWERS),
        (seen.control_harmed + total) / (seen.control + PRIOR_ANSWERS),
    )


def gains(
    new: Counts,
    share: Floats | float,
    rates: tuple[Floats | float, Floats | float],
    margin: Floats | float,
) -> tuple[Floats, Floats]:
    """By how much the answers since the last look multiply the wealth, as logarithms.

    Args:
        rates: of candidate and control, as believed at the last look.
        margin: from 0 to 1.

    Returns:
        Those of "beyond" and of "within"; see `eprocess.log_factors`.
    """
    bet, r_c, r_k = best_bet(*rates, share, margin)
    gain = numpy.zeros_like(bet)
    for count, arm, harm in (
        (new.candidate_harmed, True, 1.0),
        (new.candidate - new.candidate_harmed, True, 0.0),
        (new.control_harmed, False, 1.0),
        (new.control - new.control_harmed, False, 0.0),
    ):
        x = unbiased(numpy.asarray(arm), share, numpy.asarray(harm), r_c, r_k)
        gain = gain + count * numpy.log1p(bet * (x - margin))
    return numpy.where(bet > 0, gain, 0.0), numpy.where(bet < 0, gain, 0.0)
