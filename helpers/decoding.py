"""Reading prompts once, then both scoring given answers and writing new ones from there.

`model.generate` reads the prompts anew on every call and keeps finished rows in the batch. Here
what has been read is shared, finished rows are dropped, and nothing is written token by token where
the model would write the given answer anyway.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from .models import context_length

TokenIds = list[int]


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str
) -> tuple[TokenIds, TokenIds]:
    """Tokens of a prompt, and of what follows it.

    Both are cut as one text, as lm-eval and TRL do. Cut alone, a completion would begin with
    whatever the tokenizer puts at the start of every text, such as Llama's `<s>`.
    """
    lead = tokenizer(prompt)["input_ids"]
    return lead, tokenizer(prompt + completion)["input_ids"][len(lead) :]


@functools.lru_cache(maxsize=8)  # GPT-2 has 50,257 tokens to look through
def stop_tokens(tokenizer: PreTrainedTokenizerBase) -> TokenIds:
    """Ids of the tokens that end an answer: the end of text if there is one, and line breaks."""
    line_breaks = [
        number
        for token, number in tokenizer.get_vocab().items()
        # "Ċ" is how byte-level BPE writes a line break, "<0x0A>" how SentencePiece does.
        if "Ċ" in token or token == "<0x0A>" or "\n" in token
    ]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return sorted({*end, *line_breaks})


@functools.lru_cache(maxsize=1024)
def last_words(tokenizer: PreTrainedTokenizerBase, stop: int) -> str:
    """What a token that ends an answer adds to it: "." if it is a full stop with a line break.

    GPT-2 has no such tokens, Qwen and Llama 3 have some.
    """
    text = tokenizer.decode([stop])
    return text.split("\n")[0].strip() if "\n" in text else ""


@dataclass
class Prefix:
    """Prompts a model has read, one per row, and what it needs to go on from them.

    Attributes:
        cache: keys and values of every layer.
        mask: 1 for tokens, 0 for the padding on the left; shape (rows, tokens).
        logits: for the token that comes next; shape (rows, vocabulary).
    """

    model: PreTrainedModel
    cache: Cache
    mask: torch.Tensor
    logits: torch.Tensor

    def take(self, rows: Sequence[int]) -> Prefix:
        """A copy with these rows only; a row may be taken more than once."""
        wanted = torch.tensor(rows, device=self.mask.device)
        cache = copy.deepcopy(self.cache)
        cache.batch_select_indices(wanted)
        return Prefix(self.model, cache, self.mask[wanted], self.logits[wanted])

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        self.cache.batch_select_indices(rows)
        self.mask, self.logits = self.mask[rows], self.logits[rows]

    def extend(self, ids: torch.Tensor) -> torch.Tensor:
        """Read further tokens, shape (rows, n); returns their logits, (rows, n, vocabulary)."""
        self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        logits = _forward(self.model, ids, self.mask, self.cache).logits
        self.logits = logits[:, -1]
        return logits


@torch.no_grad()
def read(model: PreTrainedModel, prompts: Sequence[TokenIds], room: int = 0) -> Prefix:
    """Let a model read prompts of at least one token each.

    Args:
        room: how many tokens are to follow.

    Raises:
        ValueError: the longest prompt and what is to follow do not fit into the context.
    """
    longest = max(prompts, key=len)
    limit = context_length(model)
    if len(longest) + room > limit:
        text = model.tokenizer.decode(longest)
        raise ValueError(
            f"A prompt of {len(longest)} tokens and {room} that follow do not fit into the "
            f"model's context of {limit} tokens. Shorten the prompt or lower max_new_tokens. "
            f"It begins: {text[:60]!r}"
        )
    # Padding stands on the left, so that every row ends, and goes on, at the same place.
    gaps = [len(longest) - len(prompt) for prompt in prompts]
    pad = model.tokenizer.pad_token_id
    rows = [[pad] * gap + prompt for gap, prompt in zip(gaps, prompts, strict=True)]
    mask = [[0] * gap + [1] * len(prompt) for gap, prompt in zip(gaps, prompts, strict=True)]
    ids, mask = (torch.tensor(table, device=model.device) for table in (rows, mask))
    output = _forward(model, ids, mask, last_only=True)
    return Prefix(model, output.past_key_values, mask, output.logits[:, -1])


@torch.no_grad()
def nll_after(prefix: Prefix, answers: Sequence[TokenIds]) -> list[float]:
    """Negative log-likelihood of one answer per row in nats, summed over its tokens."""
    ids, scored = _table(prefix, answers)
    # What an answer's last token leads to is not asked.
    return _nll(_logits_along(prefix, ids[:, :-1]), ids, scored)


@torch.no_grad()
def follow(
    prefix: Prefix, answers: Sequence[TokenIds], max_new_tokens: int
) -> tuple[list[float], list[str | None]]:
    """Score one answer per row, and see which of them the model would have written itself.

    One pass over an answer shows whether each of its tokens is the likeliest one and whether the
    answer ends there; if so, `write` would write it. Speculative decoding accepts the tokens of a
    draft in this way (Leviathan et al. 2023, arXiv 2211.17192).

    Returns:
        The negative log-likelihoods in nats, and for each row what `write` would return for it,
        without surrounding spaces, or None where that is something else than the answer.
    """
    tokenizer = prefix.model.tokenizer
    ids, scored = _table(prefix, answers)
    logits = _logits_along(prefix, ids)
    likeliest = logits.argmax(dim=-1)
    ends = torch.isin(likeliest, torch.tensor(stop_tokens(tokenizer)))
    written = ((likeliest[:, :-1] == ids) & ~ends[:, :-1]) | ~scored
    lengths = scored.sum(dim=1)
    rows = torch.arange(len(ids))
    ends_there = ends[rows, lengths]
    accepted = written.all(dim=1) & ends_there & (lengths < max_new_tokens)
    stops = likeliest[rows, lengths].tolist()
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return _nll(logits[:, :-1], ids, scored), [
        text.strip() if same and not last_words(tokenizer, stop) else None
        for text, same, stop in zip(texts, accepted.tolist(), stops, strict=True)
    ]


def _table(prefix: Prefix, answers: Sequence[TokenIds]) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers padded on the right, and which of the places hold a token of theirs."""
    ids = torch.full((len(answers), max(map(len, answers))), prefix.model.tokenizer.pad_token_id)
    scored = torch.zeros(ids.shape, dtype=torch.bool)
    for row, answer in enumerate(answers):
        ids[row, : len(answer)] = torch.tensor(answer)
        scored[row, : len(answer)] = True
    return ids, scored


