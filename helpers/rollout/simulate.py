"""Simulated rollouts: what a monitor does when the truth is known.

Rates and shares are from 0 to 1, times in hours, margins in points. `rollout` here has users who
return and stay with their version; `rollouts` has one answer a user, and computes hundreds of
rollouts at once. What the users ask is in `traffic`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas

from .canary import Look, Monitor, Verdict
from .eprocess import BadEvents
from .plan import Stage, Stages
from .rollouts import Method, Outcomes, rollouts
from .traffic import DRAWS, HOUR, USUAL, Kind, Traffic, answers, prompts

__all__ = [
    "DRAWS", "HOUR", "STAGES", "USUAL", "Kind", "Method", "Outcome", "Outcomes", "Traffic",
    "answers", "prompts", "rollout", "rollouts",
]  # fmt: skip

#: Few users can rule out only great harm, and more need not be ruled out before few get it.
STAGES = Stages(
    (
        Stage(0.01, hours=4, within=20),
        Stage(0.05, hours=4, within=8),
        Stage(0.25, hours=4, within=3),
        Stage(0.5, hours=4),
        Stage(1.0),
    )
)


@dataclass(frozen=True)
class Outcome:
    """How one rollout ended.

    Attributes:
        verdict: "roll back", "widen" where it went live, "hold" where time ran out.
        hours: until then.
        share: the candidate's share then.
        served, harmed: answers that the candidate gave until then, and those that did harm,
            reported or not.
        looks: hour, share and what the monitor said, look by look.
    """

    verdict: Verdict
    hours: float
    share: float
    served: int
    harmed: int
    looks: tuple[tuple[float, float, Look], ...]


def rollout(
    traffic: Traffic,
    margin: float,
    alpha: float = 0.05,
    stages: Stages = STAGES,
    per_hour: float = 400,
    users: int = 20_000,
    hours: float = 72,
    window: float = 2.0,
    delay: float = 0.5,
    every: float = 1.0,
    seed: int = 0,
) -> Outcome:
    """One rollout from the first stage to its end, with the monitor in the loop.

    The share is widened when the plan allows it, and the candidate goes live when the monitor says
    "widen" as well; it is rolled back as soon as the monitor says so. All of the monitor's bounds
    hold together, so that each stage may ask for another one.

    Args:
        hours: after which the rollout is given up.
        window: hours that feedback may take to be counted.
        every: hours between looks.
        delay, per_hour, users: see `answers`.

    Raises:
        BadEvents: the plan begins with everybody, or a setting is impossible.
    """
    monitor = Monitor(margin, alpha)
    share = stages.next_share(0, 0, 0, 0).share
    if share == 1:
        raise BadEvents("The first stage must be below 100 percent: nobody is left to compare.")
    frames, looks, since, now = [], [], 0.0, 0.0
    verdict: Verdict = "hold"
    while now < hours and verdict == "hold":
        frames.append(
            answers(
                traffic,
                every,
                per_hour,
                share,
                users,
                delay,
                start=now,
                key=seed,
                seed=hash((seed, len(frames))) % 2**32,
            )
        )
        now += every
        events = pandas.concat(frames)
        look = monitor.look(events, window * HOUR, now * HOUR)
        looks.append((now, share, look))
        chosen = events["arm"].eq("candidate") & (events["time"] >= since * HOUR)
        wider = stages.next_share(share, since * HOUR, int(chosen.sum()), now * HOUR, look.upper)
        if look.verdict == "roll back":
            verdict = "roll back"
        elif wider.share == 1 and look.verdict == "widen":
            verdict = "widen"
        elif wider.share is not None and wider.share < 1 and not look.mismatch:
            share, since = wider.share, now
    served = events["arm"] == "candidate"
    harmed = int((served & events["harm"]).sum())
    return Outcome(verdict, now, looks[-1][1], int(served.sum()), harmed, tuple(looks))
