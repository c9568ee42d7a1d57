"""Looking inside a fine-tune: where gradients collide, what drifts, how sharp the loss is.

Every function takes models as they come from `load_model` or `finetune`, with an adapter or
without, of any architecture of `transformers`, and changes none of them.
"""

from .drift import Drift, drift, hidden_states, linear_cka, relative_change
from .flips import Flips, flips, kl_to_base
from .gradients import Conflict, cosine, gradient_conflict, weight_gradients
from .loss import answer_loss, as_rows, merged
from .reach import FORMATS, asked_as, relearn, stranger
from .sharpness import hessian_vector_product, lanczos, loss_on_line, loss_plane, top_eigenvalue
from .spectrum import MatrixUpdate, intruders, rank_90, update_spectrum
from .watch import LayerLog, Looks

__all__ = [
    "FORMATS", "Conflict", "Drift", "Flips", "LayerLog", "Looks", "MatrixUpdate", "answer_loss",
    "as_rows", "asked_as", "cosine", "drift", "flips", "gradient_conflict",
    "hessian_vector_product", "hidden_states", "intruders", "kl_to_base", "lanczos", "linear_cka",
    "loss_on_line", "loss_plane", "merged", "rank_90", "relative_change", "relearn", "stranger",
    "top_eigenvalue", "update_spectrum", "weight_gradients",
]  # fmt: skip
