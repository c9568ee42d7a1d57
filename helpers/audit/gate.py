"""The gate: two runs, one capability map, and a verdict for each category.

PASS means that a loss beyond the margin is ruled out, BLOCK that it is certain, and INCONCLUSIVE
that the items cannot tell. "Not significant" is never called safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from scipy.stats import norm

from ..snapshots import Snapshot, wilson
from .capability_map import BadMap, CapabilityMap, Category
from .paired import Paired, bounds, holm, p_block, p_changed, p_pass, pair
from .planning import settling
from .results import Answer, Results, Task, from_snapshot

Verdict = Literal["PASS", "BLOCK", "INCONCLUSIVE", "NOT MEASURABLE", "WATCHED"]
Decision = Literal["SHIP", "BLOCK", "INCONCLUSIVE"]

#: With fewer groups of alike items the variance between them is hardly known.
FEW_CLUSTERS = 30
#: And with fewer than so many there is no telling.
LEAST_CLUSTERS = 10
#: By this field the answers to a group's subtasks are told apart.
SUBTASK = "subtask"
#: So many points more of cut-off or empty answers are mentioned: the format may be to blame.
FORMAT_POINTS = 5


class NotComparable(ValueError):
    """Two runs were not obtained in the same way, or not on the same items."""


class TooFewGroups(BadMap):
    """A map groups alike items by a field that makes too few groups to know how they vary."""


@dataclass(frozen=True)
class Flip:
    """An item whose answer changed between right and wrong."""

    prompt: str
    target: str
    before: str
    after: str


@dataclass(frozen=True)
class Row:
    """What was found in one category; scores and drops in points.

    Attributes:
        drop: before minus after; `low` to `high` is its interval, of which each end holds with
            1 - alpha.
        reason: why the verdict is what it is.
        adjusted: scores before and after as a share of what guessing leaves to be known.
        p_regressed: Holm-adjusted p-value against "nothing changed", over the protected rows.
        needed: from how many to how many items would settle it, see `settling`; None where it is
            settled, or where no items would.
        binary: whether an item is either right or wrong.
        lost, gained: numbers of answers that turned wrong and right; for other scores, that fell
            and rose.
        notes: what else should be known before the verdict is believed.
    """

    category: Category
    metric: str
    items: int
    before: float
    after: float
    drop: float
    low: float
    high: float
    verdict: Verdict
    reason: str
    adjusted: tuple[float, float] | None = None
    design_effect: float = 1.0
    p_regressed: float | None = None
    needed: tuple[int, int] | None = None
    binary: bool = True
    lost: int = 0
    gained: int = 0
    lost_examples: tuple[Flip, ...] = ()
    gained_examples: tuple[Flip, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def gating(self) -> bool:
        """Whether the release depends on this row."""
        return self.category.role != "watch" and self.category.severity == "block"


@dataclass(frozen=True)
class AuditReport:
    """The verdicts on all categories of a map.

    Attributes:
        alpha: the map's; `level` is the share of it that this look at this candidate may use.
        looks, candidates: what the map has planned, and paid for.
        weights: digests of the files that the model after was read from, by part ("base",
            "adapter"; see `fingerprint.folder_digest`); empty where the run does not say.
    """

    rows: tuple[Row, ...]
    alpha: float
    before: str
    after: str
    looks: int = 1
    candidates: int = 1
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """The chance of error of this one audit, at each end of an interval."""
        return self.alpha / (self.looks * self.candidates)

    @property
    def decision(self) -> Decision:
        """BLOCK if any gating row is blocked, SHIP only if every one of them passes."""
        verdicts = {row.verdict for row in self.rows if row.gating}
        if "BLOCK" in verdicts:
            return "BLOCK"
        return "SHIP" if verdicts == {"PASS"} else "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """For the command line: 0 ship, 1 block, 2 inconclusive."""
        return {"SHIP": 0, "BLOCK": 1, "INCONCLUSIVE": 2}[self.decision]

    @property
    def regressed(self) -> list[Row]:
        """Protected rows that dropped, whatever the margin says, by Holm-adjusted p-values."""
        return [
            row
            for row in self.rows
            if row.p_regressed is not None and row.p_regressed < self.level and row.drop > 0
        ]

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.category.name == name:
                return row
        known = ", ".join(row.category.name for row in self.rows)
        raise KeyError(f"The report has no category {name!r}; it has {known}.")

    def __repr__(self) -> str:
        lines = [f"{self.decision}: {self.after} against {self.before}"]
        for row in self.rows:
            change = f"{row.before:5.1f} to {row.after:5.1f}"
            lines.append(f"{row.category.name:22} {change}  {row.verdict:14} {row.reason}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from .page import as_fragment  # a page is made of rows, so it knows this module

        return as_fragment(self)


def audit(
    before: Results | Snapshot,
    after: Results | Snapshot,
    capability_map: CapabilityMap,
    examples: int = 5,
    names: tuple[str, str] | None = None,
) -> AuditReport:
    """Compare two runs of the same items, category by category.

    A model ships only when every gating category passes, so the chance of shipping one that has
    lost more than a margin is at most alpha, however many categories there are. It is blocked when
    a loss is certain after Holm's correction over the protected categories, so the chance of
    blocking a model that stays inside all its margins is at most alpha as well.

    That is promised for as many looks and candidates as the map has planned, each of which gets its
    share of alpha. Asking more often raises the chance of shipping a loss: see `rehearsal`.

    Args:
        examples: how many flips are kept, each way, for a person to read.
        names: what the report calls the two; the models' own names when left out, with
            "(before)" and "(after)" where these are the same.

    Raises:
        NotComparable: the runs differ in settings, task versions, metrics or items.
        TooFewGroups: a field of the map makes fewer than ten groups of alike items.
    """
    before, after = (from_snapshot(r) if isinstance(r, Snapshot) else r for r in (before, after))
    asked = {c.task for c in capability_map.categories}
    check_settings(before, after, {leaf for name in asked for leaf in (name, *before.leaves(name))})
    protected = [c for c in capability_map.categories if c.role == "protected"]
    compared = {c.name: _Comparison(c, before, after, examples) for c in capability_map.categories}
    measured = [compared[c.name] for c in protected if compared[c.name].measurable]
    blocked = holm([one.p_block for one in measured])
    changed = holm([one.p_changed for one in measured])
    for one, p, q in zip(measured, blocked, changed, strict=True):
        one.p_block_adjusted, one.p_regressed = p, q
    level, power = capability_map.level, capability_map.power
    rows = tuple(one.row(level, power) for one in compared.values())
    chances = (capability_map.looks, capability_map.candidates)
    names = names or apart(_short(before.model), _short(after.model))
    return AuditReport(rows, capability_map.alpha, *names, *chances, weights=after.weights)


def apart(before: str, after: str) -> tuple[str, str]:
    """Two names, told apart where they are the same."""
    return (before, after) if before != after else (f"{before} (before)", f"{after} (after)")


def _short(model: str) -> str:
    """A model's name, or the name of the folder it was loaded from."""
    return Path(model).name if Path(model).is_absolute() else model


