"""A plan of stages, tried on hundreds of simulated rollouts: what it finds, misses, and costs.

Times in hours, margins and harm in points, rates and shares from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from .eprocess import BadEvents
from .plan import Stages
from .rollouts import Outcomes
from .simulate import STAGES
from .staged import staged
from .traffic import Traffic


@dataclass(frozen=True, repr=False)
class Trial:
    """What a plan does with three candidates whose harm is known.

    Attributes:
        harmless: rollouts of a candidate that harms as often as the old version.
        border: of one that harms more often by just the margin.
        harmful: of the one that was asked about.
    """

    harmless: Outcomes
    border: Outcomes
    harmful: Outcomes

    @property
    def count(self) -> int:
        """How many rollouts there were of each."""
        return len(self.harmful.verdict)

    @property
    def hours_to_live(self) -> float:
        """Median over harmless rollouts; infinite where fewer than half go live."""
        return self.harmless.within(0.5, "widen")

    @property
    def false_rollbacks(self) -> float:
        """The share of the rollouts at the margin that are rolled back."""
        return self.border.rate("roll back")

    @property
    def detected(self) -> float:
        """The share of the harmful rollouts that are rolled back."""
        return self.harmful.rate("roll back")

    @property
    def missed(self) -> float:
        """The share of the harmful rollouts that go live."""
        return self.harmful.rate("widen")

    @property
    def harmed(self) -> float:
        """Users that a harmful rollout harms more than the old version would have, on average."""
        return float(self.harmful.extra.mean())

    def __repr__(self) -> str:
        live = self.hours_to_live
        soon = "fewer than half go live" if numpy.isinf(live) else f"half go live in {live:.0f} h"
        return (
            f"{self.count} rollouts each. Harmless: {soon}, "
            f"{100 * self.harmless.rate('widen'):.0f} % in all. At the margin: "
            f"{100 * self.false_rollbacks:.1f} % rolled back. Harmful: "
            f"{100 * self.detected:.0f} % rolled back, {100 * self.missed:.1f} % live, "
            f"{self.harmed:.0f} extra users harmed on average"
        )


def try_stages(
    stages: Stages | Mapping[str, Any] | None,
    traffic: Traffic,
    margin: float,
    count: int = 200,
    per_hour: int = 400,
    hours: float = 168,
    **settings: Any,
) -> Trial:
    """Try a plan with a harmless candidate, one at the margin, and the one of the traffic.

    Args:
        stages: a plan, or the dict of one (see `Stages.load`); that of `simulate` when left out.
        traffic: its candidate's harm is the one to be found.
        margin: points.
        count, per_hour, hours, settings: see `staged.staged`.

    Raises:
        BadEvents, BadSetting: see `staged.staged` and `Stages.load`; or the traffic's candidate
            harms no more than the margin allows, so that there is nothing to find.
    """
    control, candidate = traffic.control, traffic.candidate
    extra = 100 * (candidate - control)
    if extra <= margin:
        raise BadEvents(
            f"This candidate harms {extra:.2g} points more, and the margin allows {margin:g}: "
            "there is nothing to find. Try a traffic with more harm."
        )
    plan = STAGES if stages is None else stages
    plan = plan if isinstance(plan, Stages) else Stages.load(plan)
    return Trial(
        *(
            staged(plan, (rate, control), margin, count=count, per_hour=per_hour, hours=hours,
                   **settings)
            for rate in (control, control + margin / 100, candidate)
        )
    )  # fmt: skip
