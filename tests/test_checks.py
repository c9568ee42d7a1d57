"""The exercises' checkers: right answers pass, typical wrong ones are told what is wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import nbformat
import pytest

from helpers.exercises import grade

ROOT = Path(__file__).parents[1]


def percent_right(results):
    return 100 * sum(result.correct for result in results) / len(results)


def lora_parameters(rank, fan_in, fan_out, layers):
    return layers * rank * (fan_in + fan_out)


def last_safe_step(probes, names, margin):
    broken = [
        number
        for number, probe in enumerate(probes)
        if any(probes[0].scores[name] - probe.scores[name] > margin for name in names)
    ]
    return probes[broken[0] - 1 if broken else -1].step


def state_bytes(weights, trained):
    return 4 * (weights + 3 * trained)


RIGHT = {
    "0.1": " Oslo",
    "0.2": percent_right,
    "1.1": lora_parameters,
    "1.2": last_safe_step,
    "1.3": state_bytes,
}


@pytest.mark.parametrize("exercise", RIGHT)
def test_right_answer(exercise):
    assert grade(exercise, RIGHT[exercise]).status == "right"


def of_previous(probes, names, margin):
    for before, probe in itertools.pairwise(probes):
        if any(before.scores[name] - probe.scores[name] > margin for name in names):
            return before.step
    return probes[-1].step


def of_first_name(probes, names, margin):
    return last_safe_step(probes, names[:1], margin)


def of_any_safe(probes, names, margin):
    safe = [p for p in probes if all(probes[0].scores[n] - p.scores[n] <= margin for n in names)]
    return safe[-1].step


def including_margin(probes, names, margin):
    return last_safe_step(probes, names, margin - 1e-9)


WRONG = [
    ("0.1", "Stockholm", "Norway"),
    ("0.1", ["Oslo"], "text"),
    ("0.2", lambda rs: sum(r.correct for r in rs) / len(rs), "share"),
    ("0.2", lambda rs: sum(r.correct for r in rs), "count"),
    ("0.2", lambda rs: round(percent_right(rs)), "rounded"),
    ("1.1", lambda r, i, o, n: n * i * o, "matrix itself"),
    ("1.1", lambda r, i, o, n: n * r * i * o, "add, not multiply"),
    ("1.1", lambda r, i, o, n: r * (i + o), "one layer"),
    ("1.1", lambda r, i, o, n: n * r * i, "A and B"),
    ("1.2", of_previous, "Slow losses"),
    ("1.2", of_first_name, "Any of the skills"),
    ("1.2", of_any_safe, "come back"),
    ("1.2", including_margin, "exactly the margin"),
    ("1.3", lambda n, t: n + 3 * t, "4 bytes"),
    ("1.3", lambda n, t: 16 * n, "Only trained"),
    ("1.3", lambda n, t: 4 * n + 8 * t, "missing"),
    ("1.3", lambda n, t: 12 * t, "weights themselves"),
]


@pytest.mark.parametrize(("exercise", "answer", "hint"), WRONG)
def test_wrong_answer_names_the_mistake(exercise, answer, hint):
    result = grade(exercise, answer)
    assert result.status == "wrong"
    assert hint in result.message


def exercise_outputs(folder: str) -> list[tuple[str, str]]:
    """(notebook, printed text) of every cell tagged as an exercise."""
    found = []
    for path in sorted((ROOT / folder).glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "exercise" in cell.metadata.get("tags", []):
                text = "".join(output.get("text", "") for output in cell.outputs)
                found.append((path.name, text))
    return found


def test_stubs_read_not_attempted():
    outputs = exercise_outputs("lessons")
    assert len(outputs) == len(RIGHT)
    assert all("not attempted yet" in text for _, text in outputs), outputs


def test_solutions_are_right():
    outputs = exercise_outputs("solutions")
    assert len(outputs) == len(RIGHT)
    assert all(": right." in text for _, text in outputs), outputs
