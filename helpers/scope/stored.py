"""Stored runs of lesson 06: a search for everyone, and controls of what is mixed in.

`data/runs/mixing.jsonl` holds them, in the lines of the scoreboard and scored on the same items.
`helpers.scope.controls` makes them.
"""

from __future__ import annotations

from ..mitigations.board import Setting
from ..runs import RUNS

MIXING = RUNS / "mixing.jsonl"
#: The base with the best article above every prompt, whatever it asks; nothing is trained.
SEARCH = "search"
#: The same, where articles are found by their own words only, without the tickets' questions.
SEARCH_ALONE = "search, articles alone"
#: A quarter of old rows, every word problem taken out: do worked steps hold the problems, or any
#: old row?
NO_PROBLEMS = "replay, no problems"
SHARE = 0.25
MIXED = [
    Setting(SEARCH, 0, 0),
    Setting(SEARCH_ALONE, 0, 0),
    *(Setting(NO_PROBLEMS, SHARE, seed) for seed in range(3)),
]
