"""Scoring a model on suites, item by item, and keeping the result as a snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence, Sized

import torch
from transformers import PreTrainedModel

from .generation import generate_batch
from .models import context_length, evaluation_mode
from .snapshots import ItemResult, Snapshot
from .suites import Item, Suite


def evaluate(
    model: PreTrainedModel,
    suites: Suite | Sequence[Suite],
    batch_size: int = 125,
    max_new_tokens: int = 48,
) -> Snapshot:
    """Score every item of the suites.

    Greedy decoding, left padding, float32; these settings are stored in the snapshot, because
    scores under other settings differ slightly and must not be compared.

    Args:
        batch_size: prompts per batch.
        max_new_tokens: where an unfinished answer is cut off; such answers are marked truncated.

    Returns:
        A snapshot with, for each item, the answer, whether it is right, whether the right choice
        is the likeliest, and the negative log-likelihood of the gold answer in nats.

    Raises:
        ValueError: a prompt with its answer does not fit into the model's context.
    """
    suites = [suites] if isinstance(suites, Suite) else list(suites)
    with evaluation_mode(model):
        results = {suite.name: _score(model, suite, batch_size, max_new_tokens) for suite in suites}
    settings = {
        "model": str(getattr(model.config, "_name_or_path", "")) or type(model).__name__,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "dtype": str(model.dtype).removeprefix("torch."),
        "padding_side": "left",
        "decoding": "greedy",
        "context_length": context_length(model),
    }
    return Snapshot(results, settings)


def is_right(answer: str, gold: str, extract: str | None = None) -> bool:
    """Exact match of the whole answer, or of the last thing `extract` finds in it."""
    if extract is None:
        return answer == gold
    found, wanted = re.findall(extract, answer), re.findall(extract, gold)
    return bool(found) and found[-1].strip() == wanted[-1].strip()


def _score(
    model: PreTrainedModel, suite: Suite, batch_size: int, max_new_tokens: int
) -> list[ItemResult]:
    gold = answer_nll(model, [(_lead(suite, i), i.answer) for i in suite.items], batch_size)
    if suite.kind == "text":
        return [
            ItemResult(item=item, output="", correct=None, nll=nll, tokens=tokens)
            for item, (nll, tokens) in zip(suite.items, gold, strict=True)
        ]
    answers = _generate(model, suite.items, batch_size, max_new_tokens)
    chosen = _choose(model, suite.items, [nll for nll, _ in gold], batch_size)
    return [
        ItemResult(
            item=item,
            output=output,
            correct=is_right(output, item.answer, suite.extract),
            choice=chosen.get(item.id),
            nll=nll,
            tokens=tokens,
            truncated=truncated,
        )
        for item, (output, truncated), (nll, tokens) in zip(suite.items, answers, gold, strict=True)
    ]


def _lead(suite: Suite, item: Item) -> str:
    return item.prompt if suite.kind == "generate" else ""


def _by_length(texts: Sequence[Sized], batch_size: int) -> list[list[int]]:
    """Indices in batches of texts of similar length, so that little is spent on padding."""
    order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _generate(
    model: PreTrainedModel, items: Sequence[Item], batch_size: int, max_new_tokens: int
) -> list[tuple[str, bool]]:
    found: dict[int, tuple[str, bool]] = {}
    prompts = [item.prompt for item in items]
    for batch in _by_length(prompts, batch_size):
        outputs, truncated = generate_batch(model, [prompts[i] for i in batch], max_new_tokens)
        found.update(zip(batch, zip(outputs, truncated, strict=True), strict=True))
    return [found[index] for index in range(len(items))]


def _choose(
    model: PreTrainedModel, items: Sequence[Item], gold: Sequence[float], batch_size: int
) -> dict[str, str]:
    """For items with choices: the one the model finds likeliest, by item id.

    Args:
        gold: negative log-likelihood of each item's gold answer, which is known already.
    """
    best = {i.id: (nll, i.answer) for i, nll in zip(items, gold, strict=True) if i.choices}
    asked = [(i, choice) for i in items for choice in i.choices if choice != i.answer]
    scored = answer_nll(model, [(item.prompt, choice) for item, choice in asked], batch_size)
    for (item, choice), (nll, _) in zip(asked, scored, strict=True):
        best[item.id] = min(best[item.id], (nll, choice))
    return {item_id: choice for item_id, (_, choice) in best.items()}


@torch.no_grad()
def answer_nll(
    model: PreTrainedModel, pairs: Sequence[tuple[str, str]], batch_size: int = 125
) -> list[tuple[float, int]]:
    """Negative log-likelihood of answers after their prompts.

    Args:
        pairs: (prompt, answer). After a prompt the answer is scored with one space before it;
            with an empty prompt it is scored as running text, from its second token on.

    Returns:
        For each pair the sum over the answer's tokens in nats, and the number of those tokens.
    """
    tokenizer = model.tokenizer
    leads = [tokenizer(prompt)["input_ids"] if prompt else [] for prompt, _ in pairs]
    tails = [tokenizer(f" {answer}" if p else answer)["input_ids"] for p, answer in pairs]
    rows = [lead + tail for lead, tail in zip(leads, tails, strict=True)]
    limit = context_length(model)
    longest = max(rows, key=len, default=[])
    if len(longest) > limit:
        raise ValueError(
            f"A prompt with its answer has {len(longest)} tokens, "
            f"and the model's context holds {limit}. Shorten it."
        )
    found: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    for batch in _by_length(rows, batch_size):
        width = max(len(rows[i]) for i in batch)
        ids = torch.full((len(batch), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        scored = torch.zeros((len(batch), width), dtype=torch.bool)
        for line, index in enumerate(batch):
            # Padding on the right: positions then start at zero without further ado.
            length = len(rows[index])
            ids[line, :length] = torch.tensor(rows[index])
            mask[line, :length] = 1
            scored[line, max(len(leads[index]), 1) : length] = True
        nll = _token_nll(model, ids, mask, scored[:, 1:])
        for line, index in enumerate(batch):
            count = int(scored[line].sum())
            found[index] = (float(nll[line].sum()), count)
    return found


def _token_nll(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, scored: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of every token but the first where `scored`, else 0."""
    logits = model(ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, :-1].cpu()
    nll = torch.zeros(scored.shape)
    nll[scored] = torch.nn.functional.cross_entropy(
        logits[scored].float(), ids[:, 1:][scored], reduction="none"
    )
    return nll
