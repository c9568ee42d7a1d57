"""The traffic of the rollout in lesson 09: each version does the harm that was measured of it."""

from __future__ import annotations

from statistics import fmean

from ..scope.brief import Brief
from ..scope.needs import EXAMPLE
from .kept import CAREFUL, FORGETFUL, FORGOTTEN
from .order_sums import NAME
from .order_sums_runs import read_order_sums
from .shipped import read_shipped
from .simulate import Traffic


def wrong_answers(plan: str, seed: int = 0) -> dict[str, float]:
    """The share of wrong answers by category, 0 to 1, of one run of a plan of `data/rollout`.

    What is on the plan's map was judged by its gate, 600 items each; how-to questions that a map
    lacks, and order sums, were asked afterwards.

    Raises:
        KeyError: there is no such run.
    """
    rows = {(one.setting.plan, one.setting.seed): one.rows for one in read_shipped()}[plan, seed]
    asked = {(one.setting.model, one.setting.seed): one for one in read_order_sums()}[plan, seed]
    wrong = {name: 1 - row.after / 100 for name, row in rows.items() if name != "stories"}
    if asked.howto:
        wrong[FORGOTTEN] = 1 - fmean(asked.howto)
    return wrong | {NAME: 1 - fmean(asked.right)}


def measured_traffic(reported: float = 1.0, seed: int = 0) -> Traffic:
    """Traffic by lesson 06's brief and 5 % order sums, with both versions' measured harm.

    The careful plan's version is live, the forgetful one's is the candidate.

    Args:
        reported: the share of the wrong answers that users report.
        seed: of both runs.
    """
    live, candidate = wrong_answers(CAREFUL, seed), wrong_answers(FORGETFUL, seed)
    brief = Brief(EXAMPLE)
    names = [*(need.capability for need in brief.needs), NAME]
    harm = {name: (reported * live[name], reported * candidate[name]) for name in names}
    return Traffic.from_brief(brief, harm)
