"""A confidence sequence for the mean of bounded numbers: an interval that may be looked at often.

Waudby-Smith and Ramdas (2024, arXiv 2010.09686), theorem 3. For every mean m that might be the true
one, one gambler bets that the numbers lie above it and one that they lie below. At the true mean
neither can expect to win; a mean at which one of them has become rich is ruled out.

Here the numbers are the X of `helpers.rollout.eprocess` with centres 0, whose mean is the
difference of the harm rates. The method needs nothing but their bounds, and pays for it in delay.
"""

from __future__ import annotations

import numpy

from .eprocess import BadEvents, Floats, Side, check_alpha, check_events, unbiased

#: No bet risks more than this share of the wealth.
RISK = 0.5


def plug_in_bets(x: Floats, alpha: float, center: float, spread: float) -> Floats:
    """How much to bet on each number, from those before it.

    A small variance so far makes the bet large, and it falls with the number of events t as the
    width of a confidence sequence does: sqrt(2 log(1 / alpha) / (variance t log(1 + t))).

    Args:
        x: shape (..., events).
        center, spread: mean and standard deviation believed before the first number, worth one.
    """
    t = numpy.arange(1, x.shape[-1] + 1)
    mean = (center + numpy.cumsum(x, axis=-1)) / (t + 1)
    variance = (spread**2 + numpy.cumsum((x - mean) ** 2, axis=-1)) / (t + 1)
    before = numpy.concatenate([numpy.full_like(x[..., :1], spread**2), variance[..., :-1]], -1)
    return numpy.sqrt(2 * numpy.log(1 / alpha) / (before * t * numpy.log1p(t)))


def log_capital(
    x: Floats, mean: float, low: Floats, high: Floats, bets: Floats, side: Side
) -> Floats:
    """Logarithm of the wealth of who bets that the numbers lie above ("beyond") or below a mean."""
    if side == "beyond":
        risked = RISK / numpy.maximum(mean - low, 1e-12)
        return numpy.cumsum(numpy.log1p(numpy.minimum(bets, risked) * (x - mean)), axis=-1)
    risked = RISK / numpy.maximum(high - mean, 1e-12)
    return numpy.cumsum(numpy.log1p(-numpy.minimum(bets, risked) * (x - mean)), axis=-1)


def mean_sequence(
    x: Floats,
    low: Floats | float,
    high: Floats | float,
    alpha: float = 0.05,
    grid: Floats | None = None,
    center: float | None = None,
    spread: float | None = None,
) -> tuple[Floats, Floats]:
    """Bounds of the mean after each number; all of them hold together with chance 1 - alpha.

    Args:
        x: shape (events,); each has the same mean given those before it.
        low, high: what each lies between, known before it; one for all, or one per number.
        grid: means that are tried; 1,001 between the widest bounds when left out. Bounds are
            rounded outward to it.
        center, spread: see `plug_in_bets`; the middle and half the width of the first bounds when
            left out.

    Returns:
        The lower and the upper bound, shape (events,); neither ever moves back.

    Raises:
        BadEvents: a number is out of bounds, or there is none.
    """
    check_alpha(alpha)
    x, low, high = numpy.broadcast_arrays(numpy.asarray(x, float), low, high)
    if x.ndim != 1 or not x.size:
        raise BadEvents("Give the numbers of one stream, and at least one of them.")
    if not ((low <= x) & (x <= high)).all():
        raise BadEvents("A number lies outside its bounds low and high.")
    grid = numpy.linspace(low.min(), high.max(), 1001) if grid is None else numpy.sort(grid)
    center = (low[0] + high[0]) / 2 if center is None else center
    spread = (high[0] - low[0]) / 2 if spread is None else spread
    bets = plug_in_bets(x, alpha / 2, center, spread)

    def ruled_out(means: Floats, side: Side) -> numpy.ndarray:
        """How many of these means, in their order and without a gap, are ruled out by each time."""
        count = numpy.zeros(x.shape, int)
        still = numpy.ones(x.shape, bool)
        for mean in means:
            wealth = log_capital(x, mean, low, high, bets, side)
            still &= numpy.maximum.accumulate(wealth) >= numpy.log(2 / alpha)
            if not still.any():
                break
            count += still
        return count

    above, below = ruled_out(grid, "beyond"), ruled_out(grid[::-1], "within")
    # The last mean that is ruled out is the bound: the truth may lie between it and the next.
    lower = numpy.where(above > 0, grid[numpy.maximum(above - 1, 0)], low.min())
    upper = numpy.where(below > 0, grid[::-1][numpy.maximum(below - 1, 0)], high.max())
    return lower, upper


def difference_sequence(
    arm: numpy.ndarray,
    share: numpy.ndarray | float,
    harm: numpy.ndarray,
    alpha: float = 0.05,
    step: float = 0.0025,
) -> tuple[Floats, Floats]:
    """Bounds of candidate's minus control's harm rate after each event; see `mean_sequence`.

    Args:
        arm, share, harm: see `helpers.rollout.eprocess.check_events`; shape (events,).
        step: distance of the differences that are tried, from -1 to 1.

    Raises:
        BadEvents: an event or a share is impossible.
    """
    arm, share, harm = check_events(arm, share, harm)
    grid = numpy.linspace(-1, 1, 2 * round(1 / step) + 1)
    low, high = -1 / (1 - share), 1 / share
    spread = float((high - low).flat[0]) / 2
    x = unbiased(arm, share, harm)
    lower, upper = mean_sequence(x, low, high, alpha, grid, center=0.0, spread=spread)
    return numpy.maximum(lower, -1), numpy.minimum(upper, 1)
