"""One loss in five units."""

from __future__ import annotations

import math
import statistics

import pytest

from helpers.blindspot.headlines import headlines, percentages
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import Item


def snapshot(settings=None, **skills):
    """A snapshot of (right, items, nats per token); right None for running text."""
    results = {}
    for name, (right, count, nll) in skills.items():
        items = [Item(f"{n}", name, "", "bare", f"{n}?", f"{n}") for n in range(count)]
        results[name] = [
            ItemResult(i, "", None if right is None else n < right, nll=2 * nll, tokens=2)
            for n, i in enumerate(items)
        ]
    return Snapshot(results, settings or {"model": "made up"})


BEFORE = snapshot(facts=(8, 10, 0.1), lists=(4, 10, 1.0), stories=(None, 3, 0.5))
AFTER = snapshot(facts=(6, 10, 0.8), lists=(1, 10, 1.2), stories=(None, 3, 0.4))


def test_one_loss_has_five_sizes():
    found = headlines(BEFORE, AFTER)
    rise = 100 * (math.exp(0.7) - 1)
    assert list(found.loc["facts"]) == pytest.approx([20, 25, 0.7, 700, rise])
    rise = 100 * (math.exp(0.2) - 1)
    assert list(found.loc["lists"]) == pytest.approx([30, 75, 0.2, 20, rise])
    ratio = AFTER.score("stories") / BEFORE.score("stories")
    assert list(found.loc["stories"])[2:] == pytest.approx([-0.1, -20, 100 * (ratio - 1)])
    assert found.loc["stories"][:2].isna().all()


def test_averages_leave_out_what_has_no_such_unit():
    found = headlines(BEFORE, AFTER).loc["average"]
    assert found["points lost"] == pytest.approx(25)
    assert found["% of accuracy lost"] == pytest.approx(50)
    assert found["nats risen"] == pytest.approx(statistics.fmean([0.7, 0.2, -0.1]))
    wanted = statistics.fmean(100 * math.expm1(x) for x in (0.7, 0.2, -0.1))
    assert found["% of perplexity risen"] == pytest.approx(wanted)


def test_every_percentage_is_listed_from_the_smallest_on():
    found = percentages(headlines(BEFORE, AFTER))
    assert found.is_monotonic_increasing and len(found) == 8
    assert found["points lost, average"] == pytest.approx(25)
    assert found["points lost, lists"] == pytest.approx(30)
    assert found["% of accuracy lost, lists"] == pytest.approx(75)
    assert found["% of loss risen, facts"] == pytest.approx(700)
    assert found["% of perplexity risen, facts"] == pytest.approx(100 * math.expm1(0.7))
    assert not any("nats" in title for title in found.index)


def test_a_skill_that_was_not_there_has_no_share_to_lose():
    before, after = snapshot(facts=(0, 5, 0.0)), snapshot(facts=(3, 5, 0.5))
    found = headlines(before, after).loc["facts"]
    assert found["points lost"] == -60
    assert math.isnan(found["% of accuracy lost"]) and math.isnan(found["% of loss risen"])


def test_the_target_can_be_left_out():
    found = headlines(BEFORE, AFTER, leave_out=["facts", "stories"])
    assert list(found.index) == ["lists", "average"]
    assert list(found.loc["lists"]) == list(found.loc["average"])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="cannot be compared: dtype"):
        headlines(BEFORE, snapshot({"dtype": "bfloat16"}, facts=(6, 10, 0.8)))
