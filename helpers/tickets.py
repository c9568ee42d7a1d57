"""Training data: reading, checking and mixing prompt-completion pairs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .jsonl import read_lines
from .paths import DATA

SUPPORT = DATA / "support"


class BadTickets(ValueError):
    """The training data is empty, malformed, or too long for the model."""


def read_tickets(path: str | Path = SUPPORT / "tickets.jsonl") -> Dataset:
    """Read prompt-completion pairs from a JSON-lines file; the shop's tickets by default.

    Raises:
        BadTickets: the file is empty or a line is malformed; the message names file and line.
    """
    rows = []
    try:
        for number, row in read_lines(path):
            if not {"prompt", "completion"} <= row.keys():
                raise ValueError(f'{path}, line {number} needs "prompt" and "completion".')
            pair = {key: row[key] for key in ("prompt", "completion")}
            if not all(isinstance(text, str) for text in pair.values()):
                raise ValueError(f"{path}, line {number}: prompt and completion must be text.")
            rows.append(pair)
    except ValueError as error:
        raise BadTickets(str(error)) from error
    if not rows:
        raise BadTickets(f"{path} holds no tickets. Each line needs a prompt and a completion.")
    return Dataset.from_list(rows)


def as_dataset(rows: Dataset | Iterable[Mapping[str, str]]) -> Dataset:
    """The rows as a dataset with a prompt and a completion column.

    Raises:
        BadTickets: there are no rows, or a column is missing.
    """
    dataset = rows if isinstance(rows, Dataset) else Dataset.from_list([dict(row) for row in rows])
    if len(dataset) == 0:
        raise BadTickets("The training data is empty. Give at least one prompt and completion.")
    missing = {"prompt", "completion"} - set(dataset.column_names)
    if missing:
        raise BadTickets(
            f"The training data has no column {' or '.join(sorted(missing))}; "
            f"it has {', '.join(dataset.column_names)}."
        )
    return dataset.select_columns(["prompt", "completion"])


def check_lengths(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, limit: int) -> None:
    """Refuse tickets that training would silently cut.

    Raises:
        BadTickets: a ticket with its end token exceeds `limit` tokens; the message names it.
    """
    for number, row in enumerate(dataset):
        # Not verbose: too long a text is told below, and by name.
        length = len(tokenizer(row["prompt"] + row["completion"], verbose=False)["input_ids"]) + 1
        if length > limit:
            raise BadTickets(
                f"Ticket {number} has {length} tokens, and the model reads at most {limit}. "
                f"Shorten or split it. It begins: {row['prompt'][:60]!r}"
            )


def mix(tickets: Dataset, replay: Dataset, share: float, seed: int = 0) -> Dataset:
    """Mix old data into new: `share` of the rows of the result come from `replay`.

    All tickets stay in; replay rows are drawn without repetition while they last.

    Raises:
        ValueError: the share is not in [0, 1), or there is nothing to replay.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, not {share}.")
    if share and len(replay) == 0:
        raise ValueError("There is nothing to replay: the replay data is empty.")
    count = round(len(tickets) * share / (1 - share))
    rng = random.Random(seed)
    picks = []
    while len(picks) < count:
        picks += rng.sample(range(len(replay)), min(len(replay), count - len(picks)))
    rows = [*tickets.to_list(), *replay.select(picks).to_list()]
    rng.shuffle(rows)
    return Dataset.from_list(rows)
