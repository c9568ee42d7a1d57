"""What the course calls fast, measured on this machine: `make benchmark`.

Each comparison runs both sides in turn, in one process; the ratios carry over to other machines
better than the seconds do. Medians over three repeats.
"""

from __future__ import annotations

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client

import contextlib
import io
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peft import get_peft_model
from torch.nn.functional import cross_entropy

from benchmarks import serving
from helpers import audit
from helpers.evaluation import evaluate
from helpers.models import load_model
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import SUITES, Item, load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune, lora_config
from helpers.widgets.knobs import KnobsLab
from helpers.widgets.knobs_figure import KnobsFigure

REPEATS = 3
STEPS, BATCH, RANK, LR = 60, 16, 8, 3e-3
COMPARED = ("facts", "arithmetic", "reading")
EIGHT = (*COMPARED, "reasoning", "lists", "howto", "sentiment", "translation")


def seconds(*functions: Callable[[], object]) -> list[float]:
    """Median seconds of each function; they take turns, so that all meet the same disturbances."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(REPEATS):
        for function, found in zip(functions, times, strict=True):
            with contextlib.redirect_stderr(io.StringIO()):
                started = time.perf_counter()
                function()
                found.append(time.perf_counter() - started)
    return [statistics.median(found) for found in times]


def run_lm_eval(model, names, size: int, batch_size: int) -> None:
    """The suites through lm-eval; those with choices as multiple choice too, as `evaluate` does."""
    simple_evaluate(
        HFLM(pretrained=model, tokenizer=model.tokenizer, batch_size=batch_size),
        tasks=[path.stem for name in names for path in SUITES.glob(f"pocket_{name}*.yaml")],
        task_manager=TaskManager(include_path=str(SUITES), include_defaults=False),
        limit=size,
        bootstrap_iters=0,
        log_samples=False,
    )


def bare_loop(model, tickets) -> torch.nn.Module:
    """The least PyTorch code for the run of `finetune`: same LoRA, batches, optimizer and rate."""
    torch.manual_seed(0)
    student = get_peft_model(copy.deepcopy(model), lora_config(model, RANK, 2 * RANK)).train()
    optimizer = torch.optim.AdamW(
        [p for p in student.parameters() if p.requires_grad], lr=LR, weight_decay=0.0
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    tokenizer = model.tokenizer
    rows = [
        (tokenizer(t["prompt"])["input_ids"], tokenizer(t["completion"])["input_ids"])
        for t in tickets
    ]
    for _ in range(STEPS):
        chosen = [rows[i] for i in torch.randint(len(rows), (BATCH,))]
        width = max(len(lead) + len(tail) + 1 for lead, tail in chosen)
        ids = torch.full((BATCH, width), tokenizer.pad_token_id)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for line, (lead, tail) in enumerate(chosen):
            text = torch.tensor([*lead, *tail, tokenizer.eos_token_id])
            ids[line, : len(text)], mask[line, : len(text)] = text, 1
            labels[line, len(lead) : len(text)] = text[len(lead) :]
        logits = student(input_ids=ids, attention_mask=mask).logits
        cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
    return student


def slider_moves(lab: KnobsLab, count: int) -> tuple[float, float]:
    """Median seconds of a slider's move, and of making the same figure with its axes."""
    rng = random.Random(0)
    moves, anew = [], []
    for _ in range(count):
        knob = rng.choice([lab.lr, lab.rank, lab.step])
        value = rng.choice([option for _, option in knob.options if option != knob.value])
        started = time.perf_counter()
        knob.value = value
        moves.append(time.perf_counter() - started)
        started = time.perf_counter()
        KnobsFigure(lab.stored.steps, lab.stored.deepest()).draw(lab.view())
        anew.append(time.perf_counter() - started)
    return statistics.median(moves), statistics.median(anew)


def made_up_folders(top: Path) -> list[Path]:
    """Two snapshots of 14,000 items in 20 tasks, in files."""
    rng, folders = random.Random(0), []
    for name, share in (("before", 0.9), ("after", 0.88)):
        results = {}
        for task in range(20):
            items = (Item(f"{n}", f"t{task}", f"f{n % 40}", "qa", f"{task} {n}?", "yes")
                     for n in range(700))  # fmt: skip
            results[f"t{task}"] = [
                ItemResult(item, "yes" if right else "no", right, 0.5, 1)
                for item in items
                for right in [rng.random() < share]
            ]
        folders.append(Snapshot(results).save(top / name))
    return folders


def whole_audit(folders: list[Path]) -> None:
    """Read both runs, compare them in 20 clustered categories, write the HTML report."""
    rows = (audit.Category(f"t{n}", f"pocket_t{n}", margin=3, cluster="family") for n in range(20))
    runs = [audit.read_results(folder) for folder in folders]
    report = audit.audit(*runs, audit.CapabilityMap(tuple(rows)))
    audit.save(report, folders[0].parent / "report.html")


def main() -> None:
    logging.disable(logging.WARNING)
    model, tickets = load_model(), read_tickets()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")

    suites = load_suites(COMPARED, size=250)
    ours, theirs = seconds(
        lambda: evaluate(model, suites, batch_size=50),
        lambda: run_lm_eval(model, COMPARED, 250, batch_size=50),
    )
    print(f"250 items of {len(COMPARED)} suites: evaluate {ours:.1f} s, lm-eval {theirs:.1f} s")
    print(f"  lm-eval / evaluate = {theirs / ours:.2f} (evaluate also scores gold answers)\n")

    ours, bare = seconds(
        lambda: finetune(model, tickets, lr=LR, rank=RANK, steps=STEPS, batch_size=BATCH),
        lambda: bare_loop(model, tickets),
    )
    print(f"{STEPS} steps of {BATCH} tickets: finetune {ours:.1f} s, bare loop {bare:.1f} s")
    print(f"  finetune / bare loop = {ours / bare:.2f}\n")

    suites = load_suites(EIGHT, size=250)
    (ours,) = seconds(lambda: evaluate(model, suites))
    print(f"250 items of {len(EIGHT)} suites: evaluate {ours:.1f} s")
    print(f"  {len(EIGHT) * 250 / ours:.0f} items a second\n")

    moves, whole = slider_moves(KnobsLab(), 50)
    print(
        f"50 moves of a slider: {1000 * moves:.0f} ms each (median), until figure and table stand"
    )
    print(f"  drawing the whole figure anew / a move = {whole / moves:.1f}\n")

    with tempfile.TemporaryDirectory() as folder:
        folders = made_up_folders(Path(folder))
        read, whole = seconds(
            lambda: [audit.read_results(path) for path in folders], lambda: whole_audit(folders)
        )
    print(f"14,000 paired items in 20 categories: {whole:.1f} s from files to the HTML report")
    print(f"  the whole audit / reading the files = {whole / read:.1f}\n")

    serving.main()


if __name__ == "__main__":
    main()
