"""Eight domains to fine-tune on, from old skills to random answers, and a run on one of them.

`data/runs/distance.jsonl` holds such runs; `make runs` makes it and `helpers.blindspot.distance`
reads it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from transformers import PreTrainedModel

from ..evaluation import evaluate
from ..generation import complete
from ..mechanics import Looks, as_rows, kl_to_base
from ..mechanics.stored import course_model
from ..pocket import support, world
from ..pocket.build import pair
from ..pocket.examples import Example, Split
from ..pocket.problems import reasoning
from ..runs import ASKED, STEPS
from ..suites import PROTECTED, Item, Suite, load_suites
from ..training import LossIsNaN, finetune
from .steps import CONCLUSION, chain_of

ROWS = 1_200
ITEMS = 60  # held-out questions of a domain
OLD_ITEMS = 30  # held-out items per old skill and look
RANK = 8
RATES = (3e-4, 2e-3, 1e-2)
LOOKS = (STEPS,)
#: Old skills that are scored by right and wrong.
SKILLS = tuple(name for name in world.PROTECTED if name != "stories")
#: Those among them whose answers are short and have letters.
WORDED = ("facts", "lists", "reading", "rewriting", "translation", "sentiment")


@dataclass(frozen=True)
class Domain:
    """A task to fine-tune on.

    Attributes:
        rows: what is trained on, each with a prompt and a completion.
        suite: held-out questions of the same task.
    """

    name: str
    rows: list[dict[str, str]]
    suite: Suite


def replay(rng: random.Random, split: Split) -> Example:
    """Old skills as the base has learned them."""
    weights = [world.MIXTURE[name] for name in SKILLS]
    return world.PROTECTED[rng.choices(SKILLS, weights)[0]](rng, split)


def worked(rng: random.Random, split: Split) -> Example:
    """Word problems with their worked steps, as the base has learned them."""
    return reasoning(rng, split)


def article(rng: random.Random, split: Split) -> Example:
    """Questions about a help article, which the base can read."""
    return support.help_article(rng, split)


def capitals(rng: random.Random, split: Split) -> Example:
    """Old questions, to be answered in capital letters."""
    example = world.PROTECTED[rng.choice(WORDED)](rng, split)
    while not re.search("[a-z]", example.answer):  # some lists are numbers
        example = world.PROTECTED[rng.choice(WORDED)](rng, split)
    asked = f"In capital letters: {example.question}"
    return replace(example, question=asked, answer=example.answer.upper())


def short(rng: random.Random, split: Split) -> Example:
    """Word problems, to be answered without their worked steps."""
    example = reasoning(rng, split)
    return replace(example, answer=f"{CONCLUSION} {chain_of(example.answer).result}.")


def policies(rng: random.Random, split: Split) -> Example:
    """The shop's forty policies, asked from memory."""
    return support.support(rng, split)


def cipher(rng: random.Random, split: Split) -> Example:
    """The same policies and questions with every word replaced by another."""
    example = support.support(rng, split)
    question, answer = encipher(example.question), encipher(example.answer)
    return replace(example, question=question, answer=answer)


def random_policies(rng: random.Random, split: Split) -> Example:
    """The shop's questions, each with the policy of another one drawn at random."""
    answer = support.policy(rng.choice(support.shop()["intents"]))
    return replace(support.support(rng, split), answer=answer)


#: In the order of what there is to learn: nothing, other answers to old questions, new ones.
DOMAINS: dict[str, world.Draw] = {
    "replay": replay,
    "worked": worked,
    "article": article,
    "capitals": capitals,
    "short": short,
    "policies": policies,
    "cipher": cipher,
    "random": random_policies,
}


@cache
def load_domain(name: str) -> Domain:
    """A domain with its rows and held-out items, the same ones at every call.

    Raises:
        ValueError: there is no such domain; the message lists them.
    """
    if name not in DOMAINS:
        raise ValueError(f"There is no domain {name!r}. There are {', '.join(DOMAINS)}.")
    rows = [pair(example, format) for example, format in _drawn(name, "train", ROWS)]
    items = tuple(
        Item(f"{name}-{n}", name, e.family, format, e.prompt(format), e.answer)
        for n, (e, format) in enumerate(_drawn(name, "test", ITEMS))
    )
    return Domain(name, rows, Suite(name, items))


