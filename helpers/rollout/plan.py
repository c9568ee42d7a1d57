"""The stages of a rollout: how wide, for how long at least, and after how many answers.

A stage is left when its time is over and enough has been seen, whichever comes later: the time
catches what only happens at night, the number what only a few ask for. A stage may ask in addition
that the canary monitor has ruled out so much harm. At 1 % of the users only much can be.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .errors import BadSetting

#: The plan that is used where none is written.
USUAL = """\
stages:
  - percent: 1       # of the users
    hours: 24        # at least so long
    answers: 500     # and until the candidate has answered so often
  - percent: 5
    hours: 24
    answers: 2000
  - percent: 25
    hours: 48
    answers: 5000
    within: 5        # and until more than 5 points of harm are ruled out
  - percent: 100     # live
"""


class Next(NamedTuple):
    """The share to go to, or None for "stay where you are", and why."""

    share: float | None
    reason: str


@dataclass(frozen=True)
class Stage:
    """One stage, and what must have passed before it is left.

    Attributes:
        share: of the users, 0 to 1.
        hours: at least so long.
        answers: at least so many of the candidate.
        within: points (of 100) of harm, candidate less control, more than which the canary monitor
            must have ruled out; None to ask for nothing of the kind.
    """

    share: float
    hours: float = 0.0
    answers: int = 0
    within: float | None = None


@dataclass(frozen=True)
class Stages:
    """The stages of a rollout, each wider than the one before; the last is everybody.

    Raises:
        BadSetting: they do not grow, or do not end at 100 percent.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        shares = [stage.share for stage in self.stages]
        if not shares or shares[-1] != 1:
            raise BadSetting("The last stage must be `percent: 100`: that is where a rollout ends.")
        if any(wider <= narrow for narrow, wider in itertools.pairwise(shares)):
            told = ", ".join(f"{100 * share:g}" for share in shares)
            raise BadSetting(
                f"Each stage must be wider than the one before, unlike {told} percent."
            )

    @classmethod
    def load(cls, plan: str | Path | Mapping[str, Any] | None = None) -> Stages:
        """Read the stages from a YAML file, or from the dict that such a file holds.

        Args:
            plan: a path or a dict with a list of `stages`; the usual plan when left out, which
                is `USUAL` and shows the form.

        Raises:
            BadSetting: the message says which stage is wrong, and what is allowed.
        """
        if isinstance(plan, Mapping):
            return cls(tuple(_stages(plan)))
        try:
            text = USUAL if plan is None else Path(plan).read_text(encoding="utf-8")
            found = yaml.safe_load(text)
        except OSError as error:
            raise BadSetting(f"The plan {plan} cannot be read: {error}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadSetting(f"The plan {plan} is no YAML: {error}") from error
        return cls(tuple(_stages(found)))

    def next_share(
        self, share: float, since: float, seen: int, now: float, upper: float | None = None
    ) -> Next:
        """Where to go from here.

        Args:
            share: of the users that the candidate has now, 0 to 1; 0 before the first stage.
            since: when it got that share, seconds since 1970.
            seen: answers of the candidate since then.
            now: seconds since 1970.
            upper: points of harm, candidate less control, more than which are ruled out by now;
                None where nobody has looked.

        Returns:
            The share of the next stage (1 means: let it go live), or None and what is waited for.
        """
        wider = [stage for stage in self.stages if stage.share > share]
        if not wider:
            return Next(None, "Everybody has it: there is no wider stage.")
        passed = [stage for stage in self.stages if stage.share <= share]
        if share > 0 and passed:
            stage = passed[-1]
            hours = (now - since) / 3600
            waits = []
            if hours < stage.hours:
                waits.append(f"{stage.hours - hours:.3g} more hours of {stage.hours:g}")
            if seen < stage.answers:
                waits.append(f"{stage.answers - seen} more answers of {stage.answers}")
            if stage.within is not None and (upper is None or not upper <= stage.within):
                waits.append(f"more than {stage.within:g} points of harm to be ruled out")
            if waits:
                return Next(None, f"At {100 * share:g} %: wait for {' and '.join(waits)}.")
        return Next(wider[0].share, f"On to {100 * wider[0].share:g} % of the users.")


def _stages(plan: Any) -> list[Stage]:
    rows = plan.get("stages") if isinstance(plan, Mapping) else None
    if not isinstance(rows, list):
        raise BadSetting(f"A plan is a list of `stages:`, such as\n{USUAL}")
    return [_stage(number, row) for number, row in enumerate(rows, start=1)]


def _stage(number: int, row: Any) -> Stage:
    known = {"percent", "hours", "answers", "within"}
    if not isinstance(row, Mapping) or "percent" not in row or not row.keys() <= known:
        raise BadSetting(
            f"Stage {number} has `percent`, `hours`, `answers` and `within`, unlike {row!r}."
        )
    values = {"hours": 0, "answers": 0, **row}
    for key, value in values.items():
        low, high = (0, 100) if key in ("percent", "within") else (0, math.inf)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (key == "percent" and value == 0):
            allowed = {"percent": "above 0 and at most 100", "within": "from 0 to 100"}.get(
                key, "at least 0"
            )
            raise BadSetting(f"Stage {number}: {key} must be a number {allowed}, not {value!r}.")
    if not float(values["answers"]).is_integer():
        raise BadSetting(f"Stage {number}: answers are counted, not {values['answers']!r}.")
    share, within = values["percent"] / 100, values.get("within")
    return Stage(share, float(values["hours"]), int(values["answers"]), within)
