"""Models that the tests share. Everything here runs offline."""

from __future__ import annotations

import os
from statistics import fmean

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging

from helpers.mitigations.board import base_of, pick, read_board
from helpers.models import load_model
from helpers.paths import DATA
from helpers.pocket.pretrain import Recipe, new_model
from helpers.pocket.tokenizer import train_tokenizer

# Where tests run side by side, each takes one core.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count() or 1))
logging.disable_progress_bar()


#: The files that take longest.
LONG = ("test_colab.py", "test_phenomena.py")


def pytest_collection_modifyitems(items):
    """Begin with the longest files, so that two workers have something to do until the end."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def pocket():
    """The course model."""
    return load_model("pocket")


@pytest.fixture(scope="session")
def scoreboard():
    """The stored runs of the mitigations."""
    return read_board()


@pytest.fixture(scope="session")
def unchanged(scoreboard):
    """The base among them."""
    return base_of(scoreboard)


@pytest.fixture(scope="session")
def at(scoreboard, unchanged):
    """(support, points lost) of a method at a strength, means over the seeds."""

    def point(method, strength=0):
        found = pick(scoreboard, method, strength)
        return fmean(run.target for run in found), fmean(run.lost(unchanged) for run in found)

    return point


@pytest.fixture(scope="session")
def tokenizer():
    """The course model's tokenizer, or one of its kind where there is no course model yet."""
    if (DATA / "pocket-gpt2" / "tokenizer.json").exists():
        return AutoTokenizer.from_pretrained(DATA / "pocket-gpt2")
    return train_tokenizer(documents=3_000)


@pytest.fixture(scope="session")
def tiny_folder(tokenizer, tmp_path_factory):
    """A saved GPT-2 of two narrow layers with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    new_model(Recipe(layers=2, width=32, heads=2), tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    """The model in `tiny_folder`. It is shared: a test that changes it takes a copy."""
    return load_model(tiny_folder)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory):
    """Random weights of GPT-2's exact shape, and a tokenizer of its size without a pad token."""
    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"<|filler {number}|>" for number in range(50256 - len(alphabet))]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *fillers])}
    model = Tokenizer(models.BPE(vocab={**vocabulary, "<|endoftext|>": 50256}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    return folder
