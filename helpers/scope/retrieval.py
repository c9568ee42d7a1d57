"""Retrieve instead of fine-tuning: BM25 finds a help article, and the base reads the answer there.

BM25 (Robertson et al. 1994; here by the package bm25s, Lù 2024, arXiv 2407.03618) scores an article
by the words it shares with a question: rare words count more, and long articles are held back.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import bm25s
from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..generation import complete
from ..pocket.examples import FORMATS
from ..pocket.support import policy, random_values, shop
from ..snapshots import Snapshot
from ..suites import Item, Suite
from ..tickets import read_tickets
from .leaks import question_of

#: What is said in place of an answer when no article has a word of the question.
NOTHING_FOUND = "I found no help article about this."


class BadArticles(ValueError):
    """The help articles cannot be searched: there are none, or one is empty or there twice."""


@dataclass(frozen=True)
class Article:
    """A help article.

    Attributes:
        name: unique; what it is about, for us.
        topic: its heading.
        text: what the model is given to read.
        asked: questions that customers have put about it. They are searched, and never shown.
    """

    name: str
    topic: str
    text: str
    asked: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The article as the model reads it."""
        return f"{self.topic}: {self.text}"


@dataclass(frozen=True)
class Found:
    """An article that shares words with a question, and its BM25 score (above 0)."""

    article: Article
    score: float


@dataclass(frozen=True)
class Answer:
    """A question, what was found for it, and what was answered."""

    question: str
    text: str
    found: tuple[Found, ...]


class HelpIndex:
    """Help articles that can be searched.

    Args:
        articles: at least one.
        floor: articles with a lower BM25 score count as not found.

    Raises:
        BadArticles: there are no articles, or one is empty, has no word to search by, or has the
            name of another.
    """

    def __init__(self, articles: Iterable[Article], floor: float = 0.0) -> None:
        self.articles, self.floor = tuple(articles), floor
        if not self.articles:
            raise BadArticles("There is nothing to search: give at least one help article.")
        names = [article.name for article in self.articles]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadArticles(f"Two articles are called {twice[0]!r}. Give each its own name.")
        texts = [" ".join([article.shown, *article.asked]) for article in self.articles]
        words = [_words(text) for text in texts]
        for article, found in zip(self.articles, words, strict=True):
            if not article.text.strip() or not found:
                raise BadArticles(f"The article {article.name!r} has no words to search by.")
        self._bm25 = bm25s.BM25()
        self._bm25.index(words, show_progress=False)

    def find(self, question: str, k: int = 3) -> list[Found]:
        """The k articles that fit a question best, the best first; fewer, or none, if few fit.

        Raises:
            ValueError: the question is empty, or k is below 1.
        """
        if not question.strip():
            raise ValueError("The question is empty: there is nothing to search for.")
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}.")
        words = _words(question)
        if not words:  # bm25s breaks off on a question of nothing but "what is the"
            return []
        scores = self._bm25.get_scores(words).tolist()
        # An article without a word of the question has the score 0: bm25s would return it all the
        # same to make up the number.
        fitting = [place for place, score in enumerate(scores) if score > max(0.0, self.floor)]
        best = sorted(fitting, key=lambda place: (-scores[place], place))[:k]
        return [Found(self.articles[place], scores[place]) for place in best]


def _words(text: str) -> list[str]:
    """The words BM25 counts: two letters or more, in lower case, without "what", "the" and such."""
    return bm25s.tokenize(text, stopwords="english_plus", return_ids=False, show_progress=False)[0]


def shop_articles(tickets: Iterable[Mapping[str, str]] | None = None) -> list[Article]:
    """The shop's help articles, one for each of its policies.

    Args:
        tickets: rows with a prompt and a completion, such as those a fine-tune learns from. The
            questions in them become what the articles are searched by; `()` leaves them out, and
            None takes the shop's own tickets.
    """
    asked: dict[str, list[str]] = defaultdict(list)
    for row in read_tickets() if tickets is None else tickets:
        asked[row["completion"].strip()].append(question_of(row["prompt"]))
    return [
        Article(intent["name"], intent["topic"], policy(intent), tuple(asked[policy(intent)]))
        for intent in shop()["intents"]
    ]


