"""Mixing old data into new: replay, worked steps, and what the base writes itself."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..blindspot.steps import problem_rows
from ..decoding import read, write
from ..models import evaluation_mode
from ..pocket.examples import COMMON_FORMATS, FORMATS
from ..pocket.problems import FAMILIES
from ..suites import Suite
from ..tickets import as_dataset, mix
from .leaks import check_no_overlap

Rows = Dataset | Iterable[Mapping[str, str]]


def without_howtos(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """The rows but for those that tell how to do something, in steps or as a plan."""
    return [row for row in rows if not re.match(r" 1\. | Sure\. First", row["completion"])]


def add_replay(
    tickets: Rows, replay: Rows, share: float, held_out: Sequence[Suite] = (), seed: int = 0
) -> Dataset:
    """Mix old rows into new ones: `share` of the rows of the result are old.

    A share of 1 % of pre-training data is what Bethune et al. (2025, arXiv 2502.06042) find to
    prevent most forgetting. Here the share is one of training rows, not of old data.

    Args:
        tickets: the new rows; all of them stay in.
        replay: the old rows; drawn without repetition while they last.
        share: at least 0 and below 1.
        held_out: the suites that will measure retention; no replay row may ask what they ask.

    Raises:
        ReplayLeaks: a replay row asks what a held-out item asks.
        ValueError: the share is not in [0, 1), or there is nothing to replay.
    """
    replay = replay if isinstance(replay, Dataset) else [dict(row) for row in replay]
    tickets = as_dataset(tickets)
    if share and len(replay) == 0:
        raise ValueError(
            "There is nothing to replay: the replay data is empty. Give old rows, or let the base "
            "write some with `self_replay(model, prompts)`."
        )
    check_no_overlap(replay, held_out)
    return mix(tickets, as_dataset(replay) if len(replay) else tickets, share, seed)


def extra_rows(tickets: int, share: float) -> int:
    """How many rows a share adds to some tickets: t share / (1 - share), as `tickets.mix` has it.

    It is also the price: to see every ticket as often as before, training takes so many rows more.

    Raises:
        ValueError: the share is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, not {share}.")
    return round(tickets * share / (1 - share))


def token_share(old: Rows, mixed: Rows, tokenizer: PreTrainedTokenizerBase) -> float:
    """Percent of the tokens that the loss is taken on, the answers', that come from old rows.

    A share of rows says little about it: an old answer may be a word, and a ticket's a sentence.

    Args:
        old: all rows that count as old.
        mixed: the rows that are trained on; at least one.
    """
    known = {(row["prompt"], row["completion"]) for row in old}
    rows = [(row["prompt"], row["completion"]) for row in mixed]
    lengths = [len(tokenizer(answer)["input_ids"]) + 1 for _, answer in rows]  # and the end token
    share = sum(length for row, length in zip(rows, lengths, strict=True) if row in known)
    return 100 * share / sum(lengths)


def choose_families(count: int, seed: int = 0) -> tuple[str, ...]:
    """`count` families of worked problems; with one seed the fewer are among the more.

    Raises:
        ValueError: there are not so many.
    """
    if not 0 <= count <= len(FAMILIES):
        raise ValueError(f"There are {len(FAMILIES)} families of problems, not {count}.")
    return tuple(random.Random(f"families {seed}").sample(list(FAMILIES), len(FAMILIES))[:count])


def add_steps(
    tickets: Rows,
    share: float,
    families: Sequence[str],
    held_out: Sequence[Suite] = (),
    seed: int = 0,
) -> Dataset:
    """Mix word problems with worked steps into tickets: `share` of the rows of the result.

    The problems are of the given families only, so that the others show what carries over. Chung et
    al. (2022, arXiv 2210.11416) mixed in nine data sets with worked steps; how many it takes they
    do not say.

    Raises:
        ValueError: the share is not in [0, 1), there is no family to draw from, or no such family.
        ReplayLeaks: a problem is one of the held-out items.
    """
    tickets = as_dataset(tickets)
    count = extra_rows(len(tickets), share)
    if count and not families:
        raise ValueError("A share of worked steps needs at least one family of problems.")
    rows = problem_rows(count, "worked", seed, families) if count else []
    return add_replay(tickets, rows, share if rows else 0, held_out, seed)


def in_formats(questions: Sequence[str]) -> list[str]:
    """Every question as a prompt in every common format: bare, Question/Answer, User/Assistant."""
    return [FORMATS[name].format(question=text) for text in questions for name in COMMON_FORMATS]


@torch.no_grad()
def self_replay(
    model: PreTrainedModel,
    prompts: Sequence[str],
    max_new_tokens: int = 48,
    batch_size: int = 125,
) -> list[dict[str, str]]:
    """Old data from the base itself: it answers the prompts, and its answers are taken for right.

    For those who have prompts and no answers: a list written in ten minutes, or a log. The idea is
    that of Marek et al. (2026, arXiv 2605.26097), who sample from the model and train towards its
    probabilities; here the likeliest answers serve as plain training rows.

    Args:
        prompts: as the model is asked; repeated ones count once.

    Returns:
        Rows with a prompt and a completion. Answers that are empty or were cut off at
        `max_new_tokens` are left out: both would teach bad habits.

    Raises:
        ValueError: there are no prompts, or no answer was fit for use.
    """
    if isinstance(prompts, str):
        raise ValueError("Give a list of prompts, not a single text.")
    asked = [prompt for prompt in dict.fromkeys(prompts) if prompt.strip()]
    if not asked:
        raise ValueError("Self-generated replay needs prompts, and the list holds none.")
    rows = []
    with evaluation_mode(model):
        for start in range(0, len(asked), batch_size):
            batch = asked[start : start + batch_size]
            prefix = read(model, model.tokenizer(batch)["input_ids"], max_new_tokens)
            for prompt, answer, cut in zip(batch, *write(prefix, max_new_tokens), strict=True):
                if answer and not cut:
                    rows.append({"prompt": prompt, "completion": f" {answer}"})
    if not rows:
        raise ValueError(
            f"Not one of {len(asked)} answers was fit for replay: all are empty or longer than "
            f"{max_new_tokens} tokens. Look at a few with `complete(model, prompts)`."
        )
    return rows


@torch.no_grad()
def sampled_replay(
    model: PreTrainedModel, count: int, max_new_tokens: int = 48, seed: int = 0
) -> list[dict[str, str]]:
    """Old data without a single prompt: texts that the base samples from the very beginning.

    Every token is drawn with its own probability, so the texts are spread as the model's training
    data was, as far as the model knows it (Marek et al. 2026, arXiv 2605.26097). A model that
    never learned to write questions, such as one trained on answers only, will sample none.

    Returns:
        `count` rows at most, in which the prompt is the start token and the completion the text;
        empty texts and repeated ones are left out.

    Raises:
        ValueError: `count` is below 1, or no text came.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}.")
    tokenizer = model.tokenizer
    start = tokenizer.bos_token or tokenizer.eos_token
    ids = torch.full((count, 1), tokenizer.convert_tokens_to_ids(start), device=model.device)
    with evaluation_mode(model), torch.random.fork_rng():
        torch.manual_seed(seed)
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_new_tokens,
        )
    texts = tokenizer.batch_decode(written[:, 1:], skip_special_tokens=True)
    kept = dict.fromkeys(text for text in texts if text.strip())
    if not kept:
        raise ValueError("The model sampled nothing but empty texts; give it prompts instead.")
    return [{"prompt": start, "completion": text} for text in kept]
