"""The shop's support answers of known worth, made by a seed: right ones, and wrong ones by kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ..pocket.examples import FORMATS, Split
from ..pocket.support import opened, policy, shop
from .known import BadKnownAnswers, Known, Pair

#: Said before some answers, good and bad alike, so that neither politeness nor length tells.
COURTESIES: dict[Split, tuple[str, ...]] = {
    "train": ("Of course. ", "Thank you for asking. ", "Happy to help. ", "Sure. "),
    "test": ("Thanks for the question. ", "No problem. "),
}
COURTEOUS_SHARE = 1 / 3

APOLOGIES: dict[Split, tuple[str, ...]] = {
    "train": (
        "I am sorry, I cannot help you with that.",
        "Sorry for the trouble.",
        "We are very sorry to hear that, and we hope that you will come back to our shop soon.",
        "I am sorry, I do not know. Please write to us again tomorrow and we will look at it.",
    ),
    "test": (
        "Sorry, I do not know that.",
        "I am sorry that you have to wait. We know that your time matters to you and to us.",
        "We are sorry, please ask again.",
    ),
}
PROMISES: dict[Split, tuple[str, ...]] = {
    "train": (
        "You also get 20 percent off your next order.",
        "We will send you a free lamp as well.",
        "If you are not happy, we pay you 50 dollars.",
        "Delivery is free for you from now on.",
    ),
    "test": (
        "You also get a free gift card.",
        "We will pay for your next two orders.",
        "And you may keep the item for free.",
    ),
}


def _wrong_value(rng: random.Random, intent: dict, split: Split) -> str:
    """The right topic with one value of another shop."""
    slot = rng.choice(list(intent["slots"]))
    others = [value for value in intent["slots"][slot] if value != intent["truth"][slot]]
    # Every second wrong value is kept for testing: a judge is to know what is right.
    chosen = rng.choice(others[split == "test" :: 2])
    return policy(intent, {**intent["truth"], slot: chosen})


def _other_policy(rng: random.Random, intent: dict, split: Split) -> str:
    """A true policy that was not asked for."""
    return policy(rng.choice([other for other in shop()["intents"] if other is not intent]))


def _cut_off(rng: random.Random, intent: dict, split: Split) -> str:
    words = policy(intent).split()
    return " ".join(words[: rng.randint(len(words) // 3, 2 * len(words) // 3)])


def _apology(rng: random.Random, intent: dict, split: Split) -> str:
    return rng.choice(APOLOGIES[split])


def _extra_promise(rng: random.Random, intent: dict, split: Split) -> str:
    """The true policy, and then something nobody has promised."""
    return f"{policy(intent)} {rng.choice(PROMISES[split])}"


def _repetition(rng: random.Random, intent: dict, split: Split) -> str:
    return " ".join([policy(intent)] * rng.randint(2, 3))


def _empty(rng: random.Random, intent: dict, split: Split) -> str:
    return ""


#: Kind of defect to what makes an answer with it.
BAD: dict[str, Callable[[random.Random, dict, Split], str]] = {
    "wrong_value": _wrong_value,
    "other_policy": _other_policy,
    "cut_off": _cut_off,
    "apology": _apology,
    "extra_promise": _extra_promise,
    "repetition": _repetition,
    "empty": _empty,
}
#: Kinds that a judge does not learn from unless asked to, so that its calibration finds out
#: whether it sees what nobody has shown it.
HELD_OUT = ("extra_promise",)
SEEN = tuple(kind for kind in BAD if kind not in HELD_OUT)


def preference_pairs(
    count: int = 1280,
    seed: int = 0,
    kinds: Sequence[str] = SEEN,
    split: Split = "train",
) -> list[Pair]:
    """Questions of customers with a good and a bad answer each.

    Args:
        kinds: the defects, drawn alike; one that is named twice comes twice as often.
        split: "train" asks in the wordings of training and "test" in others; wrong values,
            apologies, promises and courtesies are others, too.

    Raises:
        BadKnownAnswers: a kind is unknown; the message lists the known ones.
    """
    _check(kinds)
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        intent, kind = rng.choice(shop()["intents"]), rng.choice(kinds)
        prompt = _prompt(rng, rng.choice(intent[f"{split}_questions"]), split)
        good = _sometimes_courteous(rng, policy(intent), split)
        bad = _sometimes_courteous(rng, BAD[kind](rng, intent, split), split)
        pairs.append(Pair(prompt, good, bad, kind))
    return pairs


def known_answers(
    seed: int = 0, kinds: Sequence[str] = tuple(BAD), split: Split = "test"
) -> tuple[list[Known], list[Known]]:
    """Every wording of every question once, with a good answer of each kind and a bad of each.

    Good kinds are "plain", the policy as the tickets have it, and "courteous".

    Returns:
        The good answers and the bad ones, of 120 prompts in the test split.

    Raises:
        BadKnownAnswers: a kind is unknown; the message lists the known ones.
    """
    _check(kinds)
    rng = random.Random(seed)
    good, bad = [], []
    for intent in shop()["intents"]:
        for question in intent[f"{split}_questions"]:
            prompt, right = _prompt(rng, question, split), policy(intent)
            good.append(Known(prompt, right, "plain"))
            good.append(Known(prompt, rng.choice(COURTESIES[split]) + right, "courteous"))
            for kind in kinds:
                wrong = _sometimes_courteous(rng, BAD[kind](rng, intent, split), split)
                bad.append(Known(prompt, wrong, kind))
    return good, bad


def _prompt(rng: random.Random, question: str, split: Split) -> str:
    return FORMATS["support"].format(question=opened(rng, question, split))


def _sometimes_courteous(rng: random.Random, text: str, split: Split) -> str:
    courteous = bool(text) and rng.random() < COURTEOUS_SHARE
    return rng.choice(COURTESIES[split]) + text if courteous else text


def _check(kinds: Sequence[str]) -> None:
    unknown = [kind for kind in kinds if kind not in BAD]
    if unknown or not kinds:
        what = f"There is no defect {unknown[0]!r}." if unknown else "No kind of defect is named."
        raise BadKnownAnswers(f"{what} Known: {', '.join(BAD)}.")
