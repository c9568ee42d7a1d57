"""Asking a model, and showing two models' answers side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from transformers import PreTrainedModel

from .decoding import read, write
from .models import evaluation_mode
from .tables import head


@overload
def complete(model: PreTrainedModel, prompts: str, max_new_tokens: int = ...) -> str: ...
@overload
def complete(
    model: PreTrainedModel, prompts: Sequence[str], max_new_tokens: int = ...
) -> list[str]: ...
def complete(model, prompts, max_new_tokens=48):
    """What the model answers: one string for one prompt, a list for several.

    Decoding is greedy (the likeliest token at each step), so the same model gives the same answer.
    An answer ends at a line break, at the end of text, or after `max_new_tokens`.

    Raises:
        ValueError: a prompt is empty, or does not fit into the context with its answer.
    """
    single = isinstance(prompts, str)
    texts = [prompts] if single else list(prompts)
    if not all(texts):
        raise ValueError("A prompt is empty. Give the model something to continue.")
    if not texts:
        return []
    asked = model.tokenizer(texts)["input_ids"]
    with evaluation_mode(model):
        answers, _ = write(read(model, asked, max_new_tokens), max_new_tokens)
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
        cell = '<td style="text-align:left;vertical-align:top;white-space:pre-wrap">{}</td>'
        body = "".join(
            "<tr>" + "".join(cell.format(html.escape(text)) for text in row) + "</tr>"
            for row in self._rows()
        )
        return f"<table>{head(('prompt', *self.labels))}<tbody>{body}</tbody></table>"


def before_after(
    before: PreTrainedModel,
    after: PreTrainedModel,
    prompts: str | Sequence[str],
    labels: tuple[str, str] = ("before", "after"),
) -> Answers:
    """Ask two models the same prompts, or one, and set their answers side by side."""
    asked = [prompts] if isinstance(prompts, str) else list(prompts)
    return Answers(asked, complete(before, asked), complete(after, asked), labels)
