"""Stored runs: every fine-tune of a grid, with what it scored on the way.

A file holds one run per line. It is read here and made by `helpers.grid`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .jsonl import read_lines
from .paths import DATA
from .suites import NAMES, SUITES
from .tickets import SUPPORT

RUNS = DATA / "runs"
GRID = RUNS / "grid.jsonl"
SCALE = RUNS / "scale.jsonl"
INSIDE = RUNS / "inside.jsonl"

#: Three prompts whose answers are kept: an old instruction, an old problem, a new question.
ASKED = (
    "How do I make tea?",
    "Reverse this list: tea, bread, lamp",
    "Customer: Hello, when will I see my refund?\nAgent:",
)

#: Steps of a run of the grid, and where it is looked at.
STEPS = 60
LOOKS = (5, 15, 30, 60)

Rank = int | str  # a number, or "full"

#: LoRA adds (α/r)·BA to a weight. Three habits of choosing α, which agree at rank 8: twice the rank
#: (the factor stays 2), the same α for every rank (Hu et al. 2021, arXiv 2106.09685), and α growing
#: with the root of the rank, which is rank-stabilised LoRA (Kalajdzievski 2023, arXiv 2312.03732).
ALPHA_RULES: dict[str, Callable[[int], float]] = {
    "2r": lambda rank: 2 * rank,
    "16": lambda rank: 16,
    "rs": lambda rank: round(2 * math.sqrt(8 * rank), 4),
}
T = TypeVar("T")


class BadRuns(ValueError):
    """A file of stored runs is missing, damaged, or lacks the run that was asked for."""


class Setting(NamedTuple):
    """What tells one run of a grid from another.

    Attributes:
        lr: peak learning rate; it falls linearly to zero over `steps`.
        rank: rank of LoRA on all linear layers, or "full".
        steps: optimizer steps of 16 tickets.
        tickets: how many different tickets were used.
        alpha: the rule by which LoRA's α follows the rank, a key of `ALPHA_RULES`; it means nothing
            to full fine-tuning.
    """

    lr: float
    rank: Rank
    steps: int
    tickets: int
    seed: int
    alpha: str = "2r"

    @property
    def lora_alpha(self) -> float | None:
        """LoRA's α, or None for full fine-tuning."""
        return None if self.rank == "full" else ALPHA_RULES[self.alpha](self.rank)

    def obeys(self, rule: str) -> bool:
        """Whether a rule for α would give this α, whichever rule it was made by.

        Raises:
            KeyError: there is no such rule.
        """
        return self._replace(alpha=rule).lora_alpha == self.lora_alpha


@dataclass(frozen=True)
class Checkpoint:
    """The model at one step of a run.

    Attributes:
        scores: percent of held-out items right, per capability; stories as perplexity.
        nll: negative log-likelihood of the gold answers, nats per token, per capability.
        kl: divergence from the base on answers to new-task prompts, nats per token.
        says: its answers to `ASKED`, in order.
    """

    step: int
    scores: dict[str, float]
    nll: dict[str, float]
    kl: float
    says: tuple[str, ...]