def _logits_along(prefix: Prefix, ids: torch.Tensor) -> torch.Tensor:
    """Logits before and after each column of `ids`; shape (rows, columns + 1, vocabulary).

    Padding on the right is not seen by the tokens before it. The prefix stays as it is.
    """
    logits = prefix.logits[:, None].cpu()
    if ids.shape[1]:
        on = prefix.take(range(len(ids))).extend(ids.to(prefix.mask.device))
        logits = torch.cat([logits, on.cpu()], dim=1)
    return logits


def _nll(logits: torch.Tensor, ids: torch.Tensor, scored: torch.Tensor) -> list[float]:
    nll = torch.zeros(ids.shape)
    nll[scored] = cross_entropy(logits[scored].float(), ids[scored], reduction="none")
    return nll.sum(dim=1).tolist()


@torch.no_grad()
def write(prefix: Prefix, max_new_tokens: int) -> tuple[list[str], list[bool]]:
    """Continue every row greedily until a line break or the end of text; uses the prefix up.

    Returns:
        The answers without surrounding spaces, and for each whether it was cut off because
        `max_new_tokens` had been reached.
    """
    tokenizer = prefix.model.tokenizer
    stops = torch.tensor(stop_tokens(tokenizer), device=prefix.mask.device)
    written: list[TokenIds] = [[] for _ in prefix.mask]
    rows = torch.arange(len(written), device=prefix.mask.device)  # which are not finished
    for place in range(max_new_tokens):
        chosen = prefix.logits.argmax(dim=-1)
        finished = torch.isin(chosen, stops)
        unfinished = (~finished).nonzero()[:, 0]
        if len(unfinished) < len(rows):
            for row, stop in zip(rows[finished].tolist(), chosen[finished].tolist(), strict=True):
                if last_words(tokenizer, stop):
                    written[row].append(stop)
            prefix.keep(unfinished)
            rows, chosen = rows[unfinished], chosen[unfinished]
        if len(rows) == 0:
            break
        for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
            written[row].append(token)
        if place + 1 < max_new_tokens:
            prefix.extend(chosen[:, None])
    cut = set(rows.tolist())
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    answers = [text.split("\n")[0].strip() for text in texts]
    return answers, [row in cut for row in range(len(written))]


def _forward(
    model: PreTrainedModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    cache: Cache | None = None,
    last_only: bool = False,
):
    """One pass over the last columns of `mask`; positions count from each row's first token."""
    wished = {
        "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :],
        "logits_to_keep": 1 if last_only else 0,
    }
    plain = model.get_base_model() if isinstance(model, PeftModel) else model
    taken = _taken(type(plain))
    extra = {name: value for name, value in wished.items() if name in taken}
    return model(ids, attention_mask=mask, past_key_values=cache, use_cache=True, **extra)


@functools.cache  # asked again for every token
def _taken(kind: type[PreTrainedModel]) -> frozenset[str]:
    """The arguments a kind of model takes; older kinds lack some."""
    return frozenset(inspect.signature(kind.forward).parameters)
