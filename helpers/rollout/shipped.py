"""Stored verdicts: what the gate said of each kept plan for three seeds, not only for the kept one.

`data/runs/shipped.jsonl` has a line for each; `make runs` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas

from ..audit import CapabilityMap, audit
from ..runs import RUNS, read_records
from ..snapshots import Snapshot
from .kept import PLANS, make
from .resume import RESULT

SHIPPED = RUNS / "shipped.jsonl"
SEEDS = (0, 1, 2)


class ShipSetting(NamedTuple):
    """A plan of `data/rollout`, and the seed it was run with."""

    plan: str
    seed: int


SHIPS = [ShipSetting(plan, seed) for seed in SEEDS for plan in PLANS]


@dataclass(frozen=True)
class Found:
    """One row of the map as the gate saw it; scores, drop and its interval in points."""

    before: float
    after: float
    drop: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Shipped:
    """What came of one run of a plan.

    Attributes:
        decision: SHIP, BLOCK or INCONCLUSIVE.
        step: the checkpoint that was chosen.
        rows: by category of the map.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: ShipSetting
    decision: str
    step: int
    rows: dict[str, Found]
    origin: dict[str, Any]


def make_shipped(setting: ShipSetting) -> dict[str, Any]:
    """Run a plan to its end; the record of its line in the file."""
    out = make(setting.plan, setting.seed).out
    before, after = (Snapshot.load(out / step) for step in ("baseline/judge", "judge"))
    report = audit(before, after, CapabilityMap.load(out / "map" / "capability_map.yaml"))
    chosen = json.loads((out / "choose" / RESULT).read_text(encoding="utf-8"))["result"]
    fields = Found.__dataclass_fields__
    return {
        "decision": report.decision,
        "step": chosen["step"],
        "rows": {
            row.category.name: {
                key: round(value, 3) if isinstance(value := getattr(row, key), float) else value
                for key in fields
            }
            for row in report.rows
        },
    }


def read_shipped(path: Path = SHIPPED) -> list[Shipped]:
    """The stored verdicts, by plan and seed.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
    """
    return sorted(read_records(path, _from_record), key=lambda run: run.setting)


def _from_record(record: dict[str, Any]) -> Shipped:
    return Shipped(
        ShipSetting(**record["setting"]),
        record["decision"],
        record["step"],
        {name: Found(**row) for name, row in record["rows"].items()},
        record["origin"],
    )


def shipped_frame(runs: Iterable[Shipped]) -> pandas.DataFrame:
    """A line for each row of the map in each run: plan, seed, decision, category, `Found`."""
    return pandas.DataFrame(
        {**run.setting._asdict(), "decision": run.decision, "category": name, **vars(row)}
        for run in runs
        for name, row in run.rows.items()
    )
