"""Rolled back under load: everybody has a whole answer, and nobody one of the wrong version.

Fewer answers are written side by side than there are clients, so that requests wait in the queue at
the moment of the rollback: they must get the version that is live when their turn comes.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass

import pytest
from openai import OpenAI
from rollout_models import POCKET, passed, random_adapter, rolled_out

from helpers.generation import complete
from helpers.models import load_model
from helpers.rollout.fleet import Fleet
from helpers.rollout.registry import Registry
from helpers.rollout.router import Router
from helpers.rollout.serve import build, serving

KEY = b"a key of 32 bytes for the tests."
USERS = [f"user-{number}" for number in range(40)]
ASKED = ("How do I boil an egg?", "What is the capital of Spain?", "Reverse this list: tea, lamp")


@dataclass(frozen=True)
class Reply:
    """What one client got, and when (monotonic seconds) it asked and had it."""

    begun: float
    ended: float
    id: str
    user: str
    version: str
    asked: str
    text: str
    finish: str | None


class Clients:
    """So many threads that ask one question after the other; every second one takes streams."""

    def __init__(self, address: str, count: int) -> None:
        self.client = OpenAI(base_url=address, api_key="none", max_retries=0, timeout=60)
        self.replies: list[Reply] = []
        self.errors: list[Exception] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(count)]

    def __enter__(self) -> Clients:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads)
        self.client.close()

    def run(self, number: int) -> None:
        for turn in itertools.count(number):
            if self.stop.is_set():
                return
            try:
                user, asked = USERS[turn * 7 % len(USERS)], ASKED[turn % len(ASKED)]
                self.replies.append(self.ask(user, asked, stream=bool(number % 2)))
            except Exception as error:
                self.errors.append(error)

    def ask(self, user: str, asked: str, stream: bool) -> Reply:
        begun, text, finish = time.monotonic(), "", None
        reply = self.client.chat.completions.create(
            model="shop", user=user, messages=[{"role": "user", "content": asked}], stream=stream
        )
        if stream:
            for chunk in reply:
                text += chunk.choices[0].delta.content or ""
                finish = chunk.choices[0].finish_reason or finish
            reply = chunk
        else:
            text, finish = reply.choices[0].message.content, reply.choices[0].finish_reason
        return Reply(begun, time.monotonic(), reply.id, user, reply.model, asked, text, finish)

    def wait_for(self, count: int, version: str) -> None:
        """Until this version has given so many more answers."""
        before, deadline = len(self.replies), time.monotonic() + 60
        while sum(reply.version == version for reply in self.replies[before:]) < count:
            assert time.monotonic() < deadline and not self.errors, self.errors
            time.sleep(0.01)


def turns_of(fleet: Fleet) -> list[tuple[float, str]]:
    """Will hold the moment at which each request's turn came, and the version it got."""
    turns, refresh, place = [], fleet.refresh, fleet.place
    moment = 0.0

    def noted_refresh(busy=()):
        nonlocal moment
        moment = time.monotonic()
        refresh(busy)

    def noted_place(model, user):
        placement = place(model, user)
        turns.append((moment, placement.version))
        return placement

    fleet.refresh, fleet.place = noted_refresh, noted_place
    return turns


@pytest.mark.parametrize(
    ("clients", "seats", "rollbacks"), [(4, 2, 3), pytest.param(16, 6, 8, marks=pytest.mark.slow)]
)
def test_a_rollback_under_load_costs_nobody_an_answer(tmp_path, clients, seats, rollbacks):
    adapters = random_adapter(tmp_path / "one", 1), random_adapter(tmp_path / "two", 2)
    said = {
        (kind, asked): complete(load_model(folder), f"User: {asked}\nAssistant:", 64)
        for kind, folder in zip("vc", adapters, strict=True)
        for asked in ASKED
    }
    registry = rolled_out(tmp_path / "shop.db", adapters[0], None, 0.5)
    service = build(registry.store.path, key=KEY, seats=seats)
    turns = turns_of(service.fleet)
    operator = Registry(registry.store.path)  # of its own, as another process would have one
    over: dict[str, float] = {}
    with serving(service) as address, Clients(address, clients) as load:
        for number in range(rollbacks):
            name = f"c{number}"
            operator.register(name, POCKET, adapters[1])
            passed(operator, name)
            operator.stage(name, 0.5)
            load.wait_for(clients, name)
            assert operator.rollback("the canary says so").rolled_back == name
            over[name] = time.monotonic()
            load.wait_for(clients, "v1")
    assert not load.errors
    # Whole answers, letter by letter what the version says alone; all of them stored, once.
    for reply in load.replies:
        assert reply.text == said[reply.version[0], reply.asked] and reply.finish == "stop"
    rows = service.telemetry.answers()
    assert sorted(rows["id"]) == sorted(reply.id for reply in load.replies)
    assert len(load.replies) >= 2 * clients * rollbacks
    # Whoever asked when the rollback had returned got the version that was restored.
    late = [r for r in load.replies if r.version in over and r.begun > over[r.version]]
    assert not late
    # So did those who had asked before and were still waiting when it returned.
    assert not [turn for turn in turns if turn[1] in over and turn[0] > over[turn[1]]]
    assert {version for _, version in turns} == {"v1", *over}
    arms = {user: Router(KEY).arm(user, 0.5) for user in USERS}
    assert all(arms[r.user] == "candidate" for r in load.replies if r.version in over)
    operator.close()
    registry.close()