def check_settings(before: Results, after: Results, tasks: Collection[str]) -> None:
    """Refuse two runs whose scores on these tasks were obtained differently.

    Raises:
        NotComparable: the message lists every setting that differs.
    """
    # Settings of a single task are named after it; those of tasks nobody asks for do not matter.
    others = tuple(f"{name}." for name in {*before.tasks, *after.tasks} - set(tasks))
    differing = [
        f"{key} ({before.settings.get(key, 'not given')} before, "
        f"{after.settings.get(key, 'not given')} after)"
        for key in sorted({*before.settings, *after.settings})
        if not (others and key.startswith(others))
        and before.settings.get(key) != after.settings.get(key)
    ]
    if differing:
        raise NotComparable(
            f"The runs were made under different settings: {'; '.join(differing)}. "
            "Run one of them again under the other's settings."
        )


def matched(category: Category, before: Results, after: Results) -> tuple[str, int, list, list]:
    """A category's metric, its sign (1 where more is better, else -1), and both runs' answers.

    The answers are in the same order. Those of a group are its subtasks' one after the other, each
    with the subtask among its fields.

    Raises:
        NotComparable: a task or metric is missing, versions differ, or the items do.
    """
    names = [_leaves(category, run, when) for run, when in ((before, "before"), (after, "after"))]
    if set(names[0]) != set(names[1]):
        lacking = ", ".join(sorted(set(names[0]) ^ set(names[1])))
        raise NotComparable(f"{category.task}: only one of the runs has {lacking}.")
    tasks = [(before.tasks[name], after.tasks[name]) for name in names[0]]
    metric = _metric(category, [task for both in tasks for task in both])
    old, new = [], []
    for both in tasks:
        pairs = _paired(*both)
        for found, answers in zip((old, new), pairs, strict=True):
            found += answers if len(tasks) == 1 else [_within(both[0].name, a) for a in answers]
    return metric, 1 if tasks[0][0].metrics[metric] else -1, old, new


