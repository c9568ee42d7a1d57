"""Lesson 00 in a real JupyterLab and headless Chromium, with mouse and keyboard."""

from __future__ import annotations

import json

import pytest
from jupyterlab_page import STATE, browser, course, lab, opened  # noqa: F401  (fixtures)
from playwright.sync_api import expect

from helpers.paths import DATA

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LESSON = "00_start_here"


@pytest.fixture(scope="module")
def page(browser, lab):  # noqa: F811
    with opened(browser, lab, LESSON) as page:
        yield page


def test_the_lesson_runs_without_an_error(page):
    state = page.evaluate(STATE)
    assert state["errors"] == [] and state["waiting"] == 0


def test_the_environment_is_reported_as_fine(page):
    report = page.locator(".jp-OutputArea-output", has_text="[OK]").first
    expect(report).to_contain_text("All is here.")
    expect(report).not_to_contain_text("[FAIL]")


def test_the_figure_is_shown(page):
    figure = page.locator(".jp-OutputArea-output img[src^='data:image/png']").first
    figure.scroll_into_view_if_needed()
    expect(figure).to_be_visible()
    assert figure.evaluate("image => image.complete && image.naturalWidth") > 400


def test_the_quiz_explains_a_wrong_and_a_right_answer(page):
    entries = json.loads((DATA / "quizzes" / f"{LESSON[:2]}.json").read_text())
    number, entry = next((n, e) for n, e in enumerate(entries) if "options" in e)
    places = {option["correct"]: place for place, option in enumerate(entry["options"])}
    quiz = page.locator(".course-quiz")
    radios = quiz.get_by_role("radio")
    button = quiz.get_by_role("button", name="Check", exact=True).nth(number)
    feedback = quiz.get_by_role("status").first  # nothing else has been answered

    # Nothing chosen, then a wrong answer by mouse.
    button.click()
    expect(feedback).to_contain_text("Choose an option first.")
    radios.nth(places[False]).click()
    button.click()
    expect(feedback).to_contain_text("Not quite.")
    expect(feedback).to_contain_text(entry["options"][places[False]]["why"])

    # The right answer by keyboard.
    radios.nth(places[True]).focus()
    page.keyboard.press("Space")
    expect(radios.nth(places[True])).to_be_checked()
    button.focus()
    page.keyboard.press("Enter")
    expect(feedback).to_contain_text("Right.")
    expect(feedback).to_contain_text(entry["options"][places[True]]["why"])
