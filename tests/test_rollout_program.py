"""The server as a process that a notebook starts and kills."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI
from rollout_models import random_adapter, rolled_out

from helpers.rollout.errors import RolloutError
from helpers.rollout.program import Program

STORY = dict(model="(base)", prompt="What", max_tokens=200)


@pytest.fixture
def registry(tmp_path):
    made = rolled_out(tmp_path / "shop.db", random_adapter(tmp_path / "one", 1), None, 1.0)
    yield made
    made.close()


def client_of(program):
    return OpenAI(base_url=program.url, api_key="none", max_retries=0)


def test_killed_in_the_middle_of_a_stream_and_started_again(registry):
    path = registry.store.path
    with (
        Program(path) as first,
        client_of(first) as client,
        client.completions.create(**STORY, stream=True) as stream,
    ):
        next(stream)
        assert first.kill() != 0
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    with Program(path) as second, client_of(second) as client:
        assert client.completions.create(**{**STORY, "model": "shop"}).model == "v1"
        assert second.stop() == 0
    assert first.process.returncode != 0


def test_what_keeps_it_from_beginning_is_told(tmp_path):
    with pytest.raises(RolloutError, match="no folder"):
        Program(tmp_path / "shop.db", "--base", "nowhere")


def test_it_is_gone_after_the_block(registry):
    with pytest.raises(ZeroDivisionError), Program(registry.store.path) as program:
        1 / 0  # noqa: B018
    assert program.process.returncode not in (None, 0)
