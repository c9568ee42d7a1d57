"""Customers who ask in other words than the tickets, at the door and behind it.

`data/support/paraphrases.json` holds two questions about each policy, written for this: "near" ones
use a word of the policy's heading in a sentence of their own, "far" ones mean the same without the
shop's words. No four words in a row stand in a ticket or a test question.
`data/runs/strangers.jsonl` holds what the routes answer; `make runs` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple

from ..generation import complete
from ..mechanics.stored import LR, RANK, course_model
from ..pocket.examples import FORMATS
from ..pocket.support import policy, shop
from ..runs import RUNS, STEPS, read_records
from ..tickets import SUPPORT, read_tickets
from ..training import finetune
from .retrieval import HelpIndex, shop_articles, with_article

PARAPHRASES = SUPPORT / "paraphrases.json"
STRANGERS = RUNS / "strangers.jsonl"
KINDS = ("near", "far")


class StrangerSetting(NamedTuple):
    """What tells one of these runs from another.

    Attributes:
        route: "fine-tune", or "search" for the base with the best article above the question.
    """

    route: str
    seed: int


ASKED_BY_STRANGERS = [
    StrangerSetting("search", 0),
    *(StrangerSetting("fine-tune", seed) for seed in range(3)),
]


@cache
def paraphrases() -> dict[str, dict[str, str]]:
    """By policy, its question of each kind."""
    return json.loads(PARAPHRASES.read_text(encoding="utf-8"))


def questions(kind: str) -> list[str]:
    """The questions of a kind, in the order of the shop's policies."""
    return [of_policy[kind] for of_policy in paraphrases().values()]


def scores_of(index: HelpIndex, kind: str) -> list[float]:
    """How well the best article fits each question of a kind; 0 where none has a word of it."""
    hits = [index.find(question, k=1) for question in questions(kind)]
    return [hit[0].score if hit else 0.0 for hit in hits]


@dataclass(frozen=True)
class StrangerRun:
    """What one route answers.

    Attributes:
        told: by kind, for each question the policy in its answer, by name; "" where the answer is
            none of the shop's policies.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: StrangerSetting
    told: dict[str, tuple[str, ...]]
    origin: dict[str, Any]

    def right(self, kind: str, scores: Sequence[float] = (), floor: float = -1.0) -> float:
        """Percent of the questions answered with their policy.

        Args:
            scores: of these questions, where there is a door; below the floor nobody knows a
                policy.
        """
        scores = scores or [0.0] * len(self.told[kind])
        rows = zip(paraphrases(), self.told[kind], scores, strict=True)
        return 100 * fmean(told == name and score > floor for name, told, score in rows)

    def another(self, kind: str, scores: Sequence[float] = (), floor: float = -1.0) -> float:
        """Percent answered with a policy that is not theirs; arguments as in `right`."""
        scores = scores or [0.0] * len(self.told[kind])
        rows = zip(paraphrases(), self.told[kind], scores, strict=True)
        return 100 * fmean(told not in (name, "") and score > floor for name, told, score in rows)


def make_strangers(setting: StrangerSetting) -> dict[str, Any]:
    """Train one run, or none, and ask; the record of its line in the file."""
    model, index = course_model(), None
    if setting.route == "search":
        index = HelpIndex(shop_articles())
    else:
        options = dict(lr=LR, rank=RANK, steps=STEPS, seed=setting.seed)
        model = finetune(model, read_tickets(), **options).model
    names = {policy(intent): intent["name"] for intent in shop()["intents"]}
    told = {}
    for kind in KINDS:
        prompts = []
        for question in questions(kind):
            prompt = FORMATS["support"].format(question=question)
            prompts.append(with_article(prompt, index.find(question, k=1)) if index else prompt)
        told[kind] = [names.get(text, "") for text in complete(model, prompts)]
    return {"told": told}


def read_strangers(route: str | None = None) -> list[StrangerRun]:
    """The stored runs, by route and seed.

    Raises:
        BadRuns: the file is missing or damaged; the message says what to do.
    """
    runs = sorted(read_records(STRANGERS, _from_record), key=lambda run: run.setting)
    return [run for run in runs if route in (None, run.setting.route)]


def _from_record(record: Mapping[str, Any]) -> StrangerRun:
    told = {kind: tuple(names) for kind, names in record["told"].items()}
    return StrangerRun(StrangerSetting(**record["setting"]), told, record["origin"])