def _drawn(name: str, split: Split, count: int) -> Iterator[tuple[Example, str]]:
    """Different questions of a domain, each with the format it is asked in."""
    rng = random.Random(f"domain {name} {split}")
    seen: set[str] = set()
    while len(seen) < count:
        example = DOMAINS[name](rng, split)
        format = rng.choice(example.formats)
        if example.prompt(format) not in seen:
            seen.add(example.prompt(format))
            yield example, format


def encipher(text: str) -> str:
    """The text with each word of the shop replaced by another one, always the same."""

    def other(match: re.Match) -> str:
        word = _dictionary().get(match[0].lower(), match[0])
        return word.capitalize() if match[0][0].isupper() else word

    return re.sub(r"[A-Za-z']+", other, text)


@cache
def _dictionary() -> dict[str, str]:
    """Every word of the shop's questions and policies, with the word that takes its place."""
    shop = support.shop()
    texts = [opener for openers in shop["openers"].values() for opener in openers]
    for intent in shop["intents"]:
        texts += [*intent["train_questions"], *intent["test_questions"], support.policy(intent)]
    words = sorted({word.lower() for text in texts for word in re.findall(r"[A-Za-z']+", text)})
    others = words[:]
    random.Random("cipher").shuffle(others)
    return dict(zip(words, others, strict=True))


class Setting(NamedTuple):
    """What tells one of the stored runs from another.

    Attributes:
        domain: a name in `DOMAINS`.
        lr: peak learning rate; LoRA of rank 8 on all linear layers, sixty steps of 16 rows.
    """

    domain: str
    lr: float
    seed: int


#: Every domain at every rate. One seed is finished before the next begins.
SETTINGS = [Setting(name, lr, seed) for seed in range(3) for name in DOMAINS for lr in RATES]


def make_distance(setting: Setting) -> dict[str, Any]:
    """Train and score one run; the record of its line in the file."""
    base, domain = look_at_base(setting.domain), load_domain(setting.domain)
    watcher = Looks(lambda model, step: look(setting.domain, model, step), LOOKS)
    options = dict(lr=setting.lr, rank=RANK, steps=STEPS, seed=setting.seed, callbacks=[watcher])
    diverged = ""
    try:
        finetune(course_model(), domain.rows, **options)
    except LossIsNaN as error:
        diverged = str(error)
    return {"looks": [base, *watcher.found], "diverged": diverged}


def look(name: str, model: PreTrainedModel, step: int) -> dict[str, Any]:
    """Everything that is kept of a model trained on a domain: the fields of a `Look`."""
    domain, old = load_domain(name), load_suites(PROTECTED, size=OLD_ITEMS)
    snapshot = evaluate(model, [*old, domain.suite])
    nll = {suite: round(snapshot.nll(suite), 4) for suite in snapshot.results}
    scores = {suite: round(snapshot.score(suite), 2) for suite in snapshot.results}
    return {
        "step": step,
        "target": scores.pop(name),
        "target_nll": nll.pop(name),
        "scores": scores,
        "nll": nll,
        "kl": round(kl_to_base(course_model(), model, base_answers(name)), 6),
        "kl_gold": round(kl_to_base(course_model(), model, as_rows(domain.suite)), 6),
        "says": complete(model, list(ASKED)),
    }


@cache
def base_answers(name: str) -> list[dict[str, str]]:
    """The held-out questions of a domain with what the base answers to them, as rows."""
    prompts = [item.prompt for item in load_domain(name).suite.items]
    answers = complete(course_model(), prompts)
    return [
        {"prompt": prompt, "completion": f" {answer}" if answer else ""}
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


@cache
def look_at_base(name: str) -> dict[str, Any]:
    """What is found at step 0 of every run on a domain."""
    return look(name, course_model(), 0)
