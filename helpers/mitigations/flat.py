"""The same fine-tune of three bases: the shipped one, and after two last stretches of pre-training.

`data/runs/flat.jsonl` holds one run per line; `make runs` makes it and `read_board` reads it. The
method of an `Entry` is the base here, its strength the learning rate; rate 0 is the base itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from transformers import PreTrainedModel

from ..mechanics.stored import course_model
from ..pocket.stretch import STRETCHES, load_stretch
from ..runs import RUNS
from .board import Setting
from .methods import SEEDS, Recipe, follow

FLAT = RUNS / "flat.jsonl"
#: The shipped base, and those that `helpers.pocket.stretch` has trained on.
BASES = ("shipped", *STRETCHES)
RATES = (3e-3, 1e-2)
FLATS = [Setting(base, 0, 0) for base in BASES] + [
    Setting(base, rate, seed) for seed in SEEDS for base in BASES for rate in RATES
]


@lru_cache(maxsize=1)
def base_model(name: str) -> PreTrainedModel:
    """One of the bases."""
    return course_model() if name == "shipped" else load_stretch(name)


def make_flat(setting: Setting) -> dict[str, Any]:
    """Fine-tune one of the bases as lesson 01 does, at some rate, and score it."""
    base, rate, seed = setting
    recipe = Recipe(lr=rate) if rate else Recipe(steps=0)
    return follow(recipe, seed, base=base_model(base))
