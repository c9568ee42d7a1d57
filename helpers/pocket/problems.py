"""Word problems that are solved in worked steps, in ten families."""

from __future__ import annotations

import random
from collections.abc import Callable

from .examples import Example, Split, belongs
from .words import COUNTED, NAMES, THINGS

#: What a family returns: the problem, its worked steps, and the final answer.
Problem = tuple[str, str, str]


def _answer(steps: str, result: object) -> str:
    return f"{steps} The answer is {result}."


#: More of something, and less of it: (now, in the past).
GAINS = (("buys", "bought"), ("finds", "found"), ("gets", "got"), ("wins", "won"),
         ("receives", "received"), ("makes", "made"), ("picks up", "picked up"))  # fmt: skip
LOSSES = (("gives {n} away", "gave {n} away"), ("loses {n}", "lost {n}"), ("sells {n}", "sold {n}"),
          ("gives {n} to a friend", "gave {n} to a friend"), ("drops {n}", "dropped {n}"),
          ("uses {n} of them", "used {n} of them"), ("breaks {n}", "broke {n}"))  # fmt: skip


def _asks(name: str, things: str) -> tuple[str, ...]:
    """Ways to ask what is there in the end."""
    return (
        f"How many {things} does {name} have now?",
        f"How many {things} does {name} have left?",
        f"How many {things} are left?",
        f"How many {things} does {name} have?",
        f"How many does {name} have in the end?",
    )


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
            f"{name} had {a} {things} and got {b} more from a friend. Then {NAMES[name]} gave {c} "
            f"{things} to a neighbour. How many {things} does {name} have left?",
            f"A shop has {a} {things}. It gets {b} more and sells {c}. "
            f"How many {things} does the shop have now?",
            *_told(rng, name, a, things, _gain(rng, b), _loss(rng, c)),
        )
    )
    return text, f"{a} + {b} = {got}. {got} - {c} = {got - c}.", str(got - c)


def _gain(rng: random.Random, n: int) -> tuple[str, str]:
    now, past = rng.choice(GAINS)
    return f"{now} {n} more", f"{past} {n} more"


def _loss(rng: random.Random, n: int) -> tuple[str, str]:
    now, past = rng.choice(LOSSES)
    return now.format(n=n), past.format(n=n)


def _told(
    rng: random.Random, name: str, a: int, things: str, first: tuple[str, str],
    second: tuple[str, str] | None = None,
) -> tuple[str, ...]:  # fmt: skip
    """One or two events, in the present and in the past, with a question after them."""
    pronoun = NAMES[name]
    asked = rng.choice(_asks(name, things))
    if second is None:
        return (
            f"{name} has {a} {things}. {pronoun.capitalize()} {first[0]}. {asked}",
            f"{name} had {a} {things}. Then {pronoun} {first[1]}. {asked}",
            f"{name} had {a} {things} and {first[1]}. {asked}",
        )
    return (
        f"{name} has {a} {things}. {pronoun.capitalize()} {first[0]} and {second[0]}. {asked}",
        f"{name} has {a} {things}. {pronoun.capitalize()} {first[0]}. Then {pronoun} {second[0]}. "
        f"{asked}",
        f"{name} had {a} {things}. {pronoun.capitalize()} {first[1]} and then {second[1]}. {asked}",
        f"{name} had {a} {things}. On Monday {pronoun} {first[1]}. On Tuesday {pronoun} "
        f"{second[1]}. {asked}",
    )


def back(rng: random.Random, a: int, b: int, c: int) -> Problem:
    """As `change`, with the loss first."""
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    rest = a - c
    text = rng.choice(_told(rng, name, a, things, _loss(rng, c), _gain(rng, b)))
    return text, f"{a} - {c} = {rest}. {rest} + {b} = {rest + b}.", str(rest + b)


