"""The runs that `stored` names, made: `make runs` calls this."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ..blindspot.steps import CONCLUSION
from ..mechanics.stored import course_model
from ..mitigations.board import Setting, board_suites
from ..mitigations.methods import follow, old_rows, replayed
from .retrieval import HelpIndex, evaluate_with_articles, shop_articles
from .stored import SEARCH, SEARCH_ALONE


def is_problem(row: Mapping[str, str]) -> bool:
    """Whether a row's answer ends as worked word problems do."""
    return CONCLUSION in row["completion"]


@cache
def other_rows() -> list[dict[str, str]]:
    """Old rows without a word problem."""
    return [row for row in old_rows().to_list() if not is_problem(row)]


def make_mixed(setting: Setting) -> dict[str, Any]:
    """One line of the file: a search, scored, or a control, trained and scored."""
    if setting.method in (SEARCH, SEARCH_ALONE):
        return _searched(HelpIndex(shop_articles(() if setting.method == SEARCH_ALONE else None)))
    return follow(replayed(setting.strength, setting.seed, other_rows()), setting.seed)


def _searched(index: HelpIndex) -> dict[str, Any]:
    found = evaluate_with_articles(course_model(), index, board_suites(), formats=None)
    return {"right": found.ones(), "steps": 0, "seconds": 0.0, "families": (), "diverged": ""}
