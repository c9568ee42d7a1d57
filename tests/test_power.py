"""The sliders over a gate's power curve."""

from __future__ import annotations

import html
import re

import pytest

from helpers.audit.planning import chances, items_needed
from helpers.widgets.power import CHANGED, ITEMS, MARGINS, Plan, PowerLab, curve, words


@pytest.fixture(scope="module")
def lab():
    return PowerLab()


def told(lab):
    return html.unescape(re.sub("<[^>]+>", "", lab.told.value))


def test_it_opens_at_three_points_and_a_quick_look(lab):
    assert lab.plan() == Plan(3, 250, 0.1)
    assert repr(lab) == told(lab) == words(lab.plan())


def test_the_words_are_the_plans_numbers(lab):
    plan = Plan(3, 250, 0.1)
    harmless, lost = (100 * chances(250, 3, 0.1, drop)[0] for drop in (0, 3))
    twice = 100 * chances(250, 3, 0.1, 6)[1]
    assert f"passes in {harmless:.0f} of 100" in words(plan)
    assert f"lost exactly the margin in {lost:.0f};" in words(plan)
    assert f"lost 6 points is blocked in {twice:.0f}" in words(plan)
    assert f"{items_needed(3, 0.1):,} items are needed" in words(plan)


def test_what_cannot_be_is_left_out():
    """With 5 % changed answers nothing can lose ten points."""
    text = words(Plan(10, 250, 0.05))
    assert "exactly the margin" not in text and "is blocked" not in text
    assert curve(Plan(10, 250, 0.05))[-1][0] == 5.0


@pytest.mark.parametrize("margin", MARGINS)
def test_at_the_margin_no_more_pass_than_alpha(margin):
    for changed in CHANGED:
        for drop, passed, blocked in curve(Plan(margin, 250, changed)):
            assert 0 <= passed + blocked <= 100 + 1e-6
            if drop >= margin:
                assert passed <= 5


def test_a_slider_changes_figure_and_words(lab):
    before = bytes(lab.image.value), told(lab)
    lab.items.value = 1000
    after = bytes(lab.image.value), told(lab)
    assert before[0] != after[0] and "1,000 items" in after[1]
    lab.items.value = 250
    assert (bytes(lab.image.value), told(lab)) == before


def test_every_setting_can_be_drawn(lab):
    for margin in MARGINS:
        for changed in CHANGED:
            lab.margin.value, lab.changed.value = margin, changed
            assert bytes(lab.image.value).startswith(b"\x89PNG")
    lab.margin.value, lab.changed.value = 3, 0.1
    assert set(ITEMS) == {value for _, value in lab.items.options}
