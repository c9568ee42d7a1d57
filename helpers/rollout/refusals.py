"""What the store refuses, in words that say what can be done instead."""

from __future__ import annotations

from datetime import datetime, timezone

from .errors import NotAdmitted, NotAllowed, RolloutError, TooEarly
from .schema import TRANSITIONS
from .versions import State, Version


def refusal(version: Version, action: str, to: str, told: str, state: State) -> RolloutError:
    """The error for a line of the journal that the store has refused.

    Args:
        version: as it stands, unchanged by the line.
        action, to: what was to be done with it, and the state it would have come to.
        told: what SQLite says, which has the words of a trigger in it.
        state: who answers now.
    """
    name = version.name
    if "too early" in told:
        return TooEarly(
            f"{name} has answered users and is kept as a way back until "
            f"{_shown(version.kept_until)}. Retire it then."
        )
    if (action, version.state, to) not in TRANSITIONS:
        # Between live and standby a version goes by what becomes of another one.
        others = {
            other
            for other, start, end in TRANSITIONS
            if start == version.state and {start, end} != {"live", "standby"}
        }
        can = (
            f"What can be done with it: {', '.join(sorted(others))}."
            if others
            else "That is final."
        )
        return NotAllowed(f"{name} is {version.state}: one cannot {action} it. {can}")
    if "report" in told or "not admitted" in told:
        return NotAdmitted(
            f"This report has let {name} pass before, and then it was rolled back. Find out why, "
            "put what went wrong on the map, and audit again."
        )
    if to == "staged" and "UNIQUE" in told:
        other = state.candidate.name if state.candidate else "Another version"
        return NotAllowed(
            f"{other} is staged, and users are compared with one candidate at a time. Roll it back "
            "or let it go live first."
        )
    if "not wider" in told:
        return NotAllowed(
            f"{name} has a share of {version.share:g} already, and a share only grows: else users "
            "would be moved back and forth. To take it back, roll back."
        )
    return NotAllowed(f"The store refuses to {action} {name}: {told}.")


def _shown(time: float) -> str:
    return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
