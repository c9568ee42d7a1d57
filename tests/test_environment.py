"""The environment report."""

from __future__ import annotations

import re
from types import SimpleNamespace

from helpers import environment
from helpers.paths import DATA


def test_what_is_there_is_reported_as_ok(capsys):
    environment.check_environment()
    lines = capsys.readouterr().out.splitlines()
    ok = [line for line in lines if line.startswith("[OK]")]
    for part in ("Python 3.", "cores", "torch 2.", "trl ", "13 test suites"):
        assert any(part in line for line in ok), part


def test_a_missing_model_and_missing_suites_fail(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environment, "DATA", tmp_path)
    environment.check_environment()
    text = capsys.readouterr().out
    assert "[FAIL] course model in data/pocket-gpt2" in text
    assert "[FAIL] 0 test suites" in text
    assert "2 of " in text and "make lab" in text and "All is here" not in text


def test_a_missing_package_fails_unless_it_is_optional(monkeypatch):
    packages = {"no-such-package": (1, 0), "jupyterlab-missing": (1, 0)}
    monkeypatch.setattr(environment, "PACKAGES", packages)
    monkeypatch.setattr(environment, "OPTIONAL", ("jupyterlab-missing",))
    verdicts = {text.split()[0]: fine for fine, text in environment.report_environment()}
    assert verdicts["no-such-package"] is False and verdicts["jupyterlab-missing"] is True


def test_a_package_behind_the_scenes_is_named_where_it_is_missing(monkeypatch):
    fine = len(environment.report_environment())
    monkeypatch.setattr(environment, "FURTHER", ("scipy", "no-such-package"))
    lines = environment.report_environment()
    assert len(lines) == fine + 1 and (False, "no-such-package is not installed") in lines


def test_all_that_the_project_needs_is_looked_for():
    project = (DATA.parent / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL).group(1)
    names = set(re.findall(r'"([a-z0-9-]+)', needed))
    assert len(names) > 10
    assert names <= {*environment.PACKAGES, *environment.FURTHER}


def test_an_old_package_fails(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", {"torch": (99, 1), "numpy": (1, 26)})
    found = {text.split()[0]: (fine, text) for fine, text in environment.report_environment()}
    assert found["torch"][0] is False and found["torch"][1].endswith("is older than 99.1")
    assert found["numpy"][0] is True


def test_the_oldest_versions_are_those_of_the_project():
    project = (DATA.parent / "pyproject.toml").read_text(encoding="utf-8")
    for package, oldest in environment.PACKAGES.items():
        bound = re.search(rf'"{package}>=([\d.]+)"', project).group(1)
        assert tuple(map(int, bound.split(".")[:2])) == oldest, package


def test_an_old_python_fails(monkeypatch):
    monkeypatch.setattr(environment, "sys", SimpleNamespace(version_info=(3, 9, 0)))
    fine, text = environment.report_environment()[0]
    assert not fine and "3.10 or newer" in text
