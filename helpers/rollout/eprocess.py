"""Betting on the difference of two harm rates: a test that may be looked at after every answer.

Every answer is one round of a game against the null hypothesis "the candidate harms at most
`margin` more often than the control". One answer gives X, an unbiased guess of the difference:

    X = 1[candidate] (Y - c) / s  -  1[control] (Y - k) / (1 - s)  +  c - k

with Y = 1 for harm, s the chance with which the router chose the candidate, and any two centres c
and k fixed before the answer. Our wealth begins at 1 and is multiplied by 1 + bet (X - margin).

Why it may be looked at whenever one likes:
1. Given the past, the arm is the candidate with chance s, so X has the mean D, the difference of
   the harm rates, whatever s, c and k are, as long as they were fixed before.
2. If D is at most the margin and the bet is not negative, the factor has mean
   1 + bet (D - margin), which is at most 1; the bet is small enough that it is never below 0.
3. So the wealth is a nonnegative supermartingale that begins at 1: an e-process.
4. Ville (1939): it ever reaches 1 / alpha with a chance of at most alpha.
The other side, "at least the margin", is the same with bets that are not positive.

With c = k = 0 this is inverse propensity weighting. The centres and bets that make the wealth grow
fastest, for rates that one believes in, are those of the two-sample e-variable of Turner, Ly and
Grünwald (arXiv 2106.02693; for a difference 2203.09785): `best_bet` says why they are the same.

Arrays hold one event per entry along their last axis; axes before it are independent streams, and
everything is computed for all of them at once. Shares and rates are from 0 to 1, margins too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy
from numpy.typing import ArrayLike, NDArray

from .errors import RolloutError

Floats = NDArray[numpy.floating]
#: What is proven when the wealth is large: harm beyond the margin, or that it lies within.
Side = Literal["beyond", "within"]
SIDES: tuple[Side, ...] = get_args(Side)

#: What is believed before the first event: this harm rate in either arm, worth so many answers.
#: A wrong belief costs delay, never validity.
PRIOR_RATE, PRIOR_ANSWERS = 0.05, 20.0
#: No bet may leave less than this of the wealth: rounding must not make it 0 or negative.
LEAST = 1e-9
#: Events that are computed at once.
CACHED = 100_000


class BadEvents(RolloutError, ValueError):
    """Events, shares or settings that no test can be made of; the message names the fix."""


@dataclass
class Counts:
    """Answers and harms seen so far in each arm, one entry per stream."""

    candidate: Floats | float = 0.0
    control: Floats | float = 0.0
    candidate_harmed: Floats | float = 0.0
    control_harmed: Floats | float = 0.0


def check_events(
    arm: ArrayLike, share: ArrayLike, harm: ArrayLike
) -> tuple[NDArray[numpy.bool_], Floats, Floats]:
    """The events as arrays of booleans, shares and zeros and ones.

    Args:
        arm: whether the candidate answered.
        share: the chance it had of being chosen; one for all, or one per event.
        harm: whether the answer did harm.

    Raises:
        BadEvents: a value is missing or impossible, or the lengths differ.
    """
    arm, harm = numpy.atleast_1d(arm), numpy.atleast_1d(harm)
    for name, values in (("arm", arm), ("harm", harm)):
        if values.dtype == object or not numpy.isin(values, (0, 1)).all():
            raise BadEvents(f"{name} must be true or false (1 or 0) for every event.")
    share = numpy.atleast_1d(numpy.asarray(share, float))
    if not ((share > 0) & (share < 1)).all():
        raise BadEvents(
            "share must lie above 0 and below 1: where only one arm can answer there is nothing to "
            "compare. Keep a holdout that stays with the old version."
        )
    if arm.shape != harm.shape or share.shape[-1] not in (1, arm.shape[-1]):
        raise BadEvents(
            f"Give one harm per arm, and one share per event or one for all: the shapes are "
            f"{arm.shape}, {harm.shape} and {share.shape}."
        )
    return arm.astype(bool), share, harm.astype(float)


def unbiased(
    arm: NDArray[numpy.bool_],
    share: Floats | float,
    harm: Floats,
    candidate: Floats | float = 0.0,
    control: Floats | float = 0.0,
) -> Floats:
    """X: what one event says about the difference of the harm rates, right on average.

    Args:
        candidate, control: the centres, usually the rates that are expected. They change the
            spread, not the mean: control variates.
    """
    told = numpy.where(arm, (harm - candidate) / share, -(harm - control) / (1 - share))
    return told + candidate - control


def restricted(
    candidate: Floats | float, control: Floats | float, share: Floats | float, margin: ArrayLike
) -> tuple[Floats, Floats]:
    """The two rates closest to the given ones whose difference is the margin.

    "Closest" is in Kullback-Leibler divergence, share times the candidate's and 1 - share times the
    control's: the reverse information projection of Turner, Ly and Grünwald. With counts in place
    of beliefs it is the maximum likelihood under the null, the root of a cubic that Miettinen and
    Nurminen (1985) and Farrington and Manning (1990) solve in closed form, as is done here.
    """
    m, s = numpy.asarray(margin, float), share
    mean = s * candidate + (1 - s) * control
    # x is the control's rate: x^3 + a x^2 + b x + c = 0.
    a = m * (2 - s) - 1 - mean
    b = m * ((1 - s) * (m - 2 * control) - 1) + mean
    c = (1 - s) * control * m * (1 - m)
    third = a / 3
    q = third * third * third - third * b / 2 + c / 2
    p = numpy.copysign(numpy.sqrt(numpy.maximum(third * third - b / 3, 1e-200)), q)
    angle = (numpy.pi + numpy.arccos(numpy.clip(q / (p * p * p + 1e-300), -1, 1))) / 3
    x = numpy.clip(2 * p * numpy.cos(angle) - third, numpy.maximum(0, -m), numpy.minimum(1, 1 - m))
    return x + m, x


def best_bet(
    candidate: Floats | float, control: Floats | float, share: Floats | float, margin: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """The bet and the centres that make the wealth grow fastest if these rates are the true ones.

    The two-sample e-variable of Turner, Ly and Grünwald is a ratio of likelihoods: the believed
    rate of the arm against its `restricted` rate r. With a harm that is 0 or 1 the ratio is
    1 + (believed - r) / (r (1 - r)) (Y - r) in either arm. The projection makes share times the
    candidate's slope the negative of 1 - share times the control's, so both are one bet on X.

    Returns:
        The bet, positive where the believed difference exceeds the margin, and the two centres.
    """
    r_c, r_k = restricted(candidate, control, share, margin)
    spread_c, spread_k = r_c * (1 - r_c), r_k * (1 - r_k)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        by_candidate = share * (candidate - r_c) / spread_c
        by_control = (1 - share) * (r_k - control) / spread_k
    # The same number twice; near a rate of 0 or 1 one of them is lost to rounding.
    bet = numpy.where(spread_c > spread_k, by_candidate, by_control)
    up = numpy.minimum(
        share / numpy.maximum(r_c, LEAST), (1 - share) / numpy.maximum(1 - r_k, LEAST)
    )
    down = numpy.minimum(
        share / numpy.maximum(1 - r_c, LEAST), (1 - share) / numpy.maximum(r_k, LEAST)
    )
    keep = 1 - LEAST
    return numpy.clip(numpy.nan_to_num(bet), -keep * down, keep * up), r_c, r_k


def believed(
    arm: NDArray[numpy.bool_], harm: Floats, seen: Counts
) -> tuple[Floats, Floats, Counts]:
    """Each arm's harm rate as it is estimated before each event, and the counts after the last.

    Args:
        seen: what came before the first of these events.
    """
    after = []
    for flags, old in (
        (arm, seen.candidate),
        (~arm, seen.control),
        (arm * harm, seen.candidate_harmed),
        (~arm * harm, seen.control_harmed),
    ):
        after.append(numpy.cumsum(flags, axis=-1, dtype=float) + numpy.expand_dims(old, -1))
    n_c, n_k, harmed_c, harmed_k = after
    total = PRIOR_RATE * PRIOR_ANSWERS
    rate_c = (harmed_c - arm * harm + total) / (n_c - arm + PRIOR_ANSWERS)
    rate_k = (harmed_k - ~arm * harm + total) / (n_k - ~arm + PRIOR_ANSWERS)
    return rate_c, rate_k, Counts(*(column[..., -1] for column in after))


def log_factors(
    arm: NDArray[numpy.bool_],
    share: Floats,
    harm: Floats,
    rates: tuple[Floats | float, Floats | float],
    margin: ArrayLike,
) -> tuple[Floats, Floats]:
    """By how much each event multiplies the wealth of either side, as logarithms.

    Args:
        rates: of candidate and control, as believed before each event.
        margin: one, or an array that broadcasts against the events.

    Returns:
        Those of "beyond" and of "within". Who believes in the null does not bet: 0.
    """
    bet, r_c, r_k = best_bet(*rates, share, margin)
    gain = numpy.log1p(bet * (unbiased(arm, share, harm, r_c, r_k) - margin))
    return numpy.where(bet > 0, gain, 0.0), numpy.where(bet < 0, gain, 0.0)


def e_processes(
    arm: ArrayLike,
    share: ArrayLike,
    harm: ArrayLike,
    margin: float,
    rates: tuple[float, float] | None = None,
) -> Floats:
    """Logarithm of the wealth after each event, of both sides.

    Valid whatever happens to the shares and however the rates drift, as long as the difference is
    on the null's side of the margin at every event, and as long as each share is the true chance of
    the candidate given everything before. Answers that return when their feedback does, in an order
    that depends on arm and harm, break this: `helpers.rollout.window` puts them in order.

    Args:
        arm, share, harm: see `check_events`; shapes (..., events).
        margin: from -1 to 1.
        rates: of candidate and control, where they are known: no test that bets on one answer at a
            time grows faster (Kelly 1956). They are learned from the events when left out.

    Returns:
        Shape (2, ..., events): in the order of `SIDES`.

    Raises:
        BadEvents: an event, a share or the margin is impossible.
    """
    if not -1 < margin < 1:
        raise BadEvents(f"margin is a difference of rates between -1 and 1, not {margin!r}.")
    arm, share, harm = check_events(arm, share, harm)
    shape, length = arm.shape, arm.shape[-1]
    share = numpy.broadcast_to(share, shape).reshape(-1, length)
    arm, harm = arm.reshape(-1, length), harm.reshape(-1, length)
    wealth = numpy.empty((2, *arm.shape))
    for rows in _blocks(*arm.shape):
        told = (arm[rows], share[rows], harm[rows])
        known = believed(told[0], told[2], Counts())[:2] if rates is None else rates
        for side, gains in enumerate(log_factors(*told, known, margin)):
            numpy.cumsum(gains, axis=-1, out=wealth[side, rows])
    return wealth.reshape(2, *shape)


def e_process(
    arm: ArrayLike,
    share: ArrayLike,
    harm: ArrayLike,
    margin: float,
    side: Side = "beyond",
    rates: tuple[float, float] | None = None,
) -> Floats:
    """One of the two `e_processes`; shape (..., events).

    Args:
        side: "beyond" tests "at most the margin", "within" tests "at least the margin".

    Raises:
        BadEvents: see `e_processes`; or there is no such side.
    """
    if side not in SIDES:
        raise BadEvents(f"side must be beyond or within, not {side!r}.")
    return e_processes(arm, share, harm, margin, rates)[SIDES.index(side)]


def _blocks(rows: int, length: int) -> Iterator[slice]:
    """Slices of rows whose events fit into the processor's cache: four times faster than all."""
    size = max(1, CACHED // max(1, length))
    yield from (slice(start, start + size) for start in range(0, rows, size))


def events_needed(log_wealth: Floats, alpha: float) -> Floats:
    """How many events each stream took to reach 1 / alpha; infinite where it never did."""
    reached = log_wealth >= -numpy.log(check_alpha(alpha))
    first = reached.argmax(axis=-1) + 1.0
    return numpy.where(reached.any(axis=-1), first, numpy.inf)


def check_alpha(alpha: float) -> float:
    """The error rate itself.

    Raises:
        BadEvents: it is not between 0 and 1.
    """
    is_number = isinstance(alpha, (int, float)) and not isinstance(alpha, bool)
    if not is_number or not 0 < alpha < 1:
        raise BadEvents(f"alpha must be a number between 0 and 1, such as 0.05, not {alpha!r}.")
    return float(alpha)
