"""Arithmetic and list instructions: skills that are computed, not remembered."""

from __future__ import annotations

import random

from .examples import Example, Split, belongs
from .words import NOUNS

ADD = (
    "{a} + {b} =",
    "What is {a} + {b}?",
    "What is {a} plus {b}?",
    "Calculate {a} + {b}.",
    "How much is {a} plus {b}?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "What do you get if you add {b} to {a}?",
)
SUBTRACT = (
    "{a} - {b} =",
    "What is {a} - {b}?",
    "What is {a} minus {b}?",
    "Calculate {a} - {b}.",
    "How much is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "What do you get if you take {b} from {a}?",
)
TIMES = (
    "{a} x {b} =",
    "What is {a} x {b}?",
    "What is {a} times {b}?",
    "Calculate {a} x {b}.",
    "How much is {a} times {b}?",
    "Multiply {a} by {b}.",
)
#: Products are a table to be known by heart, so what is held out there is the wording.
TIMES_TEST = ("What do you get if you multiply {a} by {b}?", "What is the product of {a} and {b}?")


def arithmetic(rng: random.Random, split: Split) -> Example:
    """A sum, difference or product. Held out: pairs of operands (for products: wordings)."""
    family = rng.choices(("add", "subtract", "times"), (4, 4, 2))[0]
    if family == "times":
        a, b = rng.randint(1, 10), rng.randint(1, 10)
        wording = rng.choice(TIMES if split == "train" else TIMES_TEST)
        return Example("arithmetic", family, wording.format(a=a, b=b), str(a * b))
    while True:
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        if family == "subtract" and a < b:
            a, b = b, a
        if belongs(split, family, max(a, b), min(a, b)):
            break
    total = a + b if family == "add" else a - b
    wording = rng.choice(ADD if family == "add" else SUBTRACT)
    return Example("arithmetic", family, wording.format(a=a, b=b), str(total))


#: Each instruction: its wordings, with {l} for the list.
LISTS = {
    "sort_numbers": (
        "Sort these numbers: {l}",
        "Put these numbers in order: {l}",
        "Sort the numbers {l} from small to large.",
        "Write these numbers from smallest to largest: {l}",
    ),
    "sort_words": (
        "Sort these words: {l}",
        "Put these words in alphabetical order: {l}",
        "Sort the words {l} by the alphabet.",
    ),
    "reverse": (
        "Reverse this list: {l}",
        "Write this list backwards: {l}",
        "Turn the list around: {l}",
        "Reverse the list {l}.",
    ),
    "copy": (
        "Copy this list: {l}",
        "Write this list again: {l}",
        "Repeat this list: {l}",
    ),
    "repeat": (
        "Repeat the word {w} {n} times.",
        "Write {w} {n} times.",
        "Say {w} {n} times.",
    ),
    "first": (
        "What is the first word in this list: {l}?",
        "Pick the first item: {l}",
        "Which word comes first in {l}?",
        "Give me the first of these: {l}",
    ),
    "last": (
        "What is the last word in this list: {l}?",
        "Pick the last item: {l}",
        "Which word comes last in {l}?",
        "Give me the last of these: {l}",
    ),
    "second": (
        "What is the second word in this list: {l}?",
        "Pick the second item: {l}",
        "Which word comes second in {l}?",
    ),
    "largest": (
        "Which number is the largest: {l}?",
        "What is the largest number in {l}?",
        "Pick the biggest number: {l}",
    ),
    "smallest": (
        "Which number is the smallest: {l}?",
        "What is the smallest number in {l}?",
        "Pick the smallest number: {l}",
    ),
    "count": (
        "How many words are in this list: {l}?",
        "Count the words: {l}",
        "How many items are there: {l}?",
    ),
}


def lists(rng: random.Random, split: Split) -> Example:
    """An instruction about a short list. Held out: the members of the list."""
    family = rng.choice(tuple(LISTS))
    while True:
        if family in ("sort_numbers", "largest", "smallest"):
            members = rng.sample(range(100), rng.randint(3, 4))
        elif family == "sort_words":
            # Distinct first letters: the order of "stone" and "stove" is not what we test.
            initials = rng.sample(sorted({noun[0] for noun in NOUNS}), rng.randint(3, 4))
            members = [rng.choice([n for n in NOUNS if n[0] == letter]) for letter in initials]
        elif family == "repeat":
            members = [rng.choice(NOUNS), rng.randint(2, 5)]
        elif family == "reverse":
            members = rng.sample(NOUNS, rng.randint(3, 4))
        else:
            members = rng.sample(NOUNS, rng.randint(3, 6 if family in ("count", "copy") else 5))
        if belongs(split, family, *sorted(map(str, members))):
            break
    text = ", ".join(map(str, members))
    answers = {
        "sort_numbers": lambda: ", ".join(map(str, sorted(members))),
        "sort_words": lambda: ", ".join(sorted(members)),
        "reverse": lambda: ", ".join(members[::-1]),
        "copy": lambda: ", ".join(members),
        "repeat": lambda: " ".join([members[0]] * members[1]),
        "first": lambda: members[0],
        "last": lambda: members[-1],
        "second": lambda: members[1],
        "largest": lambda: str(max(members)),
        "smallest": lambda: str(min(members)),
        "count": lambda: str(len(members)),
    }
    wording = rng.choice(LISTS[family])
    question = wording.format(l=text, w=members[0], n=members[-1])
    return Example("lists", family, question, answers[family]())