@dataclass(frozen=True)
class StoredRun:
    """One run of a grid.

    Attributes:
        checkpoints: in order; the first is the base, at step 0.
        seconds: training time on one core, looks not counted.
        diverged: what stopped the run when its loss was no number any more, else "".
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: Setting
    checkpoints: tuple[Checkpoint, ...]
    seconds: float
    diverged: str
    origin: dict[str, Any]

    @property
    def base(self) -> Checkpoint:
        return self.checkpoints[0]

    @property
    def last(self) -> Checkpoint:
        return self.checkpoints[-1]

    def latest(self, step: int) -> Checkpoint:
        """The checkpoint of a step, or the last before it of a run that diverged."""
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.step <= step][-1]


def read_runs(path: str | Path = GRID, alpha: str | None = "2r") -> list[StoredRun]:
    """The runs of a file, in the order of their settings.

    Args:
        alpha: the rule by which α follows the rank, a key of `ALPHA_RULES`: the runs whose α it
            gives, so those of rank 8 and of full fine-tuning with every rule. None for all runs.

    Raises:
        BadRuns: the file is missing, empty or damaged; the message says what to do.
        KeyError: there is no such rule.
    """
    path = Path(path)
    runs = _read(path, path.stat().st_mtime_ns if path.exists() else 0)
    return list(runs) if alpha is None else [run for run in runs if run.setting.obeys(alpha)]


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[StoredRun, ...]:
    runs = read_records(path, from_record)
    return tuple(sorted(runs, key=lambda run: [_order(value) for value in run.setting]))


def _order(value: float | str) -> tuple[bool, float | str]:
    """Numbers by their size, and "full" after them."""
    return isinstance(value, str), value


def read_records(path: Path, convert: Callable[[dict[str, Any]], T]) -> list[T]:
    """The records of a file of stored runs, each converted.

    Raises:
        BadRuns: as `read_runs`.
    """
    remedy = "Get the file again from the course's repository, or make it anew with `make runs`."
    if not path.exists():
        raise BadRuns(f"There is no file {path}. {remedy}")
    try:
        found = [convert(record) for _, record in read_lines(path)]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRuns(f"{path} is damaged ({type(error).__name__}: {error}). {remedy}") from error
    if not found:
        raise BadRuns(f"{path} holds no runs. {remedy}")
    return found


def from_record(record: dict[str, Any]) -> StoredRun:
    """A run from the JSON object of its line."""
    checkpoints = tuple(
        Checkpoint(**{**entry, "says": tuple(entry["says"])}) for entry in record["checkpoints"]
    )
    if not checkpoints:
        raise ValueError("a run without checkpoints")
    setting = Setting(**record["setting"])
    rest = (record[key] for key in ("seconds", "diverged", "origin"))
    return StoredRun(setting, checkpoints, *rest)


def find(runs: Iterable[StoredRun], **wanted: object) -> list[StoredRun]:
    """The runs whose setting has these values, such as `find(runs, lr=1e-2, rank=8)`.

    Raises:
        BadRuns: there is none; the message lists the values there are.
        ValueError: a setting has no such part.
    """
    runs = list(runs)
    unknown = sorted(set(wanted) - set(Setting._fields))
    if unknown:
        raise ValueError(f"A setting has no {unknown[0]!r}; it has {', '.join(Setting._fields)}.")
    found = [r for r in runs if all(getattr(r.setting, k) == v for k, v in wanted.items())]
    if not found:
        asked = ", ".join(f"{key} {value}" for key, value in wanted.items())
        known = "; ".join(f"{key}: {', '.join(map(str, values(runs, key)))}" for key in wanted)
        raise BadRuns(f"There is no run with {asked}. There are {known}.")
    return found


def values(runs: Iterable[StoredRun], key: str) -> list:
    """The different values of one part of the settings, rising; "full" comes last."""
    return sorted({getattr(run.setting, key) for run in runs}, key=_order)


def digest() -> str:
    """A fingerprint of what stored runs are made from: weights, examples, held-out items."""
    model = [DATA / "pocket-gpt2" / name for name in ("model.safetensors", "tokenizer.json")]
    examples = [SUPPORT / name for name in ("tickets.jsonl", "replay.jsonl")]
    return fingerprint([*model, *examples, *(SUITES / f"{name}.jsonl" for name in NAMES)])


def fingerprint(files: Iterable[Path]) -> str:
    """Sixteen hexadecimal digits that change with the content of any of the files."""
    total = hashlib.sha256()
    for file in files:
        # Line ends may differ between checkouts; the weights have none.
        content = file.read_bytes()
        total.update(content if file.suffix == ".safetensors" else content.replace(b"\r\n", b"\n"))
    return total.hexdigest()[:16]
