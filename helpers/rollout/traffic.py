"""Traffic of a rollout whose truth is known: what users ask, who answers, and what does harm.

Rates and shares are from 0 to 1, times in hours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
import pandas

from ..pocket.world import CAPABILITIES
from ..scope.brief import Brief
from .eprocess import BadEvents
from .order_sums import NAME as UNMAPPED
from .order_sums import order_sums

#: Who draws the questions of a category.
DRAWS = CAPABILITIES | {UNMAPPED: order_sums}
HOUR = 3600.0
#: The harm rate of a category in either version unless another is given.
USUAL = 0.03


@dataclass(frozen=True)
class Kind:
    """A category of the traffic: its share, and how often either version does harm in it."""

    name: str
    share: float
    control: float
    candidate: float


@dataclass(frozen=True)
class Traffic:
    """What users ask.

    Raises:
        BadEvents: the shares do not add up to 1, or a rate is not from 0 to 1.
    """

    kinds: tuple[Kind, ...]

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if not all(0 <= rate <= 1 for rate in (kind.share, kind.control, kind.candidate)):
                raise BadEvents(f"{kind.name}: share and harm rates must lie from 0 to 1.")
        total = sum(kind.share for kind in self.kinds)
        if abs(total - 1) > 1e-6:
            raise BadEvents(f"The shares of the traffic add up to {total:g}, not to 1.")

    @classmethod
    def from_brief(
        cls,
        brief: Brief,
        harm: Mapping[str, tuple[float, float]] | None = None,
        unmapped: Mapping[str, float] | None = None,
    ) -> Traffic:
        """The mix of a brief, and on top of it what nobody has put into the brief.

        Args:
            harm: harm rates of control and candidate by category; 3 % and 3 % where it is not
                named.
            unmapped: percent of the traffic by category; 5 % order sums when left out. The
                brief's categories share what is left.

        Raises:
            BadEvents: a rate names no category, or there is too much unmapped traffic.
        """
        unmapped = {UNMAPPED: 5.0} if unmapped is None else dict(unmapped)
        harm = dict(harm or {})
        left = 100 - sum(unmapped.values())
        names = [need.capability for need in brief.needs]
        if strange := sorted(set(harm) - {*names, *unmapped}):
            raise BadEvents(f"There is no category {strange[0]!r} in this traffic.")
        if twice := sorted(set(names) & set(unmapped)):
            raise BadEvents(f"{twice[0]} is in the brief, and cannot be unmapped as well.")
        if left <= 0 or brief.traffic <= 0:
            raise BadEvents("Nothing of the traffic is left for what is in the brief.")
        shares = {n.capability: left * n.traffic / brief.traffic for n in brief.needs} | unmapped
        return cls(
            tuple(
                Kind(name, share / 100, *harm.get(name, (USUAL, USUAL)))
                for name, share in shares.items()
            )
        )

    @property
    def control(self) -> float:
        """Harm rate of the old version over all of the traffic."""
        return sum(kind.share * kind.control for kind in self.kinds)

    @property
    def candidate(self) -> float:
        """Harm rate of the new version over all of the traffic."""
        return sum(kind.share * kind.candidate for kind in self.kinds)


def prompts(categories: Sequence[str], seed: int = 0) -> list[str]:
    """A question of each of these categories, as a user would type it.

    Raises:
        BadEvents: nobody can draw questions of a category.
    """
    if strange := sorted(set(categories) - set(DRAWS)):
        raise BadEvents(f"There are no questions of {strange[0]!r}; there are {', '.join(DRAWS)}.")
    rng = random.Random(seed)
    found = []
    for category in categories:
        example = DRAWS[category](rng, "test")
        found.append(example.prompt(rng.choice(example.formats)))
    return found


def answers(
    traffic: Traffic,
    hours: float,
    per_hour: float,
    share: float | Sequence[tuple[float, float]],
    users: int = 10_000,
    delay: float = 1.0,
    start: float = 0.0,
    texts: bool = False,
    key: int = 0,
    seed: int = 0,
) -> pandas.DataFrame:
    """Answers of a rollout, as telemetry tells of them.

    Args:
        hours: how long it lasts.
        per_hour: answers per hour, on average.
        share: of the users who get the candidate; or pairs of the hour from which a share holds,
            and the share.
        users: who may ask. Each has a fixed place and stays with their version.
        delay: hours until harm is reported, on average; nobody reports that there was none.
        start: hour of the first answer.
        texts: whether to write the prompts.
        key: of the router; with another one the users' places are others.

    Returns:
        Columns id, time (seconds), user, version, arm, share, category, harm (reported, at some
        time), feedback_time (seconds), and prompt.
    """
    rng = numpy.random.default_rng(seed)
    count = rng.poisson(hours * per_hour)
    at = numpy.sort(rng.uniform(start, start + hours, count))
    place = numpy.random.default_rng(key).random(users)
    user = rng.integers(users, size=count)
    steps = [(start, share)] if isinstance(share, (int, float)) else sorted(share)
    begins, shares = numpy.array(steps, float).T
    now = shares[numpy.maximum(numpy.searchsorted(begins, at, side="right") - 1, 0)]
    chosen = place[user] < now
    which = rng.choice(len(traffic.kinds), size=count, p=[kind.share for kind in traffic.kinds])
    rates = numpy.array([(kind.control, kind.candidate) for kind in traffic.kinds])
    harm = rng.random(count) < rates[which, chosen.astype(int)]
    reported = numpy.where(harm, at + rng.exponential(delay, count), numpy.nan)
    names = numpy.array([kind.name for kind in traffic.kinds], object)[which]
    return pandas.DataFrame(
        {
            "id": [f"{start:g}-{number:07}" for number in range(count)],
            "time": at * HOUR,
            "user": [f"user {number}" for number in user],
            "version": numpy.where(chosen, "candidate", "live"),
            "arm": numpy.where(chosen, "candidate", "control"),
            "share": now,
            "category": names,
            "harm": harm,
            "feedback_time": reported * HOUR,
            "prompt": prompts(list(names), seed) if texts else None,
        }
    )
