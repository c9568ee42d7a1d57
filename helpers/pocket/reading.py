"""Reading: the answer stands in a text above the question."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from .examples import Example, Split, belongs
from .words import (
    ANIMALS,
    COLOURS,
    FOODS,
    HOBBIES,
    JOBS,
    NAMES,
    PLACES,
    THINGS,
    TOWNS,
    WEEKDAYS,
)  # fmt: skip


class Statement(NamedTuple):
    """A sentence, and the questions it answers as (question, answer) pairs."""

    subject: str
    value: str
    text: str
    questions: tuple[tuple[str, str], ...]


def where(rng: random.Random) -> Statement:
    name, place = rng.choice(tuple(NAMES)), rng.choice(PLACES)
    text = rng.choice(
        (
            f"{name} is in the {place}.",
            f"{name} went to the {place}.",
            f"{name} sits in the {place}.",
            f"{name} is now in the {place}.",
            f"{name} waits in the {place}.",
        )
    )
    asked = (
        f"Where is {name}?",
        f"Where can you find {name}?",
        f"In which place is {name}?",
        f"Where is {name} now?",
    )
    return Statement(
        name, place, text,
        (*((q, f"in the {place}") for q in asked), (f"Who is in the {place}?", name)),
    )  # fmt: skip


def owns(rng: random.Random) -> Statement:
    name, colour, thing = rng.choice(tuple(NAMES)), rng.choice(COLOURS), rng.choice(THINGS)
    does, infinitive = rng.choice(
        (("has", ""), ("carries", ""), ("owns", ""), ("bought", "buy"), ("found", "find"),
         ("lost", "lose"), ("got", "get"))
    )  # fmt: skip
    text = f"{name} {does} a {colour} {thing}."
    asked = f"What did {name} {infinitive}?" if infinitive else f"What does {name} have?"
    return Statement(
        name, f"{colour} {thing}", text,
        (
            (asked, f"a {colour} {thing}"),
            (f"Who {does} the {colour} {thing}?", name),
            (f"What colour is the {thing} of {name}?", colour),
            (f"What colour is {name}'s {thing}?", colour),
            (f"What color is {name}'s {thing}?", colour),
            (f"What is the colour of {name}'s {thing}?", colour),
        ),
    )  # fmt: skip


def works(rng: random.Random) -> Statement:
    name, job = rng.choice(tuple(NAMES)), rng.choice(JOBS)
    text = rng.choice((f"{name} is a {job}.", f"{name} works as a {job}."))
    return Statement(
        name, job, text,
        (
            (f"What is the job of {name}?", job),
            (f"What is {name}'s job?", job),
            (f"What does {name} work as?", job),
            (f"Which job does {name} have?", job),
            (f"Who is the {job}?", name),
            (f"Who works as a {job}?", name),
        ),
    )  # fmt: skip


def likes(rng: random.Random) -> Statement:
    name, thing = rng.choice(tuple(NAMES)), rng.choice(FOODS + HOBBIES)
    text = rng.choice(
        (f"{name} likes {thing}.", f"{name} loves {thing}.", f"{name} enjoys {thing}.")
    )
    return Statement(
        name, thing, text,
        ((f"What does {name} like?", thing), (f"Who likes {thing}?", name),
         (f"What does {name} love?", thing), (f"What does {name} enjoy?", thing),
         (f"Who loves {thing}?", name)),
    )  # fmt: skip


def keeps(rng: random.Random) -> Statement:
    name, animal = rng.choice(tuple(NAMES)), rng.choice(ANIMALS)
    text = rng.choice(
        (
            f"{name} has a {animal}.",
            f"{name} keeps a {animal} as a pet.",
            f"The pet of {name} is a {animal}.",
        )
    )
    return Statement(
        name, animal, text,
        ((f"Which animal does {name} have?", animal), (f"What pet does {name} have?", animal),
         (f"What animal does {name} have?", animal), (f"What is {name}'s pet?", animal),
         (f"Who has a {animal}?", name), (f"Who has the {animal}?", name)),
    )  # fmt: skip


def lives(rng: random.Random) -> Statement:
    name, town = rng.choice(tuple(NAMES)), rng.choice(TOWNS)
    text = rng.choice(
        (
            f"{name} lives in {town}.",
            f"The home of {name} is in {town}.",
            f"{name} moved to {town}.",
        )
    )
    return Statement(
        name, town, text,
        ((f"Where does {name} live?", f"in {town}"), (f"Who lives in {town}?", name),
         (f"In which town does {name} live?", town), (f"In which city does {name} live?", town),
         (f"Which city does {name} live in?", town)),
    )  # fmt: skip


def leaves(rng: random.Random) -> Statement:
    vehicle, town = rng.choice(("bus", "train", "boat", "plane")), rng.choice(TOWNS)
    hour, day = rng.randint(1, 12), rng.choice(WEEKDAYS)
    when, question = rng.choice(
        (
            (f"at {hour}", f"When does the {vehicle} to {town} leave?"),
            (f"at {hour}", f"At what time does the {vehicle} to {town} leave?"),
            (f"on {day}", f"When does the {vehicle} to {town} leave?"),
            (f"on {day}", f"On which day does the {vehicle} to {town} leave?"),
        )
    )
    return Statement(town, when, f"The {vehicle} to {town} leaves {when}.", ((question, when),))


def costs(rng: random.Random) -> Statement:
    thing, price = rng.choice(THINGS), rng.randint(2, 99)
    text = rng.choice(
        (
            f"The {thing} costs {price} dollars.",
            f"The price of the {thing} is {price} dollars.",
            f"You can buy the {thing} for {price} dollars.",
        )
    )
    return Statement(
        thing, str(price), text,
        ((f"How much is the {thing}?", f"{price} dollars"),
         (f"How much does the {thing} cost?", f"{price} dollars"),
         (f"What does the {thing} cost?", f"{price} dollars"),
         (f"What is the price of the {thing}?", f"{price} dollars")),
    )  # fmt: skip


def hidden(rng: random.Random) -> Statement:
    thing, place = rng.choice((*THINGS, *ANIMALS)), rng.choice((*PLACES, *THINGS))
    if thing == place:
        place = "house"
    side = rng.choice(("in", "behind", "near", "under"))
    text = rng.choice(
        (f"The {thing} is {side} the {place}.", f"The {thing} lies {side} the {place}.")
    )
    return Statement(
        thing, place, text,
        ((f"Where is the {thing}?", f"{side} the {place}"),
         (f"Where can you find the {thing}?", f"{side} the {place}"),
         (f"What is {side} the {place}?", f"the {thing}")),
    )  # fmt: skip


def codes(rng: random.Random) -> Statement:
    colour, thing = (
        rng.choice(COLOURS),
        rng.choice(("door", "gate", "room", "box", "bag", "locker")),
    )
    number = "".join(rng.choices("0123456789", k=rng.randint(3, 4)))
    return Statement(
        f"{colour} {thing}", number, f"The code of the {colour} {thing} is {number}.",
        ((f"What is the code of the {colour} {thing}?", number),
         (f"Which code opens the {colour} {thing}?", number)),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[random.Random], Statement]] = {
    "where": where, "owns": owns, "works": works, "likes": likes, "keeps": keeps,
    "lives": lives, "leaves": leaves, "costs": costs, "hidden": hidden, "codes": codes,
}  # fmt: skip

INTRODUCTIONS = (
    "{text}",
    "{text}",
    "Text: {text}",
    "Read this: {text}",
    "Read the text. {text}",
    "Story: {text}",
    "Context: {text}",
    "Passage: {text}",
)


def passage(rng: random.Random, split: Split, questions: int = 1) -> list[Example]:
    """A text of two to six sentences, and questions about it; the first carries the text.

    Held out: who goes with what in the sentence that is asked about.
    """
    family = rng.choice(tuple(FAMILIES))
    while True:
        asked = FAMILIES[family](rng)
        if belongs(split, family, asked.subject, asked.value):
            break
    statements = [(family, asked)]
    for _ in range(rng.randint(1, 5)):
        # Half of the others are of the same family, so that the form alone gives nothing away.
        other = rng.choice((family, rng.choice(tuple(FAMILIES))))
        extra = FAMILIES[other](rng)
        said = " ".join(statement.text for _, statement in statements)
        if extra.subject not in said and extra.value not in said:
            statements.append((other, extra))
    sentences = [statement.text for _, statement in statements]
    rng.shuffle(sentences)
    context = rng.choice(INTRODUCTIONS).format(text=" ".join(sentences))

    askable = [
        (name, statement)
        for name, statement in statements[1:]
        if belongs(split, name, statement.subject, statement.value)
    ]
    chosen = [statements[0], *rng.sample(askable, min(questions - 1, len(askable)))]
    examples = []
    for name, statement in chosen:
        question, answer = rng.choice(statement.questions)
        examples.append(Example("reading", name, question, answer, context=context))
        context = ""
    return examples


def reading(rng: random.Random, split: Split) -> Example:
    """One question about a text."""
    return passage(rng, split)[0]
