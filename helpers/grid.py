"""Make the stored runs of data/runs: `make runs`, or `python -m helpers.grid`.

Interrupt it whenever you like: finished runs are on file, and the next call makes the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedModel, TrainerCallback

from .blindspot.chains import CHAINED, CHAINS, ChainSetting, make_chain
from .blindspot.distance import DISTANCE
from .blindspot.domains import SETTINGS, make_distance
from .blindspot.domains import Setting as DomainSetting
from .blindspot.tax import TAX, TAXED, TaxSetting, make_tax
from .blindspot.wordings import WORDINGS, make_reworded
from .demo import DEMO, DEMOS, make_demo
from .demo import Setting as DemoSetting
from .evaluation import evaluate
from .generation import complete
from .jsonl import read_lines
from .mechanics import Looks, as_rows, kl_to_base
from .mechanics.stored import Inside, course_model, make_inside
from .mechanics.walks import WALKED, WALKS, WalkSetting, make_walk
from .merging.stored import AUDITED, MERGED, MERGES, make_audited, make_merge
from .mitigations.board import BOARD, CANDIDATES
from .mitigations.board import Setting as BoardSetting
from .mitigations.flat import FLAT, FLATS, make_flat
from .mitigations.methods import CANDIDATE_ENTRIES, ENTRIES, make_candidate, make_entry
from .mitigations.stages import ORDERS, SEQUENCE, Stages, make_sequence
from .paths import DATA
from .rollout.order_sums_runs import ORDER_SUMS, SUMS, SumsSetting, make_sums
from .rollout.shipped import SHIPPED, SHIPS, ShipSetting, make_shipped
from .runs import ASKED, GRID, INSIDE, LOOKS, SCALE, STEPS, Setting, digest
from .scope.controls import make_mixed
from .scope.stored import MIXED, MIXING
from .scope.strangers import ASKED_BY_STRANGERS, STRANGERS, StrangerSetting, make_strangers
from .suites import TARGET, load_suites
from .tickets import read_tickets
from .training import LossIsNaN, finetune

SEEDS = (0, 1, 2)
RATES = (3e-5, 1e-4, 3e-4, 5e-4, 1e-3, 1.5e-3, 3e-3, 6e-3, 1e-2, 1.5e-2, 3e-2)
RANKS = (1, 2, 4, 8, 16, 32, 64, "full")
TICKETS = 1200
ITEMS = 30  # held-out items per capability and look
#: Learning rate by rank, by seed. One seed is finished before the next begins.
KNOBS = [
    Setting(lr, rank, STEPS, TICKETS, seed) for seed in SEEDS for rank in RANKS for lr in RATES
]
#: The same with other rules for α. At rank 8 all rules agree, and the runs above are theirs too.
ALPHAS = [
    Setting(lr, rank, STEPS, TICKETS, seed, alpha)
    for ranks in ((1, 64), (4, 16))
    for seed in SEEDS
    for alpha in ("16", "rs")
    for rank in ranks
    for lr in (1e-3, 3e-3, 6e-3, 1e-2, 3e-2)
]
#: How forgetting grows with the number of steps, and with the number of different tickets at
#: several numbers of steps; and what rank 1 does with four times the steps.
GROWTH = [
    *(Setting(3e-3, 8, steps, TICKETS, seed)
      for seed in SEEDS for steps in (8, 15, 30, 60, 120, 240)),
    *(Setting(lr, 1, 240, TICKETS, seed) for seed in SEEDS for lr in (3e-3, 6e-3)),
    *(Setting(1e-2, 8, 120, tickets, seed)
      for seed in SEEDS for tickets in (40, 75, 150, 300, 600, 1200)),
    *(Setting(1e-2, 8, steps, tickets, seed)
      for seed in SEEDS for tickets in (40, 150, 1200) for steps in (15, 30, 60)
      if (steps, tickets) != (STEPS, TICKETS)),  # which is in the grid
]  # fmt: skip

#: Runs whose inside is measured, and their controls.
WATCHED = [Inside(data, seed) for seed in SEEDS for data in ("tickets", "control")]


@cache
def look_at_base() -> dict[str, Any]:
    """What is found at step 0 of every run."""
    return look(course_model(), 0)


def look(model: PreTrainedModel, step: int) -> dict[str, Any]:
    """Everything that is kept of a model: the fields of a `Checkpoint`."""
    suites = load_suites(size=ITEMS)
    snapshot = evaluate(model, suites)
    (target,) = (suite for suite in suites if suite.name == TARGET)
    return {
        "step": step,
        "scores": {name: round(snapshot.score(name), 2) for name in snapshot.results},
        "nll": {name: round(snapshot.nll(name), 4) for name in snapshot.results},
        "kl": round(kl_to_base(course_model(), model, as_rows(target)), 4),
        "says": complete(model, list(ASKED)),
    }


def some_tickets(tickets: Dataset, count: int, seed: int) -> Dataset:
    """`count` tickets drawn with a seed."""
    return tickets.select(random.Random(seed).sample(range(len(tickets)), count))


def make_run(
    setting: Setting,
    looks: Iterable[int] = (),
    callbacks: Sequence[TrainerCallback] = (),
    base: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train and score one run.

    Args:
        looks: steps at which it is scored; the last one always is.
        callbacks: further callbacks of the trainer.
        base: what is found at step 0, where that is known already.

    Returns:
        A stored run's record, without its setting and its origin.
    """
    base = base or look_at_base()
    watcher = Looks(look, looks)
    tickets = some_tickets(read_tickets(), setting.tickets, setting.seed)
    options = {key: getattr(setting, key) for key in ("lr", "rank", "steps", "seed")}
    options["alpha"] = setting.lora_alpha
    diverged, seconds = "", 0.0
    try:
        run = finetune(course_model(), tickets, **options, callbacks=[watcher, *callbacks])
        seconds = run.seconds - watcher.seconds
    except LossIsNaN as error:
        diverged = str(error)
    found = [base, *watcher.found]
    return {"checkpoints": found, "seconds": round(seconds, 2), "diverged": diverged}


