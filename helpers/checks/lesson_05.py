"""Checkers of the exercises in lesson 05."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from statistics import NormalDist
from typing import Any

from . import exercise


def _not_numbers(found: list[Any]) -> str | None:
    """What to say about answers that are not one number each, or None."""
    for value in found:
        if not isinstance(value, Real):
            return f"It returned a {type(value).__name__}; one number is asked for."
    return None


WORDS = "PASS", "BLOCK", "INCONCLUSIVE"
ONE_END = "neither its middle nor one of its ends speaks for the whole interval"
#: Low, high, margin, the verdict, and why it is no other. The order tells mistakes apart: who gets
#: as far as the interval around 0, for one, does look at both ends.
INTERVALS = [
    (-2, 3, 5, "PASS", "the whole interval lies below the margin"),
    (6, 9, 5, "BLOCK", "the whole interval lies above the margin"),
    (1, 4, 5, "PASS", "significantly above 0 is not beyond the margin"),
    (2, 7, 5, "INCONCLUSIVE", ONE_END),
    (4, 9, 5, "INCONCLUSIVE", ONE_END),
    (-2, 8, 5, "INCONCLUSIVE", "a drop that is not significant may still be beyond the margin"),
    (-9, -6, 5, "PASS", "a negative drop is a gain, so keep the signs"),
    (3, 4, 2, "BLOCK", "the margin is not 5 here"),
    (2, 5, 5, "INCONCLUSIVE", "an end that equals the margin is not below it"),
    (5, 8, 5, "INCONCLUSIVE", "an end that equals the margin is not above it"),
]


@exercise("5.1", reading="The gate asks the same, and corrects BLOCK for several categories.")
def verdict(function) -> str | None:
    for low, high, margin, expected, why in INTERVALS:
        found = function(low, high, margin)
        if not isinstance(found, str) or found not in WORDS:
            return f'It returned {found!r}; "PASS", "BLOCK" or "INCONCLUSIVE" is asked for.'
        if found != expected:
            case = f"From {low} to {high} with the margin {margin}"
            return f"{case} it is {expected}, not {found}: {why}."
    return None


A, B, A_TWO_SIDED = (NormalDist().inv_cdf(p) for p in (0.95, 0.8, 0.975))
Z = A + B
UNPAIRED = "That is for two independent samples. For pairs take the share that changed, as it is."
#: What to say about a number, from the margin as a share m and the share of changed answers c.
ON_ITEMS = [
    ("The margin is in points: divide it by 100.", lambda m, c: Z**2 * c / (100 * m) ** 2),
    ("The margin is to be squared as well.", lambda m, c: Z**2 * c / m),
    ("The sum of the two values of z is to be squared.", lambda m, c: Z * c / m**2),
    ("Add the two values of z before you square.", lambda m, c: (A**2 + B**2) * c / m**2),
    ("1.96 is two-sided; one side is asked for.", lambda m, c: (A_TWO_SIDED + B) ** 2 * c / m**2),
    ("Without 0.842 the power is only one half.", lambda m, c: A**2 * c / m**2),
    (UNPAIRED, lambda m, c: Z**2 * 2 * c * (1 - c) / m**2),
    (UNPAIRED, lambda m, c: Z**2 * c * (1 - c) / m**2),
    (UNPAIRED, lambda m, c: Z**2 * 0.5 / m**2),
]


@exercise("5.2", reading="`items_needed` asks for some more: its tests err on the safe side.")
def items_for(function) -> str | None:
    # The last needs so few items that one too few is seen, whatever the digits of z.
    cases = [(3, 0.10), (0.5, 0.40), (2, 0.25), (5, 0.10), (20, 0.10)]
    found = [function(*case) for case in cases]
    if mistake := _not_numbers(found):
        return mistake
    shares = [(margin / 100, changed) for margin, changed in cases]
    exact = [Z**2 * changed / margin**2 for margin, changed in shares]

    def same(numbers: list[float]) -> bool:
        pairs = zip(found, numbers, strict=True)
        return all(abs(float(value) - number) <= 1 + 0.005 * number for value, number in pairs)

    for message, mistaken in ON_ITEMS:
        if same([mistaken(*share) for share in shares]):
            return message
    for (margin, changed), value, number in zip(cases, found, exact, strict=True):
        # Half a percent is for the digits of z, and does not excuse a number rounded down.
        low, high = math.ceil(0.995 * number), math.ceil(1.005 * number)
        if low <= value <= high and float(value).is_integer():
            continue
        if same(exact):
            return f"Where {number:.1f} items are needed, return {math.ceil(number)}: round up."
        return (
            f"For a margin of {margin} points and {changed:.0%} changed answers it is about "
            f"{math.ceil(number):,}, not {float(value):,.6g}."
        )
    if not all(isinstance(value, Integral) for value in found):
        return "The number is right, but it is a float. Return a whole number: `math.ceil` does."
    return None


def _chance(n: int, heads: Iterable[int]) -> float:
    """The probability that n tosses of a fair coin give one of these numbers of heads."""
    return sum(math.comb(n, k) for k in heads) / 2**n


def _two_sided(lost: int, gained: int, more: int = 0) -> float:
    """All splits that are at least as uneven, or by so many more, added up one by one."""
    n, gap = lost + gained, abs(lost - gained) + more
    return _chance(n, [k for k in range(n + 1) if abs(2 * k - n) >= gap])


def _normal(lost: int, gained: int, correction: int) -> float:
    """The upper tail of chi-square with one degree of freedom, the square of a normal."""
    return math.erfc((abs(lost - gained) - correction) / math.sqrt(2 * (lost + gained)))


ONE_TAIL = "That is one tail. A split as uneven the other way counts as well."
APPROXIMATE = "That is the chi-square approximation. Count the tosses: `math.comb` is exact."
ON_COINS = [
    (ONE_TAIL, lambda lost, gained: _two_sided(lost, gained) / 2),
    (ONE_TAIL, lambda lost, gained: _chance(lost + gained, range(lost, lost + gained + 1))),
    (ONE_TAIL, lambda lost, gained: _chance(lost + gained, range(lost + 1))),
    (APPROXIMATE, lambda lost, gained: _normal(lost, gained, 0)),
    (APPROXIMATE, lambda lost, gained: _normal(lost, gained, 1)),
    ("That is this split alone. Add the more uneven ones.",
     lambda lost, gained: _chance(lost + gained, [lost])),
    ("This split itself is missing: *at least* as uneven.",
     lambda lost, gained: _two_sided(lost, gained, more=1)),
]  # fmt: skip


@exercise("5.3", reading="It asks whether anything changed; whether it is safe, a margin decides.")
def mcnemar_p(function) -> str | None:
    def close(value: Any, expected: float) -> bool:
        return math.isclose(float(value), expected, rel_tol=1e-4)

    cases = [(8, 2), (2, 8), (12, 5), (0, 5), (60, 40)]
    found = [function(*case) for case in cases]
    if mistake := _not_numbers(found):
        return mistake
    for message, mistaken in ON_COINS:
        if all(close(f, mistaken(*case)) for f, case in zip(found[:3], cases[:3], strict=True)):
            return message
    if close(found[0], _two_sided(8, 2)) != close(found[1], _two_sided(2, 8)):
        return "8 lost and 2 gained are as uneven as 2 lost and 8 gained: the results are equal."
    for case, value in zip(cases, found, strict=True):
        if not close(value, _two_sided(*case)):
            right, wrong = _two_sided(*case), float(value)
            return f"For {case[0]} lost and {case[1]} gained it is {right:.4g}, not {wrong:.4g}."
    for case in ((3, 3), (1, 2), (10, 10)):
        if mistake := _not_numbers([value := function(*case)]):
            return mistake
        if not close(value, 1.0):
            more = " Twice a tail counts the even split twice." if value > 1 else ""
            return f"For {case[0]} lost and {case[1]} gained it is 1, not {float(value):.4g}.{more}"
    remedy = "Return 1.0 when nothing changed"
    try:
        value = function(0, 0)
    except Exception as error:
        if "Your function" not in str(error):
            raise
        return f"{error}. {remedy}."
    if not isinstance(value, Real) or not close(value, 1.0):
        return f"{remedy}, not {value}."
    return None
