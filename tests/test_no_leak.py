"""Nothing that a test asks stands in what a model is trained on."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from helpers.pocket import support, world
from helpers.suites import NAMES, load_suites
from helpers.tickets import SUPPORT, read_tickets

DOCUMENTS = 20_000


def asked(prompt: str) -> str:
    """A prompt without its format: the text it is about, if any, and the question."""
    prompt = re.sub(r"\n(Answer|Assistant|Agent):$", "", prompt.strip("\n"))
    return re.sub(r"(^|\n)(Question|User|Customer): ", r"\1", prompt)


def unwrapped(question: str) -> str:
    """A question without the phrase around it."""
    for wrapper in world.WRAPPERS:
        before, after = wrapper.split("{q}")
        if question.startswith(before) and question.endswith(after):
            return question[len(before) : len(question) - len(after)]
    return question


@pytest.fixture(scope="module")
def held_out() -> set[str]:
    """What the suites ask; of stories, the text."""
    found = set()
    for suite in load_suites(size=700):
        text = suite.kind == "text"
        found |= {item.answer if text else asked(item.prompt) for item in suite.items}
    assert len(found) > 600 * len(NAMES)
    return found


@pytest.mark.parametrize("name", ["tickets", "card_tickets", "replay"])
def test_no_test_question_stands_in_training_data(held_out, name):
    rows = read_tickets(SUPPORT / f"{name}.jsonl")
    trained = {asked(row["prompt"]) for row in rows} | {row["completion"].strip() for row in rows}
    assert not trained & held_out


def test_no_test_question_stands_in_pre_training(held_out):
    rng = random.Random("leak")
    for _ in range(DOCUMENTS):
        pieces = world.document(rng, "")
        prompts = [asked(text) for text, learned in pieces if not learned]
        # Later questions of a document may be about the text that stands above the first.
        context = prompts[0].rpartition("\n")[0] if prompts else ""
        questions = {f"{context}\n{prompt}" for prompt in prompts} | set(prompts)
        questions |= {unwrapped(prompt) for prompt in prompts}
        stories = {text.strip() for text, learned in pieces if learned}
        assert not (questions | stories) & held_out


def test_the_comparison_would_find_a_leak(held_out):
    item = load_suites("arithmetic", size=1)[0].items[0]
    question = asked(item.prompt)
    assert asked(f"User: {question}\nAssistant:") in held_out
    assert unwrapped(f"Please answer: {question}") in held_out


def test_no_policy_of_the_shop_stands_in_replay():
    replay = "\n".join(
        row["prompt"] + row["completion"] for row in read_tickets(SUPPORT / "replay.jsonl")
    )
    policies = [support.policy(intent) for intent in support.shop()["intents"]]
    assert not [policy for policy in policies if policy in replay]


def test_tickets_cover_every_intent_alike():
    policies = {support.policy(i): i["name"] for i in support.shop()["intents"]}
    counts = Counter(policies[row["completion"].strip()] for row in read_tickets())
    assert len(policies) == len(counts) == 40
    assert len(set(counts.values())) == 1


def test_every_intent_is_tested():
    (suite,) = load_suites("support", size=250)
    assert {item.family for item in suite.items} == {i["name"] for i in support.shop()["intents"]}
