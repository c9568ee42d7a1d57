"""Lesson 03 in a real JupyterLab: sliders by keyboard, live training, stop, game and quiz."""

from __future__ import annotations

import json
import re
import time

import nbformat
import pytest
from jupyterlab_page import ROOT, STATE, browser, course, lab, opened  # noqa: F401  (fixtures)
from nbconvert import HTMLExporter
from playwright.sync_api import expect

from helpers.paths import DATA
from helpers.runs import read_runs, values
from helpers.widgets.knobs import Stored, name, table
from helpers.widgets.knobs import words as words_of_view
from helpers.widgets.power import Plan
from helpers.widgets.power import words as words_of_plan

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LESSON = "03_the_knobs"
RUNS = read_runs(alpha=None)


def view(lr=1e-2, rank=8, step=60, alpha="2r"):
    return Stored(RUNS).view(lr, rank, step, alpha)


def words(lr=1e-2, rank=8, step=60, alpha="2r"):
    """What the laboratory says of a setting."""
    return words_of_view(view(lr, rank, step, alpha), name(lr, rank, alpha))


@pytest.fixture(scope="module")
def page(browser, lab):  # noqa: F811
    with opened(browser, lab, LESSON) as page:
        yield page


@pytest.fixture
def knobs(page):
    found = page.locator(".course-knobs")
    found.scroll_into_view_if_needed()
    return found


def press(page, knobs, name, key):
    """Focus a slider by its label, as Tab would, and press a key."""
    slider = knobs.locator(".widget-hslider, .jupyter-widget-hslider").filter(has_text=name)
    slider.locator(".noUi-handle").focus()
    page.keyboard.press(key)


def source(knobs):
    return knobs.locator("img").first.get_attribute("src")


def test_the_lesson_runs_without_an_error(page):
    state = page.evaluate(STATE)
    assert state["errors"] == [] and state["waiting"] == 0


def test_the_first_setting_is_lesson_01s(knobs):
    expect(knobs.get_by_role("status").first).to_have_text(words())
    images = knobs.locator("img")
    expect(images).to_have_count(3)
    for image in images.all():
        assert 300 < image.evaluate("image => image.naturalWidth") < 400


@pytest.mark.parametrize(
    ("label", "key", "other"), [("learning rate", "ArrowLeft", 0), ("LoRA rank", "ArrowRight", 1),
                                ("step", "ArrowLeft", 2)]
)  # fmt: skip
def test_a_slider_moves_by_keyboard(page, knobs, label, key, other):
    setting = [1e-2, 8, 60]
    known = [values(RUNS, "lr"), values(RUNS, "rank"), Stored(RUNS).steps][other]
    setting[other] = known[known.index(setting[other]) + (1 if key == "ArrowRight" else -1)]
    before = source(knobs)
    press(page, knobs, label, key)
    expect(knobs.get_by_role("status").first).to_have_text(words(*setting))
    assert source(knobs) != before
    shown = re.findall(r"<td[^>]*>([^<]*)</td>", table(view(*setting)))
    assert knobs.locator("table td").all_inner_texts() == shown
    # Its name and its value can be read aloud; ipywidgets gives the number of the option.
    handle = knobs.get_by_role("slider", name=label)
    expect(handle).to_have_attribute("aria-valuetext", f"{setting[other]:g}")
    press(page, knobs, label, {"ArrowLeft": "ArrowRight", "ArrowRight": "ArrowLeft"}[key])
    expect(knobs.get_by_role("status").first).to_have_text(words())
    expect(handle).to_have_attribute("aria-valuetext", f"{[1e-2, 8, 60][other]:g}")


def test_pictures_follow_while_a_slider_is_dragged(page, knobs):
    handle = knobs.get_by_role("slider", name="learning rate")
    track = knobs.locator(".noUi-target").first.bounding_box()
    assert track["width"] > 220
    box, before = handle.bounding_box(), source(knobs)
    start = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(track["x"] + 2, start[1], steps=4)
    expect(knobs.get_by_role("status").first).to_have_text(words(values(RUNS, "lr")[0]))
    assert source(knobs) != before  # and the button of the mouse is still down
    page.mouse.move(*start, steps=4)
    page.mouse.up()
    expect(knobs.get_by_role("status").first).to_have_text(words())


def test_alpha_is_chosen_from_a_menu(page, knobs):
    told = knobs.get_by_role("status").first
    menu = knobs.get_by_label("LoRA α")
    menu.select_option("16")
    expect(told).to_have_text(words())  # at rank 8 all rules agree
    for _ in range(3):  # 4, 2, 1
        press(page, knobs, "LoRA rank", "ArrowLeft")
    expect(told).to_contain_text("rank 1, α 16")
    menu.select_option("2 × rank")
    expect(told).to_have_text(words(rank=1))
    for _ in range(3):
        press(page, knobs, "LoRA rank", "ArrowRight")
    expect(told).to_have_text(words())


def test_pictures_are_never_scaled_down(page, knobs):
    try:
        page.set_viewport_size({"width": 800, "height": 900})
        for image in knobs.locator("img").all():
            image.scroll_into_view_if_needed()
            assert image.bounding_box()["width"] == image.evaluate("image => image.naturalWidth")
    finally:
        page.set_viewport_size({"width": 1200, "height": 900})


