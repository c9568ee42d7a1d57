"""Lesson 00 in a real JupyterLab and headless Chromium, with mouse and keyboard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from helpers.models import DATA

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = DATA.parent
LESSON = "00_start_here"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TOKEN = "only-for-this-test"
SECONDS = 240

#: Of the open notebook: the kernel's status, how many code cells wait, all errors.
STATE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const code = panel.content.model.toJSON().cells.filter(c => c.cell_type === 'code');
    const outputs = code.flatMap(cell => cell.outputs);
    return {
        kernel: panel.sessionContext.session?.kernel?.status ?? 'none',
        waiting: code.filter(c => c.source && c.execution_count === null).length,
        errors: outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
    };
}"""


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = f"no Chromium on this machine (looked for {', '.join(BROWSERS)})"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the course whose lesson has no outputs yet."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("helpers", "data"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    notebook = nbformat.read(ROOT / "lessons" / f"{LESSON}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    (folder / "lessons").mkdir()
    nbformat.write(notebook, folder / "lessons" / f"{LESSON}.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(course, tmp_path_factory):
    """The address of a JupyterLab over the course, with settings of its own."""
    home = tmp_path_factory.mktemp("jupyter")
    # All cells stay in the page; by default those out of sight are taken out.
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = (home / "log.txt").open("w+")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ServerApp.ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={course}"),
            *("--LabApp.expose_app_in_browser=True", "--LabApp.news_url="),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(home),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        },
        stdout=log,
        stderr=log,
    )
    try:
        wait_for_server(f"{address}/api?token={TOKEN}", server, log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def wait_for_server(url, server, log):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    log.seek(0)
    pytest.fail(f"JupyterLab did not start:\n{log.read()[-3000:]}")


@pytest.fixture(scope="module")
def page(browser, lab):
    """Lesson 00, run from top to bottom through the menu."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{lab}/lab/tree/lessons/{LESSON}.ipynb?token={TOKEN}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    wait_until(page, lambda state: state["kernel"] == "idle", "the kernel to start")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    wait_until(
        page, lambda state: state["errors"] or not state["waiting"], "all cells to have been run"
    )
    wait_until(page, lambda state: state["kernel"] == "idle", "the kernel to come to rest")
    yield page
    page.close()


def wait_until(page, condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition(state := page.evaluate(STATE)):
        assert time.monotonic() < deadline, f"waited {SECONDS} s for {what}: {state}"
        time.sleep(0.5)


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
    entry = json.loads((DATA / "quizzes" / f"{LESSON[:2]}.json").read_text())[0]
    places = {option["correct"]: place for place, option in enumerate(entry["options"])}
    quiz = page.locator(".course-quiz")
    radios = quiz.get_by_role("radio")
    button = quiz.get_by_role("button", name="Check", exact=True).first
    feedback = quiz.get_by_role("status").first

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
