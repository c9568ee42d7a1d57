"""Word problems that are solved in worked steps, in eight families."""

from __future__ import annotations

import random
from collections.abc import Callable

from .examples import Example, Split, belongs
from .words import COUNTED, NAMES, THINGS

#: What a family returns: the problem, its worked steps, and the final answer.
Problem = tuple[str, str, str]


def _answer(steps: str, result: object) -> str:
    return f"{steps} The answer is {result}."


def change(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    pronoun = NAMES[name].capitalize()
    got = a + b
    text = rng.choice(
        (
            f"{name} has {a} {things}. {pronoun} buys {b} more and gives {c} away. "
            f"How many {things} does {name} have now?",
            f"{name} had {a} {things}. {pronoun} found {b} more and then lost {c}. "
            f"How many {things} are left?",
            f"There were {a} {things} in a box. {name} put in {b} more and took out {c}. "
            f"How many {things} are in the box now?",
        )
    )
    return text, f"{a} + {b} = {got}. {got} - {c} = {got - c}.", str(got - c)


def groups(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    product = a * b
    text = rng.choice(
        (
            f"There are {a} boxes with {b} {things} each and {c} more {things}. "
            f"How many {things} are there in all?",
            f"{name} has {a} bags with {b} {things} in each bag. {name} gets {c} more {things}. "
            f"How many {things} does {name} have?",
        )
    )
    return text, f"{a} x {b} = {product}. {product} + {c} = {product + c}.", str(product + c)


def money(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    pronoun = NAMES[name].capitalize()
    cost = a * b
    purse = cost + c
    text = rng.choice(
        (
            f"{name} has {purse} dollars. {pronoun} buys {a} {things} for {b} dollars each. "
            "How many dollars are left?",
            f"{name} buys {a} {things} at {b} dollars each and pays with {purse} dollars. "
            f"How many dollars does {NAMES[name]} get back?",
        )
    )
    return text, f"{a} x {b} = {cost}. {purse} - {cost} = {c}.", str(c)


def compare(rng: random.Random, a: int, b: int, c: int) -> Problem:
    one, two = rng.sample(tuple(NAMES), 2)
    things = rng.choice(COUNTED)
    other = a + b
    text = rng.choice(
        (
            f"{one} has {a} {things}. {two} has {b} more than {one}. "
            f"How many {things} do they have together?",
            f"{one} found {a} {things}. {two} found {b} more {things} than {one}. "
            f"How many {things} did they find in all?",
        )
    )
    return text, f"{a} + {b} = {other}. {a} + {other} = {a + other}.", str(a + other)


def share(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    total = a * b
    first = min(c, total - 1)
    rest = total - first
    text = rng.choice(
        (
            f"{name} has {first} red {things} and {rest} blue {things}. "
            f"{a} friends share them equally. How many does each friend get?",
            f"{first} {things} and {rest} more {things} are put into {a} bags, the same number "
            f"in each. How many {things} are in one bag?",
        )
    )
    return text, f"{first} + {rest} = {total}. {total} / {a} = {b}.", str(b)


def ages(rng: random.Random, a: int, b: int, c: int) -> Problem:
    one, two, three = rng.sample(tuple(NAMES), 3)
    older = a + b
    text = rng.choice(
        (
            f"{one} is {a} years old. {two} is {b} years older than {one}. "
            f"{three} is {c} years younger than {two}. How old is {three}?",
            f"{two} is {b} years older than {one}, who is {a}. "
            f"{three} is {c} years younger than {two}. How old is {three}?",
        )
    )
    return text, f"{a} + {b} = {older}. {older} - {c} = {older - c}.", str(older - c)


def sale(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, thing = rng.choice(tuple(NAMES)), rng.choice(THINGS)
    full = b + c
    text = rng.choice(
        (
            f"A {thing} costs {full} dollars. Today it is {c} dollars cheaper. "
            f"{name} buys {a} of them. How many dollars does {name} pay?",
            f"The price of a {thing} falls from {full} dollars by {c} dollars. "
            f"How many dollars do {a} of them cost now?",
        )
    )
    return text, f"{full} - {c} = {b}. {a} x {b} = {a * b}.", str(a * b)


def order(rng: random.Random, a: int, b: int, c: int) -> Problem:
    names = rng.sample(tuple(NAMES), 3)
    more, most, least = rng.choice(
        (("taller", "tallest", "shortest"), ("older", "oldest", "youngest"),
         ("faster", "fastest", "slowest"))
    )  # fmt: skip
    clues = [f"{names[0]} is {more} than {names[1]}.", f"{names[1]} is {more} than {names[2]}."]
    steps = " ".join(clues)
    rng.shuffle(clues)
    asked, result = rng.choice(((most, names[0]), (least, names[2])))
    return f"{' '.join(clues)} Who is the {asked}?", steps, result


#: Family name: (its function, how to draw a, b, c).
FAMILIES: dict[str, tuple[Callable[..., Problem], Callable[[random.Random], tuple]]] = {
    "change": (change, lambda r: (r.randint(5, 60), r.randint(2, 35), r.randint(1, 6))),
    "groups": (groups, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 20))),
    "money": (money, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 18))),
    "compare": (compare, lambda r: (r.randint(2, 40), r.randint(1, 18), 0)),
    "share": (share, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 60))),
    "ages": (ages, lambda r: (r.randint(5, 60), r.randint(2, 20), r.randint(1, 6))),
    "sale": (sale, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 9))),
    "order": (order, lambda r: (r.randint(0, 10**6), 0, 0)),
}


def reasoning(rng: random.Random, split: Split, family: str | None = None) -> Example:
    """A word problem with its worked steps. Held out: the numbers in it."""
    family = family or rng.choice(tuple(FAMILIES))
    write, draw = FAMILIES[family]
    while True:
        numbers = draw(rng)
        if split == "test" and family == "share" and numbers[2] >= numbers[0] * numbers[1] - 1:
            continue  # `share` cuts c down: other numbers, of either split, ask the same
        if family == "order":
            problem, steps, result = write(rng, *numbers)
            if not belongs(split, family, steps):
                continue
        elif belongs(split, family, *numbers):
            problem, steps, result = write(rng, *numbers)
        else:
            continue
        return Example("reasoning", family, problem, _answer(steps, result))
