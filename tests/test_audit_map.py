"""The capability map: what it holds, and what it says about a wrong line."""

from __future__ import annotations

import dataclasses

import pytest

from helpers.audit.capability_map import BadMap, CapabilityMap, Category, example_map
from helpers.paths import DATA
from helpers.suites import NAMES

COURSE = DATA / "capability_map.yaml"


def test_the_example_says_what_its_comments_say():
    found = CapabilityMap.parse(example_map())
    assert (found.alpha, found.power) == (0.05, 0.8)
    assert found["arithmetic"] == Category(
        "arithmetic", "pocket_arithmetic", margin=3, min_items=250, cluster="family"
    )
    assert (found.looks, found.candidates, found.level) == (1, 1, 0.05)
    assert found["support"].role == "target" and found["support"].min_score == 85
    with pytest.raises(KeyError, match="no category 'facts'; it has arithmetic, support"):
        found["facts"]


@pytest.mark.parametrize("text", [example_map(), COURSE.read_text(encoding="utf-8")])
def test_a_map_comes_back_from_its_own_text(text):
    found = CapabilityMap.parse(text)
    assert CapabilityMap.parse(found.dump()) == found


def test_alpha_is_divided_by_every_chance_to_ship():
    text = example_map().replace("looks: 1", "looks: 2").replace("candidates: 1 ", "candidates: 5 ")
    found = CapabilityMap.parse(text)
    assert (found.looks, found.candidates) == (2, 5) and found.level == pytest.approx(0.005)
    assert CapabilityMap.parse(found.dump()) == found


def test_every_suite_of_the_course_has_a_category():
    found = CapabilityMap.load(COURSE)
    assert sorted(c.task for c in found.categories) == sorted(f"pocket_{name}" for name in NAMES)


def test_the_task_is_the_category_where_it_is_not_named():
    found = CapabilityMap.parse("version: 1\ncategories:\n  gsm8k: {margin: 2}\n")
    assert found["gsm8k"].task == "gsm8k" and found["gsm8k"].role == "protected"


def one(line):
    """A map whose fifth line is the given one."""
    return f"version: 1\ncategories:\n  a:\n    margin: 3\n    {line}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty"),
        ("a: [", "line 1: this is no YAML"),
        ("categories: {}", "line 1: the first line must be `version: 1`"),
        ("version: 2", "line 1: the first line must be `version: 1`"),
        ("version: 1", "no `categories:`"),
        ("version: 1\ncategories: {}", "`categories` is empty"),
        ("version: 1\ncategories: 3", "line 2: `categories` must be made of"),
        ("version: 1\nalpha: 2\ncategories: {}", "line 2: alpha must be a number between 0 and 1"),
        ("version: 1\ncategories:\n  a:\n", "line 3: category 'a' must be made of"),
        ("version: 1\ncategories:\n  a: {role: watch}\n  a: {}", "line 4: 'a' occurs twice"),
        ("version: 1\ncategories:\n  a: {task: x}", "line 3: .* protected and needs a `margin`"),
        ("version: 1\ncategories:\n  a: {role: target}", "line 3: .* needs a `min_score`"),
        (one("margn: 3"), "line 5: category 'a' has no 'margn'; did you mean 'margin'?"),
        (one("weather: wet"), "line 5: category 'a' has no 'weather'. Known: task, role"),
        (one("role: king"), "line 5: role must be protected or target or watch, not 'king'"),
        (one("severity: low"), "line 5: severity must be block or warn"),
        (one("layer: top"), "line 5: layer must be standard or business or judge"),
        (one("min_items: 2.5"), "line 5: min_items must be a whole number, not 2.5"),
        (one("min_items: 0"), "line 5: min_items must be a number at least 1, not 0"),
        (one("min_score: 120"), "line 5: min_score must be a number from 0 to 100, not 120"),
        (one("discordance: 1"), "line 5: discordance must be a number between 0 and 1, not 1"),
        (one("expected: 3x"), "line 5: expected must be a number from 0 to 100, not '3x'"),
        (
            "version: 1\nlooks: 0\ncategories: {}",
            "line 2: looks must be a number at least 1",
        ),
        (
            "version: 1\ncandidates: 1.5\ncategories: {}",
            "candidates must be a whole number",
        ),
        (
            "version: 1\ncategories:\n  a:\n    role: target\n    min_score: 80\n    expected: 80",
            "line 6: expected must be more than the target's min_score",
        ),
        (one("chance: true"), "line 5: chance must be a number from 0 to 100, not True"),
        (one("cluster: [a]"), r"line 5: cluster must be a name, not \['a'\]"),
        (one("task: 7"), "line 5: task must be a name, not 7"),
        ("version: 1\ncategories:\n  a: {margin: three}", "margin must be .* not 'three'"),
        ("version: 1\ncategories:\n  a: {margin: 0}", "margin must be .* not 0"),
        ("version: 1\ncategories:\n  a: {margin: .nan}", "margin must be .* not nan"),
    ],
)
def test_a_wrong_line_is_named(text, message):
    with pytest.raises(BadMap, match=f"(?s)^m.*{message}"):
        CapabilityMap.parse(text, "m")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadMap, match=r"There is no map .*map\.yaml"):
        CapabilityMap.load(tmp_path / "map.yaml")


def test_every_field_is_described():
    fields = {field.name for field in dataclasses.fields(Category)} - {"name"}
    assert all(f"{name}:" in Category.__doc__ for name in fields)
