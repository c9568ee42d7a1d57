"""The regression audit: a capability map, two runs, and an honest verdict.

From the command line: `python -m helpers.audit BEFORE AFTER --map MAP --report FILE`.
The trainer callback is in `helpers.audit.callback`: it needs torch, and nothing else here does.
"""

from .capability_map import BadMap, CapabilityMap, Category, example_map
from .gate import AuditReport, Flip, NotComparable, Row, audit
from .planning import chances, items_needed, plan
from .rehearsal import Rates, rehearse
from .reports import save
from .results import BadResults, Results, from_snapshot, read_results

__all__ = [
    "AuditReport", "BadMap", "BadResults", "CapabilityMap", "Category", "Flip", "NotComparable",
    "Rates", "Results", "Row", "audit", "chances", "example_map",
    "from_snapshot", "items_needed", "plan", "read_results", "rehearse", "save",
]  # fmt: skip
