"""What a mitigation costs: time per step and peak memory, against plain fine-tuning.

`data/runs/costs.json` holds what was measured for the lesson, with nothing else running:
`python -m helpers.mitigations.costs`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from ..mechanics.stored import course_model
from ..runs import RUNS, BadRuns
from ..tickets import read_tickets
from ..training import finetune
from .base import Mitigation
from .methods import METHODS, RANK, RATE

COSTS = RUNS / "costs.json"
#: Methods that change what a step does, each at a strength of the scoreboard.
MEASURED = {
    "L2-SP": 0.003,
    "EWC": 0.003,
    "KL, old rows": 1,
    "KL, no data": 1,
    "token mask": 1000,
    "freeze": 2,
    "sparse SAM": 0.1,
    "SAM": 0.1,
    "full, no old rows": 2e-4,
}

#: Steps at the beginning of a run that are not timed: caches fill, averages are made.
WARM_UP = 2


@dataclass(frozen=True)
class Cost:
    """Time and memory of a mitigation and of plain fine-tuning, measured side by side.

    Attributes:
        seconds, plain_seconds: median time of a step.
        bytes, plain_bytes: most memory that tensors took at one time, the student's weights
            included; for the mitigation with what it keeps beside the model.
    """

    seconds: float
    plain_seconds: float
    bytes: int
    plain_bytes: int

    @property
    def time_ratio(self) -> float:
        return self.seconds / self.plain_seconds

    @property
    def memory_ratio(self) -> float:
        return self.bytes / self.plain_bytes

    def __str__(self) -> str:
        return f"step time × {self.time_ratio:.2f}, peak memory × {self.memory_ratio:.2f}"


def cost(
    model: PreTrainedModel,
    tickets: Iterable[Mapping[str, str]],
    mitigation: Mitigation,
    *,
    steps: int = 8,
    rounds: int = 3,
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Cost:
    """Measure what a mitigation costs on this machine.

    Plain and mitigated runs take turns, so that a machine that is busy for a while slows both, and
    the medians of their steps are compared. Memory is measured in further, short runs.

    Args:
        steps: timed steps of each run.
        rounds: how many runs of each kind.
        changes: options of the mitigated runs alone, such as a `rank` of "full".
        options: of `finetune`, such as `rank` and `batch_size`, for both kinds.

    Raises:
        ValueError: there is no step to time.
    """
    if steps < 1 or rounds < 1:
        raise ValueError("Give at least one step and one round to time.")
    plain, mitigated = [], []
    changed = options | {"mitigation": mitigation} | dict(changes or {})
    for _ in range(rounds):
        for times, chosen in ((plain, options), (mitigated, changed)):
            clock = _Clock()
            finetune(model, tickets, **chosen, steps=WARM_UP + steps, callbacks=[clock])
            times += clock.seconds[WARM_UP:]
    without, with_it = (peak_memory(model, tickets, **chosen) for chosen in (options, changed))
    return Cost(
        seconds=statistics.median(mitigated),
        plain_seconds=statistics.median(plain),
        bytes=with_it + mitigation.storage(),
        plain_bytes=without,
    )


class _Clock(TrainerCallback):
    """Notes how long every step takes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        _wait()
        self._began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        _wait()
        self.seconds.append(time.perf_counter() - self._began)


def _wait() -> None:
    """For a GPU to have done what it was told; on a CPU everything is done when it returns."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(
    model: PreTrainedModel, tickets: Iterable[Mapping[str, str]], **options: Any
) -> int:
    """Most bytes that the tensors of a short fine-tune took at one time.

    Those that were there before it, such as the base model, are not counted; its copy is.

    Args:
        options: of `finetune`; three steps are taken.
    """
    options = options | {"steps": 3}
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        finetune(model, tickets, **options)
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        finetune(model, tickets, **options)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if _is_memory(event)]
    taken = peak = 0
    for _, change in sorted(changes, key=lambda each: each[0]):
        taken += change
        peak = max(peak, taken)
    return peak


def _is_memory(event: Mapping[str, Any]) -> bool:
    """Whether an event of a trace says that memory was taken or given back."""
    return event.get("name") == "[memory]" and "Bytes" in event.get("args", {})


def measure_all() -> dict[str, dict[str, float]]:
    """Ratios of step time and peak memory, and the bytes kept, for every method measured."""
    found = {}
    for name, strength in MEASURED.items():
        recipe = METHODS[name].recipe(strength, 0)
        mitigation = recipe.mitigation or Mitigation()
        changes = {"lr": recipe.lr, "rank": recipe.rank}
        one = cost(course_model(), read_tickets(), mitigation, changes=changes, lr=RATE, rank=RANK)
        found[name] = {
            "step time": round(one.time_ratio, 2),
            "peak memory": round(one.memory_ratio, 2),
            "kept (MB)": round(mitigation.storage() / 1e6, 1),
        }
        print(f"{name}: {one}", flush=True)
    return found


def read_costs(path: str | Path = COSTS) -> dict[str, dict[str, float]]:
    """What was measured, by method.

    Raises:
        BadRuns: the file is missing or damaged.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRuns(
            f"{path} cannot be read ({type(error).__name__}). Get it again from the course's "
            "repository, or measure anew: python -m helpers.mitigations.costs"
        ) from error


if __name__ == "__main__":
    COSTS.write_text(json.dumps(measure_all(), indent=1) + "\n", encoding="utf-8")
