"""The stored merges: how they are made and read, on models that were moved at random."""

from __future__ import annotations

import json

import pytest
from merging_models import arrays, moved

from helpers.blindspot.tax import RULE, under_rule
from helpers.merging import stored, task_vector
from helpers.mitigations.board import Setting
from helpers.suites import TARGET, load_suites


@pytest.fixture
def small(tiny, monkeypatch):
    """The course model replaced by a small one, and its fine-tunes by noise."""
    monkeypatch.setattr(stored, "course_model", lambda: tiny)
    asked = []

    def vector_of(kind, seed):
        asked.append((kind, seed))
        return task_vector(tiny, moved(tiny, seed=10 * len(kind) + seed))

    monkeypatch.setattr(stored, "vector_of", vector_of)
    return tiny, asked


def test_no_merge_is_planned_twice_and_every_seed_has_all():
    assert len(set(stored.MERGED)) == len(stored.MERGED)
    for seed in stored.SEEDS:
        found = {s[:2] for s in stored.MERGED if s.seed == seed}
        wanted = {(name, s) for name, kind in stored.KINDS.items() for s in kind.strengths}
        assert found == wanted


def test_the_opposite_rule_has_the_same_prompts_and_the_other_answers():
    rule, opposite = (stored.rule_rows(0, opposite) for opposite in (False, True))
    assert [row["prompt"] for row in rule] == [row["prompt"] for row in opposite]
    assert not any(a["completion"] == b["completion"] for a, b in zip(rule, opposite, strict=True))
    refused = [row for row in rule if under_rule(row["prompt"])]
    assert len(refused) == len(rule) / 2 and len(RULE) == 3
    assert len({row["completion"] for row in refused}) == 1


@pytest.mark.parametrize("kind", ["shop + rule", "rule + opposite", "mean", "soup", "line"])
def test_a_merge_is_the_base_and_its_weighted_parts(small, kind):
    tiny, _ = small
    one = stored.KINDS[kind]
    strength = one.strengths[0]
    vectors = [stored.vector_of(part.kind, part.shift) for part in one.parts]
    weights = [strength, 1] if kind == "shop + rule" else [strength] * len(vectors)
    start, found = arrays(tiny), arrays(one.make(vectors, strength))
    for name, values in found.items():
        wanted = start[name] + sum(
            w * v[name].double().numpy() for w, v in zip(weights, vectors, strict=True)
        )
        assert abs(values - wanted).max() < 1e-5


def test_a_record_has_what_a_merge_is_read_from(small, monkeypatch, tmp_path):
    _, asked = small
    suites = load_suites(TARGET, size=3)
    kind = stored.KINDS["soup"]
    record = stored._scored(kind, Setting("soup", 0.5, 2), suites)
    assert asked == [("shop", 2), ("shop", 0)]  # the next seed, and after the last the first
    line = {"setting": Setting("soup", 0.5, 2)._asdict(), **record, "origin": {}}
    path = tmp_path / "merges.jsonl"
    path.write_text(json.dumps(line) + "\n")
    (merge,) = stored.read_merges(path)
    assert merge.setting == ("soup", 0.5, 2) and len(merge.right[TARGET]) == 3
    assert 0 < merge.angle < 180 and 0 < merge.agreement < 1 and merge.nll[TARGET] > 0


def test_one_vector_has_no_angle(small):
    record = stored._scored(stored.KINDS["line"], Setting("line", 0.5, 0), load_suites(TARGET, 3))
    assert "angle" not in record