def make_stored(job: Job) -> dict[str, Any]:
    """One line of a file.

    One thread: the same run on the same machine gives the same numbers, whatever else is running.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        made = job.make(job.setting)
    finally:
        torch.set_num_threads(threads)
    return {"setting": job.setting._asdict(), **made, "origin": origin()}


def make_knobs(setting: Setting) -> dict[str, Any]:
    """A run of the grid, with its looks on the way."""
    return make_run(setting, LOOKS)


def make_live(
    setting: Setting | BoardSetting,
    callbacks: Sequence[TrainerCallback],
    base: dict[str, Any] | None,
) -> dict[str, Any]:
    """A run that somebody has asked for beside the stored ones; it is not looked at on the way."""
    if isinstance(setting, BoardSetting):
        return make_entry(setting, callbacks)
    return make_run(setting, callbacks=callbacks, base=base)


def origin() -> dict[str, Any]:
    """What a run was made from: versions, the data's digest and, in a checkout, its commit."""
    packages = ("torch", "transformers", "peft", "trl")
    folders = ("data/pocket-gpt2", "data/support", "data/suites")
    git = ["git", "log", "-1", "--format=%h", "--", *folders]
    try:
        found = subprocess.run(git, cwd=DATA.parent, capture_output=True, text=True, check=True)
        commit = found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    return {
        "versions": {name: version(name).split("+")[0] for name in packages},
        "data": digest(),
        "commit": commit,
    }


class Job(NamedTuple):
    """A setting, and the function that makes its record."""

    setting: (
        Setting
        | Inside
        | WalkSetting
        | DemoSetting
        | ChainSetting
        | DomainSetting
        | TaxSetting
        | BoardSetting
        | StrangerSetting
        | Stages
        | ShipSetting
        | SumsSetting
    )
    make: Callable[[Any], dict[str, Any]]


