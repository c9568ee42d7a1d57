"""A door in front of a route: requests that share too few words with the articles go to the base.

A search need not put an article above every prompt, and an adapter need not answer every request:
serving engines switch adapters on per request. Here the door of both is a floor on the BM25 score
of the best article. What a route and the base answer to each item is known, so that every floor can
be tried without asking a model again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..mitigations.board import Entry
from ..suites import Suite
from .brief import Brief
from .compare import points_lost
from .leaks import question_of
from .retrieval import HelpIndex

#: Per suite, one number for each item: the BM25 score of the article that fits it best, or 0.
Scores = Mapping[str, Sequence[float]]
#: The floors that are tried.
FLOORS = tuple(step / 2 for step in range(13))


def best_scores(index: HelpIndex, suites: Sequence[Suite], by_length: bool = False) -> Scores:
    """How well the best article fits each item of the suites.

    Args:
        by_length: divide a score by the root of the number of words in the question, since every
            further word is one more chance of a match.
    """
    found = {}
    for suite in suites:
        questions = [question_of(item.prompt) for item in suite.items]
        hits = [index.find(question, k=1) for question in questions]
        parts = [math.sqrt(len(q.split())) if by_length else 1.0 for q in questions]
        found[suite.name] = tuple(
            hit[0].score / part if hit else 0.0 for hit, part in zip(hits, parts, strict=True)
        )
    return found


def let_in(scores: Sequence[float], floor: float) -> float:
    """Percent of requests above a floor."""
    return 100 * sum(score > floor for score in scores) / len(scores)


def choose_floor(
    customers: Sequence[float], turned_away: float = 1.0, floors: Sequence[float] = FLOORS
) -> float:
    """The highest floor that turns away at most so many percent of customers' questions.

    Whoever is turned away gets no right answer, since the base knows no policy; whoever is let in
    by mistake often does. So the limit is set on the first kind. Take questions that nothing will
    be scored on.

    Raises:
        ValueError: there are no questions, or even the lowest floor turns away more.
    """
    if not customers:
        raise ValueError("A floor is chosen on customers' questions, and there are none.")
    allowed = [floor for floor in floors if 100 - let_in(customers, floor) <= turned_away]
    if not allowed:
        lost = 100 - let_in(customers, min(floors))
        raise ValueError(
            f"No floor will do: even {min(floors):g} turns away {lost:.0f} % of the customers."
        )
    return max(allowed)


def behind_door(base: Entry, route: Entry, scores: Scores, floor: float) -> Entry:
    """What comes out when only requests above the floor take a route, and the base gets the rest.

    Args:
        base, route: right and wrong answers to the same items, every item through each.
        scores: of these items, in their order; longer rows are cut.
    """
    right = {
        name: tuple(
            via if score > floor else otherwise
            for score, via, otherwise in zip(scores[name], route.right[name], row, strict=False)
        )
        for name, row in base.right.items()
    }
    return replace(route, right=right)


class Behind(NamedTuple):
    """What comes out behind one floor.

    Attributes:
        right: percent of new questions right.
        lost: points lost by the average request for something old, by the brief's traffic.
        worst: points lost by the old skill that loses most.
    """

    floor: float
    right: float
    lost: float
    worst: float


def road(
    brief: Brief, base: Entry, route: Entry, scores: Scores, floors: Sequence[float] = FLOORS
) -> list[Behind]:
    """What comes out behind each floor."""
    found = []
    for floor in floors:
        now = behind_door(base, route, scores, floor)
        lost = points_lost(base, now)
        found.append(Behind(floor, now.target, brief.weighted(lost), max(lost.values())))
    return found
