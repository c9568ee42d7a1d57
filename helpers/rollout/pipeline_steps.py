"""The steps of the pipeline, from the brief to the registry, each a small function.

    items -> baseline -> map -> train -> score-... -> choose -> judge -> gate -> registry

The items come first, because the base must be measured on them before a brief can say how much
may be lost: no margin is wider than what lies between the base and the level that must survive.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..audit import BadMap, CapabilityMap, Category, audit, save
from ..fingerprint import file_digests, folder_digest
from ..paths import DATA
from ..snapshots import Snapshot
from ..suites import EXTRACT, BadItems, Suite, read_items
from .errors import BadSetting, NotAllowed, UnknownVersion
from .files import digests_of
from .pipeline_plan import Plan
from .registry import Registry
from .resume import Done, Step, digest_of, file_digest, settle, sync

DoneSteps = Mapping[str, Done]
#: In place of the time in the names of a snapshot's files: the same result has the same names.
STAMP = "2000-01-01T00-00-00"
PARTS = ("choose", "judge")


@dataclass(frozen=True)
class Work:
    """What needs a model, so that all else can be tested without one; see `pipeline_work`.

    Attributes:
        train: (plan, choosing suites, judging suites, folder) -> result. Leaves an adapter in
            `step-00020` and so on for each of `plan.recipe.looks`.
        score: (folder of the base, that of an adapter or None, suites) -> snapshot, with the files'
            digests.

    What they leave must not depend on where the folders lie, so that a run can be moved.
    """

    train: Callable[[Plan, Sequence[Suite], Sequence[Suite], Path], dict[str, Any]]
    score: Callable[[Path, Path | None, Sequence[Suite]], Snapshot]


def steps_of(plan: Plan, work: Work) -> list[Step]:
    """All steps of a plan, in order, with what each depends on."""
    needed = plan.map or plan.brief
    files = {name: file_digest(path) for name, path in _suite_files(plan).items()}
    base = folder_digest(file_digests(plan.base))
    rows = [file_digest(path) for path in (plan.rows, plan.old_rows) if path]
    counts = {part: getattr(plan.items, part) for part in PARTS}
    told = file_digest(needed)
    scores = [_score(plan, step, work) for step in plan.recipe.looks]
    scored = tuple(step.name for step in scores)
    training = {"base": base, "named": plan.base_name, "rows": rows, "recipe": asdict(plan.recipe),
                "probe": plan.items.probe, "targets": sorted(targets_of(plan))}  # fmt: skip
    return [
        Step("items", lambda into, done: _items(plan, into), (), {"files": files, **counts}),
        Step("baseline", lambda into, done: _baseline(plan, work, into, done), ("items",),
             {"base": base}),
        Step("map", lambda into, done: _map(plan, into, done), ("baseline",), {"told": told}),
        Step("train", lambda into, done: _train(plan, work, into, done), ("items",), training),
        *scores,
        Step("choose", lambda into, done: _choose(plan, done), ("map", "baseline", *scored),
             {"rule": "worst rows first"}),
        Step("judge", lambda into, done: _judge(plan, work, into, done),
             ("items", "train", "choose")),
        Step("gate", lambda into, done: _gate(plan, into, done), ("map", "baseline", "judge"),
             {"name": plan.name, "base": plan.base.name}),
        Step("registry", lambda into, done: _registry(plan, done), ("gate", "train", "choose"),
             {"name": plan.name, "store": str(plan.store), "base": str(plan.base)}, again=True),
    ]  # fmt: skip


# Items and the base.


def _suite_files(plan: Plan) -> dict[str, Path]:
    """The files of the suites that the map's tasks are measured by, by capability."""
    folder = Path(plan.items.folder) if plan.items.folder else DATA / "suites"
    names = dict.fromkeys(map(suite_name, plan.needed().categories))
    found = {name: folder / f"{name}.jsonl" for name in names}
    if missing := [name for name, path in found.items() if not path.is_file()]:
        raise BadSetting(
            f"There are no items for {', '.join(missing)}: {found[missing[0]]} is missing. Write "
            "it, or take the row out of the map or brief."
        )
    return found


def suite_name(category: Category) -> str:
    """The suite that measures a category."""
    return category.task.removeprefix("pocket_")


def targets_of(plan: Plan) -> set[str]:
    """The suites of what the fine-tune is for."""
    return {suite_name(c) for c in plan.needed().categories if c.role == "target"}


