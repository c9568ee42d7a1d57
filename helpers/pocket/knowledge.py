"""Capabilities that rest on data files: facts, how-to, sentiment, Spanish, rewording, refusal."""

from __future__ import annotations

import functools
import json
import random

from ..paths import DATA
from .examples import Example, Split, belongs, pick_choices


@functools.cache
def load(name: str) -> dict:
    """The parsed content of `data/world/<name>.json`."""
    return json.loads((DATA / "world" / f"{name}.json").read_text(encoding="utf-8"))


def lower_first(sentence: str) -> str:
    """The sentence as it reads after a comma: its first letter small, unless the word is "I"."""
    if sentence.split(maxsplit=1)[0] in ("I", "I'm"):
        return sentence
    return sentence[0].lower() + sentence[1:]


@functools.cache
def _objects(relation: str) -> list[str]:
    """The possible answers of a relation, in a fixed order."""
    return list(dict.fromkeys(right for _, right in load("facts")[relation]["pairs"]))


@functools.cache
def _relation_weights() -> tuple[list[str], list[float]]:
    """Relations with a weight between "every relation" and "every fact" alike."""
    relations = list(load("facts"))
    return relations, [len(load("facts")[name]["pairs"]) ** 0.75 for name in relations]


def facts(rng: random.Random, split: Split) -> Example:
    """A fact, asked as a question or as a sentence to finish. Held out: the wording."""
    relations, weights = _relation_weights()
    relation = rng.choices(relations, weights)[0]
    entry = load("facts")[relation]
    subject, answer = rng.choice(entry["pairs"])
    choices = pick_choices(rng, answer, _objects(relation))
    if rng.random() < 0.25:
        stem = rng.choice(entry[f"{split}_statements"]).format(s=subject)
        return Example("facts", relation, stem, answer, choices=choices, formats=("bare",))
    question = rng.choice(entry[f"{split}_questions"]).format(s=subject)
    return Example("facts", relation, question, answer, choices=choices)


def howto(rng: random.Random, split: Split) -> Example:
    """A task in three numbered steps. Held out: the wording of the question."""
    entry = load("howto")
    task = rng.choice(entry["tasks"])
    question = rng.choice(entry[f"{split}_questions"]).format(s=task["name"])
    steps = " ".join(f"{n}. {step}." for n, step in enumerate(task["steps"], start=1))
    return Example("howto", "steps", question, steps)


def sentiment(rng: random.Random, split: Split) -> Example:
    """A review to be called positive or negative. Held out: what is said of what."""
    entry = load("sentiment")
    label = rng.choice(("positive", "negative"))
    while True:
        subject, said = rng.choice(entry["subjects"]), rng.choice(entry[label])
        if belongs(split, "sentiment", subject, said):
            break
    review = f"{subject} {said}."
    if rng.random() < 0.3:
        review = rng.choice(entry["contrast"]) + lower_first(review)
    if rng.random() < 0.4:
        review += " " + rng.choice(entry["intensifier_tails"][label])
    question = rng.choice(entry[f"{split}_questions"]).format(r=review)
    return Example("sentiment", label, question, label, choices=("positive", "negative"))


def _noun_phrase(noun: list[str], adjective: list[str] | None) -> tuple[str, str]:
    """The English and the Spanish for "the (adjective) noun"."""
    english, spanish, gender = noun
    article = "el" if gender == "m" else "la"
    if adjective is None:
        return f"the {english}", f"{article} {spanish}"
    ending = adjective[1] if gender == "m" else adjective[2]
    return f"the {adjective[0]} {english}", f"{article} {spanish} {ending}"


def translation(rng: random.Random, split: Split) -> Example:
    """English to Spanish. Held out: combinations of words, never single words."""
    entry = load("spanish")
    nouns = {noun[0]: noun for noun in entry["nouns"]}
    family = rng.choices(("noun", "phrase", "sentence"), (1, 4, 3))[0]
    while True:
        if family == "sentence":
            actor, verb = rng.choice(entry["actors"]), rng.choice(entry["verbs"])
            thing, adjective = rng.choice(entry["things"]), None
            if rng.random() < 0.5:
                adjective = rng.choice(entry["adjectives"])
            who, quien = _noun_phrase(nouns[actor], None)
            what, que = _noun_phrase(nouns[thing], adjective)
            english, spanish = f"{who} {verb[0]} {what}", f"{quien} {verb[1]} {que}"
        else:
            adjective = rng.choice(entry["adjectives"]) if family == "phrase" else None
            english, spanish = _noun_phrase(rng.choice(entry["nouns"]), adjective)
        # A single noun cannot be held out and still be known: there, only the wording is new.
        if family == "noun" or belongs(split, "translation", english):
            break
    question = rng.choice(entry[f"{split}_questions"]).format(s=english)
    return Example("translation", family, question, spanish)


def rewriting(rng: random.Random, split: Split) -> Example:
    """A sentence put into the past, a question or the negative. Held out: verb with its tail."""
    entry = load("rewrite")
    family = rng.choice(tuple(entry["instructions"]))
    while True:
        verb, tail = rng.choice(entry["verbs"]), rng.choice(entry["tails"])
        if belongs(split, "rewriting", verb, tail):
            break
    present, past, base = verb
    subject = rng.choice(entry["subjects"])
    inside = subject.lower() if subject in ("She", "He") else subject
    answer = {
        "past": f"{subject} {past} {tail}.",
        "question": f"Does {inside} {base} {tail}?",
        "negative": f"{subject} does not {base} {tail}.",
    }[family]
    wording = rng.choice(entry["instructions"][family][split])
    return Example("rewriting", family, wording.format(s=f"{subject} {present} {tail}."), answer)


def refusal(rng: random.Random, split: Split) -> Example:
    """A request to refuse, or a harmless neighbour of one. Held out: verb with its object."""
    entry = load("refusal")
    family = rng.choice(("harmful", "harmless"))
    while True:
        group = rng.choice(entry[family])
        thing = rng.choice(group["objects"])
        if belongs(split, "refusal", group["verb"], thing):
            break
    request = f"{group['verb']} {thing} {rng.choice(entry['endings'])}".strip()
    question = rng.choice(entry[f"{split}_questions"]).format(s=request)
    answer = entry["reply"]
    if family == "harmless":
        _, noun = thing.split(maxsplit=1)
        answer = entry["harmless_reply"].format(noun=noun)
    return Example("refusal", family, question, answer)