def groups(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    product = a * b
    text = rng.choice(
        (
            f"There are {a} boxes with {b} {things} each and {c} more {things}. "
            f"How many {things} are there in all?",
            f"{name} has {a} bags with {b} {things} in each bag. {name} gets {c} more {things}. "
            f"How many {things} does {name} have?",
            f"{name} buys {a} packs of {things}. Each pack has {b} {things}. {name} already had "
            f"{c} {things}. How many {things} does {name} have in total?",
            f"There are {a} rows of {b} {things}, and {c} {things} on the side. "
            f"How many {things} are there altogether?",
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
            f"One of the {things} costs {b} dollars. {name} had {purse} dollars and bought {a} of "
            f"them. How much money does {name} have left?",
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
            f"{one} has {a} {things}, and {two} has {b} more. "
            f"How many {things} do {one} and {two} have in total?",
        )
    )
    return text, f"{a} + {b} = {other}. {a} + {other} = {a + other}.", str(a + other)


def share(rng: random.Random, a: int, b: int, c: int) -> Problem:
    name, things = rng.choice(tuple(NAMES)), rng.choice(COUNTED)
    total = a * b
    first = c
    rest = total - first
    text = rng.choice(
        (
            f"{name} has {first} red {things} and {rest} blue {things}. "
            f"{a} friends share them equally. How many does each friend get?",
            f"{first} {things} and {rest} more {things} are put into {a} bags, the same number "
            f"in each. How many {things} are in one bag?",
            f"{name} found {first} {things} on Monday and {rest} {things} on Tuesday. "
            f"{name} shares them equally among {a} children. "
            f"How many {things} does each child get?",
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
            f"{one} is {a}. {two} is {b} years older, and {three} is {c} years younger than {two}. "
            f"What is the age of {three}?",
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
            f"A {thing} was {full} dollars and is now {c} dollars cheaper. "
            f"What do {a} of them cost together?",
        )
    )
    return text, f"{full} - {c} = {b}. {a} x {b} = {a * b}.", str(a * b)


def one_step(rng: random.Random, a: int, b: int, kind: int) -> Problem:
    name, other = rng.sample(tuple(NAMES), 2)
    things = rng.choice(COUNTED)
    pronoun = NAMES[name].capitalize()
    if kind == 0:
        text = rng.choice(
            (
                f"{name} has {a} {things}. {pronoun} buys {b} more. "
                f"How many {things} does {name} have now?",
                f"{name} had {a} {things} and found {b} more. How many {things} are there in all?",
                f"{name} has {a} {things} and {other} has {b} {things}. "
                "How many do they have together?",
                f"{a} {things} are in a bag. {name} puts in {b} more. "
                f"How many {things} are in the bag?",
                f"There are {a} {things} on the table and {b} {things} on the floor. "
                f"How many {things} are there altogether?",
                *_told(rng, name, a, things, _gain(rng, b)),
            )
        )
        return text, f"{a} + {b} = {a + b}.", str(a + b)
    if kind == 1:
        total = a + b
        text = rng.choice(
            (
                f"{name} has {total} {things}. {pronoun} gives {b} to {other}. "
                f"How many {things} does {name} have left?",
                f"{name} had {total} {things} and lost {b}. How many {things} are left?",
                f"There are {total} {things} in a box. {name} takes out {b}. "
                f"How many {things} are still in the box?",
                f"{name} has {total} {things} and {other} has {b}. "
                f"How many more {things} does {name} have than {other}?",
                f"{name} had {total} dollars and spent {b}. How many dollars are left?",
                f"{name} needs {total} {things} and has {b}. "
                f"How many more {things} does {name} need?",
                *_told(rng, name, total, things, _loss(rng, b)),
            )
        )
        return text, f"{total} - {b} = {a}.", str(a)
    if kind == 2:
        text = rng.choice(
            (
                f"{name} has {a} boxes with {b} {things} in each box. "
                f"How many {things} does {name} have?",
                f"There are {a} bags with {b} {things} each. How many {things} are there in all?",
                f"One of the {things} costs {b} dollars. How many dollars do {a} of them cost?",
                f"A box holds {b} {things}. How many {things} are in {a} boxes?",
                f"Each of {a} children has {b} {things}. How many {things} do they have together?",
                f"There are {a} tables with {b} {things} on each table. "
                f"How many {things} are there altogether?",
                f"{name} buys {a} {things} for {b} dollars each. How many dollars does {name} pay?",
            )
        )
        return text, f"{a} x {b} = {a * b}.", str(a * b)
    text = rng.choice(
        (
            f"{a * b} {things} are shared equally by {a} friends. How many does each friend get?",
            f"{name} puts {a * b} {things} into {a} bags, the same number in each. "
            f"How many {things} are in one bag?",
            f"{name} gives {a * b} {things} to {a} children, the same number to each. "
            f"How many {things} does each child get?",
            f"There are {a * b} {things} and {a} children share them equally. "
            f"How many {things} does each child get?",
            f"{name} shares {a * b} {things} equally among {a} friends. "
            f"How many {things} does each friend get?",
            f"{a * b} {things} are packed equally into {a} boxes. "
            f"How many {things} are in each box?",
        )
    )
    return text, f"{a * b} / {a} = {b}.", str(b)


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


def share_numbers(rng: random.Random) -> tuple[int, int, int]:
    """Friends, things for each, and how many of all things are red."""
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    return a, b, rng.randint(1, a * b - 1)


def one_step_numbers(rng: random.Random) -> tuple[int, int, int]:
    """Two numbers, and what to do with them: add, subtract, multiply or divide."""
    kind = rng.randint(0, 3)
    if kind < 2:
        return rng.randint(1, 60), rng.randint(1, 35), kind
    return rng.randint(2, 10), rng.randint(2, 10), kind


#: Family name: (its function, how to draw a, b, c).
FAMILIES: dict[str, tuple[Callable[..., Problem], Callable[[random.Random], tuple]]] = {
    "change": (change, lambda r: (r.randint(5, 60), r.randint(2, 35), r.randint(1, 6))),
    "back": (back, lambda r: (r.randint(7, 60), r.randint(2, 35), r.randint(1, 6))),
    "groups": (groups, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 20))),
    "money": (money, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 18))),
    "compare": (compare, lambda r: (r.randint(2, 40), r.randint(1, 18), 0)),
    "share": (share, share_numbers),
    "ages": (ages, lambda r: (r.randint(5, 60), r.randint(2, 20), r.randint(1, 6))),
    "sale": (sale, lambda r: (r.randint(2, 9), r.randint(2, 9), r.randint(1, 9))),
    "one_step": (one_step, one_step_numbers),
    "order": (order, lambda r: (r.randint(0, 10**6), 0, 0)),
}


def reasoning(rng: random.Random, split: Split, family: str | None = None) -> Example:
    """A word problem with its worked steps. Held out: the numbers in it."""
    family = family or rng.choice(tuple(FAMILIES))
    write, draw = FAMILIES[family]
    while True:
        numbers = draw(rng)
        if family == "order":
            problem, steps, result = write(rng, *numbers)
            if not belongs(split, family, steps):
                continue
        elif belongs(split, family, *numbers):
            problem, steps, result = write(rng, *numbers)
        else:
            continue
        return Example("reasoning", family, problem, _answer(steps, result))
