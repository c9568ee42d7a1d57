"""Mitigations: ways to fine-tune that are meant to keep old skills.

Each is an object that `finetune(..., mitigation=...)` takes, for LoRA and for full fine-tuning, on
any architecture of `transformers`; the model given is never changed. `costs` has what they cost and
is imported by itself, because it fine-tunes.
"""

from ..ascent import ascended
from ..fingerprint import OtherModel
from .base import MitigatedTrainer, Mitigation
from .distill import KLToBase
from .estimate import fisher
from .ewc import EWC
from .freeze import FreezeBottom
from .importance import Fisher
from .pull import L2SP
from .repair import VerifyAndRepair
from .sam import SAM
from .sequence import accuracy, backward_transfer, forgetting
from .tokens import LowPerplexityTokens, token_perplexity
from .updates import lora_update, squared_length, weight_updates

__all__ = [
    "EWC", "L2SP", "SAM", "Fisher", "FreezeBottom", "KLToBase", "LowPerplexityTokens",
    "MitigatedTrainer", "Mitigation", "OtherModel", "VerifyAndRepair", "accuracy", "ascended",
    "backward_transfer", "fisher", "forgetting", "lora_update", "squared_length",
    "token_perplexity", "weight_updates",
]  # fmt: skip
