"""How a request becomes the tokens that a model reads, and where its answer ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError

from ..decoding import TokenIds, stop_tokens
from .batch import end_of_text
from .engine import Engine
from .errors import RolloutError

#: How the course's own model was taught to be spoken to; it has no chat template.
TURNS = {"system": "{}", "user": "User: {}", "assistant": "Assistant: {}"}


class BadPrompt(RolloutError):
    """The model cannot be asked this."""


@dataclass(frozen=True)
class Prompt:
    """What the model reads.

    Attributes:
        text: for the category and the telemetry: the last thing the user said.
        ends: the tokens that end the answer.
        trim: whether spaces around the answer are left out.
    """

    tokens: TokenIds
    text: str
    ends: frozenset[int]
    trim: bool


def from_text(engine: Engine, text: str) -> Prompt:
    """A text to be continued until the model ends it."""
    return Prompt(engine.tokenizer(text)["input_ids"], text, end_of_text(engine), trim=False)


def from_turns(engine: Engine, turns: Sequence[tuple[str, str]]) -> Prompt:
    """A conversation, as (role, text), that the assistant is to continue.

    It is written in the tokenizer's chat template. Where there is none, as "User: ..." and
    "Assistant: ..."; the answer then ends with its line, before the model plays the user too.

    Raises:
        BadPrompt: nobody has asked anything, or the template does not take these turns.
    """
    asked = [text for role, text in turns if role == "user"]
    if not asked or not asked[-1].strip():
        raise BadPrompt("There must be a message of the user, and it must not be empty.")
    turns = [("system" if role == "developer" else role, text) for role, text in turns]
    tokenizer = engine.tokenizer
    if not tokenizer.chat_template:
        lines = [TURNS[role].format(text.strip()) for role, text in turns]
        tokens = tokenizer("\n".join([*lines, "Assistant:"]))["input_ids"]
        ends = end_of_text(engine) | set(stop_tokens(tokenizer))
        return Prompt(tokens, asked[-1], ends, trim=True)
    try:
        tokens = tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in turns],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )["input_ids"]
    except TemplateError as error:
        raise BadPrompt(f"The model's chat template does not take this: {error}") from error
    return Prompt(tokens, asked[-1], end_of_text(engine), trim=True)
