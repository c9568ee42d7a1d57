"""Plain short stories from a small grammar: scored by perplexity, not by right answers."""

from __future__ import annotations

import random

from .examples import Example, Split, belongs
from .knowledge import load


def stories(rng: random.Random, split: Split) -> Example:
    """A story of four to six sentences. Held out: who opens which story with which event."""
    entry = load("stories")
    while True:
        name, pronoun = rng.choice(entry["names"])
        opening = rng.choice(entry["openings"])
        events = rng.sample(entry["events"], rng.randint(2, 3))
        if belongs(split, "stories", name, opening, events[0]):
            break
    friend = rng.choice([other for other, _ in entry["names"] if other != name])
    place, place2 = rng.sample(entry["places"], 2)
    sentences = [opening, *events, rng.choice(entry["problems"]), rng.choice(entry["endings"])]
    text = " ".join(
        sentence.format(
            name=name, pron=pronoun, Pron=pronoun.capitalize(), friend=friend,
            place=place, place2=place2, thing=rng.choice(entry["things"]),
            animal=rng.choice(entry["animals"]), feeling=rng.choice(entry["feelings"]),
        )
        for sentence in sentences
    )  # fmt: skip
    return Example("stories", "story", "Tell me a story.", text, formats=("chat", "bare"))