def _items(plan: Plan, into: Path) -> dict[str, Any]:
    """Split every suite in two: nothing that chooses a checkpoint judges it."""
    result: dict[str, Any] = {part: {} for part in PARTS}
    for name, path in _suite_files(plan).items():
        try:
            read_items(path)
        except BadItems as error:
            raise BadSetting(f"items: {error}") from error
        text = path.read_text(encoding="utf-8-sig")
        lines = [line for line in text.split("\n") if line.strip()]
        judge, rest = lines[: plan.items.judge], lines[plan.items.judge :]
        # Stories share their prompt, so an item is what is asked and answered.
        asked = {_asked(line) for line in judge}
        choose = [line for line in rest if _asked(line) not in asked][: plan.items.choose]
        if len(judge) < plan.items.judge or len(choose) < plan.items.choose:
            raise BadSetting(
                f"items: {name} has {len(lines)} items, too few for judge: {plan.items.judge} and "
                f"choose: {plan.items.choose} different others. Ask for fewer, or write more."
            )
        for part, chosen in zip(PARTS, (choose, judge), strict=True):
            (into / part).mkdir(exist_ok=True)
            (into / part / f"{name}.jsonl").write_text("\n".join(chosen) + "\n", encoding="utf-8")
            result[part][name] = len(chosen)
    return result


def _asked(line: str) -> tuple[str, str]:
    record = json.loads(line)
    return record["prompt"], record["answer"]


def suites_in(done: Done, part: str) -> list[Suite]:
    """The suites for one of the two purposes, "choose" or "judge"."""
    return [
        Suite(
            name,
            read_items(done.folder / part / f"{name}.jsonl"),
            "text" if name == "stories" else "generate",
            EXTRACT.get(name),
        )
        for name in done.result[part]
    ]


def _baseline(plan: Plan, work: Work, into: Path, done: DoneSteps) -> dict[str, Any]:
    found = {}
    for part in PARTS:
        found[part] = keep(work.score(plan.base, None, suites_in(done["items"], part)), into / part)
    return found


