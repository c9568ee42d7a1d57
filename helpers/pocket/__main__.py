"""Rebuild pocket-gpt2 from nothing: `make pocket-model`, or `python -m helpers.pocket`.

`python -m helpers.pocket --continue` trains the shipped model further instead, which is the quick
way after the world has grown. `python -m helpers.pocket --stretches` makes the two short
continuations of `helpers.pocket.stretch`, as `make pocket-model` does at its end.

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
from .pretrain import CONTINUED, Recipe, pretrain
from .stretch import make_stretches
from .tokenizer import train_tokenizer

CARD_SCORES = re.compile(r"(<!-- scores -->\n).*?(<!-- end of scores -->)", re.DOTALL)


def score_table(snapshot: Snapshot) -> str:
    """The scores as a Markdown table with 95 % intervals."""
    lines = ["| capability | items | score | 95 % interval |", "|---|---|---|---|"]
    for name, rows in snapshot.results.items():
        if snapshot.is_text(name):
            lines.append(f"| {name} | {len(rows)} | perplexity {snapshot.score(name):.2f} | |")
        else:
            low, high = snapshot.interval(name)
            interval = f"{low:.1f} to {high:.1f}"
            lines.append(f"| {name} | {len(rows)} | {snapshot.score(name):.1f} % | {interval} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Pre-train pocket-gpt2 (one to three hours on 2 cores)."
    )
    parser.add_argument("--out", type=Path, default=DATA / "pocket-gpt2")
    parser.add_argument("--work", type=Path, default=DATA.parent / "build" / "pocket-gpt2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--continue", action="store_true", dest="go_on", help="train the model in --out further"
    )
    parser.add_argument(
        "--stretches", action="store_true", help="only train the two continuations of the model"
    )
    arguments = parser.parse_args()
    logging.disable_progress_bar()

    if arguments.stretches:
        return make_stretches(arguments.work)
    build()
    if arguments.go_on:
        start = load_model(arguments.out).train()
        tokenizer = start.tokenizer
        work = arguments.work.with_name(f"{arguments.work.name}-continued")
        recipe = replace(CONTINUED, seed=CONTINUED.seed + arguments.seed)
        model = pretrain(recipe, tokenizer, work, start)
    else:
        tokenizer = train_tokenizer()
        model = pretrain(Recipe(seed=arguments.seed), tokenizer, arguments.work)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    if arguments.out == DATA / "pocket-gpt2":
        make_stretches(arguments.work)

    table = score_table(evaluate(load_model(arguments.out), load_suites(size=700)))
    print(table)
    card = arguments.out / "README.md"
    if card.exists():
        text = card.read_text(encoding="utf-8")
        card.write_text(CARD_SCORES.sub(lambda m: m[1] + table + m[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
