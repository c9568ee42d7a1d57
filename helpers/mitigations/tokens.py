"""Low-perplexity tokens: learn only what does not surprise the base too much."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from ..models import base_view
from .base import Inputs, Mitigation
from .updates import reference


@dataclass
class LowPerplexityTokens(Mitigation):
    """Tokens that the base finds too improbable are not learned.

    Wu et al. (2025, arXiv 2501.14315) find that fine-tuning on text of low perplexity, such as a
    model's own, forgets less, and mask the loss on the tokens of others' text that are above a
    threshold. What the base cannot know is improbable to it as well: the mask may hide just what
    there is to learn.

    Attributes:
        threshold: a token is learned when the base's perplexity of it, one over its probability
            given the gold tokens before it, is at most this; above 1.
        kept: share of the labelled tokens that were learned, in the latest run.

    Raises:
        ValueError: the threshold is not above 1.
    """

    threshold: float
    _reference: torch.nn.Module | None = field(default=None, repr=False, init=False)
    _seen: list[int] = field(default_factory=lambda: [0, 0], repr=False, init=False)

    def __post_init__(self) -> None:
        if not self.threshold > 1:
            raise ValueError(
                f"The threshold must be above 1, not {self.threshold}: no perplexity is below 1."
            )

    @property
    def kept(self) -> float:
        kept, labelled = self._seen
        return kept / labelled if labelled else float("nan")

    def begin(self, base: PreTrainedModel, student: torch.nn.Module) -> None:
        self._reference = reference(base, student)
        self._seen = [0, 0]

    def labels(self, model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        labels = inputs["labels"]
        perplexity = token_perplexity(self._reference, inputs)
        found = labels.masked_fill(perplexity > self.threshold, -100)
        for place, each in enumerate((found, labels)):
            self._seen[place] += int((each != -100).sum())
        return found


@torch.no_grad()
def token_perplexity(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
    """The base's perplexity of every token of a batch, given those before it.

    Args:
        model: the base, or a model whose base is seen when its adapter is switched off.

    Returns:
        One over the probability of each token, of shape (rows, tokens); 1 for a row's first token,
        which is never predicted.
    """
    ids = inputs["input_ids"]
    with base_view(model):
        logits = model(input_ids=ids, attention_mask=inputs["attention_mask"]).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(logits.float().mT, ids[:, 1:], reduction="none")
    return torch.nn.functional.pad(nll.exp(), (1, 0), value=1.0)
