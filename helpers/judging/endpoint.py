"""A judge behind an OpenAI-compatible endpoint that you configure; nothing is asked by default."""

from __future__ import annotations

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from .chat import GRADES, ONE_ANSWER, TWO_ANSWERS, VERDICTS
from .judge import Preference


class EndpointError(RuntimeError):
    """The endpoint could not be reached, refused, or replied with something unexpected."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to an address that nobody configured."""

    def redirect_request(self, *args, **kwargs) -> None:
        return None


class EndpointJudge:
    """A chat model behind `<base_url>/chat/completions`, asked one question per judgement.

    Its replies are read strictly: exactly one of the words asked for, or else the verdict is
    "invalid" (the score NaN), which no later step takes for a tie.

    Args:
        base_url: up to and with "/v1", such as "http://localhost:8000/v1".
        model: the name of the model there.
        key_variable: the name of the environment variable with the key; None to send no key.
        timeout: seconds to wait for one reply.
        retries: further attempts when the endpoint is busy, failing, or out of reach.
        wait: seconds before the first further attempt; doubled before every next one.
        options: further fields of the request; some services want other names or more tokens.

    Raises:
        ValueError: the address is not http(s), or the environment variable is not set.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str | None,
        *,
        timeout: float = 30.0,
        retries: int = 2,
        wait: float = 1.0,
        options: Mapping[str, object] | None = None,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.netloc:
            raise ValueError(f"{base_url!r} is no web address. Give one like http://host:8000/v1.")
        if key_variable is not None and not os.environ.get(key_variable):
            raise ValueError(
                f"The environment variable {key_variable} is not set. Set it to the endpoint's "
                "key, or pass key_variable=None for an endpoint that needs none."
            )
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.model, self.key_variable = model, key_variable
        self.timeout, self.retries, self.wait = timeout, retries, wait
        self.options = dict(options) if options is not None else {"temperature": 0, "max_tokens": 8}
        self.name = f"{model} at {address.hostname}"
        self._opener = urllib.request.build_opener(_NoRedirects)

    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """1 for "good", 0 for "bad", NaN for any other reply.

        Raises:
            EndpointError: no reply could be had.
        """
        worth = dict(zip(GRADES, (1.0, 0.0), strict=True))
        return [
            worth.get(self._ask(ONE_ANSWER.format(prompt=prompt, answer=answer)), math.nan)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def prefer(
        self, prompts: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> list[Preference]:
        """The verdicts; "invalid" for any reply but "A", "B" and "tie".

        Raises:
            EndpointError: no reply could be had.
        """
        return [
            VERDICTS.get(self._ask(TWO_ANSWERS.format(prompt=p, first=a, second=b)), "invalid")
            for p, a, b in zip(prompts, firsts, seconds, strict=True)
        ]

    def _ask(self, question: str) -> str:
        """The reply to one question, without surrounding white space."""
        body = {
            **self.options,
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
        }
        reply = self._send(json.dumps(body).encode())
        try:
            content = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise EndpointError(
                f"{self.url} did not reply in the chat-completions format: {reply[:200]!r}"
            ) from error
        return content.strip() if isinstance(content, str) else ""

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.key_variable is not None:
            headers["Authorization"] = f"Bearer {os.environ[self.key_variable]}"
        problem = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(self.wait * 2 ** (attempt - 1))
            request = urllib.request.Request(self.url, body, headers, method="POST")
            try:
                with self._opener.open(request, timeout=self.timeout) as reply:
                    return reply.read()
            except urllib.error.HTTPError as error:
                with error:
                    problem = f"status {error.code}: {error.read(200)!r}"
                if error.code != 429 and error.code < 500:
                    break  # asking again would not help
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
        raise EndpointError(
            f"{self.url} gave no verdict in {attempt + 1} attempt(s): {problem}. Check the "
            "address, the model's name and the key, or raise timeout and retries."
        )
