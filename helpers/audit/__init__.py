"""The regression audit: a capability map, two runs, and an honest verdict.

From the command line: `python -m helpers.audit BEFORE AFTER --map MAP --report FILE`.
The trainer callback is in `helpers.audit.callback`: it needs torch, and nothing else here does.
"""

from .capability_map import BadMap, CapabilityMap, Category, example_map
from .gate import AuditReport, Flip, NotComparable, Row, TooFewGroups, audit
from .planning import Plan, chances, items_needed, plan, settling, ships
from .rehearsal import Rates, ask_again, rehearse, try_candidates
from .reports import save
from .results import BadResults, Results, from_snapshot, read_results

__all__ = [
    "AuditReport", "BadMap", "BadResults", "CapabilityMap", "Category", "Flip", "NotComparable",
    "Plan", "Rates", "Results", "Row", "TooFewGroups", "ask_again", "audit", "chances",
    "example_map", "from_snapshot", "items_needed", "plan", "read_results", "rehearse", "save",
    "settling", "ships", "try_candidates",
]  # fmt: skip