def _within(task: str, answer: Answer) -> Answer:
    return replace(answer, cluster={**answer.cluster, SUBTASK: task})


def _paired(first: Task, second: Task) -> tuple[list[Answer], list[Answer]]:
    """The answers of one task in both runs, in the same order."""
    if first.version != second.version:
        raise NotComparable(
            f"{first.name} has version {first.version} before and {second.version} after. "
            "Run both with the same version of the task."
        )
    found = [{answer.key: answer for answer in task.answers} for task in (first, second)]
    if found[0].keys() != found[1].keys():
        missing, extra = (len(found[i].keys() - found[1 - i].keys()) for i in (0, 1))
        raise NotComparable(
            f"{first.name}: {missing} of {len(found[0])} items of the run before are not in the "
            f"run after, which has {extra} others. Documents or prompts differ: use the same "
            "items, the same prompt template and the same limit."
        )
    for key, answer in found[0].items():
        if answer.target_hash != found[1][key].target_hash:
            raise NotComparable(
                f"{first.name}: the right answer to {answer.prompt[:60]!r} differs between the "
                "runs. Use the same version of the data."
            )
    return list(found[0].values()), [found[1][key] for key in found[0]]


def _leaves(category: Category, run: Results, when: str) -> tuple[str, ...]:
    names = run.leaves(category.task)
    if not names:
        groups = f", and the groups {', '.join(run.groups)}" if run.groups else ""
        raise NotComparable(
            f"The run {when} has no task {category.task!r}, which the map asks for in category "
            f"{category.name!r}. It has {', '.join(run.tasks)}{groups}."
        )
    return names


def _metric(category: Category, tasks: Sequence[Task]) -> str:
    both = [name for name in tasks[0].metrics if all(name in task.metrics for task in tasks)]
    if not both:
        raise NotComparable(f"{category.task}: the runs share no metric that is a number per item.")
    if category.metric is None:
        return both[0]
    if category.metric not in both:
        raise NotComparable(
            f"{category.task} has no metric {category.metric!r} in both runs; they share "
            f"{', '.join(both)}. Name one of these in the map."
        )
    return category.metric


