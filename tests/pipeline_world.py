"""A pipeline without a model: two small suites, and a training that writes what it was told to."""

from __future__ import annotations

import json

from rollout_files import write_adapter, write_base

from helpers.fingerprint import file_digests, folder_digest
from helpers.rollout.pipeline_steps import Work, checkpoint
from helpers.snapshots import ItemResult, Snapshot

MAP = """\
version: 1
categories:
  facts: {task: pocket_facts, margin: 20, min_items: 40}
  support: {task: pocket_support, role: target, min_score: 50, min_items: 40}
"""
PLAN = """\
name: careful
base: base
rows: rows.jsonl
map: map.yaml
recipe: {lr: 1e-3, steps: 50}
items: {judge: 40, choose: 10, folder: suites}
out: runs/careful
store: store/rollout.db
"""


def write_world(folder, plan=PLAN):
    """A folder with a base, rows, items, a map and a plan; returns the path of the plan."""
    write_base(folder / "base")
    row = {"prompt": "Customer: Where is it?\nAgent:", "completion": " Here."}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "map.yaml").write_text(MAP)
    (folder / "suites").mkdir()
    for name in ("facts", "support"):
        items = [
            {"id": f"{name}-{n}", "capability": name, "family": f"{n}", "format": "bare",
             "prompt": f"{name} {n}?", "answer": str(n)}
            for n in range(60)
        ]  # fmt: skip
        text = "".join(json.dumps(item) + "\n" for item in items)
        (folder / "suites" / f"{name}.jsonl").write_text(text)
    (folder / "plan.yaml").write_text(plan)
    return folder / "plan.yaml"


def work(quality, calls=None):
    """A `Work` of checkpoints that know a given share of each suite.

    Args:
        quality: step to {suite: share of its items that are right}; what is missing is 1.
        calls: a list that is told of every call.
    """
    calls = [] if calls is None else calls

    def train(plan, choose, judge, into):
        calls.append("train")
        for step in plan.recipe.looks:
            place = write_adapter(into / checkpoint(step), seed=step)
            (place / "adapter_config.json").write_text(json.dumps(quality.get(step, {})))
        return {"rows": 1, "loss": [2.0, 1.0], "layers": [[1, -0.5, 0.25, 0.125]]}

    def score(base, adapter, suites):
        calls.append(f"score {(adapter or base).name}")
        parts = {"base": base, "adapter": adapter} if adapter else {"base": base}
        weights = {part: folder_digest(file_digests(place)) for part, place in parts.items()}
        told = json.loads((adapter / "adapter_config.json").read_text()) if adapter else {}
        shares = told if adapter else {"support": 0.0}
        results = {}
        for suite in suites:
            right = round(shares.get(suite.name, 1.0) * len(suite))
            results[suite.name] = [
                ItemResult(item, item.answer if n < right else "no", n < right, 1.0, 1)
                for n, item in enumerate(suite.items)
            ]
        return Snapshot(results, {"decoding": "greedy"}, weights)

    return Work(train, score)
