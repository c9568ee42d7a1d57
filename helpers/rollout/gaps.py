"""What the map forgot: categories of the traffic that it lacks, underrates, or is blind to.

The audit before a release can only find what is on the map. The telemetry knows what users ask, and
what they were harmed by; this reads it, and proposes rows for the next map.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Literal

import numpy
import pandas
from scipy import stats

from ..audit import CapabilityMap, Category, items_needed
from ..scope.brief import Brief
from ..scope.needs import BUSY
from ..tables import Table
from .eprocess import Counts, check_alpha
from .fixed import z_score
from .harm_rates import check_columns, harm_of, wilson

NEEDED = ("category", "arm", "harm", "prompt")
#: What the telemetry calls a question that is near to no capability.
OTHER = "other"
#: More traffic than the brief says counts from so many times as much on.
MORE = 1.5
#: The margin in points of a proposed row, and that of one with much traffic (see
#: `helpers.scope.needs`: users notice 5 lost points and complain about 15).
MARGIN, BUSY_MARGIN = 5.0, 3.0
#: A word that tells harmed questions from others must be in so many of them.
LEAST_WORDS = 5
WORD = re.compile(r"[^\W\d_]{3,}")

Reason = Literal["missing", "more traffic than planned", "harm that the map does not see"]
NOTHING = "The telemetry shows nothing that the map lacks."
HEADS = ("category", "why", "traffic", "harm: candidate", "control", "more of 1,000", "example")
#: What stands around a question in a prompt, such as "Customer: ... Agent:".
AROUND = re.compile(r"^[A-Z]\w*: | [A-Z]\w*:$")


@dataclass(frozen=True)
class Gap:
    """A category of the traffic that the map should know better.

    Attributes:
        category: as the telemetry has it.
        reason: why it is one.
        answers: how many were seen.
        share: of the traffic, with `share_interval`, 95 percent.
        candidate, control: harm rates, with their 95 percent intervals; none where an arm has not
            answered in the category.
        words: that harmed questions have and others lack, the most telling first.
        examples: harmed questions, or any where none was harmed.
    """

    category: str
    reason: Reason
    answers: int
    share: float
    share_interval: tuple[float, float]
    candidate: float | None
    candidate_interval: tuple[float, float] | None
    control: float | None
    control_interval: tuple[float, float] | None
    words: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a row of the map would be called; a part of a category gets its telling word."""
        part = self.category == OTHER or self.reason == "harm that the map does not see"
        return "_".join([self.category, *self.words[:1]]) if part else self.category

    @property
    def harms(self) -> float:
        """Users harmed more by the candidate than by the control, per thousand answers of all."""
        if self.candidate is None or self.control is None:
            return 0.0
        return 1000 * self.share * (self.candidate - self.control)


class Gaps(tuple[Gap, ...]):
    """The gaps, the most harmful first. Shown as a table, with the first example of each."""

    __slots__ = ()

    def _rows(self) -> list[tuple[str, ...]]:
        def rate(value: float | None, ends: tuple[float, float] | None) -> str:
            if value is None or ends is None:
                return "–"
            return f"{100 * value:.0f} % ({100 * ends[0]:.0f} to {100 * ends[1]:.0f})"

        return [
            (
                gap.name,
                gap.reason,
                f"{100 * gap.share:.1f} %",
                rate(gap.candidate, gap.candidate_interval),
                rate(gap.control, gap.control_interval),
                f"{gap.harms:+.0f}",
                shorten(AROUND.sub("", gap.examples[0]), 90, placeholder=" …")
                if gap.examples
                else "–",
            )
            for gap in self
        ]

    def __repr__(self) -> str:
        return repr(Table(HEADS, tuple(self._rows()))) if self else NOTHING

    def _repr_html_(self) -> str:
        return Table(HEADS, tuple(self._rows()))._repr_html_() if self else f"<p>{NOTHING}</p>"


def find_gaps(
    events: pandas.DataFrame,
    capability_map: CapabilityMap,
    brief: Brief | None = None,
    alpha: float = 0.05,
    least: float = 0.01,
    examples: int = 3,
) -> Gaps:
    """Read the telemetry against the map.

    A category is a gap if the map lacks it; if the brief has planned for much less of it; or if the
    candidate harms more in it than the margin allows, although the map has it and the candidate
    passed. The last is tested at this one look, Bonferroni-corrected for the number of categories:
    it chooses what to write items about, and is no verdict on the candidate.

    Args:
        events: one row per answer, with the columns category, arm, harm and prompt; a prompt may
            be missing. Who is not the candidate's counts as the control's.
        brief: where the traffic was planned; without one nobody can say that it is more.
        least: categories with a smaller share of the traffic are left out, unless they are harmed.
        examples: harmed questions to show.

    Raises:
        BadEvents: a column is missing, or there is no row.
    """
    check_columns(events, NEEDED)
    check_alpha(alpha)
    mapped = {category.name: category for category in capability_map.categories}
    planned = {need.capability: need.traffic / 100 for need in brief.needs} if brief else {}
    groups = dict(list(events.groupby("category")))
    found = []
    for name, rows in groups.items():
        low, high = wilson(len(rows), len(events), alpha)
        margin = MARGIN if name not in mapped else mapped[name].margin or MARGIN
        harmed = _harmed(rows, margin / 100, alpha / len(groups))
        enough = len(rows) / len(events) >= least or harmed
        reason: Reason | None = None
        if name not in mapped:
            reason = "missing" if enough else None
        elif harmed:
            reason = "harm that the map does not see"
        elif name in planned and low > MORE * planned[name]:
            reason = "more traffic than planned" if enough else None
        if reason:
            found.append(_gap(str(name), reason, rows, len(events), (low, high), examples))
    return Gaps(sorted(found, key=lambda gap: (-gap.harms, -gap.share, gap.category)))


