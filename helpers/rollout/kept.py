"""Runs of the pipeline that come with the course: what takes long is done, the end is done live.

    python -m helpers.rollout.kept

makes them anew: it runs the plans of `data/rollout` in `build/` (resumable) and packs the finished
steps into `data/rollout/NAME.tar.xz`, but for the gate and the registry: they take a moment, and
are for whoever takes the run to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..paths import DATA
from .errors import BadSetting
from .pipeline_plan import Plan
from .resume import RESULT

KEPT = DATA / "rollout"
#: Where runs are made, out of git's sight.
BUILD = DATA.parent / "build" / "rollout"
#: The plans whose runs are kept. The others of `data/rollout` are run as a whole.
PLANS = ("careful-1",)
#: What is left to be done live.
LIVE = ("gate", "registry")


def kept(name: str, into: str | Path) -> Plan:
    """Put one of the course's plans into a folder, with the steps that are kept of it.

    `pipeline.run` takes those and does the rest. The plan will be `NAME.yaml`, its steps are in
    `runs/NAME`, written over what lies there, and the registry will be `rollout.db`, one for all
    plans in the folder.

    Args:
        name: "careful-1", of which all but the end is kept, or "hasty-1", which is done as a whole.

    Raises:
        BadSetting: there is no such plan.
    """
    into = Path(into)
    into.mkdir(parents=True, exist_ok=True)
    known = sorted(path.stem for path in KEPT.glob("*.yaml"))
    if name not in known:
        raise BadSetting(f"The course has no plan {name!r}; it has {', '.join(known)}.")
    plan = Plan.load(shutil.copyfile(KEPT / f"{name}.yaml", into / f"{name}.yaml"))
    shutil.rmtree(plan.out, ignore_errors=True)
    if name in PLANS:
        with tarfile.open(KEPT / f"{name}.tar.xz") as archive:
            archive.extractall(plan.out, filter="data")
    return plan


def make(name: str, seed: int | None = None) -> Plan:
    """Run one of the course's plans in `build/`, or its twin of another seed; resumable.

    Returns:
        The plan as it was run; `plan.out` has the steps.
    """
    import torch

    from .pipeline import run  # both need torch, which whoever only takes a run does not

    BUILD.mkdir(parents=True, exist_ok=True)
    plan = Plan.load(shutil.copyfile(KEPT / f"{name}.yaml", BUILD / f"{name}.yaml"))
    if seed not in (None, plan.recipe.seed):
        twin = f"{plan.name}-seed-{seed}"
        recipe = replace(plan.recipe, seed=seed)
        first, plan = plan, replace(plan, name=twin, recipe=recipe, out=plan.out.with_name(twin))
        _share(first, plan)
    # A version is never changed, and here nothing will be served: each run has its own registry.
    plan = replace(plan, store=plan.out.parent / f"{plan.name}-store" / "rollout.db")
    shutil.rmtree(plan.store.parent, ignore_errors=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same numbers, however many cores there are
    try:
        run(plan)
    finally:
        torch.set_num_threads(threads)
    return plan


def _share(first: Plan, twin: Plan) -> None:
    """Take what does not depend on the seed from the first run, where it is finished."""
    for step in ("items", "baseline", "map"):
        found, place = first.out / step, twin.out / step
        if (found / RESULT).exists() and not place.exists():
            shutil.copytree(found, place)


def pack(plan: Plan, steps: Iterable[str], to: Path) -> None:
    """Pack steps of a run; the bytes are the same whenever and wherever it is done."""
    files = [path for step in steps for path in (plan.out / step).rglob("*") if path.is_file()]
    # Files of one name are alike, and side by side they take half the room.
    files.sort(key=lambda path: (path.name, path))
    with tarfile.open(to, "w:xz") as archive:
        for path in files:
            info = tarfile.TarInfo(path.relative_to(plan.out).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(info, file)


def main() -> None:
    from .careful_rows import CAREFUL_ROWS, careful_rows
    from .pipeline_steps import steps_of
    from .pipeline_work import WORK

    parser = argparse.ArgumentParser(
        prog="python -m helpers.rollout.kept",
        description=f"Make the kept runs anew ({', '.join(PLANS)}; some minutes each).",
    )
    parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in careful_rows())
    CAREFUL_ROWS.write_text("".join(lines), encoding="utf-8", newline="\n")
    for name in PLANS:
        plan = make(name)
        steps = [step.name for step in steps_of(plan, WORK) if step.name not in LIVE]
        pack(plan, steps, KEPT / f"{name}.tar.xz")


if __name__ == "__main__":
    main()
