"""The slider from base to fine-tune."""

from __future__ import annotations

import html
import itertools
import re

import pytest

from helpers.plotting.style import THINGS
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import Item
from helpers.widgets.merge import GRID, MergeLab, Route


def rows(name, right, of=10):
    items = [Item(f"{name}-{n}", name, "f", "bare", "prompt", "answer") for n in range(of)]
    return [ItemResult(item, "", number < right, 1.0, 1) for number, item in enumerate(items)]


def snapshot(support, lists, howto):
    text = Item("stories-0", "stories", "f", "bare", "", "Once")
    found = {name: rows(name, n) for name, n in (("support", support), ("lists", lists))}
    stories = [ItemResult(text, "", None, 2.0, 1)]
    return Snapshot({**found, "howto": rows("howto", howto), "stories": stories})


SCORED = {1.0: snapshot(10, 2, 4), 0.0: snapshot(0, 9, 10), 0.5: snapshot(8, 8, 10)}


def told(lab):
    return html.unescape(re.sub("<[^>]+>", "", lab.told.value))


def places(lab):
    return [value for _, value in lab.alpha.options]


def test_it_opens_half_way_and_says_what_is_kept_and_lost():
    lab = MergeLab(SCORED)
    assert lab.alpha.value == 0.5 and places(lab) == [0, 0.5, 1]
    words = "alpha 0.5: support 80 percent (base 0, fine-tune 100); old skills lose 5.0 points"
    assert told(lab) == repr(lab) == f"{words} on average, most in lists (10)."


def test_the_slider_changes_figure_words_and_table():
    lab = MergeLab(SCORED)
    before = bytes(lab.image.value), told(lab), lab.numbers.value
    lab.alpha.value = 1.0
    assert "old skills lose 65.0 points on average, most in lists (70)." in told(lab)
    after = bytes(lab.image.value), told(lab), lab.numbers.value
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert after[0].startswith(b"\x89PNG")
    lab.alpha.value = 0.5
    assert (bytes(lab.image.value), told(lab), lab.numbers.value) == before
    lab.alpha.value = 0.0
    assert told(lab).endswith("old skills lose 0.0 points on average.")


def test_the_table_has_every_suite_with_its_three_scores():
    table = Route(SCORED).table(0.5)
    found = re.findall(r"<tr><th scope=\"row\".*?>(.*?)</th>(.*?)</tr>", table)
    numbers = {name: re.findall(r">([\d?]+)<", cells) for name, cells in found}
    assert numbers == {
        "support": ["0", "80", "100"],
        "lists": ["90", "80", "20"],
        "howto": ["100", "100", "40"],
        "stories (perplexity)": ["7", "7", "7"],
    }


def test_curves_run_in_the_order_of_alpha_whatever_the_order_they_came_in():
    route = Route(SCORED)
    assert route.curve(("support",)) == [(0, 0), (0.5, 80), (1, 100)]
    assert route.curve(route.old) == [(0, 95), (0.5, 90), (1, 30)]


def test_another_alpha_is_scored_by_the_button_and_kept():
    asked = []

    def score(alpha):
        asked.append(alpha)
        return snapshot(9, 7, 9)

    lab = MergeLab(SCORED, score)
    assert places(lab) == list(GRID) and lab.button.disabled
    lab.alpha.value = 0.65
    assert "has not been scored" in told(lab) and not lab.button.disabled
    assert "?" in lab.numbers.value
    before = bytes(lab.image.value)
    lab.button.click()
    assert asked == [0.65] and "support 90 percent" in told(lab) and lab.button.disabled
    assert bytes(lab.image.value) != before
    lab.press()
    lab.alpha.value = 0.5
    lab.press()
    lab.alpha.value = 0.65
    assert asked == [0.65] and "support 90 percent" in told(lab)
    assert set(SCORED) == {0, 0.5, 1}


def test_what_fails_is_told_and_can_be_tried_again():
    def score(alpha):
        raise ValueError("out of memory")

    lab = MergeLab(SCORED, score)
    lab.alpha.value = 0.3
    lab.button.click()
    assert "ValueError: out of memory" in told(lab)
    assert not lab.button.disabled and not lab.alpha.disabled


def test_without_a_way_to_score_there_is_no_button():
    for score in (None, lambda alpha: SCORED[0]):
        lab = MergeLab(SCORED, score)
        assert (lab.button in lab.widget.children[0].children) == (score is not None)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="alpha 0 and 1"):
        MergeLab({0.5: SCORED[0.5]})
    with pytest.raises(ValueError, match=r"'law'\. There are support, lists"):
        MergeLab(SCORED, target="law")
    only = {alpha: Snapshot({"support": s.results["support"]}) for alpha, s in SCORED.items()}
    with pytest.raises(ValueError, match="no old skill"):
        MergeLab(only)
    with pytest.raises(ValueError, match=r"at alpha 0.5 is of support, and"):
        MergeLab({**SCORED, 0.5: only[0.5]})


def test_every_line_has_its_name_and_its_things_colour():
    lab = MergeLab(SCORED)
    artists = list(lab._artists(0.5))
    names = {a.get_text().strip(): a.get_color() for a in artists if hasattr(a, "get_text")}
    assert set(names) == {"support", "old skills", "lists", "howto"}
    assert names == {name: THINGS[name].colour for name in names}
    lines = [
        a.get_color() for a in artists if hasattr(a, "get_linestyle") and a.get_marker() != "None"
    ]
    assert sorted(lines) == sorted(names.values())
    heights = sorted(a.xy[1] for a in artists if hasattr(a, "get_text"))
    assert min(high - low for low, high in itertools.pairwise(heights)) >= 8
