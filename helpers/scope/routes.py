"""Fine-tune and retrieval side by side: seconds per answer, and what a change of policy does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from ..generation import complete
from ..pocket.examples import FORMATS
from ..suites import Suite
from .leaks import question_of
from .retrieval import Article, HelpIndex, answer, change_policy, other_policy

#: Answers one customer's question.
Route = Callable[[str], str]


def closed_book(model: PreTrainedModel) -> Route:
    """A model that answers from what it has learned. An adapter costs time: give it merged."""
    return lambda question: complete(model, FORMATS["support"].format(question=question))


def open_book(model: PreTrainedModel, index: HelpIndex, k: int = 1) -> Route:
    """A model that answers from the articles found; searching is part of the answer."""
    return lambda question: answer(model, index, [question], k)[0].text


def questions_of(suite: Suite) -> list[str]:
    """The questions of a suite, without their format."""
    return [question_of(item.prompt) for item in suite.items]


def seconds_per_answer(
    routes: Mapping[str, Route], questions: Sequence[str], rounds: int = 3
) -> dict[str, float]:
    """Median seconds that each route takes for one question at a time.

    The routes take turns at every question, and the one that begins changes, so that whatever else
    the machine does slows all of them alike. Compare the results of one call only, as a ratio.

    Raises:
        ValueError: there is no route, no question, or no round.
    """
    if not routes or not questions or rounds < 1:
        raise ValueError("Timing needs at least one route, one question and one round.")
    names = list(routes)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        routes[name](questions[0])  # the first call of a program is slow
    for turn in range(rounds):
        for number, question in enumerate(questions):
            first = (turn + number) % len(names)
            for name in names[first:] + names[:first]:
                started = time.perf_counter()
                routes[name](question)
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


@dataclass(frozen=True)
class AfterChange:
    """What a route answers once policies have changed, in percent of the questions about them."""

    new: float
    old: float

    @property
    def neither(self) -> float:
        return 100 - self.new - self.old


def after_change(
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    articles: Sequence[Article],
    suite: Suite,
    names: Sequence[str],
    seed: int = 0,
) -> dict[str, AfterChange]:
    """Change some policies, index the articles anew, train nothing, and ask about them.

    Args:
        base: reads the articles found.
        tuned: has learned the policies as they were.
        suite: questions whose family is the name of the article that answers them.
        names: the articles that change.

    Returns:
        "retrieve" and "fine-tune", each with the share of new and of old policies in its answers.

    Raises:
        ValueError: the suite asks nothing about these articles.
        BadArticles: there is no such article.
    """
    new = {name: other_policy(name, seed) for name in names}
    old = {article.name: article.text for article in articles}
    changed = list(articles)
    for name, text in new.items():
        changed = change_policy(changed, name, text)
    items = [item for item in suite.items if item.family in new]
    if not items:
        raise ValueError(f"The suite {suite.name!r} asks nothing about {', '.join(names)}.")
    asked = [question_of(item.prompt) for item in items]
    said = {
        "retrieve": [found.text for found in answer(base, HelpIndex(changed), asked)],
        "fine-tune": complete(tuned, [FORMATS["support"].format(question=q) for q in asked]),
    }

    def share(texts: Sequence[str], policies: Mapping[str, str]) -> float:
        right = [text == policies[i.family] for text, i in zip(texts, items, strict=True)]
        return 100 * sum(right) / len(items)

    return {name: AfterChange(share(t, new), share(t, old)) for name, t in said.items()}
