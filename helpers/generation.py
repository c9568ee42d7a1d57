"""Asking a model, and showing two models' answers side by side."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .models import context_length, evaluation_mode


@functools.lru_cache(maxsize=8)  # GPT-2 has 50,257 tokens to look through
def stop_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that end an answer: the end of text, and anything with a line break."""
    line_breaks = [
        number
        for token, number in tokenizer.get_vocab().items()
        # "Ċ" is how byte-level BPE writes a line break, "<0x0A>" how SentencePiece does.
        if "Ċ" in token or token == "<0x0A>" or "\n" in token
    ]
    return sorted({tokenizer.eos_token_id, *line_breaks})


@torch.no_grad()
def generate_batch(
    model: PreTrainedModel, prompts: Sequence[str], max_new_tokens: int
) -> tuple[list[str], list[bool]]:
    """Continue each prompt greedily until a line break or the end of text.

    Returns:
        The answers without surrounding spaces, and for each whether it was cut off because
        `max_new_tokens` had been reached.

    Raises:
        ValueError: a prompt and its answer would not fit into the model's context.
    """
    tokenizer = model.tokenizer
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    length = encoded["input_ids"].shape[1]
    limit = context_length(model)
    if length + max_new_tokens > limit:
        longest = max(prompts, key=len)
        raise ValueError(
            f"A prompt of {length} tokens and {max_new_tokens} new ones do not fit into the "
            f"model's context of {limit} tokens. Shorten the prompt or lower max_new_tokens. "
            f"It begins: {longest[:60]!r}"
        )
    stops = stop_tokens(tokenizer)
    output = model.generate(
        input_ids=encoded["input_ids"].to(model.device),
        attention_mask=encoded["attention_mask"].to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    new = output[:, length:].cpu()
    stopped = torch.isin(new, torch.tensor(stops)).any(dim=1).tolist()
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    answers = [text.split("\n")[0].strip() for text in texts]
    return answers, [not ended for ended in stopped]


@overload
def complete(model: PreTrainedModel, prompts: str, max_new_tokens: int = ...) -> str: ...
@overload
def complete(
    model: PreTrainedModel, prompts: Sequence[str], max_new_tokens: int = ...
) -> list[str]: ...
def complete(model, prompts, max_new_tokens=48):
    """What the model answers: one string for one prompt, a list for several.

    Decoding is greedy (the likeliest token at each step), so the same model gives the same answer.
    """
    single = isinstance(prompts, str)
    with evaluation_mode(model):
        answers, _ = generate_batch(model, [prompts] if single else prompts, max_new_tokens)
    return answers[0] if single else answers


@dataclass(frozen=True)
class Answers:
    """Prompts with the answers of two models; shows itself as a table."""

    prompts: list[str]
    before: list[str]
    after: list[str]
    labels: tuple[str, str] = ("before", "after")

    def _rows(self) -> list[tuple[str, str, str]]:
        return list(zip(self.prompts, self.before, self.after, strict=True))

    def __repr__(self) -> str:
        lines = []
        for prompt, before, after in self._rows():
            lines += [prompt, f"  {self.labels[0]}: {before}", f"  {self.labels[1]}: {after}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in ("prompt", *self.labels))
        cell = '<td style="text-align:left;vertical-align:top;white-space:pre-wrap">{}</td>'
        body = "".join(
            "<tr>" + "".join(cell.format(html.escape(text)) for text in row) + "</tr>"
            for row in self._rows()
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def before_after(
    before: PreTrainedModel,
    after: PreTrainedModel,
    prompts: Sequence[str],
    labels: tuple[str, str] = ("before", "after"),
) -> Answers:
    """Ask two models the same prompts and set their answers side by side."""
    return Answers(
        list(prompts), complete(before, list(prompts)), complete(after, list(prompts)), labels
    )
