"""Merging: models made out of other models' weights, without any training.

Every function takes models as they come from `load_model` or `finetune`, with an adapter or
without, of any architecture of `transformers`, changes none of them, and returns a new model that
has its tokenizer and can be evaluated at once.
"""

from .adapters import WAYS, Combination, combination_errors, combined, updates
from .line import Angles, angle, linear, slerp, sweep
from .signs import agreement, dare, disjoint_mean, ties, trim
from .vectors import Vector, add, angle_between, task_vector
from .weights import NotAlike

__all__ = [
    "WAYS", "Angles", "Combination", "NotAlike", "Vector", "add", "agreement", "angle",
    "angle_between", "combination_errors", "combined", "dare", "disjoint_mean", "linear", "slerp",
    "sweep", "task_vector", "ties", "trim", "updates",
]  # fmt: skip
