"""Journals of rollouts to be read critically: the registry allowed every line, a person should not.

Made by driving the registry and the monitor: see `desk`.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas

from ..scope.brief import Brief
from ..scope.needs import EXAMPLE
from ..tables import Table
from . import fixed
from .desk import MARGIN, NEW, OLD, Desk
from .eprocess import Counts
from .order_sums import NAME
from .traffic import HOUR, Traffic

#: With no harm, with a little less than the margin allows, and with more.
HARMLESS, ALLOWED, HARMFUL = (
    Traffic.from_brief(Brief(EXAMPLE), {NAME: (0.05, rate)}) for rate in (0.05, 0.41, 0.95)
)


@dataclass(frozen=True, repr=False)
class Case:
    """One rollout.

    Attributes:
        name: short, and without the answer.
        journal: the registry's lines, numbered, with `hour` since the rollout began.
        looks: the monitor's, one row each, with `hour`, and `late`: reports of harm that came in
            after the window and were not counted.
        lines: numbers of the lines of the first step that a careful person would not have taken, or
            of two where either may be called so; none where there is no such step.
        what: what went wrong, and what should have been done instead.
    """

    name: str
    journal: pandas.DataFrame
    looks: pandas.DataFrame
    lines: tuple[int, ...]
    what: str

    def table(self) -> Table:
        """Journal and looks of the rollout in the order in which they happened."""
        rows = [
            (line.hour, 1, str(number), _did(line), line.reason)
            for number, line in zip(self.journal.index, self.journal.itertuples(), strict=True)
            if line.hour >= 0
        ]
        rows += [
            (look.hour, 0, "", "the monitor", look.said + _late(look.late))
            for look in self.looks.itertuples()
        ]
        rows.sort(key=lambda row: (row[0], row[1], int(row[2] or 0)))
        return Table(
            ("line", "hour", "what", "what was said"),
            tuple((line, f"{hour:g}", what, said) for hour, _, line, what, said in rows),
        )

    def __repr__(self) -> str:
        return f"{self.name}\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return f"<p><strong>{self.name}</strong></p>{self.table()._repr_html_()}"


def _late(count: int) -> str:
    return f" Reports too late to count: {count}." if count else ""


def _did(line: Any) -> str:
    if line.to_state == "standby":
        return f"{line.version} stands by"
    if line.from_state == "standby" and line.to_state == "live":
        return f"{line.version} is live again"
    share = f" at {100 * line.share:g} %" if line.to_state == "staged" else ""
    return f"{line.action} {line.version}{share}"


def _read(desk: Desk, name: str, lines: Sequence[int], what: str) -> Case:
    case = Case(name, desk.journal(), desk.looks(), tuple(lines), what)
    desk.registry.close()
    return case


def _sound(folder: Path) -> Case:
    desk = Desk(folder, HARMFUL, seed=3)
    look = desk.by_the_plan()
    desk.registry.rollback(f"the monitor: at least {look.lower:g} points")
    return _read(
        desk, "A", (),
        "Nothing. Harm beyond the margin was proven, and the candidate was rolled back at that "
        "look, before most users had it.",
    )  # fmt: skip


def _mismatch(folder: Path) -> Case:
    desk = Desk(folder, HARMLESS, seed=3, lost=0.3)
    look = desk.by_the_plan(1)
    while not look.mismatch:
        look = desk.by_the_plan(1)
    desk.registry.widen(NEW, 0.5, f"at most {look.upper:g} points, so far")
    look = desk.look()
    desk.registry.go_live(NEW, f"at most {look.upper:g} points")
    return _read(
        desk, "B", desk.lines("widen")[-1:],
        "The arms' sizes contradicted the shares: three in ten of the candidate's answers never "
        "reached the telemetry, and nobody knows whether those that did harm are among them. No "
        "bound holds then. Find out where answers are lost before anything is widened.",
    )  # fmt: skip


def _peeked(folder: Path) -> Case:
    desk, found = Desk(folder, ALLOWED, seed=24), [1.0]
    while found[-1] > 0.05:
        look = desk.look()
        counts = Counts(look.candidate, look.control, look.candidate_harmed, look.control_harmed)
        found.append(float(fixed.p_value(counts, MARGIN / 100)))
        if found[-1] > 0.05:
            desk.widen_by_the_plan(look)
    told = ", ".join(f"{p:.3f}" for p in found[1:])
    desk.registry.rollback(f"z-test against the margin: p = {told}; significant now")
    return _read(
        desk, "C", desk.lines("roll back"),
        "A test that is made to be looked at once was looked at every four hours until it was "
        "significant, and the monitor, which may be looked at, said hold. The candidate harmed "
        "less than the margin allows: a false alarm. Decide by the monitor, or look at the test "
        "once, at the size that it was planned for.",
    )  # fmt: skip


def _deaf(folder: Path) -> Case:
    desk = Desk(folder, HARMFUL, seed=5, window=1.0, delay=24.0)
    desk.by_the_plan()
    desk.registry.go_live(NEW, "the monitor: widen")
    desk.look()
    desk.hour += 36
    told = pandas.concat(desk.frames)
    told = told[told["feedback_time"] <= desk.hour * HOUR]
    told_of, all_of = told["arm"].value_counts(), pandas.concat(desk.frames)["arm"].value_counts()
    rates = [100 * told_of[arm] / all_of[arm] for arm in ("candidate", "control")]
    desk.registry.rollback(
        f"harm reported by now: {rates[0]:.1f} % of {NEW}'s answers, {rates[1]:.1f} % of {OLD}'s"
    )
    return _read(
        desk, "D", desk.lines("widen"),
        "Feedback takes a day and the window was an hour, so that silence was counted as absence "
        "of harm in both arms; the reports that came too late said so at every look. Make the "
        "window as long as feedback takes, and widen later.",
    )  # fmt: skip


def _impatient(folder: Path) -> Case:
    desk = Desk(folder, HARMFUL, seed=5)
    while desk.next(desk.look()) is None:
        pass
    desk.registry.widen(NEW, 0.25, f"the plan: at most {desk.rows[-1]['upper']:g} points")
    desk.look()
    desk.registry.widen(NEW, 1.0, "4 hours without a complaint to anybody here")
    desk.look()
    desk.registry.go_live(NEW, "everybody has it anyway")
    return _read(
        desk, "E", desk.lines("widen")[-1:],
        "It went from 25 percent to everybody while the monitor said hold and the plan asked for "
        "more. From then on nobody had the old version: harm could not be found by comparison any "
        "more. Wait at 25 percent until the plan and the monitor agree.",
    )  # fmt: skip


def _no_way_back(folder: Path) -> Case:
    desk = Desk(folder, HARMLESS, seed=6, retention=timedelta(hours=1))
    desk.by_the_plan()
    desk.registry.go_live(NEW, "the monitor: widen")
    desk.hour += 2
    desk.registry.retire(OLD, "the disk is full")
    desk.hour += 20
    desk.registry.rollback("a customer's questions of a new kind are answered wrongly")
    return _read(
        desk, "F", desk.lines("retire", OLD),
        "The version before was given up two hours after the new one had gone live: retention was "
        "set to an hour. When it was needed there was no way back but the bare base. Keep it as "
        "long as harm may take to show, 30 days by default.",
    )  # fmt: skip


@functools.cache
def cases() -> tuple[Case, ...]:
    """Six rollouts: in five one thing went wrong, in one nothing did."""
    makers: tuple[Callable[[Path], Case], ...] = (
        _sound, _mismatch, _peeked, _deaf, _impatient, _no_way_back,
    )  # fmt: skip
    found = []
    for make in makers:
        with tempfile.TemporaryDirectory() as folder:
            found.append(make(Path(folder)))
    return tuple(found)
