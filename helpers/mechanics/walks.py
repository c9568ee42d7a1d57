"""Walking back with α chosen on one half of the questions and judged on the other.

`data/runs/walks.jsonl` holds one walk per line, item by item; `make runs` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from ..evaluation import evaluate
from ..runs import RUNS, STEPS, read_records
from ..suites import TARGET, load_suites
from ..tickets import read_tickets
from ..training import finetune
from .loss import merged
from .stored import LR, OLD_SKILLS, RANK, course_model
from .walk import walked

WALKS = RUNS / "walks.jsonl"
ITEMS = 100  # per capability
#: Shares of the update that are kept; 0 is the base, 1 the fine-tune.
ALPHAS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class WalkSetting(NamedTuple):
    """What tells one of these walks from another: the seed of the fine-tune it leads back from."""

    seed: int


WALKED = [WalkSetting(seed) for seed in range(3)]


@dataclass(frozen=True)
class Walk:
    """A walk from the base to a fine-tune.

    Attributes:
        right: by α and capability, right (1) or wrong (0) for each item.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: WalkSetting
    right: dict[float, dict[str, tuple[int, ...]]]
    origin: dict[str, Any]

    def score(self, alpha: float, skill: str, items: Sequence[int]) -> float:
        """Percent of these items right."""
        return 100 * fmean(self.right[alpha][skill][item] for item in items)

    def old(self, alpha: float, items: Sequence[int]) -> float:
        """Mean score of the old skills on these items, in percent."""
        return fmean(self.score(alpha, skill, items) for skill in OLD_SKILLS)

    def paid(self, alpha: float, items: Sequence[int]) -> float:
        """Points of support given up at α."""
        return self.score(1.0, TARGET, items) - self.score(alpha, TARGET, items)

    def undone(self, alpha: float, items: Sequence[int]) -> float:
        """Percent of the old skills' loss that is undone at α."""
        tuned = self.old(1.0, items)
        return 100 * (self.old(alpha, items) - tuned) / (self.old(0.0, items) - tuned)

    def chosen(self, items: Sequence[int], allowed: float = 2.5) -> float:
        """The smallest α that gives up at most so many points of support on these items."""
        return min(alpha for alpha in ALPHAS if self.paid(alpha, items) <= allowed)


def make_walk(setting: WalkSetting) -> dict[str, Any]:
    """Train one run, walk back and score; the record of its line in the file."""
    base, suites = course_model(), load_suites([*OLD_SKILLS, TARGET], size=ITEMS)
    options = dict(lr=LR, rank=RANK, steps=STEPS, seed=setting.seed)
    tuned = merged(finetune(base, read_tickets(), **options).model)
    right = {}
    for alpha in ALPHAS:
        right[f"{alpha:g}"] = evaluate(walked(base, tuned, alpha), suites).ones()
    return {"right": right}


def read_walks() -> list[Walk]:
    """The stored walks, by seed.

    Raises:
        BadRuns: the file is missing or damaged; the message says what to do.
    """
    return sorted(read_records(WALKS, _from_record), key=lambda walk: walk.setting)


def _from_record(record: dict[str, Any]) -> Walk:
    right = {
        float(alpha): {name: tuple(map(int, row)) for name, row in skills.items()}
        for alpha, skills in record["right"].items()
    }
    return Walk(WalkSetting(**record["setting"]), right, record["origin"])
