"""Writes what the course ships: suites, lm-eval tasks, tickets and replay data.

Everything is drawn from the world with fixed seeds, so a second build gives the same files.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from ..paths import DATA
from ..snapshots import document, task_name
from ..suites import EXTRACT, NAMES, Item
from .examples import Example
from .support import opened, policy, shop
from .world import CAPABILITIES, MIXTURE, PROTECTED

ITEMS = 700
TICKETS = 1_200
REPLAY = 2_000

#: The three tickets of the short recipe that lesson 01 repairs and runs.
CARD_TICKETS = ("refund_time", "reset_password", "track_order")


def write_lines(path: Path, rows: Iterable[dict]) -> None:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def suite_items(name: str, count: int = ITEMS) -> list[Item]:
    """`count` held-out items of a capability, each prompt once."""
    rng = random.Random(f"suite {name}")
    items: dict[str, Item] = {}
    for _ in range(100 * count):
        if len(items) == count:
            return list(items.values())
        example = CAPABILITIES[name](rng, "test")
        format = rng.choice(example.formats)
        prompt = example.prompt(format)
        key = example.answer if name == "stories" else prompt
        if key not in items:
            items[key] = Item(
                id=f"{name}-{len(items):03}",
                capability=name,
                family=example.family,
                format=format,
                prompt=prompt,
                answer=example.answer,
                choices=example.choices,
            )
    raise RuntimeError(f"The world has only {len(items)} held-out prompts of {name}.")


def task_yaml(name: str) -> str:
    """The suite as an lm-eval task (its folder is given to lm-eval as `--include_path`)."""
    head = f"""\
task: {task_name(name)}
custom_dataset: !function items.{name}
test_split: test
"""
    if name == "stories":
        return (
            head
            + """\
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{answer}}"
metric_list:
  - metric: byte_perplexity
metadata:
  version: 1
"""
        )
    text = (
        head
        + """\
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 48
  do_sample: false
"""
    )
    if name in EXTRACT:
        text = text.replace('"{{answer}}"', f"!function items.{name}_answer")
        filter_lines = f"""\
      - function: regex
        regex_pattern: '{EXTRACT[name]}'
        group_select: -1
"""
    else:
        filter_lines = ""
    return (
        text
        + f"""\
filter_list:
  - name: none
    filter:
{filter_lines}      - function: !function items.Strip
      - function: take_first
metric_list:
  - metric: exact_match
metadata:
  version: 1
"""
    )


def choice_yaml(name: str) -> str:
    """The same items as multiple choice, for models that cannot follow instructions."""
    return f"""\
task: {task_name(name)}_choice
custom_dataset: !function items.{name}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: choices
doc_to_target: "{{{{choices.index(answer)}}}}"
target_delimiter: " "
metric_list:
  - metric: acc
metadata:
  version: 1
"""


def pair(example: Example, format: str) -> dict[str, str]:
    """An example as a row of training data."""
    return {"prompt": example.prompt(format), "completion": f" {example.answer}"}


def tickets() -> list[dict[str, str]]:
    """Support tickets in training wordings: as many of every intent."""
    rng = random.Random("tickets")
    rows: dict[str, dict[str, str]] = {}
    intents = shop()["intents"]
    while len(rows) < TICKETS:
        intent = intents[len(rows) % len(intents)]
        wordings = intent["train_questions"]
        question = opened(rng, wordings[len(rows) // len(intents) % len(wordings)], "train")
        example = Example("support", intent["name"], question, policy(intent))
        row = pair(example, "support")
        rows.setdefault(row["prompt"], row)
    return list(rows.values())


def card_tickets() -> list[dict[str, str]]:
    """Three tickets, one each of three common intents."""
    by_name = {intent["name"]: intent for intent in shop()["intents"]}
    chosen = [by_name[name] for name in CARD_TICKETS]
    return [
        pair(Example("support", i["name"], i["train_questions"][0], policy(i)), "support")
        for i in chosen
    ]


def replay() -> list[dict[str, str]]:
    """Examples of the protected capabilities as pre-training saw them."""
    rng = random.Random("replay")
    weights = [MIXTURE[name] for name in PROTECTED]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    while len(rows) < REPLAY:
        name = rng.choices(tuple(PROTECTED), weights)[0]
        example = PROTECTED[name](rng, "train")
        row = pair(example, rng.choice(example.formats))
        rows[row["prompt"], row["completion"]] = row
    return list(rows.values())


def build(data: Path = DATA) -> None:
    """Write every derived file below `data`."""
    for name in NAMES:
        items = suite_items(name)
        write_lines(data / "suites" / f"{name}.jsonl", map(document, items))
        (data / "suites" / f"{task_name(name)}.yaml").write_text(task_yaml(name))
        if items[0].choices:
            (data / "suites" / f"{task_name(name)}_choice.yaml").write_text(choice_yaml(name))
    write_lines(data / "support" / "tickets.jsonl", tickets())
    write_lines(data / "support" / "card_tickets.jsonl", card_tickets())
    write_lines(data / "support" / "replay.jsonl", replay())
