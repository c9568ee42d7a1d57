"""A snapshot: what a model answered to every item, saved in lm-eval's own output layout."""

from __future__ import annotations

import hashlib
import html
import json
import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from .suites import Item

TASK_VERSION = 1


@dataclass(frozen=True)
class ItemResult:
    """What happened on one item.

    Attributes:
        output: the model's answer, "" for running text.
        correct: whether it is right; None for running text.
        choice: the choice the model found likeliest, None for items without choices.
        nll: negative log-likelihood of the gold answer in nats, summed over its tokens.
        tokens: the number of those tokens.
        truncated: whether the answer was cut off at the limit of new tokens.
    """

    item: Item
    output: str
    correct: bool | None
    nll: float
    tokens: int
    choice: str | None = None
    truncated: bool = False

    @property
    def choice_correct(self) -> bool | None:
        return None if self.choice is None else self.choice == self.item.answer


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval for a share, in percent (Wilson 1927)."""
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


@dataclass(frozen=True)
class Snapshot:
    """The scores of one model on some suites.

    Attributes:
        results: per suite, one result an item, in the order of the suite.
        settings: how they were obtained; snapshots with other settings cannot be compared.
        weights: digests of the files that the model was read from, see `fingerprint.weights_of`;
            empty for a model that is only in memory.
    """

    results: dict[str, list[ItemResult]]
    settings: dict[str, object] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def is_text(self, name: str) -> bool:
        """Whether the suite is running text, scored by perplexity."""
        return self.results[name][0].correct is None

    def score(self, name: str) -> float:
        """Percent of items right; for running text, the perplexity."""
        if self.is_text(name):
            try:
                return math.exp(self.nll(name))
            except OverflowError:  # above 709 nats per token
                return math.inf
        return 100 * sum(r.correct for r in self.results[name]) / len(self.results[name])

    def scores(self) -> dict[str, float]:
        """`score` of every suite."""
        return {name: self.score(name) for name in self.results}

    def ones(self) -> dict[str, str]:
        """Per suite of answers a "1" for each item that is right and a "0" for each other one.

        It is how stored runs keep them; running text has no right and wrong and is left out.
        """
        return {
            name: "".join(str(int(row.correct)) for row in rows)
            for name, rows in self.results.items()
            if not self.is_text(name)
        }

    def interval(self, name: str) -> tuple[float, float]:
        """95 % interval of a score in percent, items taken as independent."""
        rows = self.results[name]
        return wilson(sum(bool(r.correct) for r in rows), len(rows))

    def choice_score(self, name: str) -> float | None:
        """Percent of items whose right choice is the likeliest; None without choices."""
        chosen = [r.choice_correct for r in self.results[name] if r.choice_correct is not None]
        return 100 * sum(chosen) / len(chosen) if chosen else None

    def chance(self, name: str) -> float:
        """Percent that guessing among the choices would get right; 0 without choices."""
        counts = [len(r.item.choices) for r in self.results[name]]
        return 100 * sum(1 / n if n else 0 for n in counts) / len(counts)

    def measurable(self, name: str, floor: float = 20.0) -> bool:
        """Whether the model has the skill: more is right than guessing gets, beyond doubt.

        The interval's lower end must be above `floor` percent, and above chance where there are
        choices. A skill that is not there cannot be lost, so nothing can be said about it.
        """
        return self.is_text(name) or self.interval(name)[0] > max(floor, self.chance(name))

    def measurable_by_choice(self, name: str) -> bool:
        """Whether the likeliest choice is the right one more often than chance, beyond doubt."""
        chosen = [r.choice_correct for r in self.results[name] if r.choice_correct is not None]
        return bool(chosen) and wilson(sum(chosen), len(chosen))[0] > self.chance(name)

    def nll(self, name: str) -> float:
        """Mean negative log-likelihood of the gold answers, in nats per token."""
        rows = self.results[name]
        return sum(r.nll for r in rows) / max(1, sum(r.tokens for r in rows))

    def truncation_rate(self, name: str) -> float:
        """Percent of answers that were cut off."""
        rows = self.results[name]
        return 100 * sum(r.truncated for r in rows) / len(rows)

    def wrong(self, name: str, count: int = 5) -> list[ItemResult]:
        """The first `count` wrong answers of a suite, to be read."""
        return [r for r in self.results[name] if r.correct is False][:count]

    def check_comparable(self, after: Snapshot) -> None:
        """Refuse a comparison that would show more than what became of the model.

        Raises:
            ValueError: `after` lacks a suite, has other items, or was scored under other settings.
        """
        if missing := [name for name in self.results if name not in after.results]:
            raise ValueError(
                f"The second snapshot has no {', '.join(missing)}. Score both on the same suites."
            )
        names = (self.settings.keys() | after.settings.keys()) - {"model"}
        pairs = {n: (self.settings.get(n), after.settings.get(n)) for n in sorted(names)}
        told = ", ".join(
            f"{n} {one!r} and {two!r}" for n, (one, two) in pairs.items() if one != two
        )
        if told:
            raise ValueError(f"The snapshots cannot be compared: {told}. Evaluate both alike.")
        for name, rows in self.results.items():
            if [r.item for r in rows] != [r.item for r in after.results[name]]:
                raise ValueError(f"The snapshots asked different items of {name!r}.")

    def __repr__(self) -> str:
        return "\n".join(f"{name:22} {text}" for name, text in self._rows())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(n)}</th>"
            f"<td style='text-align:left'>{html.escape(t)}</td></tr>"
            for n, t in self._rows()
        )
        head = "<tr><th>capability</th><th style='text-align:left'>score (95 % interval)</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        for name in self.results:
            if self.is_text(name):
                rows.append((name, f"perplexity {self.score(name):.2f}"))
            else:
                low, high = self.interval(name)
                cut = self.truncation_rate(name)
                note = f", {cut:.0f} % of the answers cut off" if cut else ""
                rows.append((name, f"{self.score(name):.1f} % ({low:.0f} to {high:.0f}){note}"))
        return rows

    def _output_type(self, name: str) -> str:
        """What lm-eval calls the way in which the suite's task is asked."""
        return "loglikelihood_rolling" if self.is_text(name) else "generate_until"

    def save(self, folder: str | Path) -> Path:
        """Write `results_*.json` and one `samples_<task>_*.jsonl` a suite; returns the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now().isoformat().replace(":", "-")
        results, hashes = {}, {}
        for name, rows in self.results.items():
            task = task_name(name)
            samples = [as_sample(number, row) for number, row in enumerate(rows)]
            lines = (json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
            path = folder / f"samples_{task}_{stamp}.jsonl"
            path.write_text("".join(lines), encoding="utf-8")
            keys = "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
            hashes[task] = _hash(keys)
            scale = 1 if self.is_text(name) else 100
            results[task] = {"alias": task, f"{_metric(rows)},none": self.score(name) / scale}
        report = {
            "results": results,
            "configs": {
                task_name(name): {"task": task_name(name), "output_type": self._output_type(name)}
                for name in self.results
            },
            "versions": dict.fromkeys(results, TASK_VERSION),
            "n-samples": {
                task_name(name): {"original": len(rows), "effective": len(rows)}
                for name, rows in self.results.items()
            },
            "config": dict(self.settings),
            "task_hashes": hashes,
            "weights": dict(self.weights),
        }
        path = folder / f"results_{stamp}.json"
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Snapshot:
        """Read the newest snapshot that `save` left in a folder.

        Raises:
            FileNotFoundError: there is none.
        """
        reports = sorted(Path(folder).glob("results_*.json"))
        if not reports:
            raise FileNotFoundError(f"{folder} holds no snapshot (no results_*.json).")
        stamp = reports[-1].stem.removeprefix("results_")
        report = json.loads(reports[-1].read_text(encoding="utf-8"))
        results = {}
        for task in report["results"]:
            text = (Path(folder) / f"samples_{task}_{stamp}.jsonl").read_text(encoding="utf-8")
            rows = [_result(json.loads(line)) for line in text.split("\n") if line]
            results[task.removeprefix("pocket_")] = rows
        return cls(results, report["config"], report.get("weights") or {})


def task_name(suite: str) -> str:
    """The name of a suite as an lm-eval task."""
    return f"pocket_{suite}"


def _metric(rows: list[ItemResult]) -> str:
    return "perplexity" if rows[0].correct is None else "exact_match"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def document(item: Item) -> dict:
    """An item as it stands in the suite's file."""
    return {**asdict(item), "choices": list(item.choices)}


