"""Runs of the pipeline that come with the course: what takes long is done, the end is done live.

    python -m helpers.rollout.kept

makes them anew: it runs the plans of `data/rollout` in `build/` (resumable) and packs the finished
steps into `data/rollout/NAME.tar.xz`, but for the gate and the registry: they take a moment, and
are for whoever takes the run to do.
"""

from __future__ import annotations

import argparse
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
#: Plans of whose runs the verdicts over seeds are on file, and one that a lesson also runs live.
CAREFUL, FORGETFUL, QUICK = "careful-1", "forgetful-1", "hasty-1"
PLANS = (CAREFUL, FORGETFUL)
#: What the team of the forgetful plan has not thought of.
FORGOTTEN = "howto"
#: What is left to be done live.
LIVE = ("gate", "registry")


def kept(name: str, into: str | Path, whole: bool = False) -> Plan:
    """Put one of the course's plans into a folder, with the steps that are kept of it.

    `pipeline.run` takes those and does the rest. The plan will be `NAME.yaml`, its steps are in
    `runs/NAME`, written over what lies there, and the registry will be `rollout.db`, one for all
    plans in the folder.

    Args:
        name: "careful-1", "forgetful-1" or "hasty-1".
        whole: take no step, so that all of the plan is run; of hasty-1 in half a minute.

    Raises:
        BadSetting: there is no such plan.
    """
    plan = _copied(name, Path(into))
    shutil.rmtree(plan.out, ignore_errors=True)
    if not whole:
        with tarfile.open(KEPT / f"{name}.tar.xz") as archive:
            # Early patch releases of Python 3.10 and 3.11 know no filters; the archive is our own.
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(plan.out, **safe)
    return plan


def _copied(name: str, into: Path) -> Plan:
    """The plan in another folder, with the files beside it that it names."""
    known = sorted(path.stem for path in KEPT.glob("*-*.yaml"))
    if name not in known:
        raise BadSetting(f"The course has no plan {name!r}; it has {', '.join(known)}.")
    first = Plan.load(KEPT / f"{name}.yaml")
    into.mkdir(parents=True, exist_ok=True)
    named = (first.rows, first.old_rows, first.map, first.brief)
    text = (KEPT / f"{name}.yaml").read_text(encoding="utf-8")
    for path in named:
        if path and path.parent == KEPT and path.name in text:
            shutil.copyfile(path, into / path.name)
    return Plan.load(shutil.copyfile(KEPT / f"{name}.yaml", into / f"{name}.yaml"))


def make(name: str, seed: int | None = None) -> Plan:
    """Run one of the course's plans in `build/`, or its twin of another seed; resumable.

    Returns:
        The plan as it was run; `plan.out` has the steps.
    """
    import torch

    from .pipeline import run  # both need torch, which whoever only takes a run does not

    plan = _copied(name, BUILD)
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
    from .careful_rows import write_files
    from .pipeline_steps import steps_of
    from .pipeline_work import WORK

    parser = argparse.ArgumentParser(
        prog="python -m helpers.rollout.kept",
        description=f"Make the kept runs anew ({', '.join((*PLANS, QUICK))}; some minutes each).",
    )
    parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    write_files()
    for name in (*PLANS, QUICK):
        plan = make(name)
        steps = [step.name for step in steps_of(plan, WORK) if step.name not in LIVE]
        pack(plan, steps, KEPT / f"{name}.tar.xz")


if __name__ == "__main__":
    main()
