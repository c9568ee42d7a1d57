"""A registry, a monitor and simulated users with a clock of their own, for rollouts to be read.

The weights are a few random numbers: only their digests matter here.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy
import pandas
from safetensors.numpy import save_file

from .canary import Look, Monitor
from .plan import Stage, Stages
from .registry import Registry
from .traffic import HOUR, Traffic, answers

#: Hour 0, in seconds since 1970: a Monday, 9 o'clock UTC.
START = 1_772_442_000.0
OLD, NEW = "desk-1", "desk-2"
#: Points of harm that are allowed, hours between looks, answers per hour, and users.
MARGIN, EVERY, PER_HOUR, USERS = 2.0, 4.0, 800, 50_000
PLAN = Stages(
    (Stage(0.05, hours=4, within=8), Stage(0.25, hours=4, within=3), Stage(0.5), Stage(1.0))
)


class Desk:
    """A registry, a monitor and users, and the hour that it is.

    Args:
        window, delay: hours that feedback may take to be counted, and takes on average.
        lost: the share of the candidate's answers that never reach the telemetry.
    """

    def __init__(
        self,
        folder: Path,
        traffic: Traffic,
        seed: int,
        window: float = 2.0,
        delay: float = 0.5,
        lost: float = 0.0,
        retention: timedelta = timedelta(days=30),
    ) -> None:
        self.traffic, self.seed, self.window, self.delay = traffic, seed, window, delay
        self.lost, self.hour = lost, -720.0
        self.registry = Registry(
            folder / "rollout.db", retention, clock=lambda: START + HOUR * self.hour
        )
        self.monitor, self.frames, self.rows = Monitor(MARGIN), [], []
        for number, name in enumerate((OLD, NEW)):
            base = folder / name
            base.mkdir()
            weights = numpy.random.default_rng(number).normal(size=(4, 4)).astype("float32")
            save_file({"weight": weights}, base / "model.safetensors")
            version = self.registry.register(name, base)
            report = {
                "decision": "SHIP",
                "rows": [{"name": "facts", "gating": True, "verdict": "PASS"}],
                "weights": {"base": version.base_digest},
            }
            self.registry.admit(name, report)
            if name == OLD:
                self.registry.stage(OLD, 1.0, "the first version: there is no other")
                self.registry.go_live(OLD)
                self.hour = 0.0
        self.stage(PLAN.stages[0].share)

    def stage(self, share: float) -> None:
        """Give the candidate its first share."""
        self.registry.stage(NEW, share, "first stage")

    def look(self) -> Look:
        """Let the next hours pass, and look."""
        state = self.registry.state()
        share = state.share if state.candidate else 1.0
        came = answers(
            self.traffic, EVERY, PER_HOUR, share, USERS, self.delay, start=self.hour,
            key=self.seed, seed=100 * self.seed + len(self.frames),
        )  # fmt: skip
        rng = numpy.random.default_rng(self.seed + len(self.frames))
        kept = (came["arm"] == "control") | (rng.random(len(came)) >= self.lost)
        self.frames.append(came[kept])
        self.hour += EVERY
        events = pandas.concat(self.frames)
        found = self.monitor.look(events, self.window * HOUR, self.hour * HOUR)
        told = events["feedback_time"].between(
            events["time"] + self.window * HOUR, self.hour * HOUR, inclusive="right"
        )
        self.rows.append({"hour": self.hour, "share": share, "late": int(told.sum()),
                          "said": str(found), **vars(found)})  # fmt: skip
        return found

    def next(self, look: Look) -> float | None:
        """The share that the plan would go to."""
        state = self.registry.state()
        seen = pandas.concat(self.frames)
        since = (state.since - START) / HOUR
        mine = int(((seen["arm"] == "candidate") & (seen["time"] >= since * HOUR)).sum())
        upper = look.upper
        return PLAN.next_share(
            state.share, state.since, mine, START + HOUR * self.hour, upper
        ).share

    def by_the_plan(self, looks: int = 18) -> Look:
        """Look and widen as the plan allows, until monitor or plan has come to an end."""
        for _ in range(looks):
            look = self.look()
            if self.widen_by_the_plan(look):
                break
        return look

    def widen_by_the_plan(self, look: Look) -> bool:
        """Widen if the plan allows it; says whether the rollout has come to its end."""
        share = self.next(look)
        if look.verdict == "roll back" or (share == 1 and look.verdict == "widen"):
            return True
        if share is not None and share < 1 and not look.mismatch:
            self.registry.widen(NEW, share, f"the plan: at most {look.upper:g} points")
        return False

    def journal(self) -> pandas.DataFrame:
        """The registry's journal, with the hours."""
        hours = [(line.time - START) / HOUR for line in self.registry.journal()]
        return self.registry.journal_frame().assign(hour=hours)

    def looks(self) -> pandas.DataFrame:
        """The monitor's looks, one row each."""
        return pandas.DataFrame(self.rows)

    def lines(self, action: str, version: str = NEW) -> tuple[int, ...]:
        """The numbers of a version's lines with an action."""
        return tuple(
            line.number
            for line in self.registry.journal()
            if (line.version, line.action) == (version, action)
        )
