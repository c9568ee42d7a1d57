"""The fixed-horizon test beside the e-process: two proportions, to be looked at once.

Its size is planned beforehand, and at that size it has more power than anything that may be looked
at all the time. Looked at more often it errs more often than alpha says.
"""

from __future__ import annotations

import math

import numpy
from scipy import stats

from .eprocess import BadEvents, Counts, Floats, check_alpha, check_events, restricted

#: Events before the first look of who peeks, for the normal approximation's sake.
FIRST = 100


def tally(arm: numpy.ndarray, harm: numpy.ndarray) -> Counts:
    """The counts of each stream after its last event; shapes (..., events)."""
    return Counts(*(flags.sum(axis=-1) for flags in (arm, ~arm, arm & harm, ~arm & harm)))


def z_score(counts: Counts, margin: float) -> Floats:
    """How far the candidate's harm exceeds the control's plus the margin, in standard errors.

    The error is that of the rates closest to the observed ones under the null (Farrington and
    Manning 1990). 0 where an arm has no answer or the error is 0.
    """
    n_c, n_k = numpy.asarray(counts.candidate, float), numpy.asarray(counts.control, float)
    both = (n_c > 0) & (n_k > 0)
    safe_c, safe_k = numpy.where(both, n_c, 1), numpy.where(both, n_k, 1)
    rate_c, rate_k = counts.candidate_harmed / safe_c, counts.control_harmed / safe_k
    share = numpy.where(both, n_c / (safe_c + safe_k), 0.5)
    r_c, r_k = restricted(numpy.where(both, rate_c, 0), numpy.where(both, rate_k, 0), share, margin)
    error = numpy.sqrt(r_c * (1 - r_c) / safe_c + r_k * (1 - r_k) / safe_k)
    usable = both & (error > 0)
    return numpy.where(usable, (rate_c - rate_k - margin) / numpy.where(usable, error, 1), 0.0)


def p_value(counts: Counts, margin: float) -> Floats:
    """Of the null "at most the margin"; for one look."""
    return stats.norm.sf(z_score(counts, margin))


def horizon(
    control: float,
    candidate: float,
    share: float,
    margin: float,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Answers, both arms together, after which the test is to be looked at.

    Normal approximation, with the restricted rates under the null and the true ones under the
    alternative (Farrington and Manning 1990).

    Raises:
        BadEvents: the candidate's true harm does not exceed the margin, or a share is impossible.
    """
    check_alpha(alpha)
    if not 0 < share < 1 or not 0 < power < 1:
        raise BadEvents("share and power must lie above 0 and below 1.")
    if candidate - control <= margin:
        raise BadEvents(
            f"A harm of {candidate - control:g} does not exceed the margin {margin:g}: no number "
            "of answers proves that it does."
        )
    r_c, r_k = restricted(candidate, control, share, margin)

    def spread(c: float, k: float) -> float:
        return math.sqrt(c * (1 - c) / share + k * (1 - k) / (1 - share))

    reach = stats.norm.isf(alpha) * spread(float(r_c), float(r_k))
    reach += stats.norm.ppf(power) * spread(candidate, control)
    return math.ceil((reach / (candidate - control - margin)) ** 2)


def peeked(
    arm: numpy.ndarray, harm: numpy.ndarray, margin: float, alpha: float = 0.05, first: int = FIRST
) -> Floats:
    """After how many events each stream rejects, if the test is looked at after every event.

    Args:
        arm, harm: shapes (..., events).
        first: events before the first look.

    Returns:
        Shape (...,); infinite where it never rejects.
    """
    arm, _, harm = check_events(arm, 0.5, harm)
    counts = Counts(
        *(
            numpy.cumsum(flags, axis=-1, dtype=float)
            for flags in (arm, ~arm, arm * harm, ~arm * harm)
        )
    )
    reached = z_score(counts, margin) >= stats.norm.isf(check_alpha(alpha))
    reached[..., : first - 1] = False
    return numpy.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, numpy.inf)
