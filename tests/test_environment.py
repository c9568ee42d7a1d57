"""The environment report."""

from __future__ import annotations

from types import SimpleNamespace

from helpers import environment


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
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package", "jupyterlab-missing"))
    monkeypatch.setattr(environment, "OPTIONAL", ("jupyterlab-missing",))
    verdicts = {text.split()[0]: fine for fine, text in environment.report_environment()}
    assert verdicts["no-such-package"] is False and verdicts["jupyterlab-missing"] is True


def test_an_old_python_fails(monkeypatch):
    monkeypatch.setattr(environment, "sys", SimpleNamespace(version_info=(3, 9, 0)))
    fine, text = environment.report_environment()[0]
    assert not fine and "3.10 or newer" in text
