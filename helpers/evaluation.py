"""Scoring a model on suites, item by item, and keeping the result as a snapshot."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from .decoding import Prefix, TokenIds, encode_pair, follow, nll_after, read, write
from .fingerprint import weights_of
from .models import context_length, evaluation_mode
from .snapshots import ItemResult, Snapshot
from .suites import Item, Suite


def evaluate(
    model: PreTrainedModel,
    suites: Suite | Sequence[Suite],
    batch_size: int = 50,
    max_new_tokens: int = 48,
) -> Snapshot:
    """Score every item of the suites.

    Greedy decoding, left padding, the model's own dtype (float32 from `load_model`); these settings
    are stored in the snapshot, because scores under other settings differ slightly and must not be
    compared.

    Args:
        batch_size: prompts per batch.
        max_new_tokens: where an unfinished answer is cut off; such answers are marked truncated.

    Returns:
        A snapshot with, for each item, the answer, whether it is right, whether the right choice
        is the likeliest, and the negative log-likelihood of the gold answer in nats.

    Raises:
        ValueError: a prompt with its answer does not fit into the model's context, or a suite has
            no items.
    """
    suites = [suites] if isinstance(suites, Suite) else list(suites)
    if empty := [suite.name for suite in suites if not suite.items]:
        raise ValueError(f"No items in {', '.join(empty)}: there is nothing to score.")
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
    return Snapshot(results, settings, weights_of(model))


def is_right(answer: str, gold: str, extract: str | None = None) -> bool:
    """Exact match of the whole answer, or of the last thing `extract` finds in it."""
    if extract is None:
        return answer == gold
    found, wanted = re.findall(extract, answer), re.findall(extract, gold)
    if not wanted:
        raise ValueError(f"The right answer {gold!r} has nothing that {extract!r} would find.")
    return bool(found) and found[-1].strip() == wanted[-1].strip()


def _score(
    model: PreTrainedModel, suite: Suite, batch_size: int, max_new_tokens: int
) -> list[ItemResult]:
    if suite.kind == "text":
        nll = answer_nll(model, [("", item.answer) for item in suite.items], batch_size)
        return [
            ItemResult(item=item, output="", correct=None, nll=nll, tokens=tokens)
            for item, (nll, tokens) in zip(suite.items, nll, strict=True)
        ]
    asked = [_encode(model, item.prompt, item.answer) for item in suite.items]
    found: dict[int, ItemResult] = {}
    lengths = [(len(prompt), max(max_new_tokens, len(gold))) for prompt, gold in asked]
    for batch in _batches(lengths, batch_size, context_length(model), by=lambda pair: pair[0]):
        items = [suite.items[i] for i in batch]
        golds = [asked[i][1] for i in batch]
        prefix = read(model, [asked[i][0] for i in batch], max(lengths[i][1] for i in batch))
        nlls, outputs = follow(prefix, golds, max_new_tokens)
        chosen = _choose(prefix, items, nlls)
        # Only where the model says something else than the gold answer must it be heard out.
        truncated = [False] * len(batch)
        others = [row for row, text in enumerate(outputs) if text is None]
        if others:
            prefix.keep(torch.tensor(others, device=prefix.mask.device))
            for row, text, cut in zip(others, *write(prefix, max_new_tokens), strict=True):
                outputs[row], truncated[row] = text, cut
        for row, (index, item) in enumerate(zip(batch, items, strict=True)):
            found[index] = ItemResult(
                item=item,
                output=outputs[row],
                correct=is_right(outputs[row], item.answer, suite.extract),
                choice=chosen.get(row),
                nll=nlls[row],
                tokens=len(golds[row]),
                truncated=truncated[row],
            )
    return [found[index] for index in range(len(suite.items))]


def _batches(
    lengths: Sequence[tuple[int, int]],
    batch_size: int,
    limit: int,
    by: Callable[[tuple[int, int]], int] = sum,
) -> list[list[int]]:
    """Indices in batches of rows of similar length, so that little is spent on padding.

    Args:
        lengths: per row, the tokens of the prompt and of what follows it.
        limit: a batch whose longest prompt and longest answer are together longer is split; a row
            that is too long by itself is left to `read`, which refuses it.
        by: what is to be similar.
    """
    batches: list[list[int]] = []
    longest = (0, 0)
    for index in sorted(range(len(lengths)), key=lambda index: (by(lengths[index]), index)):
        grown = tuple(map(max, longest, lengths[index]))
        if not batches or len(batches[-1]) == batch_size or sum(grown) > limit:
            batches.append([])
            grown = lengths[index]
        batches[-1].append(index)
        longest = grown
    return batches


def _choose(prefix: Prefix, items: Sequence[Item], golds: Sequence[float]) -> dict[int, str]:
    """For items with choices: the one the model finds likeliest, by row; "" where it cannot tell.

    Args:
        golds: negative log-likelihood of each item's gold answer, which is known already.
    """
    best = {
        row: (nll, item.answer)
        for row, (nll, item) in enumerate(zip(golds, items, strict=True))
        if item.choices
    }
    others = [
        (row, choice)
        for row in best
        for choice in items[row].choices
        if choice != items[row].answer
    ]
    if others:
        tails = [_encode(prefix.model, items[row].prompt, choice)[1] for row, choice in others]
        scored = nll_after(prefix.take([row for row, _ in others]), tails)
        for (row, choice), nll in zip(others, scored, strict=True):
            best[row] = min(best[row], (nll, choice))
            if math.isnan(nll):  # no number is smaller: else the gold answer would always win
                best[row] = (nll, "")
    return {row: choice for row, (_, choice) in best.items()}


def _encode(model: PreTrainedModel, prompt: str, answer: str) -> tuple[TokenIds, TokenIds]:
    """What the model reads first, and the tokens that are scored after it."""
    if prompt:
        return encode_pair(model.tokenizer, prompt, f" {answer}")
    ids = model.tokenizer(answer)["input_ids"]
    return ids[:1], ids[1:]


def answer_nll(
    model: PreTrainedModel, pairs: Sequence[tuple[str, str]], batch_size: int = 50
) -> list[tuple[float, int]]:
    """Negative log-likelihood of answers after their prompts.

    Args:
        pairs: (prompt, answer). After a prompt the answer is scored with one space before it;
            with an empty prompt it is scored as running text, from its second token on.

    Returns:
        For each pair the sum over the answer's tokens in nats, and the number of those tokens.

    Raises:
        ValueError: a prompt with its answer does not fit into the model's context.
    """
    asked = [_encode(model, prompt, answer) for prompt, answer in pairs]
    found: dict[int, tuple[float, int]] = {}
    lengths = [(len(prompt), len(answer)) for prompt, answer in asked]
    for batch in _batches(lengths, batch_size, context_length(model)):
        answers = [asked[i][1] for i in batch]
        prefix = read(model, [asked[i][0] for i in batch], max(map(len, answers)))
        nlls = nll_after(prefix, answers)
        found.update(zip(batch, zip(nlls, map(len, answers), strict=True), strict=True))
    return [found[index] for index in range(len(pairs))]