def finished(path: Path) -> list[dict[str, Any]]:
    """Settings that are on file and were made from today's data; all else is dropped from it.

    Raises:
        ValueError: a line that is not the last one is damaged.
    """
    if not path.exists():
        return []
    kept = []
    try:
        for _, record in read_lines(path):
            kept.append(record)
    except ValueError:
        # The last line may have been cut when a run was killed. Any other was whole once, and what
        # stands behind it must not be lost with it.
        if len(kept) + 1 < len(path.read_text(encoding="utf-8").splitlines()):
            raise
    today = digest()
    kept = [record for record in kept if record["origin"]["data"] == today]
    # Beside the file and then in its place: killed in between, no run is lost.
    beside = path.with_suffix(".new")
    beside.write_text("".join(f"{json.dumps(record)}\n" for record in kept), encoding="utf-8")
    beside.replace(path)
    return [record["setting"] for record in kept]


def make_all(jobs: Sequence[Job], path: Path, workers: int) -> None:
    """Make the runs that are not on file yet, several at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    there = finished(path)
    missing = [job for job in jobs if job.setting._asdict() not in there]
    # Fresh processes: threads of torch do not survive a fork.
    with (
        ProcessPoolExecutor(workers, get_context("spawn")) as pool,
        tqdm(total=len(missing), desc=path.stem, unit="run") as bar,
        path.open("a", encoding="utf-8") as file,
    ):
        waiting = [pool.submit(make_stored, job) for job in missing]
        try:
            for done in as_completed(waiting):
                file.write(json.dumps(done.result()) + "\n")
                file.flush()
                bar.update()
        except BaseException:  # Ctrl-C too: what has not begun is not to be made and thrown away
            pool.shutdown(cancel_futures=True)
            raise


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Make the stored runs (some four hours on 2 cores)."
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=GRID.parent)
    arguments = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # the bars of the runs themselves, in their own processes
    files = {
        GRID.name: [Job(setting, make_knobs) for setting in KNOBS + ALPHAS],
        SCALE.name: [Job(setting, make_run) for setting in GROWTH],
        INSIDE.name: [Job(setting, make_inside) for setting in WATCHED],
        WALKS.name: [Job(setting, make_walk) for setting in WALKED],
        DEMO.name: [Job(setting, make_demo) for setting in DEMOS],
        CHAINS.name: [Job(setting, make_chain) for setting in CHAINED],
        WORDINGS.name: [Job(setting, make_reworded) for setting in CHAINED],
        DISTANCE.name: [Job(setting, make_distance) for setting in SETTINGS],
        TAX.name: [Job(setting, make_tax) for setting in TAXED],
        BOARD.name: [Job(setting, make_entry) for setting in ENTRIES],
        MIXING.name: [Job(setting, make_mixed) for setting in MIXED],
        STRANGERS.name: [Job(setting, make_strangers) for setting in ASKED_BY_STRANGERS],
        CANDIDATES.name: [Job(setting, make_candidate) for setting in CANDIDATE_ENTRIES],
        SEQUENCE.name: [Job(setting, make_sequence) for setting in ORDERS],
        FLAT.name: [Job(setting, make_flat) for setting in FLATS],
        SHIPPED.name: [Job(setting, make_shipped) for setting in SHIPS],
        # The answers of these very models: one worker's run is taken by the other.
        ORDER_SUMS.name: [Job(setting, make_sums) for setting in SUMS],
        MERGES.name: [
            *(Job(setting, make_merge) for setting in MERGED),
            *(Job(setting, make_audited) for setting in AUDITED),
        ],
    }
    for name, jobs in files.items():
        make_all(jobs, arguments.folder / name, arguments.workers)


if __name__ == "__main__":
    main()