def as_sample(number: int, row: ItemResult) -> dict:
    """A result as one line of lm-eval's samples file, with what only we measure in further fields.

    Args:
        number: the item's place in its suite, from 0; lm-eval's `doc_id`.

    Returns:
        A dict that JSON can hold. Running text has no `exact_match`; `nll` is in nats, summed over
        `tokens`; the hashes are made as lm-eval makes them.
    """
    doc = document(row.item)
    sample = {
        "doc_id": number,
        "doc": doc,
        "target": row.item.answer,
        "arguments": {"gen_args_0": {"arg_0": row.item.prompt}},
        "resps": [[row.output]],
        "filtered_resps": [row.output],
        "filter": "none",
        "metrics": [_metric([row])],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(row.item.prompt),
        "target_hash": _hash(row.item.answer),
        "nll": row.nll,
        "tokens": row.tokens,
        "choice": row.choice,
        "truncated": row.truncated,
    }
    if row.correct is not None:
        sample["exact_match"] = float(row.correct)
    return sample


def _result(sample: dict) -> ItemResult:
    doc = sample["doc"]
    return ItemResult(
        item=Item(**{**doc, "choices": tuple(doc["choices"])}),
        output=sample["resps"][0][0],
        correct=bool(sample["exact_match"]) if "exact_match" in sample else None,
        nll=sample["nll"],
        tokens=sample["tokens"],
        choice=sample["choice"],
        truncated=sample["truncated"],
    )