def keep(snapshot: Snapshot, folder: Path) -> dict[str, float]:
    """Save a snapshot under names that do not tell the time, and return its scores in percent."""
    snapshot.save(folder)
    for path in folder.iterdir():
        name = re.sub(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?(?=\.json)", STAMP, path.name)
        path.rename(path.with_name(name))
    return snapshot.scores()


def _map(plan: Plan, into: Path, done: DoneSteps) -> dict[str, Any]:
    """The map that the gate goes by; a brief's margins look at the choosing items only.

    Raises:
        BadSetting: the gate could not go by it with these items.
    """
    base = Snapshot.load(done["baseline"].folder / "choose")
    percent = {name: score for name, score in base.scores().items() if not base.is_text(name)}
    found = plan.needed(percent)
    same = Snapshot.load(done["baseline"].folder / "judge")
    try:
        audit(same, same, found)  # what the gate would refuse is told now, not after the training
    except BadMap as error:
        raise BadSetting(f"{'brief' if plan.brief else 'map'}: {error}") from error
    (into / "capability_map.yaml").write_text(found.dump(), encoding="utf-8")
    margins = {c.name: c.margin for c in found.categories if c.role == "protected"}
    return {
        "rows": len(found.categories),
        "margins": margins,
        "targets": {c.name: c.min_score for c in found.categories if c.role == "target"},
        "from": "brief" if plan.brief else "map",
        "short": {c.name: c.min_items for c in found.categories if c.min_items > plan.items.judge},
    }


def map_of(done: DoneSteps) -> CapabilityMap:
    return CapabilityMap.load(done["map"].folder / "capability_map.yaml")


# Training, and which checkpoint is taken.


def checkpoint(step: int) -> str:
    """The name of a checkpoint's folder in that of the training."""
    return f"step-{step:05d}"


def _train(plan: Plan, work: Work, into: Path, done: DoneSteps) -> dict[str, Any]:
    choose, judge = (suites_in(done["items"], part) for part in PARTS)
    result = work.train(plan, choose, judge, into)
    digests = {s: folder_digest(digests_of(into / checkpoint(s))) for s in plan.recipe.looks}
    return {**result, "checkpoints": digests}


def _score(plan: Plan, step: int, work: Work) -> Step:
    """A step of its own for every checkpoint, so that a kill costs one of them at most."""

    def make(into: Path, done: DoneSteps) -> dict[str, Any]:
        folder = done["train"].folder / checkpoint(step)
        return keep(work.score(plan.base, folder, suites_in(done["items"], "choose")), into)

    return Step(f"score-{step:05d}", make, ("items", "train"))


def to_spare(category: Category, before: Snapshot, after: Snapshot) -> float:
    """Points between what was found and what a gating row of the map allows; below 0, too few.

    Of running text the negative log-likelihood counts, in hundredths of nats per token.
    """
    name = suite_name(category)
    if category.role == "target":
        return after.score(name) - category.min_score
    if before.is_text(name):
        return category.margin - 100 * (after.nll(name) - before.nll(name))
    return category.margin - (before.score(name) - after.score(name))


def _choose(plan: Plan, done: DoneSteps) -> dict[str, Any]:
    """The checkpoint whose worst gating row has most to spare; of equals, the second worst decides.

    And so on, row by row: few items make many ties. Of those that are equal in all, the earliest.
    """
    before = Snapshot.load(done["baseline"].folder / "choose")
    gating = [c for c in map_of(done).categories if c.role != "watch" and c.severity == "block"]
    if not gating:
        raise BadSetting("The map has no row that could block: there is nothing to choose by.")
    spare: dict[int, list[tuple[float, str]]] = {}
    for step in plan.recipe.looks:
        after = Snapshot.load(done[f"score-{step:05d}"].folder)
        # To a millionth of a point: 100 - 97 and 96 - 93 are to be equal.
        spare[step] = sorted((round(to_spare(c, before, after), 6), c.name) for c in gating)
    best = max(spare, key=lambda step: ([points for points, _ in spare[step]], -step))
    return {"step": best, "spare": {str(step): list(rows[0]) for step, rows in spare.items()}}


# The gate and the registry.


def chosen(done: DoneSteps) -> Path:
    """The folder of the checkpoint that was chosen."""
    return done["train"].folder / checkpoint(done["choose"].result["step"])


def _judge(plan: Plan, work: Work, into: Path, done: DoneSteps) -> dict[str, Any]:
    return keep(work.score(plan.base, chosen(done), suites_in(done["items"], "judge")), into)


def _gate(plan: Plan, into: Path, done: DoneSteps) -> dict[str, Any]:
    before = Snapshot.load(done["baseline"].folder / "judge")
    after = Snapshot.load(done["judge"].folder)
    report = audit(before, after, map_of(done), names=(plan.base.name, plan.name))
    for ending in ("json", "md", "html", "xml"):
        save(report, into / f"report.{ending}")
    rows = [
        [row.category.name, row.before, row.after, row.category.margin, row.verdict, row.reason]
        for row in report.rows
    ]
    held = [row.category.name for row in report.rows if row.gating and row.verdict != "PASS"]
    return {
        "decision": report.decision, "exit_code": report.exit_code, "held": held, "rows": rows
    }  # fmt: skip


def _registry(plan: Plan, done: DoneSteps) -> dict[str, Any]:
    """Register the version, and admit it if the gate says SHIP.

    A run that was killed in the middle may have done half of it: what is there is not done again.
    """
    plan.store.parent.mkdir(parents=True, exist_ok=True)
    adapter = _stored(plan, chosen(done))
    digest = {"base": folder_digest(digests_of(plan.base)),
              "adapter": folder_digest(digests_of(adapter))}  # fmt: skip
    decision, held = (done["gate"].result[key] for key in ("decision", "held"))
    registry = Registry(plan.store)
    try:
        try:
            version = registry.version(plan.name)
        except UnknownVersion:
            note = f"pipeline, {done['gate'].digest[:12]}: {decision}"
            version = registry.register(plan.name, plan.base, adapter, note)
        if (version.base_digest, version.adapter_digest) != (digest["base"], digest["adapter"]):
            raise _taken(plan)
        if decision != "SHIP" and version.report:
            raise NotAllowed(
                f"name: an earlier audit has let {plan.name!r} pass, and this one says {decision}. "
                "Take the version back (`rollback` or `retire`), and give this one a new name."
            )
        if decision == "SHIP" and version.state == "registered":
            registry.admit(plan.name, done["gate"].folder / "report.json")
    finally:
        registry.close()
    why = "" if decision == "SHIP" else f"the audit says {decision}: {', '.join(held)}"
    return {
        "version": plan.name, "admitted": decision == "SHIP", "why": why,
        "adapter": adapter.relative_to(plan.store.parent).as_posix(),
        "digests": digest,
    }  # fmt: skip


def _stored(plan: Plan, checkpoint: Path) -> Path:
    """A copy of the checkpoint beside the store: the run's folder may be made anew, a version not.

    Raises:
        NotAllowed: a version of this name has other files.
    """
    folder = plan.store.parent / "versions"
    place, making = folder / plan.name, folder / f".making-{plan.name}"
    if place.exists():
        if digests_of(place) != digests_of(checkpoint):
            raise _taken(plan)
        return place
    shutil.rmtree(making, ignore_errors=True)  # of a run that was killed
    shutil.copytree(checkpoint, making)
    settle(making)
    making.rename(place)
    sync(folder)
    return place


def _taken(plan: Plan) -> NotAllowed:
    return NotAllowed(
        f"name: there is a version {plan.name!r} already, and its files are others. A version is "
        "never changed: give this one a new name in the plan."
    )


def digest_of_run(done: DoneSteps) -> str:
    """One digest of everything that a pipeline has found."""
    return digest_of({name: step.digest for name, step in done.items()})
