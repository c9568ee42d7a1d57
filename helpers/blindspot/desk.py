"""A simulated ticket desk: what its dashboard counts, and what its customers meet.

Customers ask about the shop, and now and then something else. Their questions are held-out items
of the suites, and whether an answer is right was measured by `evaluate`: no model is called here.
How many customers there are, what they ask and whether they come back is assumed; see `Traffic`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy

from ..snapshots import Snapshot
from ..suites import TARGET
from ..tradeoff import Estimate

#: What people ask an assistant for besides tickets.
TOPICS = ("howto", "arithmetic", "reasoning", "translation", "reading")
#: Weeks before the first one that is shown, so that the desk begins with customers of all ages.
RUN_IN = 30


@dataclass(frozen=True)
class Traffic:
    """Who writes to the desk. Every number is an assumption, to be varied and not believed.

    Attributes:
        newcomers: customers who write for the first time, per week.
        questions: how many questions a customer asks in a week.
        wider: share of questions that are not about the shop, from 0 to 1.
        topics: the suites that these come from, all alike often.
        stays: chance to be back next week after a week without a wrong answer.
        stays_let_down: the same after a week with at least one.

    Raises:
        ValueError: a number is out of its range.
    """

    newcomers: int = 100
    questions: int = 3
    wider: float = 0.3
    topics: tuple[str, ...] = TOPICS
    stays: float = 0.9
    stays_let_down: float = 0.6

    def __post_init__(self) -> None:
        for name in ("wider", "stays", "stays_let_down"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}.")
        for name in ("newcomers", "questions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not self.topics:
            raise ValueError("Name at least one topic, or set wider to 0.")


@dataclass(frozen=True)
class Week:
    """One week at the desk.

    Attributes:
        release: which of the releases was in service, counted from 0.
        customers: how many wrote.
        resolved: percent of shop questions answered right; this is all that the dashboard shows.
        answered: percent of all questions answered right.
        let_down: percent of customers with at least one wrong answer.
    """

    number: int
    release: int
    customers: int
    resolved: float
    answered: float
    let_down: float


def simulate(
    releases: Sequence[Snapshot], traffic: Traffic | None = None, weeks: int = 6, seed: int = 0
) -> list[Week]:
    """Run the desk with one release after the other, each for some weeks.

    A customer's questions depend on the seed alone, so that desks with other releases are asked
    the same by the same people for as long as these stay.

    Args:
        releases: snapshots of the models on the same items of `support` and of the topics.
        weeks: how long each release is in service.

    Raises:
        ValueError: no release or no week, or the snapshots lack a suite or asked different items.
    """
    traffic = traffic or Traffic()
    if not releases or weeks < 1:
        raise ValueError("Give at least one release, and at least one week for each.")
    right = [_right(release, traffic.topics) for release in releases]
    _check_same_items(releases, traffic.topics)
    sizes = {name: len(flags) for name, flags in right[0].items()}
    present: list[random.Random] = []
    found, came = [], 0
    for number in range(1 - RUN_IN, 1 + weeks * len(releases)):
        release = max(0, number - 1) // weeks
        present += [random.Random(f"{seed} {came + new}") for new in range(traffic.newcomers)]
        came += traffic.newcomers
        served = [_serve(customer, right[release], sizes, traffic) for customer in present]
        if number > 0:
            found.append(_week(number, release, [answers for answers, _ in served]))
        present = [who for who, (_, back) in zip(present, served, strict=True) if back]
    return found


#: Whether each question of a customer was about the shop, and whether it was answered right.
Answers = list[tuple[bool, bool]]


def _serve(
    customer: random.Random, right: dict[str, list[bool]], sizes: dict[str, int], traffic: Traffic
) -> tuple[Answers, bool]:
    """A customer's week: the answers, and whether the customer will be back.

    As many random numbers are drawn whatever the answers are.
    """
    answers = []
    for _ in range(traffic.questions):
        wider, topic = customer.random() < traffic.wider, customer.choice(traffic.topics)
        name = topic if wider else TARGET
        answers.append((not wider, right[name][customer.randrange(sizes[name])]))
    pleased = all(good for _, good in answers)
    return answers, customer.random() < (traffic.stays if pleased else traffic.stays_let_down)


def _week(number: int, release: int, served: list[Answers]) -> Week:
    shop = [good for answers in served for about_shop, good in answers if about_shop]
    everything = [good for answers in served for _, good in answers]
    let_down = [not all(good for _, good in answers) for answers in served]
    shares = [
        100 * fmean(values) if values else math.nan for values in (shop, everything, let_down)
    ]
    return Week(number, release, len(served), *shares)


def expected(release: Snapshot, wider: float, topics: Sequence[str] = TOPICS) -> float:
    """Percent of questions answered right where a share `wider` is not about the shop."""
    right = _right(release, topics)
    beside = fmean(100 * fmean(right[name]) for name in topics)
    return (1 - wider) * 100 * fmean(right[TARGET]) + wider * beside


def break_even(
    before: Snapshot,
    after: Snapshot,
    topics: Sequence[str] = TOPICS,
    repeats: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """The share of wider questions from which on `after` answers fewer questions right.

    With `after` better at the shop by g points and worse beside it by l, it is g / (g + l): 0 where
    nothing is gained, 1 where nothing is lost. The interval is a percentile bootstrap over items,
    drawn in pairs (Efron 1979).

    Raises:
        ValueError: the snapshots lack a suite or asked different items, or `after` is worse at the
            shop and better beside it; then swap the two.
    """
    old, new = _right(before, topics), _right(after, topics)
    _check_same_items((before, after), topics)
    rng = numpy.random.default_rng(seed)
    point, drawn = {}, {}
    for name in old:
        change = 100 * (numpy.array(new[name], float) - numpy.array(old[name], float))
        point[name] = change.mean()
        drawn[name] = change[rng.integers(len(change), size=(repeats, len(change)))].mean(axis=1)
    gain, loss = point[TARGET], -sum(point[name] for name in topics) / len(topics)
    if gain < 0 and loss < 0:
        raise ValueError("The second release is worse at the shop and better beside it: swap them.")
    shares = _share(drawn[TARGET], -sum(drawn[name] for name in topics) / len(topics))
    low, high = numpy.quantile(shares, (0.025, 0.975))
    return Estimate(float(_share(gain, loss)), float(low), float(high))


def _share(gain, loss):
    gain, loss = numpy.maximum(gain, 0), numpy.maximum(loss, 0)
    with numpy.errstate(invalid="ignore"):
        return numpy.where(loss == 0, 1.0, gain / (gain + loss))


def _right(release: Snapshot, topics: Sequence[str]) -> dict[str, list[bool]]:
    """Whether each item was answered right, by suite."""
    missing = [name for name in (TARGET, *topics) if name not in release.results]
    if missing:
        raise ValueError(
            f"A snapshot lacks {', '.join(missing)}. Evaluate every release on "
            f"{', '.join((TARGET, *topics))}."
        )
    return {name: [bool(r.correct) for r in release.results[name]] for name in (TARGET, *topics)}


def _check_same_items(releases: Sequence[Snapshot], topics: Sequence[str]) -> None:
    for name in (TARGET, *topics):
        first, *others = ([row.item for row in release.results[name]] for release in releases)
        if any(items != first for items in others):
            raise ValueError(f"The snapshots asked different items of {name!r}.")