def _harmed(rows: pandas.DataFrame, margin: float, alpha: float) -> bool:
    """Whether the candidate harms more than the margin allows, by the fixed test."""
    chosen, harm = rows["arm"].eq("candidate"), rows["harm"].eq(True)
    counts = Counts(chosen.sum(), (~chosen).sum(), (chosen & harm).sum(), (~chosen & harm).sum())
    return bool(z_score(counts, margin) > stats.norm.isf(alpha))


def _gap(
    name: str,
    reason: Reason,
    rows: pandas.DataFrame,
    total: int,
    interval: tuple[float, float],
    examples: int,
) -> Gap:
    rates = harm_of(name, rows)
    chosen, harm = rows["arm"].eq("candidate"), rows["harm"].eq(True)
    texts = rows["prompt"].map(lambda text: text if isinstance(text, str) else "")
    hurt = texts[chosen & harm & texts.ne("")]
    words = telling_words(list(hurt), list(texts[~(chosen & harm) & texts.ne("")]))
    shown = hurt if len(hurt) else texts[texts.ne("")]
    if words and len(hurt):  # those with the telling word first
        has = hurt.map(lambda text: words[0] in _words(text))
        shown = pandas.concat([hurt[has], hurt[~has]])
    return Gap(
        category=name,
        reason=reason,
        answers=len(rows),
        share=len(rows) / total,
        share_interval=interval,
        candidate=rates.candidate and rates.candidate.value,
        candidate_interval=rates.candidate and rates.candidate.interval,
        control=rates.control and rates.control.value,
        control_interval=rates.control and rates.control.interval,
        words=words,
        examples=tuple(dict.fromkeys(" ".join(text.split()) for text in shown))[:examples],
    )


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def telling_words(harmed: Sequence[str], others: Sequence[str], count: int = 5) -> tuple[str, ...]:
    """Words that harmed questions have more often than the others, the most telling first.

    By the log odds of a question having the word, in standard errors, with half a question added to
    every count (Monroe, Colaresi and Quinn 2008, with a flat prior). Words that are not told apart
    by two standard errors are left out.
    """
    if not harmed or not others:
        return ()
    with_harm = Counter(word for text in harmed for word in _words(text))
    without = Counter(word for text in others for word in _words(text))
    scored = []
    for word, hits in with_harm.items():
        if hits < LEAST_WORDS:
            continue
        cells = numpy.array(
            [hits, len(harmed) - hits, without[word], len(others) - without[word]], float
        )
        cells += 0.5
        odds = numpy.log(cells[0] / cells[1]) - numpy.log(cells[2] / cells[3])
        scored.append((float(odds / numpy.sqrt((1 / cells).sum())), word))
    best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))
    return tuple(word for score, word in best[:count] if score > 2)


def proposed(gaps: Sequence[Gap], capability_map: CapabilityMap) -> CapabilityMap:
    """The map with a row for every gap: new ones at its end, and more items where traffic is more.

    A proposed row is protected, blocks, and has a margin of 5 points, or 3 from a fifth of the
    traffic on, with the items that the margin needs. Its suite must still be written; a person
    reads the examples and decides. `dump()` of the result is the file.

    Raises:
        BadMap: a row cannot be read back from the file.
    """
    rows = {category.name: category for category in capability_map.categories}
    for gap in gaps:
        margin = BUSY_MARGIN if 100 * gap.share >= BUSY else MARGIN
        if gap.reason == "more traffic than planned":
            rows[gap.name] = _tightened(rows[gap.name], margin, capability_map)
        elif gap.name not in rows:
            rows[gap.name] = _tightened(
                Category(gap.name, gap.name, role="protected", margin=margin, layer="business"),
                margin,
                capability_map,
            )
    found = replace(capability_map, categories=tuple(rows.values()))
    return CapabilityMap.parse(found.dump(), "the proposed map")


def _tightened(row: Category, margin: float, capability_map: CapabilityMap) -> Category:
    """The row with at most this margin and the items it needs; a target keeps what it has."""
    if row.role == "target":
        return row
    margin = min(margin, row.margin or margin)
    items = items_needed(
        margin, row.discordance, alpha=capability_map.level, power=capability_map.power
    )
    role = "protected" if row.role == "watch" else row.role
    return replace(
        row, role=role, severity="block", margin=margin, min_items=max(items, row.min_items)
    )
