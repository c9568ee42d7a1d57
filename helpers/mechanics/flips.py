"""Which answers changed sides, and how far the model has moved from its base on new prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..models import evaluation_mode
from ..snapshots import ItemResult, Snapshot
from .loss import Rows, batch_of

#: An item before and after.
Pair = tuple[ItemResult, ItemResult]


@dataclass(frozen=True)
class Flips:
    """Items of one capability that changed sides.

    Attributes:
        lost: right before, wrong after.
        gained: wrong before, right after.
        items: how many were asked.
    """

    lost: list[Pair]
    gained: list[Pair]
    items: int

    def __repr__(self) -> str:
        return f"{len(self.lost)} lost, {len(self.gained)} gained of {self.items}"


def flips(before: Snapshot, after: Snapshot) -> dict[str, Flips]:
    """Flips of every capability that both snapshots score by right and wrong.

    A score that falls by four points may hide eight losses and four gains.

    Raises:
        ValueError: the snapshots were taken with other settings or on other items.
    """
    both = {name: rows for name, rows in before.results.items() if name in after.results}
    shared = Snapshot(both, before.settings)
    shared.check_comparable(after)
    found = {}
    for name, rows in shared.results.items():
        if shared.is_text(name):
            continue
        pairs = list(zip(rows, after.results[name], strict=True))
        lost = [(a, b) for a, b in pairs if a.correct and not b.correct]
        gained = [(a, b) for a, b in pairs if b.correct and not a.correct]
        found[name] = Flips(lost, gained, len(pairs))
    return found


@torch.no_grad()
def kl_to_base(base: torch.nn.Module, tuned: torch.nn.Module, rows: Rows) -> float:
    """Mean KL divergence of the fine-tune from its base on the answers of the rows.

    KL(base || fine-tune) of the next-token distribution, averaged over the tokens of the
    completions, in nats. Measured on the new task it goes along with how much of the old is lost
    (Shenfeld et al. 2025, arXiv 2509.04259).
    """
    batch = batch_of(base, rows)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with evaluation_mode(base), evaluation_mode(tuned):
        found = [model(**inputs).logits[:, :-1] for model in (base, tuned)]
    answer = batch.labels[:, 1:] != -100
    old, new = (logits[answer].float().log_softmax(-1) for logits in found)
    return float((old.exp() * (old - new)).sum(-1).mean())
