"""Looking inside a fine-tune: where gradients collide, what drifts, how sharp the loss is.

Every function takes models as they come from `load_model` or `finetune`, with an adapter or
without, of any architecture of `transformers`, and changes none of them.
"""

from .drift import Drift, drift, hidden_states, linear_cka, relative_change
from .flips import Flips, flips, kl_to_base
from .gradients import Conflict, among, cosine, gradient_conflict, weight_gradients
from .kinds import KINDS, kind_of
from .loss import answer_loss, as_rows, merged
from .reach import relearn, stranger
from .sharpness import hessian_vector_product, lanczos, top_eigenvalue
from .walk import astray, distance, walked
from .watch import LayerLog, Looks

__all__ = [
    "KINDS", "Conflict", "Drift", "Flips", "LayerLog", "Looks", "among", "answer_loss", "as_rows",
    "astray", "cosine", "distance", "drift", "flips", "gradient_conflict",
    "hessian_vector_product", "hidden_states", "kind_of", "kl_to_base", "lanczos", "linear_cka",
    "merged", "relative_change", "relearn", "stranger", "top_eigenvalue", "walked",
    "weight_gradients",
]  # fmt: skip
