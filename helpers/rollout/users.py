"""Users who ask the server over HTTP, judge what they get, and sometimes complain.

They know the right answers, because their questions come from the generators of the suites. They
are judged as the suites judge, so that what they see and what an evaluation says can be compared.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import openai
import pandas
from openai import OpenAI

from ..evaluation import is_right
from ..pocket.examples import Example
from ..suites import EXTRACT
from ..tables import Table
from .eprocess import BadEvents
from .order_sums import NAME as ORDER_SUMS
from .simulate import DRAWS, Traffic

#: In a worked problem only the last statement counts, as in the suites.
COUNTS = EXTRACT | {ORDER_SUMS: EXTRACT["reasoning"]}
#: The room for an answer that `evaluate` gives.
ROOM = 48
#: What may be asked once more: too many requests, not ready, and no connection at all (None).
AGAIN = (429, 503, None)
COLUMNS = (
    "id", "user", "category", "asked", "wanted", "answer", "right", "reported", "version",
    "status", "tries", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What one user asks.

    Attributes:
        complains: whether this user tells the server of wrong answers.
    """

    user: str
    example: Example
    complains: bool

    @property
    def wanted(self) -> str:
        """The right answer."""
        return self.example.answer

    @property
    def prompt(self) -> str:
        """The text that the model reads in the end."""
        return self.example.prompt("chat" if self.chats else self.example.formats[0])

    @property
    def chats(self) -> bool:
        """Whether it is asked as a chat; else as a text, such as the tickets of the shop's form."""
        return "chat" in self.example.formats

    def judge(self, answer: str) -> bool:
        """Whether an answer is right, by the rule of the suites."""
        return is_right(answer, self.wanted, COUNTS.get(self.example.capability))


def questions(
    traffic: Traffic, count: int, users: int = 60, complains: float = 0.5, seed: int = 0
) -> list[Question]:
    """Questions of this traffic, in the order in which they are asked; held out from training.

    Those of a smaller count are the first of a larger one.

    Args:
        users: how many there are; each question is a random one's.
        complains: the share of the users who report wrong answers. Who does, always does.

    Raises:
        BadEvents: a setting is impossible, or nobody can tell what is right in a category.
    """
    if count < 1 or users < 1 or not 0 <= complains <= 1:
        raise BadEvents("There must be a question and a user, and complains lies from 0 to 1.")
    if strange := sorted({kind.name for kind in traffic.kinds} - (set(DRAWS) - {"stories"})):
        raise BadEvents(
            f"Users cannot ask and judge {strange[0]!r}. They know "
            f"{', '.join(name for name in DRAWS if name != 'stories')}."
        )
    rng = random.Random(seed)
    loud = [rng.random() < complains for _ in range(users)]
    shares = [kind.share for kind in traffic.kinds]
    found = []
    for _ in range(count):
        (kind,), user = rng.choices(traffic.kinds, shares), rng.randrange(users)
        found.append(Question(f"user-{user}", DRAWS[kind.name](rng, "test"), loud[user]))
    return found


@dataclass(frozen=True, repr=False)
class Visits:
    """What the users saw.

    Attributes:
        frame: one row per question, in the order of asking: `id` of the answer, `user`, `category`,
            `asked`, `wanted`, `answer`, `right`, `reported` (harm was told to the server and
            taken), `version` that answered, `status` of HTTP (0 where there was no connection),
            `tries`, and `seconds` from the first try to the answer. A request that failed to the
            end has no id, no answer and no version, and is not right.
        seconds: that all of it took.
    """

    frame: pandas.DataFrame
    seconds: float

    @property
    def failed(self) -> pandas.DataFrame:
        """The rows of the requests that got no answer."""
        return self.frame[self.frame["status"] != 200]

    def __repr__(self) -> str:
        return f"{self._summary()}\n{self._table()!r}"

    def _repr_html_(self) -> str:
        return f"<p>{self._summary()}</p>{self._table()._repr_html_()}"

    def _summary(self) -> str:
        rows, failed = self.frame, self.failed
        why = ", ".join(
            f"{count} with {status or 'no connection'}"
            for status, count in sorted(Counter(failed["status"]).items())
        )
        again = int((rows["tries"] > 1).sum())
        return (
            f"{len(rows)} requests of {rows['user'].nunique()} users in {self.seconds:.1f} s; "
            f"{len(failed)} failed{f' ({why})' if why else ''}, {again} had to try again"
        )

    def _table(self) -> Table:
        answered = self.frame[self.frame["status"] == 200]
        rows = []
        for version, part in answered.groupby("version"):
            wrong = int((~part["right"]).sum())
            rows.append(
                (
                    str(version), str(len(part)), str(part["user"].nunique()),
                    f"{wrong} ({100 * wrong / len(part):.1f} %)", str(int(part["reported"].sum())),
                )
            )  # fmt: skip
        return Table(("version", "answers", "users", "wrong", "reported"), tuple(rows))


