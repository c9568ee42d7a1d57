"""What an evaluation found, item by item: read from a snapshot, or from the files lm-eval writes.

Both are brought into one form in which two runs can be paired. Nothing is repaired in silence: what
is missing or damaged is named, together with what to do about it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..snapshots import TASK_VERSION, Snapshot, _sample, task_name

#: A line of lm-eval's samples file: where it stands, and its JSON object.
Sample = tuple[str, dict[str, Any]]

#: Metrics of which less is better, asked only where the results do not say it themselves.
LOWER = frozenset(
    "nll perplexity word_perplexity byte_perplexity bits_per_byte brier_score ter wer cer".split()
)
#: Logged as (log-likelihood, count), the count being the text's bytes or its words.
PER_BYTE_OR_WORD = ("byte_perplexity", "bits_per_byte", "word_perplexity")
#: Fields of a sample that are no metrics; older versions of lm-eval do not list the metrics.
FIELDS = frozenset(
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash "
    "target_hash".split()
)
NEEDED = ("doc_id", "doc", "target", "arguments", "resps")
PARTS = (
    "results configs versions config n-shot n-samples higher_is_better groups group_subtasks"
).split()
#: Arguments of the model class that change what it reads, which the hash of a prompt does not show.
READING = "add_bos_token prefix_token_id truncation enable_thinking chat_template_args".split()
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


@dataclass(frozen=True)
class Task:
    """The answers to one task.

    Attributes:
        metrics: metric to whether higher is better. With one filter a metric has its plain name
            and its full one (`acc` and `acc,none`), with several only the full ones
            (`exact_match,strict-match`), so that nobody takes one filter for another. Only
            metrics that are a number for every item are listed; there may be none.
    """

    name: str
    version: str
    metrics: dict[str, bool]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Results:
    """What one evaluation found.

    Attributes:
        settings: how, which must agree between two runs. What holds for one task only is named
            `<task>.<setting>`, such as `gsm8k.num_fewshot`.
        model: what was measured, which may differ.
    """

    tasks: dict[str, Task]
    settings: dict[str, Any]
    model: str


def read_results(folder: str | Path) -> Results:
    """Read the newest results of a folder that `Snapshot.save` or `lm_eval --log_samples` wrote.

    lm-eval's files may also be in the one folder that it makes for each model below the given one.
    Of several runs into one folder only the newest is read, with the tasks of that run.

    Metrics are as lm-eval logs them for each item, with these exceptions. Log-likelihoods become
    `nll`, in nats, of which less is better: per byte of running text where lm-eval logs bytes,
    else per word; per answer for the metric "perplexity" of single answers; and per token in our
    snapshots, which also have `choice`, whether the right choice is the likeliest. What is no
    number for a single item, such as BLEU's pairs of texts, is left out.

    Raises:
        BadResults: there are no results, or they are incomplete or damaged.
    """
    folder = _locate(Path(folder))
    path = max(folder.glob("results_*.json"), key=lambda file: file.stem)
    report = _read_report(path)
    stamp = path.stem.removeprefix("results_")
    files = {name: folder / f"samples_{name}_{stamp}.jsonl" for name in _task_names(path, report)}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        raise BadResults(
            f"{path.name} has no answers to {', '.join(missing)}: {files[missing[0]].name} is not "
            "beside it. Run lm-eval with --log_samples, and copy all files of the run."
        )
    tasks = {name: _task(name, report, _lines(file), file.name) for name, file in files.items()}
    return Results(tasks, _settings(report, tasks), _model(report))


def from_snapshot(snapshot: Snapshot) -> Results:
    """What `read_results` would read if the snapshot were saved.

    Raises:
        BadResults: a suite has no items, or a score is not finite.
    """
    suites = {task_name(suite): rows for suite, rows in snapshot.results.items()}
    versions = dict.fromkeys(suites, TASK_VERSION)
    report = _complete({"versions": versions, "config": snapshot.settings})
    tasks = {}
    for name, rows in suites.items():
        samples = ((f"{name}, {r.item.id}", _sample(number, r)) for number, r in enumerate(rows))
        tasks[name] = _task(name, report, samples, f"The snapshot's {name}")
    return Results(tasks, _settings(report, tasks), _model(report))


# The folder and the report of all tasks.


def _locate(folder: Path) -> Path:
    """The folder itself, or lm-eval's one folder for a model in it."""
    if not folder.is_dir():
        what = "is a file: give the folder it is in" if folder.exists() else "does not exist"
        raise BadResults(f"{folder} {what}.")
    if any(folder.glob("results_*.json")):
        return folder
    below = sorted({path.parent for path in folder.glob("*/results_*.json")})
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise BadResults(f"{folder} has the results of several models: {names}. Give one of them.")
    if not below:
        raise BadResults(
            f"{folder} holds no results (no results_*.json). Give the folder that Snapshot.save "
            "wrote to, or that lm-eval was given as --output_path."
        )
    return below[0]


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadResults(f"{path.name} is not JSON ({error}). {AGAIN}") from error
    if not isinstance(report, dict) or not report.get("results"):
        raise BadResults(f"{path.name} has no 'results' in it. {AGAIN}")
    report = _complete(report)
    for part in PARTS:
        if not isinstance(report[part], dict):
            raise BadResults(f"{path.name}: {part!r} is no object {{...}}. {AGAIN}")
    return report


