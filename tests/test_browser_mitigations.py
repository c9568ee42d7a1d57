"""The widgets of lessons 06 to 09 in a real JupyterLab, by keyboard and by click."""

from __future__ import annotations

import nbformat
import pytest
from jupyterlab_page import STATE, browser, course, lab, opened  # noqa: F401  (fixtures)
from playwright.sync_api import expect

from helpers.audit import CapabilityMap
from helpers.mitigations.board import read_board, strengths
from helpers.widgets.canary import Setting
from helpers.widgets.canary import words as words_of_canary
from helpers.widgets.strength import StrengthLab

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = (
    'import sys\nsys.path.insert(0, "..")\nfrom helpers.widgets.strength import StrengthLab\n'
    "StrengthLab()",
    "from helpers.widgets.brief import BriefForm\nBriefForm(path='map.yaml')",
    "from helpers.snapshots import ItemResult, Snapshot\nfrom helpers.suites import Item\n"
    "from helpers.widgets.merge import MergeLab\n\n"
    "def rows(name, right):\n"
    "    items = [Item(str(n), name, 'f', 'bare', 'p', 'a') for n in range(10)]\n"
    "    return [ItemResult(one, '', n < right, 1.0, 1) for n, one in enumerate(items)]\n\n"
    "def scored(support, lists):\n"
    "    return Snapshot({'support': rows('support', support), 'lists': rows('lists', lists)})\n\n"
    "MergeLab({0.0: scored(0, 9), 1.0: scored(10, 2)}, lambda alpha: scored(8, 8))",
    "from helpers.widgets.canary import CanaryLab\nCanaryLab()",
)


@pytest.fixture(scope="module")
def page(browser, lab, course):  # noqa: F811
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, course / "lessons" / "widgets.ipynb")
    with opened(browser, lab, "widgets") as page:
        assert page.evaluate(STATE)["errors"] == []
        yield page


def press(page, panel, name, key):
    """Focus a slider by its label, as Tab would, and press a key."""
    slider = panel.locator(".widget-hslider, .jupyter-widget-hslider").filter(has_text=name)
    slider.locator(".noUi-handle").focus()
    page.keyboard.press(key)


def test_a_strength_is_moved_by_keyboard_and_a_method_chosen(page):
    panel = page.locator(".course-strength")
    panel.scroll_into_view_if_needed()
    told, image = panel.get_by_role("status").first, panel.locator("img").first
    expected = StrengthLab(read_board())
    expect(told).to_have_text(expected.words())
    before = image.get_attribute("src")
    press(page, panel, "strength", "ArrowRight")
    places = strengths(expected.board, expected.method.value)
    expected.strength.value = places[places.index(expected.strength.value) + 1]
    expect(told).to_have_text(expected.words())
    expect(image).not_to_have_attribute("src", before)
    panel.locator("select").first.select_option("SAM")
    expected.method.value = "SAM"
    expect(told).to_have_text(expected.words())


def test_the_brief_is_changed_and_written(page, course):  # noqa: F811
    form = page.locator(".course-brief")
    form.scroll_into_view_if_needed()
    form.get_by_role("button", name="Write map.yaml").click()
    expect(form.get_by_role("status").first).to_contain_text("Written: map.yaml")
    assert len(CapabilityMap.load(course / "lessons" / "map.yaml").categories) > 5


def test_another_alpha_is_scored_by_the_button(page):
    panel = page.locator(".course-merge")
    panel.scroll_into_view_if_needed()
    told, image = panel.get_by_role("status").first, panel.locator("img").first
    before = image.get_attribute("src")
    press(page, panel, "alpha", "ArrowRight")
    expect(told).to_contain_text("has not been scored")
    panel.get_by_role("button", name="Score this one").click()
    expect(told).to_contain_text("support 80 percent")
    expect(image).not_to_have_attribute("src", before)


def test_the_canary_s_share_is_moved_by_keyboard_and_its_test_chosen(page):
    panel = page.locator(".course-canary")
    panel.scroll_into_view_if_needed()
    told, image = panel.get_by_role("status").first, panel.locator("img").first
    expect(told).to_have_text(words_of_canary(Setting(5, 400, 5, 1)))
    before = image.get_attribute("src")
    press(page, panel, "users (%)", "ArrowRight")
    expect(told).to_have_text(words_of_canary(Setting(10, 400, 5, 1)))
    expect(image).not_to_have_attribute("src", before)
    handle = panel.get_by_role("slider", name="users (%)")
    expect(handle).to_have_attribute("aria-valuetext", "10")
    panel.get_by_label("test").select_option("fixed test, peeked at")
    expect(told).to_have_text(words_of_canary(Setting(10, 400, 5, 1, "peeking")))
    for label in ("answers/hour", "harm (points)", "margin (points)"):
        expect(panel.get_by_role("slider", name=label)).to_have_count(1)
