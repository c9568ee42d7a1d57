"""What a model answered to one task: the samples lm-eval logs, one line for a document and filter.

They are checked and brought into one form in which two runs can be paired.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

#: A line of lm-eval's samples file: where it stands, and its JSON object.
Sample = tuple[str, dict[str, Any]]

#: Logged as (log-likelihood, count), the count being the text's bytes or its words.
PER_BYTE_OR_WORD = ("byte_perplexity", "bits_per_byte", "word_perplexity")
#: Fields of a sample that are no metrics; older versions of lm-eval do not list the metrics.
FIELDS = frozenset(
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash "
    "target_hash".split()
)
NEEDED = ("doc_id", "doc", "target", "arguments", "resps")
AGAIN = "Run the evaluation again, or copy the whole folder again."


class BadResults(ValueError):
    """A results folder is missing, incomplete or damaged."""


@dataclass(frozen=True)
class Answer:
    """What a model answered to one item.

    Attributes:
        key: pairs the item with the same item of the other run: the hashes of document and prompt.
            Items that are alike in both are told apart by `#2`, `#3` in the order of the file.
        scores: metric to value.
        cluster: the document's short fields, one of which may be named as what items share.
        prompt: for running text, the text itself.
        output: what the model wrote, or the choice it found likeliest; "" for running text.
        chance: what guessing gets right: one over the number of choices, 0 without choices.
        truncated: whether the answer was cut off, None where that was not recorded.
        target_hash: tells whether both runs were scored against the same right answer.
    """

    key: str
    scores: dict[str, float]
    cluster: dict[str, str]
    prompt: str
    target: str
    output: str
    chance: float
    truncated: bool | None
    target_hash: str


def read_lines(path: Path) -> Iterator[Sample]:
    """The samples in a file of lm-eval, one a line.

    Raises:
        BadResults: the file is not UTF-8, or a line is no JSON object.
    """
    # Not `splitlines`: texts may hold other line separators, which JSON leaves as they are.
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"{path.name}, line {number}"
                if not line.strip():
                    continue
                try:
                    sample = json.loads(line)
                except json.JSONDecodeError as error:
                    raise BadResults(f"{where} is not JSON ({error}). {AGAIN}") from error
                if not isinstance(sample, dict):
                    raise BadResults(f"{where} is no object {{...}}. {AGAIN}")
                yield where, sample
    except UnicodeDecodeError as error:
        raise BadResults(f"{path.name} is not UTF-8 text ({error}). {AGAIN}") from error


def gather(
    samples: Iterable[Sample], source: str, kind: str | None, effective: object
) -> tuple[Answer, ...]:
    """Gather the samples of a task: one a document and filter in, one a document out.

    Args:
        source: where the samples are from, for errors.
        kind: the task's output type in lm-eval.
        effective: how many documents the report says were evaluated; no number, no check.

    Raises:
        BadResults: samples are missing, there twice or damaged, or a score is not finite.
    """
    by_filter: dict[str, dict[int | str, Answer]] = {}
    for where, sample in samples:
        for field in NEEDED:
            if field not in sample:
                raise BadResults(f"{where} has no {field!r}. {AGAIN}")
        document = sample["doc_id"]
        try:
            answers = by_filter.setdefault(sample.get("filter", "none"), {})
            twice = document in answers
            answers[document] = _answer(f"{where} (document {document})", sample, kind)
        except BadResults:
            raise
        except (TypeError, AttributeError, LookupError, ValueError) as error:
            raise BadResults(f"{where} is no sample of lm-eval ({error!r}). {AGAIN}") from error
        if twice:
            old = "" if "filter" in sample else " (lm-eval too old to tell its filters apart?)"
            raise BadResults(f"{where}: document {document} is there twice{old}. {AGAIN}")
    if not by_filter:
        raise BadResults(f"{source} holds no answers. {AGAIN}")
    _check_documents(source, by_filter, effective)
    return tuple(_merged(by_filter))


def _check_documents(
    source: str, by_filter: dict[str, dict[int | str, Answer]], effective: object
) -> None:
    """Every filter saw the same documents, and as many as the report says."""
    (name, first), *others = by_filter.items()
    for other, answers in others:
        if first.keys() != answers.keys():
            lacking = ", ".join(map(str, list(first.keys() ^ answers.keys())[:5]))
            raise BadResults(
                f"{source}: filters {name!r} and {other!r} have different documents "
                f"(only one of them has {lacking}). {AGAIN}"
            )
    # lm-eval counts the values of a metric. That is fewer than documents when a task logs each of
    # its metrics for some documents only.
    values = Counter(metric for answer in first.values() for metric in answer.scores)
    if isinstance(effective, int) and effective not in {len(first), *values.values()}:
        raise BadResults(
            f"{source} has {len(first)} documents, but {effective} were evaluated according to "
            f"results_*.json. {AGAIN}"
        )


def _merged(by_filter: dict[str, dict[int | str, Answer]]) -> Iterator[Answer]:
    """One answer a document, with the scores of every filter and a key of its own."""
    first = next(iter(by_filter.values()))
    seen: Counter[str] = Counter()
    for document, answer in first.items():
        scores = {} if len(by_filter) > 1 else dict(answer.scores)
        for chosen, answers in by_filter.items():
            scores |= {f"{name},{chosen}": x for name, x in answers[document].scores.items()}
        seen[answer.key] += 1  # public benchmarks have some items twice
        number = f"#{seen[answer.key]}" if seen[answer.key] > 1 else ""
        yield replace(answer, scores=scores, key=answer.key + number)


def _answer(where: str, sample: dict[str, Any], kind: str | None) -> Answer:
    """The answer in a sample, its scores by plain names.

    Args:
        kind: the task's output type in lm-eval.
    """
    doc, target = sample["doc"], str(sample["target"])
    requests = _requests(sample)
    if not requests:
        raise BadResults(f"{where}: 'arguments' has no prompt. {AGAIN}")
    prompt = _text(requests[0][0])
    target_hash = sample.get("target_hash") or _hash(target)
    prompt_hash = sample.get("prompt_hash") or _hash(prompt)
    if _is_ours(sample) and "exact_match" not in sample:
        # The model never sees the prompt of running text. lm-eval's prompt is the text itself.
        prompt, prompt_hash = target, target_hash
    doc_hash = sample.get("doc_hash") or _hash(json.dumps(doc, indent=2, ensure_ascii=False))
    fields = doc if isinstance(doc, dict) else {}
    short = {name: str(value) for name, value in fields.items() if isinstance(value, int | str)}
    if kind == "multiple_choice":
        choices = [_text(request[-1]).strip() for request in requests]
        likely = [float(_first(resps)) for resps in sample["resps"][: len(choices)]]
        output = choices[likely.index(max(likely))]
        if target.isdigit() and int(target) < len(choices):
            target = choices[int(target)]
    else:
        choices = fields.get("choices")
        output = "" if str(kind).startswith("loglikelihood") else _first(sample["resps"]).strip()
    count = len(choices) if isinstance(choices, list) else 0
    truncated = sample.get("truncated")
    return Answer(
        key=doc_hash + prompt_hash,
        scores=_scores(where, sample, kind),
        cluster={name: text for name, text in short.items() if len(text) <= 80},
        prompt=prompt,
        target=target,
        output=output,
        chance=1 / count if count > 1 else 0.0,
        truncated=truncated if isinstance(truncated, bool) else None,
        target_hash=target_hash,
    )


def _requests(sample: dict[str, Any]) -> list[list[Any]]:
    """What the model was asked: a list of arguments for each request, the prompt first."""
    found = sample["arguments"]
    rows = list(found.values() if isinstance(found, dict) else found)
    rows = [list(row.values() if isinstance(row, dict) else row) for row in rows]
    # For this metric lm-eval asks for every choice once more, without the prompt.
    return rows[: len(rows) // 2] if "acc_mutual_info" in _logged(sample) else rows


def _text(argument: object) -> str:
    """A prompt as text; that of a chat model behind an API stands in a list of one."""
    wrapped = isinstance(argument, list) and len(argument) == 1
    return str(argument[0] if wrapped else argument)


def _first(value: object) -> str:
    """The first text in nested lists, "" if there is none."""
    while isinstance(value, list):
        value = value[0] if value else ""
    return str(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _logged(sample: dict[str, Any]) -> list[str]:
    """The names of the metrics in a sample."""
    names = sample.get("metrics")
    return names if isinstance(names, list) else [name for name in sample if name not in FIELDS]


def _is_ours(sample: dict[str, Any]) -> bool:
    """Whether `Snapshot.save` wrote a sample: lm-eval does not count tokens."""
    return "tokens" in sample and "nll" in sample


def _scores(where: str, sample: dict[str, Any], kind: str | None) -> dict[str, float]:
    """The metrics of a sample that are numbers."""
    scores: dict[str, float] = {}
    if _is_ours(sample):
        if "exact_match" in sample:
            scores["exact_match"] = _finite(where, "exact_match", sample["exact_match"])
        scores["nll"] = _finite(where, "nll", sample["nll"]) / max(1, sample["tokens"])
        if sample.get("choice") is not None:
            scores["choice"] = float(sample["choice"] == sample["target"])
        return scores
    for name in _logged(sample):
        if name not in sample:
            raise BadResults(f"{where} lists the metric {name!r} and lacks it. {AGAIN}")
        value = sample[name]
        if name == "bypass":  # --predict_only: a constant that stands for no score at all
            continue
        if name == "perplexity" and kind == "loglikelihood":
            scores["nll"] = -_finite(where, name, value)
        elif isinstance(value, int | float):
            scores[name] = _finite(where, name, value)
    for name in PER_BYTE_OR_WORD:
        if isinstance(sample.get(name), list) and "nll" not in scores:
            log_likelihood, count = sample[name]
            scores["nll"] = -_finite(where, name, log_likelihood) / max(1, count)
    return scores


def _finite(where: str, metric: str, value: float) -> float:
    if not math.isfinite(value):
        raise BadResults(
            f"{where}: {metric} is {value}, which cannot be compared. Such values come from a "
            "model that overflows: evaluate it in float32 or bfloat16, or leave the task out."
        )
    return float(value)
