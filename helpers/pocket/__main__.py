"""Rebuild pocket-gpt2 from nothing: `make pocket-model`, or `python -m helpers.pocket`.

`--steps 7000` takes longer over it; the model card has the scores of both.

The new model goes to `build/`, and its scores are shown beside the shipped one's. To put it in the
shipped one's place, say `--out data/pocket-gpt2`: every stored run then has to be made anew.

`python -m helpers.pocket --continue` trains the shipped model further instead, which is the quick
way after the world has grown. `python -m helpers.pocket --stretches` makes the two short
continuations of `helpers.pocket.stretch`, as `--out data/pocket-gpt2` does at its end.

Interrupt it whenever you like: the next call goes on from the last checkpoint and ends at the
same weights.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

from transformers.utils import logging

from ..evaluation import evaluate
from ..models import load_model
from ..paths import DATA
from ..snapshots import Snapshot
from ..suites import load_suites
from .build import build
from .pretrain import CHECKPOINT, CONTINUED, Recipe, dtype_for, pretrain
from .stretch import make_stretches
from .tokenizer import train_tokenizer

SHIPPED = DATA / "pocket-gpt2"
BUILD = DATA.parent / "build" / "pocket-gpt2"
CARD_SCORES = re.compile(r"(<!-- scores -->\n).*?(<!-- end of scores -->)", re.DOTALL)


def score_table(snapshot: Snapshot, shipped: Snapshot | None = None) -> str:
    """The scores as a Markdown table with 95 % intervals, the shipped model's beside them."""
    beside = " shipped |" if shipped else ""
    lines = [f"| capability | items | score | 95 % interval |{beside}"]
    lines.append("|---|---|---|---|" + ("---|" if shipped else ""))
    for name, rows in snapshot.results.items():
        low, high = snapshot.interval(name)
        interval = "" if snapshot.is_text(name) else f"{low:.1f} to {high:.1f}"
        beside = f" {written(shipped, name)} |" if shipped else ""
        lines.append(f"| {name} | {len(rows)} | {written(snapshot, name)} | {interval} |{beside}")
    return "\n".join(lines) + "\n"


def written(snapshot: Snapshot, name: str) -> str:
    """A score with its unit."""
    score = snapshot.score(name)
    return f"perplexity {score:.2f}" if snapshot.is_text(name) else f"{score:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Pre-train pocket-gpt2 (about an hour on 2 cores)."
    )
    parser.add_argument("--out", type=Path, default=BUILD / "model")
    parser.add_argument("--work", type=Path, default=BUILD, help="where checkpoints are kept")
    parser.add_argument("--steps", type=int, help=f"instead of {Recipe().steps:,}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--continue", action="store_true", dest="go_on", help="train the shipped model further"
    )
    parser.add_argument(
        "--stretches",
        action="store_true",
        help="only train the two continuations of the shipped model",
    )
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    if arguments.steps is not None and arguments.steps < 1:
        parser.error(f"--steps must be 1 or more, not {arguments.steps}")

    if arguments.stretches:
        return make_stretches(arguments.work)
    build()
    work = arguments.work
    if arguments.go_on:
        start = load_model("pocket").train()
        tokenizer, recipe = start.tokenizer, CONTINUED
        work = work.with_name(f"{work.name}-continued")
    else:
        start, tokenizer, recipe = None, train_tokenizer(), Recipe()
    recipe = replace(
        recipe,
        steps=arguments.steps or recipe.steps,
        seed=recipe.seed + arguments.seed,
        dtype=dtype_for(work),
    )
    model = pretrain(recipe, tokenizer, work, start)
    model.tokenizer = tokenizer
    suites = load_suites(size=700)
    scores = evaluate(model, suites)
    replaced = arguments.out.resolve() == SHIPPED.resolve()
    table = score_table(scores, None if replaced else evaluate(load_model("pocket"), suites))
    # Saved when all is scored, and only then without its checkpoint: whoever interrupts this need
    # not train again, and a shipped model that is trained further is still the one it was.
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    (work / CHECKPOINT).unlink()
    print(table)
    if not replaced:
        print(f"The model is in {arguments.out}; the shipped one is as it was.")
        return None
    card = SHIPPED / "README.md"
    text = card.read_text(encoding="utf-8")
    card.write_text(CARD_SCORES.sub(lambda m: m[1] + table + m[2], text), encoding="utf-8")
    return make_stretches(arguments.work)


if __name__ == "__main__":
    main()
