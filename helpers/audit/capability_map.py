"""The capability map: what a fine-tune must not cost, and by how much it may."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

VERSION = 1
ROLES = ("protected", "target", "watch")
SEVERITIES = ("block", "warn")
LAYERS = ("standard", "business", "judge")
#: Settings of a map that count chances to ship.
CHANCES = ("looks", "candidates")


class BadMap(ValueError):
    """A capability map is malformed; the message names the file, the line and what is allowed."""


@dataclass(frozen=True)
class Category:
    """One row of the map.

    Attributes:
        task: its name in the results; the category's own name when left out. It may be a group,
            such as "mmlu": the answers to its subtasks are pooled, and the subtask is what makes
            items alike unless `cluster` names a field.
        metric: which of the task's metrics counts; the task's first when left out.
        role: "protected" must not drop beyond the margin, "target" is what the fine-tune is for,
            "watch" is only reported.
        severity: whether a drop blocks the release or only warns.
        margin: points (of 100) that may be lost; of a metric that is no share, hundredths of its
            unit, such as 5 for 0.05 nats per token.
        min_items: fewer items never pass.
        min_score: points that a target must reach.
        chance: percent that guessing gets right; from the items' choices when left out.
        discordance: share of items expected to change, for planning.
        expected: points that a target is expected to reach, for planning.
        layer: whose requirement it is: a public standard's, the business's, or a judge's verdict.
        cluster: field of the items whose values group items that are alike; ten groups or more.
    """

    name: str
    task: str
    role: str = "protected"
    metric: str | None = None
    severity: str = "block"
    margin: float | None = None
    min_items: int = 1
    min_score: float | None = None
    chance: float | None = None
    discordance: float = 0.10
    expected: float | None = None
    layer: str = "standard"
    cluster: str | None = None


@dataclass(frozen=True)
class CapabilityMap:
    """What is measured, what may be lost, and how sure a verdict must be.

    Attributes:
        alpha: the highest chance that is accepted of shipping a model that has lost more than a
            margin, and of blocking one that has not.
        power: the chance of a verdict that planning aims at.
        looks: how often one model may be audited until it ships. Planned beforehand, at sizes that
            no result has changed, or on fresh items at every look.
        candidates: how many models may be audited on the same items, of which one ships.
    """

    categories: tuple[Category, ...]
    alpha: float = 0.05
    power: float = 0.8
    looks: int = 1
    candidates: int = 1

    @property
    def level(self) -> float:
        """The share of alpha that one look at one candidate may use.

        Alpha divided by all chances to ship: whatever their dependence, the chance that any of them
        ships what has lost more than a margin is at most alpha (Bonferroni).
        """
        return self.alpha / (self.looks * self.candidates)

    def __getitem__(self, name: str) -> Category:
        for category in self.categories:
            if category.name == name:
                return category
        known = ", ".join(category.name for category in self.categories)
        raise KeyError(f"The map has no category {name!r}; it has {known}.")

    @classmethod
    def load(cls, path: str | Path) -> CapabilityMap:
        """Read a map from a YAML file.

        Raises:
            BadMap: the file is missing or malformed.
        """
        path = Path(path)
        if not path.exists():
            raise BadMap(f"There is no map {path}. `example_map()` shows what one looks like.")
        return cls.parse(path.read_text(encoding="utf-8"), path.name)

    @classmethod
    def parse(cls, text: str, name: str = "the map") -> CapabilityMap:
        """Read a map from YAML text; `name` is what messages call it.

        Raises:
            BadMap: the text is malformed.
        """
        return _Reader(name).read(text)

    def dump(self) -> str:
        """The map as YAML text, without what is left at its default."""
        rows = {}
        for category in self.categories:
            row = asdict(category)
            default = {f.name: f.default for f in fields(Category)}
            default["task"] = category.name
            row = {key: v for key, v in row.items() if key != "name" and v != default[key]}
            rows[category.name] = {"role": category.role, **row}
        head = {"version": VERSION, "alpha": self.alpha, "power": self.power}
        head |= {name: getattr(self, name) for name in CHANCES if getattr(self, name) != 1}
        return yaml.safe_dump({**head, "categories": rows}, sort_keys=False, allow_unicode=True)


class _Reader:
    """Turns YAML into a map, and remembers the line of everything it reads."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, text: str) -> CapabilityMap:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise BadMap(f"{self.name}, line {line}: this is no YAML: {error.problem}.") from error
        if root is None:
            raise BadMap(f"{self.name} is empty. `example_map()` shows what a map looks like.")
        known = ("version", "alpha", "power", *CHANCES, "categories")
        top = self.mapping(root, "the map", known)
        if "version" not in top or self.value(top["version"]) != VERSION:
            line = self.line(top.get("version", root))
            raise BadMap(f"{self.name}, line {line}: the first line must be `version: {VERSION}`.")
        if "categories" not in top:
            raise BadMap(f"{self.name} has no `categories:`. List what the model must still do.")
        settings = {
            key: self.number(top[key], key, 0, 1, open_ends=True)
            for key in ("alpha", "power")
            if key in top
        }
        settings |= {key: self.whole(top[key], key) for key in CHANCES if key in top}
        rows = self.mapping(top["categories"], "`categories`")
        categories = tuple(self.category(name, node) for name, node in rows.items())
        if not categories:
            raise BadMap(f"{self.name}, line {self.line(root)}: `categories` is empty.")
        return CapabilityMap(categories, **settings)

    def category(self, name: str, node: yaml.Node) -> Category:
        known = tuple(f.name for f in fields(Category) if f.name != "name")
        row = self.mapping(node, f"category {name!r}", known)
        found: dict[str, Any] = {"name": name, "task": name}
        for key, value in row.items():
            found[key] = self.field(key, value)
        category = Category(**found)
        if category.expected is not None and category.expected <= (category.min_score or 0):
            self.fail(row["expected"], "expected must be more than the target's min_score")
        if category.role == "protected" and category.margin is None:
            self.fail(node, f"category {name!r} is protected and needs a `margin` in points")
        if category.role == "target" and category.min_score is None:
            self.fail(node, f"category {name!r} is the target and needs a `min_score` in points")
        return category

    def field(self, key: str, node: yaml.Node) -> Any:
        if key in ("role", "severity", "layer"):
            allowed = {"role": ROLES, "severity": SEVERITIES, "layer": LAYERS}[key]
            value = self.value(node)
            if value not in allowed:
                self.fail(node, f"{key} must be {' or '.join(allowed)}, not {value!r}")
            return value
        if key == "margin":
            return self.number(node, key, 0, 100, open_ends=True)
        if key in ("min_score", "chance", "expected"):
            return self.number(node, key, 0, 100)
        if key == "discordance":
            return self.number(node, key, 0, 1, open_ends=True)
        if key == "min_items":
            return self.whole(node, key)
        value = self.value(node)
        if not isinstance(value, str) or not value:
            self.fail(node, f"{key} must be a name, not {value!r}")
        return value

    def whole(self, node: yaml.Node, key: str) -> int:
        value = self.number(node, key, 1, float("inf"))
        if value != int(value):
            self.fail(node, f"{key} must be a whole number, not {value:g}")
        return int(value)

    def number(
        self, node: yaml.Node, key: str, low: float, high: float, open_ends: bool = False
    ) -> float:
        value = self.value(node)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and (low < value < high if open_ends else low <= value <= high):
            return value
        if high == float("inf"):
            allowed = f"at least {low:g}"
        else:
            allowed = f"{'between' if open_ends else 'from'} {low:g} {'and' if open_ends else 'to'}"
            allowed += f" {high:g}"
        self.fail(node, f"{key} must be a number {allowed}, not {value!r}")

    def mapping(
        self, node: yaml.Node, what: str, known: tuple[str, ...] = ()
    ) -> Mapping[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be made of `name: value` lines")
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = str(self.value(key_node))
            if key in found:
                self.fail(key_node, f"{key!r} occurs twice in {what}")
            if known and key not in known:
                near = difflib.get_close_matches(key, known, 1)
                meant = f"; did you mean {near[0]!r}?" if near else f". Known: {', '.join(known)}"
                self.fail(key_node, f"{what} has no {key!r}{meant}")
            found[key] = value
        return found

    def value(self, node: yaml.Node) -> Any:
        """What a node says; a list or mapping where one value belongs comes as it stands."""
        return yaml.SafeLoader("").construct_object(node, deep=True)

    def line(self, node: yaml.Node) -> int:
        return node.start_mark.line + 1

    def fail(self, node: yaml.Node, text: str) -> None:
        end = "" if text.endswith("?") else "."
        raise BadMap(f"{self.name}, line {self.line(node)}: {text}{end}")


def example_map() -> str:
    """A small map to begin with."""
    return """\
version: 1
alpha: 0.05                    # accepted chance of shipping a loss beyond a margin
power: 0.8                     # wished chance that a model which lost nothing ships
looks: 1                       # audits of one model until it ships
candidates: 1                  # models audited on the same items, of which one ships
categories:
  arithmetic:
    task: pocket_arithmetic    # its name in the results
    role: protected            # protected | target | watch
    margin: 3                  # points that may be lost
    min_items: 250
    cluster: family            # a field of the items: those that share it are alike
  support:
    task: pocket_support
    role: target
    min_score: 85              # what the fine-tune is for
    expected: 90               # what it will probably reach, for planning
    layer: business            # standard | business | judge
"""
