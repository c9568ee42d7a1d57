"""What an evaluation found: read from a snapshot, or from the folder that lm-eval writes.

Both are brought into one form in which two runs can be compared. Nothing is repaired in silence:
what is missing or damaged is named, together with what to do about it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..snapshots import TASK_VERSION, Snapshot, as_sample, task_name
from .samples import AGAIN, Answer, BadResults, Sample, gather, read_lines

#: Metrics of which less is better, asked only where the results do not say it themselves.
LOWER = frozenset(
    "nll perplexity word_perplexity byte_perplexity bits_per_byte brier_score ter wer cer".split()
)
PARTS = (
    "results configs versions config n-shot n-samples higher_is_better groups group_subtasks "
    "weights"
).split()
#: Arguments of the model class that change what it reads, which the hash of a prompt does not show.
READING = "add_bos_token prefix_token_id truncation enable_thinking chat_template_args".split()


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
        groups: lm-eval's groups of tasks, such as "mmlu", and the tasks at their ends.
        weights: digests of the files that the model was read from, by part ("base", "adapter");
            only snapshots know them.
    """

    tasks: dict[str, Task]
    settings: dict[str, Any]
    model: str
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def leaves(self, name: str) -> tuple[str, ...]:
        """The tasks that a name stands for: itself, or those of a group; none if it is unknown."""
        return (name,) if name in self.tasks else self.groups.get(name, ())


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
    tasks = {name: _task(name, report, read_lines(file), file.name) for name, file in files.items()}
    settings, groups = _settings(report, tasks), _groups(report, tasks)
    return Results(tasks, settings, _model(report), groups, report["weights"])


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
        samples = ((f"{name}, {r.item.id}", as_sample(number, r)) for number, r in enumerate(rows))
        tasks[name] = _task(name, report, samples, f"The snapshot's {name}")
    return Results(tasks, _settings(report, tasks), _model(report), weights=snapshot.weights)


def _task(name: str, report: dict[str, Any], samples: Iterable[Sample], source: str) -> Task:
    """A task with its answers, and the metrics that every one of them has."""
    kind = _of_task(report, "configs", name).get("output_type")
    effective = _of_task(report, "n-samples", name).get("effective")
    answers = gather(samples, source, kind, effective)
    told = _of_task(report, "higher_is_better", name)
    counts = Counter(metric for answer in answers for metric in answer.scores)
    metrics = {
        metric: _higher(told.get(metric.partition(",")[0]), metric.partition(",")[0])
        for metric, count in counts.items()
        if count == len(answers)
    }
    version = report["versions"].get(name)
    return Task(name, "" if version is None else str(version), metrics, answers)


def _higher(told: object, metric: str) -> bool:
    return told if isinstance(told, bool) else metric not in LOWER


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


def _groups(report: dict[str, Any], tasks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every group with the tasks below it, however deep: "mmlu" has "mmlu_stem", which has its own.

    lm-eval writes answers of tasks alone, so a group is known by its list of members.
    """
    members = {name: below for name, below in report["group_subtasks"].items() if below}

    def ends(name: str, above: tuple[str, ...]) -> list[str]:
        if name in tasks:
            return [name]
        below = members.get(name, ()) if name not in above else ()
        return [end for member in below for end in ends(str(member), (*above, name))]

    return {name: tuple(dict.fromkeys(ends(name, ()))) for name in members}


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
