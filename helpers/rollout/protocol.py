"""The shapes of OpenAI's protocol that the server takes and gives, and its error objects.

What is not listed here is refused by name: a parameter that is silently ignored (`tools`, `n=3`,
`logprobs`) would look as if it had worked. One that is sent with the value that changes nothing
(`frequency_penalty=0`), or with null, counts as left out.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

#: No name, id or note in a request is longer.
LONGEST_NAME = 256

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Stop = Annotated[str, Field(min_length=1, max_length=64)]


class ApiError(Exception):
    """An answer that says what is wrong, in the protocol's own form.

    Args:
        status: of HTTP.
        message: for a person; names the fix.
        code: for a program.
        param: the field of the request that it is about.
        type: "invalid_request_error" where the request must change, another where it
            may be repeated.
        retry_after: seconds after which trying again makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        type: str = "invalid_request_error",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after
        self.body = {
            "error": {"message": message, "type": type, "param": param, "code": code},
        }


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Strict):
    """One part of a message that is given in parts."""

    type: Literal["text"]
    text: str


class Message(_Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The whole content."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(_Strict):
    """What a stream carries beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False  # sent by some clients; nothing is padded here


#: Parameters that are not known here, with the values at which they do nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "logprobs": (False,),
    "best_of": (1,),
    "echo": (False,),
    "response_format": ({"type": "text"},),
    "store": (False,),
}


class _Ask(_Strict):
    """What both kinds of request share.

    Left out, `temperature` is 0 here, not 1: the same question gets the same answer, as everywhere
    in this course.
    """

    model: Name
    user: Name | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, given: Any) -> Any:
        """Without what is null or changes nothing; what is needed stays, to be told about."""
        if not isinstance(given, dict):
            return given

        def idle(name: str, value: Any) -> bool:
            if value is None:
                return name not in ("model", "messages", "prompt")
            # 0 and False are equal, and yet `logprobs=0` asks for something.
            return any(type(value) is type(one) and value == one for one in NEUTRAL.get(name, ()))

        return {name: value for name, value in given.items() if not idle(name, value)}

    @property
    def stops(self) -> list[str]:
        """The stop texts, however they were given."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class ChatAsk(_Ask):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=100)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class TextAsk(_Ask):
    """The body of POST /v1/completions, one prompt a request."""

    prompt: Annotated[str, Field(min_length=1)]


class Feedback(_Strict):
    """The body of POST /v1/feedback, which is this course's own: how an answer turned out."""

    id: Name
    harm: bool
    note: Annotated[str, Field(max_length=1000)] = ""


def parse(kind: type[_Strict], raw: bytes) -> Any:
    """The request in a body of JSON.

    Raises:
        ApiError: 400; it names the first field that is wrong.
    """
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        # The text of the request stays out of the message: it would end up in logs.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"] if not str(step).startswith("function-"))
    if first["type"] == "json_invalid":
        raise ApiError(400, "The body is no JSON. Send one object.", "invalid_json")
    if first["type"] == "extra_forbidden":
        raise ApiError(
            400,
            f"This server does not know the parameter {place!r}. Leave it out.",
            "unsupported_parameter",
            place,
        )
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    raise ApiError(400, f"{place or 'body'}: {first['msg']}.", code, place or None)


def usage(prompt: int, written: int) -> dict[str, int]:
    """How many tokens were read and written."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
    }


def answer(chat: bool, id: str, version: str, text: str, finish: str) -> dict[str, Any]:
    """A whole answer, without its usage."""
    body = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return _envelope("chat.completion" if chat else "text_completion", id, version, body, finish)


def chunk(
    chat: bool, id: str, version: str, text: str | None, finish: str | None, first: bool = False
) -> dict[str, Any]:
    """One event of a stream; no text in the last one."""
    if chat:
        role = {"role": "assistant"} if first else {}
        body = {"delta": {**role, **({} if text is None else {"content": text})}}
    else:
        body = {"text": text or ""}
    kind = "chat.completion.chunk" if chat else "text_completion"
    return _envelope(kind, id, version, body, finish)


def _envelope(kind: str, id: str, version: str, body: dict, finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, **body, "logprobs": None, "finish_reason": finish}
    return {
        "id": id,
        "object": kind,
        "created": int(time.time()),
        "model": version,
        "choices": [choice],
    }


def models(names: list[str]) -> dict[str, Any]:
    """The list that GET /v1/models gives."""
    entries = [
        {"id": name, "object": "model", "created": 0, "owned_by": "course"} for name in names
    ]
    return {"object": "list", "data": entries}