def visit(
    url: str,
    traffic: Traffic,
    count: int,
    users: int = 60,
    clients: int = 8,
    complains: float = 0.5,
    seed: int = 0,
    patience: float = 30.0,
    model: str = "shop",
    api_key: str = "none",
) -> Visits:
    """Let users ask a server until all have their answers; wrong ones are reported by some.

    What is asked, by whom, and who complains is settled by the seed. When each request arrives is
    not, so that one answered during a rollback may get either version.

    Args:
        url: of the server, such as `serving` gives it.
        count: of requests.
        clients: requests under way at one time.
        patience: seconds from a request's first try in which one that finds the server full,
            closing or away is tried again. Other errors are not tried again; all are in the result.

    Raises:
        BadEvents: see `questions`; or there is no client, or less than no patience.
    """
    if clients < 1 or patience < 0:
        raise BadEvents("It takes a client to ask, and patience cannot be below 0.")
    asked = questions(traffic, count, users, complains, seed)
    started = time.perf_counter()
    # Trying again is done here, where it is counted.
    with OpenAI(base_url=url, api_key=api_key, max_retries=0, timeout=60) as client:

        def row(question: Question) -> dict[str, Any]:
            return _row(client, model, question, patience)

        with ThreadPoolExecutor(clients, "users") as pool:
            rows = list(pool.map(row, asked))
    return Visits(pandas.DataFrame(rows, columns=list(COLUMNS)), time.perf_counter() - started)


def _row(client: OpenAI, model: str, question: Question, patience: float) -> dict[str, Any]:
    """One request from the question to the complaint."""
    begun = time.perf_counter()
    reply, status, tries = _try(lambda: _ask(client, model, question), begun + patience)
    taken = time.perf_counter() - begun
    answer = None if reply is None else _text(reply)
    right, reported = answer is not None and question.judge(answer), False
    if answer is not None and not right and question.complains:
        until = time.perf_counter() + patience
        told, *_ = _try(lambda: _report(client, reply.id), until)
        reported = bool(told and told["recorded"])
    return {
        "id": reply and reply.id, "user": question.user, "category": question.example.capability,
        "asked": question.prompt, "wanted": question.wanted, "answer": answer, "right": right,
        "reported": reported, "version": reply and reply.model, "status": status, "tries": tries,
        "seconds": taken,
    }  # fmt: skip


def _try(call: Any, until: float) -> tuple[Any, int, int]:
    """What a call gives (None where it fails), the last status, and the number of tries."""
    tries = 0
    while True:
        tries += 1
        try:
            return call(), 200, tries
        except openai.APIStatusError as error:
            status, wait = error.status_code, error.response.headers.get("retry-after")
        except openai.APIConnectionError:
            status, wait = None, None
        pause = float(wait or 0.1 * min(tries, 10))
        if status not in AGAIN or time.perf_counter() + pause > until:
            return None, status or 0, tries
        time.sleep(pause)


def _ask(client: OpenAI, model: str, question: Question) -> Any:
    if not question.chats:
        return client.completions.create(
            model=model, prompt=question.prompt, user=question.user, max_tokens=ROOM, stop=["\n"]
        )
    context = question.example.context
    before = [{"role": "system", "content": context}] if context else []
    turns: Any = [*before, {"role": "user", "content": question.example.question}]
    return client.chat.completions.create(
        model=model, messages=turns, user=question.user, max_tokens=ROOM
    )


def _text(reply: Any) -> str:
    choice = reply.choices[0]
    found = choice.text if reply.object == "text_completion" else choice.message.content
    return (found or "").strip()


def _report(client: OpenAI, answer: str) -> dict[str, Any]:
    """Tell the server that an answer did harm."""
    return client.post("/feedback", cast_to=object, body={"id": answer, "harm": True})
