"""A real JupyterLab in headless Chromium, for the tests that use one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from helpers.paths import DATA

ROOT = DATA.parent
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
    """A copy of the course whose lessons have no outputs yet."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("helpers", "data"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    (folder / "lessons").mkdir()
    for path in (ROOT / "lessons").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / "lessons" / path.name)
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


@contextlib.contextmanager
def opened(browser, lab, lesson, run=True):
    """A page with a lesson, run from top to bottom through the menu."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{lab}/lab/tree/lessons/{lesson}.ipynb?token={TOKEN}&reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    wait_until(page, lambda state: state["kernel"] == "idle", "the kernel to start")
    if run:
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        wait_until(
            page, lambda state: state["errors"] or not state["waiting"], "all cells to be run"
        )
        wait_until(page, lambda state: state["kernel"] == "idle", "the kernel to come to rest")
    yield page
    page.close()


def wait_until(page, condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition(state := page.evaluate(STATE)):
        assert time.monotonic() < deadline, f"waited {SECONDS} s for {what}: {state}"
        time.sleep(0.5)
