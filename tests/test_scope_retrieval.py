"""Retrieval: what is found, what the model is shown, what it costs, and what a new policy does."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace

import pytest
from bm25s.stopwords import STOPWORDS_EN_PLUS

from helpers.audit import CapabilityMap, audit
from helpers.evaluation import evaluate
from helpers.pocket.support import policy, shop
from helpers.scope import retrieval, routes
from helpers.scope.leaks import question_of
from helpers.scope.retrieval import (
    NOTHING_FOUND,
    Article,
    BadArticles,
    HelpIndex,
    answer,
    change_policy,
    evaluate_with_articles,
    found_rate,
    other_policy,
    shop_articles,
    with_article,
)
from helpers.suites import load_suites
from helpers.tickets import read_tickets

FEW = [
    Article("returns", "Returns", "Send it back within 45 days."),
    Article("refunds", "Refunds", "We pay your money back by post."),
    Article("gifts", "Gift cards", "A card stays valid for 24 months.", ("Do vouchers expire?",)),
]


@pytest.fixture(scope="module")
def index():
    return HelpIndex(shop_articles())


@pytest.fixture(scope="module")
def support():
    (suite,) = load_suites("support", size=40)
    return suite


def terms(text):
    return [w for w in re.findall(r"\b\w\w+\b", text.lower()) if w not in STOPWORDS_EN_PLUS]


def bm25_in_loops(articles, question, k1=1.5, b=0.75):
    """The formula as Lucene has it, word by word and article by article."""
    documents = [terms(" ".join([a.topic, a.text, *a.asked])) for a in articles]
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in terms(question):
            holding = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            length = 1 - b + b * len(document) / average
            score += idf * counts[word] / (counts[word] + k1 * length)
        scores.append(score)
    return scores


def test_scores_are_those_of_the_formula(index, support):
    for item in support.items[:15]:
        question = question_of(item.prompt)
        found = {hit.article.name: hit.score for hit in index.find(question, k=40)}
        expected = dict(
            zip(
                (article.name for article in index.articles),
                bm25_in_loops(index.articles, question),
                strict=True,
            )
        )
        assert found == pytest.approx({n: s for n, s in expected.items() if s > 0}, rel=1e-4)
        assert list(found) == sorted(found, key=found.__getitem__, reverse=True)


def test_only_what_shares_a_word_is_found():
    assert [hit.article.name for hit in HelpIndex(FEW).find("Money for days", k=3)] in (
        ["returns", "refunds"],
        ["refunds", "returns"],
    )


def test_what_customers_asked_is_searched_and_not_shown():
    (hit,) = HelpIndex(FEW).find("vouchers")
    assert hit.article.name == "gifts"
    assert "vouchers" not in with_article("Customer: x\nAgent:", [hit])


@pytest.mark.parametrize("question", ["Zebra?", "What is this and that?", "?!", "7"])
def test_a_question_that_matches_nothing_finds_nothing(question):
    assert HelpIndex(FEW).find(question) == []


def test_a_floor_leaves_weak_matches_out():
    (best,) = HelpIndex(FEW).find("days", k=1)
    assert HelpIndex(FEW, floor=best.score).find("days") == []
    assert len(HelpIndex(FEW, floor=best.score - 0.01).find("days")) == 1


@pytest.mark.parametrize(
    ("articles", "message"),
    [
        ([], "nothing to search"),
        ([*FEW, FEW[0]], "Two articles are called 'returns'"),
        ([*FEW, Article("empty", "Heading", " ")], "'empty' has no words"),
        ([*FEW, Article("stop", "To", "It is what it is.")], "'stop' has no words"),
    ],
)
def test_articles_that_cannot_be_searched_are_refused(articles, message):
    with pytest.raises(BadArticles, match=message):
        HelpIndex(articles)


@pytest.mark.parametrize(("question", "k"), [("  ", 1), ("days", 0)])
def test_a_search_for_nothing_is_refused(question, k):
    with pytest.raises(ValueError, match=r"empty|at least 1"):
        HelpIndex(FEW).find(question, k)


def test_the_shop_has_an_article_for_every_policy():
    articles = shop_articles()
    assert {a.name: a.text for a in articles} == {i["name"]: policy(i) for i in shop()["intents"]}
    asked = Counter(a.name for a in articles for _ in a.asked)
    assert sum(asked.values()) == len(read_tickets()) and len(set(asked.values())) == 1
    assert not any(a.asked for a in shop_articles(()))


def test_no_held_out_question_is_indexed():
    indexed = {question for article in shop_articles() for question in article.asked}
    (suite,) = load_suites("support", size=700)
    assert not indexed & {question_of(item.prompt) for item in suite.items}


def test_old_questions_find_more_articles_than_the_articles_alone():
    (suite,) = load_suites("support", size=700)
    bare = HelpIndex(shop_articles(()))
    assert found_rate(HelpIndex(shop_articles()), suite) > 95
    assert found_rate(bare, suite) < found_rate(bare, suite, k=3) < 90


@pytest.fixture
def shown(monkeypatch):
    """The prompts a model would be given; it answers with their number."""
    prompts = []

    def complete(_model, asked, *_arguments):
        prompts.extend(asked)
        return [f"answer {number}" for number in range(len(asked))]

    monkeypatch.setattr(retrieval, "complete", complete)
    return prompts


def test_the_model_reads_the_articles_above_the_question(shown):
    first, second, third = answer(None, HelpIndex(FEW), ["45 days?", "Zebra?", "my money"])
    assert shown == [
        "Help article. Returns: Send it back within 45 days.\nCustomer: 45 days?\nAgent:",
        "Help article. Refunds: We pay your money back by post.\nCustomer: my money\nAgent:",
    ]
    assert (first.text, second.text, third.text) == ("answer 0", NOTHING_FOUND, "answer 1")
    assert second.found == () and first.found[0].article == FEW[0]


def test_where_nothing_is_found_the_model_is_not_asked(shown):
    assert answer(None, HelpIndex(FEW), ["Zebra?"])[0].text == NOTHING_FOUND
    assert answer(None, HelpIndex(FEW), []) == []
    assert shown == []


def test_one_question_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match="list of questions"):
        answer(None, HelpIndex(FEW), "45 days?")


def test_prompts_are_laid_out_as_in_the_suite_with_articles():
    (suite,) = load_suites("support_with_article", size=5)
    for item in suite.items:
        context, question = item.prompt.split("\n", 1)
        texts = {f"{a.topic}: {a.text}": a for a in shop_articles(())}
        order = sorted((t for t in texts if t in context), key=context.index)
        hits = [retrieval.Found(texts[text], 1.0) for text in order]
        assert with_article(question, hits) == item.prompt


def test_the_base_answers_from_the_articles_and_loses_nothing(pocket, index, support):
    """Without a fine-tune, so its old answers are the same to the letter."""
    old = load_suites(["howto", "lists"], size=15)
    before = evaluate(pocket, [support, *old])
    after = evaluate_with_articles(pocket, index, [support, *old])
    assert before.score("support") < 10 and after.score("support") >= 90
    for suite in old:
        assert after.results[suite.name] == before.results[suite.name]
    rows = "{support: {task: pocket_support, role: watch}, howto: {task: pocket_howto, margin: 50}}"
    report = audit(before, after, CapabilityMap.parse(f"version: 1\ncategories: {rows}"))
    assert report["howto"].drop == 0


def test_articles_above_everything_change_old_answers(pocket, index):
    old = load_suites(["howto", "lists"], size=15)
    before = evaluate(pocket, old)
    after = evaluate_with_articles(pocket, index, old, formats=None)
    assert sum(after.scores().values()) < sum(before.scores().values()) - 10


def test_a_changed_policy_differs_in_every_slot():
    for intent in shop()["intents"]:
        text = other_policy(intent["name"])
        pattern = re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(intent["policy"]))
        old, new = (re.fullmatch(pattern, t).groups() for t in (policy(intent), text))
        assert all(a != b for a, b in zip(old, new, strict=True))
        assert text == other_policy(intent["name"])


def test_an_unknown_policy_is_named():
    for call in (lambda: other_policy("zebra"), lambda: change_policy(FEW, "zebra", "x")):
        with pytest.raises(BadArticles, match="'zebra'"):
            call()


def test_retrieval_answers_anew_at_once_and_what_was_learned_stays(pocket, monkeypatch, support):
    """The fine-tune is played by a model that knows the old policies by heart."""
    by_question = {item.prompt: item.answer for item in support.items}
    monkeypatch.setattr(routes, "complete", lambda _m, asked: [by_question[p] for p in asked])
    names = sorted({item.family for item in support.items})[:6]
    found = routes.after_change(pocket, None, shop_articles(), support, names)
    assert found["fine-tune"] == routes.AfterChange(new=0, old=100)
    assert found["retrieve"].new >= 80 and found["retrieve"].old == 0
    assert found["retrieve"].neither == pytest.approx(100 - found["retrieve"].new)


def test_a_change_nobody_asks_about_is_refused(support):
    none = replace(support, items=support.items[:1])
    other = next(i["name"] for i in shop()["intents"] if i["name"] != none.items[0].family)
    with pytest.raises(ValueError, match="asks nothing about"):
        routes.after_change(None, None, shop_articles(), none, [other])


def test_routes_take_turns_and_the_median_is_theirs(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(routes.time, "perf_counter", lambda: now[0])

    def taking(name, seconds):
        def route(question):
            calls.append(name)
            now[0] += seconds + (100 if question == "slow" else 0)
            return ""

        return route

    both = {"one": taking("one", 2.0), "two": taking("two", 3.0)}
    found = routes.seconds_per_answer(both, ["a", "slow", "b"], rounds=2)
    assert found == pytest.approx({"one": 2.0, "two": 3.0})
    timed = calls[2:]  # the first call of each is not counted
    assert timed == ["one", "two", "two", "one", "one", "two", "two", "one", "one", "two"] + [
        "two",
        "one",
    ]


@pytest.mark.parametrize(("names", "questions", "rounds"), [({}, ["a"], 1), ({"x": str}, [], 1)])
def test_timing_nothing_is_refused(names, questions, rounds):
    with pytest.raises(ValueError, match="at least one"):
        routes.seconds_per_answer(names, questions, rounds)


def test_routes_answer_one_question(shown, monkeypatch):
    monkeypatch.setattr(routes, "complete", lambda _model, prompt: prompt)
    assert routes.closed_book(None)("45 days?") == "Customer: 45 days?\nAgent:"
    assert routes.open_book(None, HelpIndex(FEW))("45 days?") == "answer 0"
    (suite,) = load_suites("support", size=2)
    assert all(":" not in question for question in routes.questions_of(suite))
