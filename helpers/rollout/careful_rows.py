"""Old rows for the careful plan: the shop's, and more of the two skills that its gate was short of.

With the shop's old rows alone lists lose about three points of five, too close to tell by 600
items, and refusals have the tightest margin. `python -m helpers.rollout.kept` writes the file.
"""

from __future__ import annotations

import random

from ..paths import DATA
from ..pocket.build import pair
from ..pocket.world import PROTECTED
from ..scope.leaks import without_overlap
from ..suites import load_suites
from ..tickets import read_tickets

CAREFUL_ROWS = DATA / "rollout" / "careful_rows.jsonl"
#: Rows of a skill on top of the shop's.
MORE = {"lists": 800, "refusal": 300}


def careful_rows() -> list[dict[str, str]]:
    """The shop's old rows, and more of some skills as pre-training saw them.

    None asks what an item of a suite asks.
    """
    rows = read_tickets(DATA / "support" / "replay.jsonl").to_list()
    for name, count in MORE.items():
        rng = random.Random(f"careful {name}")
        drawn: dict[tuple[str, str], dict[str, str]] = {}
        while len(drawn) < count:
            example = PROTECTED[name](rng, "train")
            row = pair(example, rng.choice(example.formats))
            drawn.setdefault((row["prompt"], row["completion"]), row)
        rows += drawn.values()
    return without_overlap(rows, load_suites(size=700))