def with_article(prompt: str, found: Sequence[Found]) -> str:
    """A prompt below the articles found for it; without any, the prompt as it is."""
    if not found:
        return prompt
    return f"Help article. {' '.join(hit.article.shown for hit in found)}\n{prompt}"


def answer(
    model: PreTrainedModel, index: HelpIndex, questions: Sequence[str], k: int = 1
) -> list[Answer]:
    """Answer customers' questions from the articles found for them.

    Where nothing is found the model is not asked: the answer is `NOTHING_FOUND`. Who asks it all
    the same gets an invented policy.

    Args:
        questions: as customers put them, without a prompt format.
        k: articles the model is shown, at most.

    Raises:
        ValueError: a question is empty, k is below 1, or the articles do not fit into the context.
    """
    if isinstance(questions, str):
        raise ValueError("Give a list of questions, not a single text.")
    found = [tuple(index.find(question, k)) for question in questions]
    known = [place for place, hits in enumerate(found) if hits]
    prompts = [FORMATS["support"].format(question=questions[place]) for place in known]
    asked = [with_article(p, found[place]) for p, place in zip(prompts, known, strict=True)]
    texts = dict(zip(known, complete(model, asked) if asked else [], strict=True))
    return [
        Answer(question, texts.get(place, NOTHING_FOUND), found[place])
        for place, question in enumerate(questions)
    ]


def evaluate_with_articles(
    model: PreTrainedModel,
    index: HelpIndex,
    suites: Suite | Sequence[Suite],
    k: int = 1,
    formats: Sequence[str] | None = ("support",),
) -> Snapshot:
    """Score a model that gets the articles found for an item above the item's prompt.

    Items for which nothing is found are asked as they are.

    Args:
        formats: of the prompts that go through the search; the others reach the model as they are.
            The default sends customers there and nobody else. None sends everyone, which shows what
            articles do to questions they have nothing to do with.

    Returns:
        A snapshot of the suites' own items, so that it can be compared with one of `evaluate`.
    """
    suites = [suites] if isinstance(suites, Suite) else list(suites)

    def opened(suite: Suite) -> Suite:
        if suite.kind == "text":  # running text asks nothing
            return suite
        return replace(suite, items=tuple(map(opened_item, suite.items)))

    def opened_item(item: Item) -> Item:
        if formats is not None and item.format not in formats:
            return item
        found = index.find(question_of(item.prompt), k)
        return replace(item, prompt=with_article(item.prompt, found))

    snapshot = evaluate(model, list(map(opened, suites)))
    for suite in suites:
        rows = zip(snapshot.results[suite.name], suite.items, strict=True)
        snapshot.results[suite.name] = [replace(row, item=item) for row, item in rows]
    return snapshot


def found_rate(index: HelpIndex, suite: Suite, k: int = 1) -> float:
    """Percent of items for which the article named as their family is among the first k."""
    hits = [
        any(hit.article.name == item.family for hit in index.find(question_of(item.prompt), k))
        for item in suite.items
    ]
    return 100 * sum(hits) / len(hits)


def change_policy(articles: Sequence[Article], name: str, text: str) -> list[Article]:
    """The articles with another text in one of them.

    Raises:
        BadArticles: no article has that name; the message lists some that there are.
    """
    if name not in {article.name for article in articles}:
        some = ", ".join(article.name for article in list(articles)[:5])
        raise BadArticles(f"There is no article {name!r}. There are {some}, …")
    return [replace(a, text=text) if a.name == name else a for a in articles]


def other_policy(name: str, seed: int = 0) -> str:
    """A policy the shop might have instead: every amount, day and colour in it is another one.

    Raises:
        BadArticles: the shop has no such policy.
    """
    for intent in shop()["intents"]:
        if intent["name"] == name:
            rng = random.Random(f"{name} {seed}")
            slots = {
                slot: [value for value in values if value != intent["truth"][slot]]
                for slot, values in intent["slots"].items()
            }
            return policy(intent, random_values(rng, {**intent, "slots": slots}))
    raise BadArticles(f"The shop has no policy {name!r}.")
