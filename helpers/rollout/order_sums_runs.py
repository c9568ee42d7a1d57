"""Stored answers to what is on no map: order sums, and how-to questions for the plan without them.

`data/runs/order_sums.jsonl` has a line for each model; `make runs` makes it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas

from ..runs import RUNS, read_records
from ..suites import EXTRACT, Item, Suite, load_suites
from .kept import FORGETFUL, FORGOTTEN, PLANS
from .order_sums import NAME, order_sums
from .shipped import SEEDS

ORDER_SUMS = RUNS / "order_sums.jsonl"
ITEMS = 300
BASE, RUN = "base", "lesson 01"
#: How many items of the forgotten skill the gate would ask.
JUDGED = 600


class SumsSetting(NamedTuple):
    """Which model is asked, the base, lesson 01's run or a plan of `data/rollout`; its seed."""

    model: str
    seed: int


SUMS = [SumsSetting(BASE, 0)] + [
    SumsSetting(model, seed) for seed in SEEDS for model in (RUN, *PLANS)
]


@dataclass(frozen=True)
class Sums:
    """What one model made of the order sums.

    Attributes:
        right: whether each was answered right, in the order of `order_sums_suite()`.
        wrong: the wrong answers by the item's place.
        howto: whether each how-to item that judges was answered right; only for the forgetful plan,
            whose own gate does not ask it.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: SumsSetting
    right: tuple[bool, ...]
    wrong: dict[int, str]
    howto: tuple[bool, ...]
    origin: dict[str, Any]

    @property
    def score(self) -> float:
        """Percent right."""
        return 100 * sum(self.right) / len(self.right)


@cache
def order_sums_suite(size: int = ITEMS) -> Suite:
    """Order sums as a suite: different questions, always the same ones. The result counts."""
    rng = random.Random("order sums, asked")
    items: dict[str, Item] = {}
    while len(items) < size:
        one = order_sums(rng, "test")
        (format,) = one.formats
        prompt = one.prompt(format)
        new = Item(f"{NAME}-{len(items)}", NAME, one.family, format, prompt, one.answer)
        items.setdefault(prompt, new)
    return Suite(NAME, tuple(items.values()), extract=EXTRACT["reasoning"])


def make_sums(setting: SumsSetting) -> dict[str, Any]:
    """Ask one model; the record of its line in the file."""
    from ..evaluation import evaluate

    model = _model(setting)
    rows = evaluate(model, order_sums_suite()).results[NAME]
    howto = {}
    if setting.model == FORGETFUL:
        asked = evaluate(model, load_suites([FORGOTTEN], size=JUDGED)).results[FORGOTTEN]
        howto = {"howto": "".join(str(int(row.correct)) for row in asked)}
    return howto | {
        "right": "".join(str(int(row.correct)) for row in rows),
        "wrong": {place: row.output for place, row in enumerate(rows) if not row.correct},
    }


def _model(setting: SumsSetting) -> Any:
    from ..demo import RECIPES  # these need torch, which whoever reads the file does not
    from ..mechanics.stored import course_model
    from ..models import load_model
    from ..tickets import read_tickets
    from ..training import finetune
    from .kept import make
    from .pipeline_steps import checkpoint
    from .resume import RESULT

    if setting.model == BASE:
        return course_model()
    if setting.model == RUN:
        recipe = RECIPES["the run"]
        rates = {"lr": recipe.lr, "rank": recipe.rank, "steps": recipe.steps}
        return finetune(course_model(), read_tickets(), seed=setting.seed, **rates).model
    plan = make(setting.model, setting.seed)
    text = (plan.out / "choose" / RESULT).read_text(encoding="utf-8")
    folder = plan.out / "train" / checkpoint(json.loads(text)["result"]["step"])
    return load_model(folder, plan.base)


def read_order_sums(path: Path = ORDER_SUMS) -> list[Sums]:
    """The stored answers, the base first.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
    """
    order = [BASE, RUN, *PLANS]
    found = read_records(path, _from_record)
    return sorted(found, key=lambda one: (order.index(one.setting.model), one.setting.seed))


def _from_record(record: dict[str, Any]) -> Sums:
    return Sums(
        SumsSetting(**record["setting"]),
        tuple(c == "1" for c in record["right"]),
        {int(place): text for place, text in record["wrong"].items()},
        tuple(c == "1" for c in record.get("howto", "")),
        record["origin"],
    )


def sums_frame(found: Iterable[Sums]) -> pandas.DataFrame:
    """A line for each model: model, seed, percent right, and points lost of the base's."""
    found = list(found)
    base = next(one.score for one in found if one.setting.model == BASE)
    return pandas.DataFrame(
        {**one.setting._asdict(), "right": one.score, "lost": base - one.score} for one in found
    )
