"""The pocket world: which capabilities there are, and how often pre-training shows each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from . import knowledge, problems, reading, skills, stories, support
from .examples import COMMON_FORMATS, Example, Split

Draw = Callable[[random.Random, Split], Example]

#: Every capability the base model has; a fine-tune should not cost any of them.
PROTECTED: dict[str, Draw] = {
    "facts": knowledge.facts,
    "arithmetic": skills.arithmetic,
    "reasoning": problems.reasoning,
    "lists": skills.lists,
    "reading": reading.reading,
    "howto": knowledge.howto,
    "sentiment": knowledge.sentiment,
    "translation": knowledge.translation,
    "rewriting": knowledge.rewriting,
    "refusal": knowledge.refusal,
    "stories": stories.stories,
}

#: Share of documents in pre-training, by capability (relative weights).
MIXTURE: dict[str, float] = {
    "facts": 17,
    "arithmetic": 14,
    "reasoning": 13,
    "lists": 13,
    "reading": 17,
    "howto": 4.5,
    "sentiment": 2,
    "translation": 5,
    "rewriting": 3.5,
    "refusal": 4,
    "stories": 1.5,
    "help_article": 9,
}

#: Every capability that a suite measures.
CAPABILITIES: dict[str, Draw] = PROTECTED | {
    "help_article": support.help_article,
    "support": support.support,
    "support_with_article": support.support_with_article,
}

#: What people put around a question; one question in `WRAPPED_EVERY` wears one of these.
WRAPPERS = (
    "I have a question. {q}",
    "Please answer: {q}",
    "Here is a task. {q}",
    "Hello. {q}",
    "Can you help? {q}",
    "{q} Please answer.",
    "{q} Thank you.",
    "Good morning! {q}",
    "This is for school. {q}",
    "My friend asked me this. {q}",
    "{q} I would like to know.",
    "{q} Do you know?",
    "Now the next one. {q}",
    "Think about this. {q}",
    "Answer this for me. {q}",
    "{q} Tell me please.",
    "Someone wants to know: {q}",
    "It is late, but one more thing. {q}",
    "{q} Take your time.",
    "So, here it is. {q}",
)
WRAPPED_EVERY = 5

#: A text is read once and asked about up to this many times in pre-training.
QUESTIONS_PER_TEXT = 4

#: One document in this many is a conversation of several questions.
CONVERSATION_EVERY = 16


def draw(rng: random.Random) -> list[Example]:
    """Training examples of a capability chosen by `MIXTURE`: one, or several about one text."""
    capability = rng.choices(tuple(MIXTURE), tuple(MIXTURE.values()))[0]
    if capability == "reading":
        return reading.passage(rng, "train", rng.randint(1, QUESTIONS_PER_TEXT))
    if capability == "help_article":
        return support.article_questions(rng, "train", rng.randint(1, 2))
    example = CAPABILITIES[capability](rng, "train")
    if example.question.endswith(("?", ".")) and rng.randrange(WRAPPED_EVERY) == 0:
        example = replace(example, question=rng.choice(WRAPPERS).format(q=example.question))
    return [example]


#: A document is a list of (text, learn) pieces: the loss is taken where `learn` is true.
Document = list[tuple[str, bool]]


def document(rng: random.Random, end: str) -> Document:
    """One training document: a question with its answer, or a short conversation.

    The prompt is given, not learned: what stands in a random text or a random sum cannot be
    predicted, and a small model should not spend its capacity on trying. Stories are learned whole.
    """
    turns = draw(rng)
    first = turns[0]
    if first.capability == "stories" and rng.random() < 0.7:
        return [(first.answer + end, True)]
    format = rng.choice(first.formats)
    if len(turns) == 1 and format in COMMON_FORMATS and rng.randrange(CONVERSATION_EVERY) == 0:
        for _ in range(rng.randint(1, 3)):
            following = draw(rng)[0]
            if format in following.formats and not following.context:
                turns.append(following)
    pieces: Document = []
    for number, turn in enumerate(turns, start=1):
        gap = "\n\n" if number > 1 else ""
        closing = end if number == len(turns) else ""
        pieces += [(gap + turn.prompt(format), False), (f" {turn.answer}{closing}", True)]
    return pieces
