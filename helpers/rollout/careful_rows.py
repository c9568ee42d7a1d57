"""Old rows for the careful plan: the shop's, and more of the two skills that its gate was short of.

With the shop's old rows alone lists lose about three points of five, too close to tell by 600
items, and refusals have the tightest margin. `python -m helpers.rollout.kept` writes the file.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

from ..audit import CapabilityMap
from ..paths import DATA
from ..pocket.build import pair
from ..pocket.world import PROTECTED
from ..scope.leaks import without_overlap
from ..scope.replay import without_howtos
from ..suites import load_suites
from ..tickets import read_tickets
from .kept import FORGOTTEN

CAREFUL_ROWS = DATA / "rollout" / "careful_rows.jsonl"
#: The two files of the forgetful plan.
FORGETFUL_ROWS = DATA / "rollout" / "forgetful_rows.jsonl"
FORGETFUL_MAP = DATA / "rollout" / "forgetful_map.yaml"
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


def forgetful_rows() -> list[dict[str, str]]:
    """The careful plan's old rows, without those that tell how to do something."""
    return without_howtos(careful_rows())


def forgetful_map() -> CapabilityMap:
    """The course's map without that skill."""
    found = CapabilityMap.load(DATA / "capability_map.yaml")
    kept = tuple(row for row in found.categories if row.name != FORGOTTEN)
    return replace(found, categories=kept)


def write_files() -> None:
    """Write the rows of both plans, and the map of the forgetful one."""
    for path, rows in ((CAREFUL_ROWS, careful_rows()), (FORGETFUL_ROWS, forgetful_rows())):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
    text = f"# The shop's map, by a team that has forgotten {FORGOTTEN}.\n{forgetful_map().dump()}"
    FORGETFUL_MAP.write_text(text, encoding="utf-8", newline="\n")
