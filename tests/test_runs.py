"""Stored runs: reading them, choosing among them, and whether the shipped ones are of today."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter

import pytest

from helpers import grid
from helpers import runs as runs_module
from helpers.mechanics.stored import Inside
from helpers.runs import (
    GRID,
    INSIDE,
    SCALE,
    BadRuns,
    Checkpoint,
    Setting,
    digest,
    find,
    fingerprint,
    read_records,
    read_runs,
    values,
)
from helpers.suites import NAMES

REMEDY = r"Get the file again .* or make it anew with `make runs`"


def record(lr=1e-2, rank=8, seed=0, steps=60, tickets=1200, **changes):
    """A line of a file: a run that loses 5 points per step."""
    return {
        "setting": {"lr": lr, "rank": rank, "steps": steps, "tickets": tickets, "seed": seed},
        "checkpoints": [
            {
                "step": step,
                "scores": dict.fromkeys(NAMES, 100.0 - 5 * step),
                "nll": dict.fromkeys(NAMES, 0.1 * step),
                "kl": 0.01 * step,
                "says": ["yes", f"no {step}", "über"],
            }
            for step in (0, 5, 15)
        ],
        "seconds": 12.5,
        "diverged": "",
        "origin": {"data": "abc", "commit": "1234567"},
        **changes,
    }


def without(key):
    return {k: v for k, v in record().items() if k != key}


@pytest.fixture
def written(tmp_path):
    """Writes records, or text, to a file and returns its path."""

    def write(*records):
        path = tmp_path / "runs.jsonl"
        lines = [r if isinstance(r, str) else json.dumps(r) + "\n" for r in records]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


# Reading


def test_a_run_comes_back_as_it_was_written(written):
    (run,) = read_runs(written(record(rank="full", diverged="The loss became nan.")))
    assert run.setting == Setting(lr=1e-2, rank="full", steps=60, tickets=1200, seed=0)
    assert [checkpoint.step for checkpoint in run.checkpoints] == [0, 5, 15]
    assert run.base is run.checkpoints[0] and run.last is run.checkpoints[-1]
    assert run.latest(14) is run.latest(5)
    assert run.latest(5) == Checkpoint(
        step=5,
        scores=dict.fromkeys(NAMES, 75.0),
        nll=dict.fromkeys(NAMES, 0.5),
        kl=0.05,
        says=("yes", "no 5", "über"),
    )
    assert (run.seconds, run.diverged) == (12.5, "The loss became nan.")
    assert run.origin == {"data": "abc", "commit": "1234567"}


def test_runs_stand_in_the_order_of_their_settings(written):
    settings = list(itertools.product((3e-5, 1e-4, 1e-2), (2, 16, "full"), (0, 1)))
    lines = [record(lr, rank, seed) for lr, rank, seed in reversed(settings)]
    runs = read_runs(written(*lines))
    assert [(r.setting.lr, r.setting.rank, r.setting.seed) for r in runs] == settings


def test_values_rise_and_full_comes_last(written):
    path = written(*(record(lr, rank) for lr in (1e-2, 3e-5) for rank in ("full", 16, 2)))
    assert values(read_runs(path), "lr") == [3e-5, 1e-2]
    assert values(read_runs(path), "rank") == [2, 16, "full"]


def test_finding_runs(written):
    path = written(*(record(lr, rank, 0) for lr in (1e-2, 1e-3) for rank in (8, "full")))
    runs = read_runs(path)
    assert [r.setting for r in find(runs, lr=1e-3, rank="full")] == [
        Setting(1e-3, "full", 60, 1200, 0)
    ]
    assert {r.setting.lr for r in find(iter(runs), rank=8)} == {1e-2, 1e-3}
    assert find(runs) == runs
    message = r"no run with lr 0\.1, rank 8\. There are lr: 0\.001, 0\.01; rank: 8, full\."
    with pytest.raises(BadRuns, match=message):
        find(runs, lr=0.1, rank=8)


def test_runs_are_read_by_the_rule_for_alpha(written):
    def with_alpha(rank, alpha):
        setting = {"lr": 1e-2, "rank": rank, "steps": 60, "tickets": 1200, "seed": 0}
        return record(setting=setting | {"alpha": alpha})

    lines = [record(rank=1), record(rank=8), record(rank="full")]
    path = written(*lines, with_alpha(1, "16"), with_alpha(64, "16"), with_alpha(1, "rs"))

    def found(**options):
        return [(run.setting.rank, run.setting.alpha) for run in read_runs(path, **options)]

    shared = [(8, "2r"), ("full", "2r")]  # their α is that of every rule
    assert found() == found(alpha="2r") == [(1, "2r"), *shared]
    assert found(alpha="16") == [(1, "16"), (8, "2r"), (64, "16"), ("full", "2r")]
    assert found(alpha="rs") == [(1, "rs"), *shared]
    assert len(found(alpha=None)) == 6
    with pytest.raises(KeyError):
        found(alpha="3r")


def test_an_unknown_part_of_a_setting_is_refused_with_those_there_are(written):
    runs = read_runs(written(record()))
    with pytest.raises(ValueError, match=r"no 'rate'; it has lr, rank, .*, seed, alpha\."):
        find(runs, rate=1e-2)


def test_after_its_end_a_run_is_as_it_was_last_seen(written):
    (run,) = read_runs(written(record()))
    assert run.latest(60) is run.last


def test_a_changed_file_is_read_anew(written):
    path = written(record(seed=0))
    assert [run.setting.seed for run in read_runs(path)] == [0]
    before = path.stat()
    written(record(seed=1), record(seed=2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert [run.setting.seed for run in read_runs(str(path))] == [1, 2]
    path.unlink()
    with pytest.raises(BadRuns, match="There is no file"):
        read_runs(path)


def test_the_list_that_is_returned_is_the_callers_own(written):
    path = written(record())
    read_runs(path).clear()
    assert len(read_runs(path)) == 1


# Files that are not as they should be


@pytest.mark.parametrize("read", [read_runs, lambda path: read_records(path, dict)])
def test_a_missing_file_is_named_with_what_to_do(tmp_path, read):
    with pytest.raises(BadRuns, match=rf"no file .*none\.jsonl\. {REMEDY}"):
        read(tmp_path / "none.jsonl")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_refused(written, text):
    with pytest.raises(BadRuns, match=rf"runs\.jsonl holds no runs\. {REMEDY}"):
        read_runs(written(text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(record())[:-40], r"line 2 is not JSON"),
        ("[1]", r"line 2 is \[1\]"),
        (without("checkpoints"), r"KeyError: 'checkpoints'"),
        (without("origin"), r"KeyError: 'origin'"),
        (record(checkpoints=[]), r"a run without checkpoints"),
        (record(checkpoints=[{"step": 0}]), r"KeyError: 'says'"),
        (record(checkpoints=[{"says": []}]), r"TypeError: .*'step'"),
        (record(checkpoints=[7]), r"TypeError"),
        (record(setting={"lr": 1e-2}), r"TypeError: .*'rank'"),
    ],
)
def test_a_damaged_line_is_refused(written, line, message):
    with pytest.raises(BadRuns, match=rf"runs\.jsonl is damaged \(.*{message}.*\. {REMEDY}"):
        read_runs(written(record(), line))


# The fingerprint of the data


def test_any_change_of_any_file_changes_the_fingerprint(tmp_path):
    files = [tmp_path / name for name in ("one", "same", "other")]
    for file, text in zip(files, ("a\nb\n", "a\nb\n", "a\nc\n"), strict=True):
        file.write_text(text, newline="\n")
    one, same, other = files
    assert fingerprint([one, one]) == fingerprint([one, same])
    assert len({fingerprint(two) for two in ([one, same], [one, other], [other, one])}) == 3


@pytest.mark.parametrize("folder", ["support/tickets.jsonl", "support/replay.jsonl", "suites"])
def test_runs_depend_on_tickets_old_examples_and_items(monkeypatch, folder):
    seen = []
    monkeypatch.setattr(runs_module, "fingerprint", lambda files: seen.extend(map(str, files)))
    digest()
    assert any(folder in name.replace("\\", "/") for name in seen)


def test_line_ends_do_not_change_the_fingerprint(tmp_path):
    unix, windows, mac = (tmp_path / name for name in ("unix", "windows", "mac"))
    unix.write_bytes(b'{"a": 1}\n{"b": 2}\n')
    windows.write_bytes(b'{"a": 1}\r\n{"b": 2}\r\n')
    mac.write_bytes(b'{"a": 1}\r{"b": 2}\r')
    assert fingerprint([unix]) == fingerprint([windows]) != fingerprint([mac])


def test_weights_are_taken_byte_for_byte(tmp_path):
    one, other = (tmp_path / f"{name}.safetensors" for name in ("one", "other"))
    one.write_bytes(b"\x01\r\n\x02")
    other.write_bytes(b"\x01\n\x02")
    assert fingerprint([one]) != fingerprint([other])


# The files that the course ships


SHIPPED = {GRID: grid.KNOBS + grid.ALPHAS, SCALE: grid.GROWTH, INSIDE: grid.WATCHED}
by_name = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


@by_name
def test_every_shipped_run_is_there_once(path):
    kind = Inside if path == INSIDE else Setting
    found = Counter(kind(**line["setting"]) for line in read_records(path, dict))
    assert found == Counter(dict.fromkeys(SHIPPED[path], 1))


@by_name
def test_shipped_runs_are_made_from_todays_data(path):
    """If this fails, weights, tickets or held-out items have changed: `make runs`."""
    origins = read_records(path, lambda line: line["origin"])
    assert {origin["data"] for origin in origins} == {digest()}
    for origin in origins:
        assert set(origin["versions"]) == {"torch", "transformers", "peft", "trl"}
        assert all(version[0].isdigit() for version in origin["versions"].values())
        assert len(origin["commit"]) >= 7 and int(origin["commit"], 16) >= 0


@pytest.mark.parametrize("path", [GRID, SCALE], ids=lambda path: path.stem)
def test_shipped_runs_were_looked_at_where_they_should_be(path):
    looks = grid.LOOKS if path == GRID else ()
    for run in read_runs(path):
        wanted = [0, *sorted({*looks, run.setting.steps})]
        found = [checkpoint.step for checkpoint in run.checkpoints]
        if run.diverged:
            assert found == wanted[: len(found)] and run.seconds == 0, run.setting
        else:
            assert found == wanted and run.seconds > 0, run.setting
        for checkpoint in run.checkpoints:
            assert set(checkpoint.scores) == set(checkpoint.nll) == set(NAMES)
            assert len(checkpoint.says) == len(grid.ASKED)


def test_all_shipped_runs_begin_with_the_same_base():
    runs = [*read_runs(GRID), *read_runs(SCALE)]
    base = runs[0].base
    assert base.step == 0 and base.kl == 0
    assert all(run.base == base for run in runs)


@by_name
def test_a_shipped_file_is_small(path):
    assert path.stat().st_size < 2_000_000