def test_a_live_laboratory_does_not_ask_to_be_run(page):
    hints = page.locator(".course-unrun")
    assert hints.count() >= 2
    for hint in hints.all():
        expect(hint).to_be_hidden()


def test_training_is_stopped_within_a_second_and_can_begin_again(page, knobs):
    train = knobs.get_by_role("button", name="Train this one live")
    stop = knobs.get_by_role("button", name="Stop")
    told = knobs.get_by_role("status").nth(1)
    train.click()
    expect(train).to_be_disabled()
    expect(told).to_contain_text("step", timeout=120_000)
    # The kernel is free meanwhile: a slider answers while the run trains.
    press(page, knobs, "step", "ArrowLeft")
    expect(knobs.get_by_role("status").first).to_contain_text("step 30")
    started = time.monotonic()
    stop.click()
    expect(told).to_contain_text("Stopped.")
    assert time.monotonic() - started < 1.5  # a second, and the time to see it
    expect(train).to_be_enabled()
    press(page, knobs, "step", "ArrowRight")


def test_a_live_run_stands_beside_the_stored_ones(page, knobs):
    train = knobs.get_by_role("button", name="Train this one live")
    before = source(knobs)
    train.focus()
    page.keyboard.press("Enter")
    expect(train).to_be_disabled()
    train.dispatch_event("click")  # pressed twice
    bar = knobs.locator("[role=progressbar], .progress-bar").first
    expect(bar).to_be_attached()
    told = knobs.get_by_role("status").nth(1)
    expect(told).to_contain_text("done in", timeout=180_000)
    expect(knobs.get_by_role("status").first).to_contain_text("Your run: support")
    expect(knobs.locator("table th", has_text="yours")).to_be_visible()
    assert source(knobs) != before
    expect(train).to_be_enabled()


def test_the_game_scores_a_choice(page):
    game = page.locator(".course-ship")
    game.scroll_into_view_if_needed()
    for turn in range(3):
        expect(game.get_by_role("status").first).to_contain_text(f"Sweep {turn + 1} of 3")
        game.get_by_role("radio").nth(turn).click()
        game.get_by_role("button", name="Ship it").click()
    expect(game.locator("table tbody tr")).to_have_count(3)
    expect(game.get_by_role("status").last).to_contain_text("On average promised")


def test_the_quiz_explains_a_wrong_and_a_right_answer(page):
    entries = json.loads((DATA / "quizzes" / "03.json").read_text())
    number, entry = next((n, e) for n, e in enumerate(entries) if "options" in e)
    places = {option["correct"]: place for place, option in enumerate(entry["options"])}
    quiz = page.locator(".course-quiz")
    feedback = quiz.get_by_role("status").first  # nothing else has been answered
    for correct, verdict in ((False, "Not quite."), (True, "Right.")):
        quiz.get_by_role("radio").nth(places[correct]).click()
        quiz.get_by_role("button", name="Check", exact=True).nth(number).click()
        expect(feedback).to_contain_text(verdict)
        expect(feedback).to_contain_text(entry["options"][places[correct]]["why"])


def test_the_power_curve_of_lesson_05_follows_its_sliders(browser, lab, course):  # noqa: F811
    lesson = nbformat.read(ROOT / "lessons" / "05_the_audit.ipynb", as_version=4)
    shown = [cell for cell in lesson.cells if cell.source.endswith("PowerLab()")]
    path = 'import sys\nsys.path.insert(0, "..")\nfrom helpers.widgets.power import PowerLab'
    cells = [nbformat.v4.new_code_cell(path), nbformat.v4.new_code_cell(shown[0].source)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=lesson.metadata)
    nbformat.write(notebook, course / "lessons" / "power.ipynb")
    with opened(browser, lab, "power") as page:
        assert page.evaluate(STATE)["errors"] == []
        power = page.locator(".course-power")
        told, before = power.get_by_role("status").first, source(power)
        expect(told).to_have_text(words_of_plan(Plan(3, 250, 0.1)))
        press(page, power, "items", "ArrowRight")
        expect(told).to_have_text(words_of_plan(Plan(3, 500, 0.1)))
        expect(power.locator("img").first).not_to_have_attribute("src", before)


def test_a_page_without_widgets_shows_the_figures_and_their_words(browser, tmp_path):  # noqa: F811
    notebook = nbformat.read(ROOT / "lessons" / f"{LESSON}.ipynb", as_version=4)
    html, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 800}, java_script_enabled=False)
    page.goto((tmp_path / "page.html").as_uri(), wait_until="commit")
    images = page.locator("img[src^='data:image/png']")
    images.last.wait_for()
    for image in images.all():
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert box["width"] > 300 and box["x"] + box["width"] <= 1000
    fold = page.locator("details", has_text="The first setting in words").first
    fold.locator("summary").click()
    expect(fold).to_contain_text("old skills lose")
    expect(page.locator(".course-unrun").first).to_contain_text("Run the cell")
    page.close()
