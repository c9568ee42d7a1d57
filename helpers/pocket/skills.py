"""Arithmetic and list instructions: skills that are computed, not remembered."""

from __future__ import annotations

import random

from .examples import Example, Split, belongs
from .words import LISTED

ADD = (
    "{a} + {b} =",
    "{a} + {b}",
    "{a} plus {b}",
    "{a} + {b} = ?",
    "{a}+{b}=",
    "{a}+{b}",
    "How many are {a} and {b}?",
    "What is {a} + {b}?",
    "What is {a} plus {b}?",
    "What's {a} + {b}?",
    "Calculate {a} + {b}.",
    "Compute {a} + {b}.",
    "Work out {a} + {b}.",
    "How much is {a} + {b}?",
    "How much is {a} plus {b}?",
    "What number is {a} plus {b}?",
    "Add {a} and {b}.",
    "Add {b} to {a}.",
    "Find the sum of {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "What is the total of {a} and {b}?",
    "What do you get if you add {b} to {a}?",
    "If you add {a} and {b}, what do you get?",
)
SUBTRACT = (
    "{a} - {b} =",
    "{a} - {b}",
    "{a} minus {b}",
    "{a} - {b} = ?",
    "{a}-{b}=",
    "{a}-{b}",
    "What is left of {a} without {b}?",
    "What is {a} - {b}?",
    "What is {a} minus {b}?",
    "What's {a} - {b}?",
    "Calculate {a} - {b}.",
    "Compute {a} - {b}.",
    "Work out {a} - {b}.",
    "How much is {a} - {b}?",
    "How much is {a} minus {b}?",
    "What number is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "Take {b} from {a}.",
    "Find the difference of {a} and {b}.",
    "What is the difference between {a} and {b}?",
    "What do you get if you take {b} from {a}?",
    "If you take {b} away from {a}, what is left?",
)
TIMES = (
    "{a} x {b} =",
    "{a} * {b} =",
    "{a}x{b}=",
    "{a}*{b}",
    "{a} times {b}",
    "{a} x {b} = ?",
    "What is {a} x {b}?",
    "What is {a} * {b}?",
    "What is {a} times {b}?",
    "What is {a} multiplied by {b}?",
    "What's {a} x {b}?",
    "Calculate {a} x {b}.",
    "Compute {a} times {b}.",
    "Work out {a} x {b}.",
    "How much is {a} x {b}?",
    "How much is {a} times {b}?",
    "Multiply {a} by {b}.",
    "Multiply {a} and {b}.",
    "Find the product of {a} and {b}.",
    "Give the product {a} x {b}.",
    "If you multiply {a} and {b}, what do you get?",
)
DIVIDE = (
    "{a} / {b} =",
    "{a} / {b} = ?",
    "{a} divided by {b}",
    "What is {a} / {b}?",
    "What is {a} divided by {b}?",
    "What's {a} / {b}?",
    "Calculate {a} / {b}.",
    "Compute {a} / {b}.",
    "Work out {a} / {b}.",
    "How much is {a} / {b}?",
    "How much is {a} divided by {b}?",
    "Divide {a} by {b}.",
    "How many times does {b} go into {a}?",
    "If you divide {a} by {b}, what do you get?",
)
#: The table is to be known by heart, so what is held out there is the wording.
TIMES_TEST = ("What do you get if you multiply {a} by {b}?", "What is the product of {a} and {b}?")
DIVIDE_TEST = ("What do you get if you divide {a} by {b}?", "Find {a} divided by {b}.")


def arithmetic(rng: random.Random, split: Split) -> Example:
    """A sum, difference, product or quotient. Held out: operands; in the table, wordings."""
    family = rng.choices(("add", "subtract", "times", "divide"), (8, 8, 4, 1))[0]
    if family in ("times", "divide"):
        a, b = rng.randint(1, 10), rng.randint(1, 10)
        if family == "times":
            wording = rng.choice(TIMES if split == "train" else TIMES_TEST)
            return Example("arithmetic", family, wording.format(a=a, b=b), str(a * b))
        wording = rng.choice(DIVIDE if split == "train" else DIVIDE_TEST)
        return Example("arithmetic", family, wording.format(a=a * b, b=b), str(a))
    while True:
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        if family == "subtract" and a < b:
            a, b = b, a
        if belongs(split, family, max(a, b), min(a, b)):
            break
    total = a + b if family == "add" else a - b
    wording = rng.choice(ADD if family == "add" else SUBTRACT)
    return Example("arithmetic", family, wording.format(a=a, b=b), str(total))


