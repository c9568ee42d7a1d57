"""The plan of a pipeline: what is trained on what, judged by which items, and where it goes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ..audit import BadMap, CapabilityMap
from ..paths import DATA
from ..scope.brief import Brief
from ..scope.needs import BadBrief, Need
from .errors import BadSetting
from .registry import NAME

#: A plan to begin with: `data/rollout/careful-1.yaml`. Paths are seen from the plan's own folder.
EXAMPLE = """\
# The shop's fine-tune, made with care: three old rows for every two tickets, and a lower rate.
name: careful-1            # of the version in the registry
base: pocket               # the course's model, or a folder with safetensors
rows: shop                 # the shop's tickets, or a file of prompts and completions
old_rows: careful          # rows of old skills to mix in: the shop's and more, or a file
map: shop                  # what must survive: a capability map, or `brief: FILE` instead
recipe:
  lr: 0.002
  rank: 16
  steps: 320
  old_share: 0.6           # of the rows that are trained on
  seed: 0
  look_every: 160          # steps between two checkpoints
items:
  judge: 600               # per suite, for the gate
  choose: 100              # others, for choosing the checkpoint
out: runs/careful-1        # results of the steps, and log.md
store: rollout.db          # registry and journal
"""

#: What a short name stands for.
COURSE = {
    "base": {"pocket": DATA / "pocket-gpt2"},
    "rows": {"shop": DATA / "support" / "tickets.jsonl"},
    "old_rows": {
        "shop": DATA / "support" / "replay.jsonl",
        "careful": DATA / "rollout" / "careful_rows.jsonl",  # with more lists and refusals
    },
    "map": {"shop": DATA / "capability_map.yaml"},
}
#: As in `helpers.training`, which is not imported here because it needs torch.
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


@dataclass(frozen=True)
class Recipe:
    """How it is trained; see `helpers.training.finetune`.

    Attributes:
        old_share: share of the rows that come from the old ones, at least 0 and below 1.
        look_every: optimizer steps between two checkpoints; the last step is always one.
    """

    lr: float
    steps: int
    rank: int = 8
    batch_size: int = 16
    schedule: str = "linear"
    warmup_steps: int = 0
    old_share: float = 0.0
    seed: int = 0
    look_every: int = 20

    @property
    def looks(self) -> tuple[int, ...]:
        """The steps after which there is a checkpoint."""
        return (*range(self.look_every, self.steps, self.look_every), self.steps)


@dataclass(frozen=True)
class Items:
    """Items per suite: the first `judge` are for the gate, the `choose` after them for choosing.

    Attributes:
        probe: how many of those for choosing are asked while training goes on.
        folder: of suites of one's own, a file `<capability>.jsonl` each; None for the course's.
    """

    judge: int = 500
    choose: int = 100
    probe: int = 10
    folder: str | None = None


@dataclass(frozen=True)
class Plan:
    """A plan, read and checked; all paths are absolute.

    Attributes:
        map, brief: one of them is None.
    """

    name: str
    base: Path
    rows: Path
    out: Path
    store: Path
    recipe: Recipe
    items: Items
    old_rows: Path | None = None
    map: Path | None = None
    brief: Path | None = None

    @property
    def base_name(self) -> str:
        """What an adapter calls its base: a name that means the same on every machine.

        `load_model` knows the course's model by it; for another, tell it the folder.
        """
        return next(
            (name for name, path in COURSE["base"].items() if path == self.base), self.base.name
        )

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan from a YAML file.

        Raises:
            BadSetting: the message names the key, and what is allowed.
        """
        path = Path(path).resolve()
        return cls.read(_yaml(path, "plan"), path.parent)

    @classmethod
    def read(cls, found: Mapping[str, Any], folder: str | Path = ".") -> Plan:
        """Read a plan from the mapping that such a file holds.

        Args:
            folder: paths are seen from here.

        Raises:
            BadSetting: as `load`.
        """
        folder = Path(folder).resolve()
        _check_keys("the plan", found, {f.name for f in fields(cls)})
        for key in ("name", "base", "rows", "recipe", "out", "store"):
            if key not in found:
                raise BadSetting(f"The plan needs `{key}`. A whole plan looks so:\n{EXAMPLE}")
        if ("map" in found) == ("brief" in found):
            raise BadSetting("The plan needs `map` or `brief`, one of them and not both.")
        name = found["name"]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadSetting(
                f"name: {name!r} is no name for a version: up to 64 letters, digits, '.', '_' and "
                "'-', beginning with a letter or a digit."
            )
        keys = ("base", "rows", "old_rows", "map", "brief", "out", "store")
        paths = {key: _path(key, found[key], folder) for key in keys if key in found}
        for key in ("base", "rows", "old_rows", "map", "brief"):
            if key in paths and not (
                paths[key].is_dir() if key == "base" else paths[key].is_file()
            ):
                what = "folder" if key == "base" else "file"
                short = ", ".join(map(repr, COURSE.get(key, ())))
                raise BadSetting(
                    f"{key}: there is no {what} {paths[key]}. Paths are seen from the plan's folder"
                    + (f"; the course's own is {short}." if short else ".")
                )
        plan = cls(
            name=name,
            recipe=_recipe(found["recipe"]),
            items=_items(found.get("items", {}), folder),
            **paths,
        )
        if plan.recipe.old_share and plan.old_rows is None:
            raise BadSetting("recipe.old_share is above 0: name the file with the `old_rows`.")
        plan.needed()  # a broken map or brief is told now, not after an hour of training
        return plan

    def needed(self, base: Mapping[str, float] | None = None) -> CapabilityMap:
        """The capability map: the plan's own, or what its brief comes to.

        Args:
            base: the base's scores in percent by suite, where they are known: no margin of a brief
                is wider than what lies between them and the level that must survive.

        Raises:
            BadSetting: the map or the brief is malformed, or the base has no room to lose.
        """
        try:
            if self.map is not None:
                return CapabilityMap.load(self.map)
            return read_brief(self.brief, base or {}).to_map()
        except (BadMap, BadBrief) as error:
            raise BadSetting(f"{'map' if self.map else 'brief'}: {error}") from error