class _Comparison:
    """One category on its way to a row; what depends on all categories comes between."""

    def __init__(self, category: Category, before: Results, after: Results, examples: int) -> None:
        self.category, self.examples = category, examples
        self.metric, self.sign, self.old, self.new = matched(category, before, after)
        self.scores = [self._scores(run) for run in (self.old, self.new)]
        self.pair: Paired = pair(*self.scores, self._clusters())
        self.chance = self._chance()
        self.margin = (category.margin or 0) / 100
        self.p_block, self.p_changed = p_block(self.pair, self.margin), p_changed(self.pair)
        self.p_block_adjusted, self.p_regressed = self.p_block, None

    def _scores(self, run: Sequence[Answer]) -> list[float]:
        unscored = [answer.prompt for answer in run if self.metric not in answer.scores]
        if unscored:
            raise NotComparable(
                f"{self.category.task}: {len(unscored)} of {len(run)} items have no "
                f"{self.metric!r}, such as {unscored[0][:60]!r}. Name another metric in the map."
            )
        return [self.sign * answer.scores[self.metric] for answer in run]

    def _clusters(self) -> list[object] | None:
        field = self.category.cluster
        if field is None and all(SUBTASK in answer.cluster for answer in self.old):
            field = SUBTASK  # a group: the questions of one subject are alike
        if field is None:
            return None
        if any(field not in answer.cluster for answer in self.old):
            known = sorted(set.intersection(*(set(answer.cluster) for answer in self.old)))
            raise NotComparable(
                f"{self.category.task}: not every item has the field {field!r} to be grouped by; "
                f"all have {', '.join(known) or 'none'}."
            )
        groups = [answer.cluster[field] for answer in self.old]
        if len(set(groups)) < LEAST_CLUSTERS:
            raise TooFewGroups(self._too_few(field, len(set(groups))))
        return groups

    def _too_few(self, field: str, count: int) -> str:
        """What is wrong with a field that makes too few groups, and what to write instead."""
        name, items = self.category.name, len(self.old)
        shared = set.intersection(*(set(answer.cluster) for answer in self.old))
        counts = {one: len({answer.cluster[one] for answer in self.old}) for one in shared}
        finer = {one: n for one, n in sorted(counts.items()) if LEAST_CLUSTERS <= n < items}
        told = ", ".join(f"{one} ({n} groups)" for one, n in finer.items())
        ways = [f"name a finer field ({told})"] if told else []
        ways.append(
            "write one row for each subtask"
            if field == SUBTASK
            else "leave `cluster` out: the interval is then about more items of these same groups"
        )
        remedy = f"Either {', or '.join(ways)}." if told else f"So {ways[0]}."
        return (
            f"Category {name!r}: its {items} items make {count} group{'s' * (count > 1)} by "
            f"{field!r}, and from fewer than {LEAST_CLUSTERS} nobody can know how groups vary. "
            f"{remedy}"
        )

    def _chance(self) -> float:
        if self.category.chance is not None:
            return self.category.chance / 100
        if not self.pair.binary or self.metric.split(",")[0] == "exact_match":
            return 0.0  # nobody guesses a written answer
        return sum(answer.chance for answer in self.old) / len(self.old)

    def _share(self, run: int) -> float:
        return sum(self.scores[run]) / len(self.old)

    def _interval(self, run: int, alpha: float) -> tuple[float, float]:
        """Interval of a score, each end with 1 - alpha, clusters counted; in points."""
        effect = pair(self.scores[run], [0.0] * len(self.old), self._clusters()).design_effect
        items = len(self.old) / effect
        return wilson(self._share(run) * items, items, float(norm.ppf(1 - alpha)))

    @property
    def measurable(self) -> bool:
        """Whether the base has the skill: its score is above chance beyond doubt.

        What is not there cannot be lost (chance is 0 where nobody can guess; then one item in
        twenty must be right).
        """
        if not self.pair.binary or self.category.role == "target":
            return True
        return self._interval(0, 0.025)[0] > max(100 * self.chance, 5)

    def row(self, alpha: float, power: float) -> Row:
        low, high = bounds(self.pair, alpha)
        verdict, reason = self.verdict(alpha, high)
        lost, gained = self.flips()
        adjusted = None
        if self.pair.binary and 0 < self.chance < 1:
            shares = [self._share(run) for run in (0, 1)]
            adjusted = tuple(100 * (s - self.chance) / (1 - self.chance) for s in shares)
        return Row(
            category=self.category,
            metric=self.metric,
            items=len(self.old),
            before=100 * self.sign * self._share(0),
            after=100 * self.sign * self._share(1),
            drop=100 * self.pair.drop,
            low=100 * low,
            high=100 * high,
            verdict=verdict,
            reason=reason,
            adjusted=adjusted,
            design_effect=self.pair.design_effect,
            p_regressed=self.p_regressed,
            needed=self.needed(alpha, power) if verdict == "INCONCLUSIVE" else None,
            binary=self.pair.binary,
            lost=len(lost),
            gained=len(gained),
            lost_examples=tuple(lost[: self.examples]),
            gained_examples=tuple(gained[: self.examples]),
            notes=tuple(self.notes()),
        )

    def verdict(self, alpha: float, high: float) -> tuple[Verdict, str]:
        category, margin = self.category, self.category.margin
        if category.role == "target":
            return self._target(alpha)
        if category.role == "watch":
            return "WATCHED", "only reported"
        if not self.measurable:
            return "NOT MEASURABLE", "the model before does not have this skill: at most chance"
        if self.p_block_adjusted < alpha:
            return "BLOCK", f"a loss of more than {margin:g} points is certain"
        if p_pass(self.pair, self.margin) < alpha:
            if len(self.old) < category.min_items:
                told = f"{len(self.old)} items, and the map asks for {category.min_items}"
                return "INCONCLUSIVE", told
            return "PASS", f"a loss of {margin:g} points is ruled out"
        if self.p_block < alpha:
            told = f"beyond {margin:g} points, but one of several categories may be so by chance"
            return "INCONCLUSIVE", told
        edge = f"a loss of {100 * high:.1f} points cannot be ruled out" if high < 1 else "too few"
        return "INCONCLUSIVE", f"{edge}; the margin is {margin:g}"

    def _target(self, alpha: float) -> tuple[Verdict, str]:
        wanted = self.category.min_score
        low, high = self._interval(1, alpha)
        if len(self.old) < self.category.min_items:
            told = f"{len(self.old)} items, and the map asks for {self.category.min_items}"
            return "INCONCLUSIVE", told
        if low >= wanted:
            return "PASS", f"at least {wanted:g} points, beyond doubt"
        if high < wanted:
            return "BLOCK", f"the goal of {wanted:g} points is missed"
        return "INCONCLUSIVE", f"{low:.1f} to {high:.1f} points; the goal is {wanted:g}"

    def needed(self, alpha: float, power: float) -> tuple[int, int] | None:
        """From how many to how many items would settle the row."""
        if self.category.role == "target" or not self.pair.binary:
            return None
        low, high = settling(self.pair, 100 * self.margin, alpha, power)
        least = self.category.min_items
        return max(low, least), max(high, least)

    def flips(self) -> tuple[list[Flip], list[Flip]]:
        """Answers that turned wrong, and right; for other scores, that fell and rose."""
        lost, gained = [], []
        for old, new, x, y in zip(self.old, self.new, *self.scores, strict=True):
            if x != y:
                flip = Flip(old.prompt, old.target, old.output, new.output)
                (lost if x > y else gained).append(flip)
        return lost, gained

    def notes(self) -> list[str]:
        """What a person should look at: few clusters, and signs that a format was lost."""
        found = []
        if self.pair.degrees < FEW_CLUSTERS - 1:
            found.append(
                f"only {self.pair.degrees + 1:.0f} groups of alike items: a loss that struck few "
                "of them may have been missed"
            )
        kinds = {
            "cut off": lambda answer: bool(answer.truncated),
            "empty": lambda answer: not answer.output.strip() and answer.truncated is not None,
        }
        for name, sign in kinds.items():
            shares = [100 * sum(map(sign, run)) / len(run) for run in (self.old, self.new)]
            if shares[1] - shares[0] > FORMAT_POINTS:
                found.append(
                    f"{shares[1]:.0f} % of the answers are {name} ({shares[0]:.0f} % before): "
                    "look whether a format was lost and not a skill"
                )
        common = Counter(answer.output for answer in self.new if answer.output.strip())
        if common and len(self.new) >= 20:
            text, count = common.most_common(1)[0]
            before = sum(answer.output == text for answer in self.old)
            if count > len(self.new) / 4 and count > 2 * before:
                share = 100 * count / len(self.new)
                found.append(f"{share:.0f} % of the answers are the same text: {text[:60]!r}")
        return found
