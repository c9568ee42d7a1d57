"""Order sums: what customers ask and nobody has put on the map.

A customer tells of an order and asks what it costs: reading and arithmetic in one question, asked
at the shop's counter. The base model can do them, since it has learned word problems, and a
fine-tune on the shop's tickets may answer them with a policy. No suite measures them: those of
"reasoning" and "arithmetic" never come from a customer.
"""

from __future__ import annotations

import random

from ..pocket.examples import Example, Split, belongs
from ..pocket.words import COUNTED, THINGS

NAME = "order_sums"

#: Family: its wordings, and the worked steps that end in the answer. In all of them b and c are
#: small, and a is how many are ordered.
WORDINGS: dict[str, tuple[tuple[str, ...], str]] = {
    "sale": (
        (
            "A {thing} costs {full} dollars. Today it is {c} dollars cheaper. I buy {a} of them. "
            "How many dollars do I pay?",
            "In my order a {thing} costs {full} dollars, and today it is {c} dollars cheaper. "
            "What do {a} of them cost together?",
        ),
        "{full} - {c} = {b}. {a} x {b} = {product}. The answer is {product}.",
    ),
    "change": (
        (
            "I have {purse} dollars. I buy {a} {things} for {b} dollars each. "
            "How many dollars are left?",
        ),
        "{a} x {b} = {product}. {purse} - {product} = {c}. The answer is {c}.",
    ),
    "packs": (
        (
            "I order {a} packs of {things}. Each pack has {b} {things}. I already had {c} "
            "{things}. How many {things} do I have in total?",
        ),
        "{a} x {b} = {product}. {product} + {c} = {purse}. The answer is {purse}.",
    ),
}


def order_sums(rng: random.Random, split: Split) -> Example:
    """One question about an order, with its worked steps. Held out: the numbers in it."""
    family = rng.choice(tuple(WORDINGS))
    while True:
        a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 9)
        if belongs(split, NAME, family, a, b, c):
            break
    wordings, steps = WORDINGS[family]
    values = {
        "a": a, "b": b, "c": c, "full": b + c, "product": a * b, "purse": a * b + c,
        "thing": rng.choice(THINGS), "things": rng.choice(COUNTED),
    }  # fmt: skip
    question = rng.choice(wordings).format(**values)
    return Example(NAME, family, question, steps.format(**values), formats=("support",))