def read_brief(path: Path, base: Mapping[str, float]) -> Brief:
    """A brief from YAML: `needs`, a list with the fields of `scope.needs.Need`, alpha and power.

    Raises:
        BadSetting: a key is unknown or missing.
        BadBrief: an answer is wrong.
    """
    found = _yaml(path, "brief")
    _check_keys("the brief", found, {"needs", "alpha", "power"})
    if not isinstance(found.get("needs"), list) or not found["needs"]:
        raise BadSetting("brief: it needs a list of `needs`, one entry a capability.")
    known = {f.name for f in fields(Need)}
    for number, row in enumerate(found["needs"], start=1):
        what = f"need {number} of the brief"
        _check_keys(what, row, known)
        if missing := {"capability", "level", "traffic"} - row.keys():
            raise BadSetting(f"brief: {what} lacks {', '.join(sorted(missing))}.")
    needs = tuple(Need(**row) for row in found["needs"])
    suites = {n.capability: (n.task or n.capability).removeprefix("pocket_") for n in needs}
    own = {name: base[suite] for name, suite in suites.items() if suite in base}
    numbers = {
        key: _number(f"brief: {key}", found[key], above=0, below=1)
        for key in ("alpha", "power")
        if key in found
    }
    return Brief(needs, own, **numbers)


def _recipe(found: Any) -> Recipe:
    _check_keys("`recipe`", found, {f.name for f in fields(Recipe)})
    for key in ("lr", "steps"):
        if key not in found:
            raise BadSetting(f"recipe: it needs `{key}`, such as lr: 0.001 and steps: 60.")
    if found.get("rank") == "full":
        raise BadSetting(
            "recipe.rank: the pipeline trains adapters, which one server can hold side by side. "
            "Give a whole number such as 8."
        )
    read: dict[str, Any] = {"lr": _number("recipe.lr", found["lr"], above=0)}
    for key in ("steps", "rank", "batch_size", "look_every"):
        if key in found:
            read[key] = _whole(f"recipe.{key}", found[key], 1)
    for key in ("warmup_steps", "seed"):
        if key in found:
            read[key] = _whole(f"recipe.{key}", found[key], 0)
    if "old_share" in found:
        read["old_share"] = _number("recipe.old_share", found["old_share"], least=0, below=1)
    if "schedule" in found:
        if found["schedule"] not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise BadSetting(f"recipe.schedule: one of {known}, not {found['schedule']!r}.")
        read["schedule"] = found["schedule"]
    recipe = Recipe(**read)
    if recipe.warmup_steps >= recipe.steps:
        raise BadSetting("recipe.warmup_steps: fewer than recipe.steps, or the peak never comes.")
    if recipe.warmup_steps and recipe.schedule == "constant":
        raise BadSetting(
            "recipe.schedule: 'constant' has no warm-up; say 'constant_with_warmup', or leave out "
            "recipe.warmup_steps."
        )
    return recipe


def _items(found: Any, folder: Path) -> Items:
    _check_keys("`items`", found, {f.name for f in fields(Items)})
    # Drift needs four prompts, and fewer items choose nothing.
    least = {"judge": 1, "choose": 4, "probe": 1}
    read: dict[str, Any] = {
        key: _whole(f"items.{key}", found[key], low) for key, low in least.items() if key in found
    }
    if found.get("folder") is not None:
        own = _path("items.folder", found["folder"], folder)
        if not own.is_dir():
            raise BadSetting(f"items.folder: there is no folder {own}.")
        read["folder"] = str(own)
    return Items(**read)


def _yaml(path: Path, what: str) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"The {what} {path} cannot be read: {error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSetting(f"The {what} {path} is no YAML: {error}") from error


def _check_keys(what: str, found: Any, known: Collection[str]) -> None:
    if not isinstance(found, Mapping):
        raise BadSetting(f"{what} must be made of `key: value` lines, unlike {found!r}.")
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}."
            raise BadSetting(f"{what} has no {key!r}; {meant}")


def _path(key: str, value: Any, folder: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise BadSetting(f"{key}: must be a path, not {value!r}.")
    return COURSE.get(key, {}).get(value) or (folder / value).resolve()


def _number(
    key: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
) -> float:
    if isinstance(value, str):  # YAML takes 1e-3 for a word; only 1.0e-3 is a number to it
        try:
            value = float(value)
        except ValueError:
            value = repr(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and above < value < below and value >= least:
        return float(value)
    low = f" above {above:g}" if above > -math.inf else f" of at least {least:g}"
    high = f" and below {below:g}" if below < math.inf else ""
    raise BadSetting(f"{key}: must be a number{low}{high}, not {value}.")


def _whole(key: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadSetting(f"{key}: must be a whole number of at least {least}, not {value!r}.")
    return value