#: Each instruction: its wordings, with {l} for the list and {k} for what it is a list of.
LISTS = {
    "sort_numbers": (
        "Sort: {l}",
        "Sort these numbers: {l}",
        "Order these numbers: {l}",
        "Put these numbers in order: {l}",
        "Sort the numbers {l} from small to large.",
        "Sort these numbers in ascending order: {l}",
        "Sort these numbers from smallest to largest: {l}",
        "Arrange these numbers from low to high: {l}",
        "Write these numbers from smallest to largest: {l}",
    ),
    "sort_words": (
        "Sort: {l}",
        "Sort these words: {l}",
        "Sort this list: {l}",
        "Sort these words alphabetically: {l}",
        "Put these words in alphabetical order: {l}",
        "Arrange these words in alphabetical order: {l}",
        "Put these words in order from a to z: {l}",
        "Sort the words {l} by the alphabet.",
    ),
    "reverse": (
        "Reverse: {l}",
        "Reverse this list: {l}",
        "Reverse the order of this list: {l}",
        "Reverse these {k}s: {l}",
        "Write this list backwards: {l}",
        "Write these {k}s in reverse order: {l}",
        "Put this list in reverse order: {l}",
        "Say these {k}s backwards: {l}",
        "Turn the list around: {l}",
        "Reverse the list {l}.",
        "Reverse the list: {l}",
        "Reverse the order of these {k}s: {l}",
    ),
    "copy": (
        "Copy this list: {l}",
        "Copy these {k}s: {l}",
        "Write this list again: {l}",
        "Repeat this list: {l}",
        "Repeat these {k}s: {l}",
        "Say again: {l}",
        "Repeat after me: {l}",
    ),
    "repeat": (
        "Repeat the word {w} {n} times.",
        "Repeat {w} {n} times.",
        "Write {w} {n} times.",
        "Write the word {w} {n} times.",
        "Say {w} {n} times.",
        "Say the word {w} {n} times.",
    ),
    "first": (
        "What is the first {k} in this list: {l}?",
        "What is the first {k} in {l}?",
        "What is the first item in this list: {l}?",
        "Pick the first item: {l}",
        "Which {k} comes first in {l}?",
        "Which {k} is first: {l}?",
        "Give me the first of these: {l}",
        "Name the first {k} of this list: {l}",
    ),
    "last": (
        "What is the last {k} in this list: {l}?",
        "What is the last {k} in {l}?",
        "What is the last item in this list: {l}?",
        "Pick the last item: {l}",
        "Which {k} comes last in {l}?",
        "Which {k} is last: {l}?",
        "Give me the last of these: {l}",
        "Name the last {k} of this list: {l}",
    ),
    "second": (
        "What is the second {k} in this list: {l}?",
        "What is the second {k} in {l}?",
        "What is the second item in this list: {l}?",
        "Pick the second item: {l}",
        "Which {k} comes second in {l}?",
        "Which {k} is second: {l}?",
        "Give me the second of these: {l}",
    ),
    "largest": (
        "Which number is the largest: {l}?",
        "Which of these numbers is the largest: {l}?",
        "What is the largest number in {l}?",
        "What is the largest of these numbers: {l}?",
        "What is the biggest number in this list: {l}?",
        "Which number is the biggest: {l}?",
        "Pick the biggest number: {l}",
        "Find the largest number: {l}",
    ),
    "larger": (
        "Which is larger, {w} or {n}?",
        "Which number is larger, {w} or {n}?",
        "Which is more, {w} or {n}?",
        "What is the larger of {w} and {n}?",
        "Is {w} or {n} the larger number?",
    ),
    "smaller": (
        "Which is smaller, {w} or {n}?",
        "Which number is smaller, {w} or {n}?",
        "Which is less, {w} or {n}?",
        "What is the smaller of {w} and {n}?",
        "Is {w} or {n} the smaller number?",
    ),
    "smallest": (
        "Which number is the smallest: {l}?",
        "Which of these numbers is the smallest: {l}?",
        "What is the smallest number in {l}?",
        "What is the smallest of these numbers: {l}?",
        "What is the lowest number in this list: {l}?",
        "Which number is the lowest: {l}?",
        "Pick the smallest number: {l}",
        "Find the smallest number: {l}",
    ),
    "count": (
        "How many {k}s are in this list: {l}?",
        "How many {k}s are in {l}?",
        "How many {k}s are there: {l}?",
        "Count the {k}s: {l}",
        "Count the items in this list: {l}",
        "How many items are there: {l}?",
        "How long is this list: {l}?",
    ),
}
#: Instructions that ask the same of numbers as of words.
EITHER = ("reverse", "copy", "first", "last", "second", "count")


def lists(rng: random.Random, split: Split) -> Example:
    """An instruction about a short list. Held out: the members of the list."""
    family = rng.choice(tuple(LISTS))
    numbers = family in ("sort_numbers", "largest", "smallest", "larger", "smaller")
    numbers = numbers or (family in EITHER and rng.random() < 0.25)
    words = rng.choice(LISTED)
    while True:
        if family in ("larger", "smaller"):
            members = rng.sample(range(100), 2)
        elif numbers:
            members = rng.sample(range(100), rng.randint(3, 5 if family in EITHER else 4))
        elif family == "sort_words":
            # Distinct first letters: the order of "stone" and "stove" is not what we test.
            initials = rng.sample(sorted({word[0] for word in words}), 3)
            members = [rng.choice([w for w in words if w[0] == letter]) for letter in initials]
        elif family == "repeat":
            members = [rng.choice(words), rng.randint(2, 4)]
        elif family == "reverse":
            members = rng.sample(words, rng.randint(3, 4))
        else:
            members = rng.sample(words, rng.randint(3, 6 if family in ("count", "copy") else 5))
        if belongs(split, family, *sorted(map(str, members))):
            break
    text = ", ".join(map(str, members))
    answers = {
        "sort_numbers": lambda: ", ".join(map(str, sorted(members))),
        "sort_words": lambda: ", ".join(sorted(members)),
        "reverse": lambda: ", ".join(map(str, members[::-1])),
        "copy": lambda: text,
        "repeat": lambda: " ".join([members[0]] * members[1]),
        "first": lambda: str(members[0]),
        "last": lambda: str(members[-1]),
        "second": lambda: str(members[1]),
        "larger": lambda: str(max(members)),
        "smaller": lambda: str(min(members)),
        "largest": lambda: str(max(members)),
        "smallest": lambda: str(min(members)),
        "count": lambda: str(len(members)),
    }
    wording = rng.choice(LISTS[family])
    question = wording.format(
        l=text, k="number" if numbers else "word", w=members[0], n=members[-1]
    )
    return Example("lists", family, question, answers[family]())
