"""Answers that are being written side by side; new ones join, finished ones leave, at every token.

Waiting until a whole batch is finished would let a short question wait for the longest answer.
Deciding at every token who is in the batch is iteration-level scheduling (Orca; Yu et al., OSDI
2022), also called continuous batching.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from transformers.cache_utils import DynamicLayer

from ..decoding import Prefix, TokenIds, last_words, read
from ..models import context_length
from .engine import Engine


@dataclass(eq=False)
class Row:
    """One answer in the making.

    Attributes:
        version: whose answer.
        prompt: its tokens, at least one.
        room: the most tokens to write, at least one.
        ends: the tokens that end the answer.
        temperature: 0 takes the likeliest token each time; otherwise tokens are drawn from the
            distribution sharpened (below 1) or flattened (above 1) by it.
        top_p: draw only from the likeliest tokens that together have this probability (nucleus
            sampling; Holtzman et al. 2019, arXiv 1904.09751).
        seed: for drawing; the same seed draws the same answer, whoever shares the batch.
        written: the answer's tokens so far.
        finish: "stop" or "length" once the answer is finished.
    """

    version: str
    prompt: TokenIds
    room: int
    ends: Collection[int]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    written: TokenIds = field(default_factory=list)
    finish: Literal["stop", "length"] | None = None

    def __post_init__(self) -> None:
        self.dice = torch.Generator()
        self.dice.seed() if self.seed is None else self.dice.manual_seed(self.seed)


class Batch:
    """The rows that an engine is writing."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rows: list[Row] = []
        self._prefix: Prefix | None = None
        self._behind = False  # the last tokens written are not read yet

    @torch.no_grad()
    def admit(self, rows: Sequence[Row]) -> None:
        """Read the prompts of new rows, which from now on are written with the others.

        Raises:
            UnknownVersion: the version of one is not loaded; then none has joined.
            ValueError: one does not fit into the context; then none has joined.
        """
        if not rows:
            return
        limit = context_length(self.engine.model)
        for row in rows:
            if len(row.prompt) + row.room > limit:
                raise ValueError(
                    f"{len(row.prompt)} tokens and {row.room} that follow do not fit into the "
                    f"context of {limit} tokens."
                )
        self._catch_up()
        with self.engine.asking([row.version for row in rows]) as model:
            prefix = read(model, [row.prompt for row in rows])
        self._prefix = join(self._prefix, prefix) if self.rows else prefix
        self.rows += rows

    @property
    def open(self) -> bool:
        """Whether new rows can join now."""
        return not self.rows or all(type(layer) is DynamicLayer for layer in self._layers())

    @torch.no_grad()
    def step(self) -> list[Row]:
        """Write one token of every row; those that are finished leave.

        Returns:
            The rows that were written on, finished ones among them.
        """
        self._catch_up()
        asked = list(self.rows)
        if not asked:
            return []
        for row, token in zip(asked, choose(self._prefix.logits, asked), strict=True):
            if token in row.ends:
                row.finish = "stop"
                if last_words(self.engine.tokenizer, token):
                    row.written.append(token)
            else:
                row.written.append(token)
                if len(row.written) == row.room:
                    row.finish = "length"
        self.drop([row for row in asked if row.finish])
        self._behind = True
        return asked

    def _catch_up(self) -> None:
        """Read what was written last. Not done in `step`: nobody's answer should wait for it."""
        if self._behind and self.rows:
            last = [[row.written[-1]] for row in self.rows]
            with self.engine.asking([row.version for row in self.rows]):
                self._prefix.extend(torch.tensor(last, device=self._prefix.mask.device))
        self._behind = False

    def drop(self, rows: Collection[Row]) -> None:
        """Let rows leave, finished or not."""
        left = [place for place, row in enumerate(self.rows) if row not in rows]
        if len(left) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in left]
        if not left:
            self._prefix = None
            return
        self._prefix.keep(torch.tensor(left, device=self._prefix.mask.device))
        if self.open:
            self._trim()

    def _layers(self) -> list:
        return self._prefix.cache.layers

    def _trim(self) -> None:
        """Forget the columns on the left that are padding in every row by now."""
        empty = int(self._prefix.mask.any(dim=0).int().argmax())
        if empty:
            self._prefix.mask = self._prefix.mask[:, empty:]
            for layer in self._layers():
                layer.keys, layer.values = layer.keys[:, :, empty:], layer.values[:, :, empty:]


def write(
    engine: Engine, prompts: Sequence[TokenIds], versions: Sequence[str], room: int
) -> list[TokenIds]:
    """The likeliest continuations of prompts, one version for each, written as one batch.

    They end at the end of text or after `room` tokens.
    """
    ends = end_of_text(engine)
    rows = [Row(v, p, room, ends) for v, p in zip(versions, prompts, strict=True)]
    batch = Batch(engine)
    batch.admit(rows)
    while batch.step():
        pass
    return [row.written for row in rows]


def end_of_text(engine: Engine) -> frozenset[int]:
    """The tokens with which the model itself ends a text; chat models have several."""
    named = engine.model.generation_config.eos_token_id
    named = named if isinstance(named, (list, tuple)) else [named]
    return frozenset(t for t in (engine.tokenizer.eos_token_id, *named) if t is not None)


def join(first: Prefix, second: Prefix) -> Prefix:
    """The rows of both, padded on the left to the same width; both are used up."""
    width = max(first.mask.shape[1], second.mask.shape[1])
    pairs = zip(first.cache.layers, second.cache.layers, strict=True)
    for ours, theirs in pairs:
        ours.keys = torch.cat([_widen(layer.keys, width) for layer in (ours, theirs)])
        ours.values = torch.cat([_widen(layer.values, width) for layer in (ours, theirs)])
    masks = [
        torch.nn.functional.pad(prefix.mask, (width - prefix.mask.shape[1], 0))
        for prefix in (first, second)
    ]
    logits = torch.cat([first.logits, second.logits])
    return Prefix(first.model, first.cache, torch.cat(masks), logits)


def _widen(states: torch.Tensor, width: int) -> torch.Tensor:
    """Keys or values (rows, heads, tokens, width of a head) with padding before the first token."""
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[2], 0))


def choose(logits: torch.Tensor, rows: Sequence[Row]) -> TokenIds:
    """The next token of each row; `logits` has the shape (rows, vocabulary)."""
    chosen = logits.argmax(dim=-1).tolist()
    for place, row in enumerate(rows):
        if row.temperature > 0:
            chosen[place] = _draw(logits[place], row)
    return chosen


def _draw(logits: torch.Tensor, row: Row) -> int:
    logits = logits.double().cpu()
    shares = torch.softmax((logits - logits.max()) / row.temperature, dim=-1)
    if not shares.isfinite().all():  # a version with broken weights must not cost others a batch
        return int(logits.argmax())
    if row.top_p < 1:
        ordered, tokens = shares.sort(descending=True)
        before = ordered.cumsum(dim=0) - ordered  # the likeliest token is always kept
        shares[tokens[before >= row.top_p]] = 0
    return int(torch.multinomial(shares, 1, generator=row.dice))