def _complete(report: dict[str, Any]) -> dict[str, Any]:
    """A report with every part, since older versions of lm-eval do not write all of them."""
    return {**report, **{part: report.get(part) or {} for part in PARTS}}


def _task_names(path: Path, report: dict[str, Any]) -> list[str]:
    """The tasks that were run, without the groups that only sum them up."""
    # Older versions list tasks among the groups, too: as groups of nothing.
    groups = {name for name, tasks in report["group_subtasks"].items() if tasks}
    groups |= report["groups"].keys()
    names = [name for name in report["configs"] or report["results"] if name not in groups]
    if not names:
        raise BadResults(f"{path.name} names no task. {AGAIN}")
    return names


def _of_task(report: dict[str, Any], part: str, task: str) -> dict[str, Any]:
    entry = report[part].get(task)
    return entry if isinstance(entry, dict) else {}


def _settings(report: dict[str, Any], tasks: Iterable[str]) -> dict[str, Any]:
    """How the results were obtained; not what was measured, when, or on which machine."""
    config = report["config"]
    if not report["n-shot"] and "model_args" not in config:  # a snapshot
        return {name: value for name, value in config.items() if name != "model"}
    arguments = _model_arguments(report)
    batch = config.get("batch_size")
    settings = {
        "dtype": str(config.get("model_dtype") or arguments.get("dtype") or "").split(".")[-1],
        "batch_size": int(batch) if isinstance(batch, str) and batch.isdigit() else batch,
        "limit": config.get("limit"),
        "gen_kwargs": config.get("gen_kwargs") or None,  # {} by command line, None in Python
    }
    for name in ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"):
        settings[name] = config.get(name)
    for name in ("max_length", "chat_template_sha", "system_instruction_sha"):
        settings[name] = report.get(name)
    settings["fewshot_as_multiturn"] = report.get("fewshot_as_multiturn")
    settings |= {name: arguments[name] for name in READING if name in arguments}
    for task in tasks:
        own = _of_task(report, "configs", task)
        settings[f"{task}.num_fewshot"] = report["n-shot"].get(task, own.get("num_fewshot"))
        for name in ("output_type", "generation_kwargs", "filter_list"):
            settings[f"{task}.{name}"] = _without_places(own.get(name))
    return settings


def _without_places(value: Any) -> Any:
    """A task's filters without the memory addresses and folders of their functions."""
    if isinstance(value, list):
        return [_without_places(part) for part in value]
    if not isinstance(value, dict):
        return value
    found = {name: _without_places(part) for name, part in value.items()}
    if isinstance(found.get("function"), str):
        found["function"] = re.sub(r" at 0x[0-9a-fA-F]+|(?<=')[^']*[/\\]", "", found["function"])
    return found


def _model_arguments(report: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's --model_args, which older versions keep as "name=value,..."."""
    arguments = report["config"].get("model_args")
    if isinstance(arguments, str):
        return dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    return arguments if isinstance(arguments, dict) else {}


def _model(report: dict[str, Any]) -> str:
    arguments = _model_arguments(report)
    named = [str(arguments[n]) for n in ("pretrained", "peft", "delta") if arguments.get(n)]
    found = report.get("model_name") or report["config"].get("model") or ""
    return " + ".join(named) or str(found)


# The samples of one task.


def _lines(path: Path) -> Iterator[Sample]:
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


def _task(name: str, report: dict[str, Any], samples: Iterable[Sample], source: str) -> Task:
    """Gather the samples of a task: one a document and filter in, one a document out."""
    kind = _of_task(report, "configs", name).get("output_type")
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
    _check_documents(source, by_filter, _of_task(report, "n-samples", name).get("effective"))
    answers = tuple(_merged(by_filter))
    told = _of_task(report, "higher_is_better", name)
    counts = Counter(metric for answer in answers for metric in answer.scores)
    metrics = {
        metric: _higher(told.get(metric.partition(",")[0]), metric.partition(",")[0])
        for metric, count in counts.items()
        if count == len(answers)
    }
    version = report["versions"].get(name)
    return Task(name, "" if version is None else str(version), metrics, answers)


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


def _higher(told: object, metric: str) -> bool:
    return told if isinstance(told, bool) else metric not in LOWER


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
