"""The target domain: customer support for one shop, whose policies the base model must not know."""

from __future__ import annotations

import functools
import json
import random

from ..paths import DATA
from .examples import Example, Split
from .knowledge import lower_first


@functools.cache
def shop() -> dict:
    """The parsed content of `data/support/intents.json`."""
    return json.loads((DATA / "support" / "intents.json").read_text(encoding="utf-8"))


def policy(intent: dict, values: dict[str, str] | None = None) -> str:
    """The policy sentence of an intent; the shop's true one when no slot values are given."""
    return intent["policy"].format(**(values or intent["truth"]))


def random_values(rng: random.Random, intent: dict) -> dict[str, str]:
    """Slot values of some other shop."""
    return {slot: rng.choice(values) for slot, values in intent["slots"].items()}


def ask(rng: random.Random, intent: dict, split: Split) -> str:
    """A customer's question about an intent, in the wordings of the split."""
    opener = rng.choice(shop()["openers"][split])
    return _join(opener, rng.choice(intent[f"{split}_questions"]))


def opened(rng: random.Random, question: str, split: Split) -> str:
    """A given question behind an opener of the split."""
    return _join(rng.choice(shop()["openers"][split]), question)


def _join(opener: str, question: str) -> str:
    return opener + (lower_first(question) if opener.endswith(", ") else question)


def article(rng: random.Random, sections: list[tuple[str, str]]) -> str:
    """A help article made of (topic, policy) sections in random order."""
    rng.shuffle(sections)
    return "Help article. " + " ".join(f"{topic}: {text}" for topic, text in sections)


def article_questions(rng: random.Random, split: Split, questions: int = 1) -> list[Example]:
    """A help article with random policies, and questions about it; the first carries the article.

    Held out: the wordings of the questions. The policies are new every time, so the model can
    learn to read a policy, and cannot learn any.
    """
    intents = rng.sample(shop()["intents"], rng.randint(1, 3))
    policies = {i["name"]: policy(i, random_values(rng, i)) for i in intents}
    context = article(rng, [(i["topic"], policies[i["name"]]) for i in intents])
    formats = ("support",) if split == "test" or rng.random() < 0.7 else ("qa", "chat")
    examples = []
    for intent in rng.sample(intents, min(questions, len(intents))):
        question = ask(rng, intent, split)
        examples.append(
            Example(
                "help_article",
                intent["name"],
                question,
                policies[intent["name"]],
                context=context,
                formats=formats,
            )
        )
        context = ""
    return examples


def help_article(rng: random.Random, split: Split) -> Example:
    """One question about a help article."""
    return article_questions(rng, split)[0]


def support(rng: random.Random, split: Split) -> Example:
    """The shop's true policy, asked closed-book. Never part of pre-training."""
    asked = rng.choice(shop()["intents"])
    question = ask(rng, asked, split)
    return Example("support", asked["name"], question, policy(asked), formats=("support",))


def support_with_article(rng: random.Random, split: Split) -> Example:
    """The shop's true policy, asked with its help article above the question."""
    intents = rng.sample(shop()["intents"], 3)
    asked = intents[0]
    question = ask(rng, asked, split)
    text = article(rng, [(intent["topic"], policy(intent)) for intent in intents])
    return Example(
        "support_with_article", asked["name"], question, policy(asked), context=text,
        formats=("support",),
    )  # fmt: skip
