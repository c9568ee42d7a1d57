"""The log of a pipeline: one page, written anew from the results of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .pipeline_plan import Plan
from .resume import Done


def page(plan: Plan, done: Mapping[str, Done], steps: int, error: str = "") -> str:
    """The page as Markdown.

    Args:
        done: the steps that are finished, in order.
        steps: how many there are in all.
        error: what stopped the pipeline, if something did.
    """
    lines = [f"# {plan.name}: {_verdict(done, steps, error)}", ""]
    if error:
        lines += [f"> {' '.join(error.split())}", ""]
    recipe = plan.recipe
    lines += [
        f"Base `{plan.base.name}`, rows `{plan.rows.name}`; rate {recipe.lr:g}, rank {recipe.rank},"
        f" {recipe.steps} steps of {recipe.batch_size}, {100 * recipe.old_share:g} % old rows, seed"
        f" {recipe.seed}.",
        "",
        "| step | found | seconds | digest |",
        "|---|---|--:|---|",
    ]
    for name, one in done.items():
        lines.append(f"| {name} | {found(one)} | {one.seconds:.1f} | `{one.digest[:12]}` |")
    for title, part in (("train", _layers), ("choose", _chosen), ("gate", _gate)):
        if title in done:
            lines += ["", *part(done)]
    return "\n".join(lines) + "\n"


def _verdict(done: Mapping[str, Done], steps: int, error: str) -> str:
    if error:
        return f"stopped after {len(done)} of {steps} steps"
    if "gate" in done and len(done) == steps:
        return done["gate"].result["decision"]
    return f"{len(done)} of {steps} steps done"


def found(done: Done) -> str:
    """What a step found, in some words."""
    name, result = done.name, done.result
    if name == "items":
        counts = [sum(result[part].values()) for part in ("choose", "judge")]
        return f"{counts[0]} to choose by, {counts[1]} others to judge by"
    if name == "baseline":
        return f"{len(result['judge'])} suites scored"
    if name == "map":
        short = result["short"]
        lack = ""
        if short:
            most = max(short, key=short.get)
            lack = f"; {len(short)} cannot pass with so few items ({most} needs {short[most]})"
        return f"{result['rows']} rows, from the {result['from']}{lack}"
    if name == "train":
        first, last = result["loss"]
        return f"{result['rows']} rows, loss {first:.2f} to {last:.2f}"
    if name == "choose":
        return f"step {result['step']}"
    if name == "gate":
        return f"{result['decision']}{_held(result)}"
    if name == "registry":
        if result["admitted"]:
            return f"{result['version']} is admitted"
        return f"{result['version']} is registered and not admitted: {result['why'].split(':')[0]}"
    return f"{len(result)} suites scored"


def _held(result: Mapping[str, Any]) -> str:
    """What holds it back: the rows that block, or else those that are undecided."""
    if not result["held"]:
        return ""
    blocks = [row[0] for row in result["rows"] if row[0] in result["held"] and row[4] == "BLOCK"]
    shown = blocks or result["held"]
    others = len(result["held"]) - len(shown)
    return f" ({', '.join(shown)}{f'; {others} others undecided' if others else ''})"


def _layers(done: Mapping[str, Done]) -> list[str]:
    rows = done["train"].result.get("layers", ())
    lines = [
        "Per layer: the cosine of new rows' and old skills' gradients before training (below 0 "
        "they pull apart), the mean length of the gradient, and how far the layer's output moved.",
        "",
        "| layer | cosine | gradient | drift |",
        "|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {n} | {cos:.2f} | {length:.3g} | {100 * move:.0f} % |" for n, cos, length, move in rows
    ]
    return lines if rows else []


def _chosen(done: Mapping[str, Done]) -> list[str]:
    best = done["choose"].result["step"]
    lines = [
        "Checkpoints, on items that do not judge: points that the worst row of the map has to "
        "spare.",
        "",
        "| step | worst row | to spare | |",
        "|--:|---|--:|---|",
    ]
    for step, (points, row) in done["choose"].result["spare"].items():
        mark = "taken" if int(step) == best else ""
        lines.append(f"| {step} | {row} | {points:+.1f} | {mark} |")
    return lines


def _gate(done: Mapping[str, Done]) -> list[str]:
    lines = ["| category | before | after | margin | verdict | why |", "|---|--:|--:|--:|---|---|"]
    for name, before, after, margin, verdict, why in done["gate"].result["rows"]:
        allowed = "" if margin is None else f"{margin:g}"
        cells = (name, f"{before:.1f}", f"{after:.1f}", allowed, verdict, why.replace("|", "/"))
        lines.append(f"| {' | '.join(cells)} |")
    return lines
