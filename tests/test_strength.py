"""The laboratory of mitigations: menu, slider, figure, words and the run of one's own."""

from __future__ import annotations

import asyncio
import html
import re

import pytest
from test_board import BASE, entry, record, seeds

from helpers import grid
from helpers.mitigations.board import Setting
from helpers.runs import Setting as GridSetting
from helpers.widgets import live
from helpers.widgets.strength import StrengthLab

BOARD = [
    BASE,
    *seeds("plain", 0, target=90, old=60),
    *seeds("replay", 0.1, target=80, old=90),
    *seeds("replay", 0.25, target=90, old=80),
    *(entry("replay", 0.5, seed, 90, old) for seed, old in enumerate((80, 90, 100))),
    *seeds("SAM", 0.1, target=70, old=70),
]


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    """No process is started ahead of time."""
    monkeypatch.setattr(live.LivePanel, "prepare", lambda panel: panel.tell_estimate())


@pytest.fixture
def lab():
    return StrengthLab(BOARD)


def told(widget):
    return html.unescape(re.fullmatch(r'<div role="status">(.*)</div>', widget.value)[1])


def test_it_opens_on_replay_and_has_every_method_but_the_base(lab):
    assert lab.method.options == ("plain", "SAM", "replay") and lab.method.value == "replay"
    assert [value for _, value in lab.strength.options] == [0.1, 0.25, 0.5]
    words = "replay, share of old rows 0.25: support 90 percent; old skills lose 20.0 points on"
    assert told(lab.told) == repr(lab)
    assert repr(lab).startswith(f"{words} average over 3 seeds (20.0 to 20.0).")


def test_the_slider_changes_figure_words_and_table(lab):
    before = bytes(lab.image.value), told(lab.told), lab.numbers.value
    lab.strength.value = 0.1
    assert "support 80 percent; old skills lose 10.0 points" in told(lab.told)
    after = bytes(lab.image.value), told(lab.told), lab.numbers.value
    assert all(one != other for one, other in zip(before, after, strict=True))
    lab.strength.value = 0.25
    assert (bytes(lab.image.value), told(lab.told), lab.numbers.value) == before


def test_another_method_brings_its_own_strengths(lab):
    lab.method.value = "SAM"
    assert [value for _, value in lab.strength.options] == [0.1]
    assert told(lab.told).startswith("SAM, ρ (length of that step) 0.1: support 70 percent")
    lab.method.value = "plain"
    assert told(lab.told).startswith("plain, as it is: support 90 percent")
    lab.method.value = "replay"
    assert lab.strength.value == 0.25


def test_the_table_has_the_mean_the_change_and_every_seed(lab):
    lab.strength.value = 0.5
    rows = re.findall(r"<tr><th scope=\"row\".*?>(.*?)</th>(.*?)</tr>", lab.numbers.value)
    found = {name: re.findall(r">([-+\d, ]+)<", cells) for name, cells in rows}
    assert found["support"] == ["0", "90", "+90", "90, 90, 90"]
    assert found["facts"] == ["100", "90", "-10", "80, 90, 100"]


class FakeTrainer:
    """Reports a run of five steps as soon as one is asked for."""

    def __init__(self, made):
        self.process, self.made, self.started, self.waiting = None, made, [], []

    def warm(self):
        self.process = object()

    def start(self, setting, base=None):
        self.started.append(setting)
        self.waiting = [("step", (5, 1.5)), ("done", self.made)]

    def events(self):
        said, self.waiting = self.waiting, []
        return said

    def stop(self):
        self.process = None


def press(lab, made):
    """Press the button and wait until the run is over."""

    async def story():
        lab.panel.trainer = FakeTrainer(made)
        lab.panel.train.click()
        for _ in range(500):
            await asyncio.sleep(0.01)
            if lab.panel.running is None:
                return
        raise AssertionError("in vain")

    asyncio.run(story())


def test_a_live_run_stands_beside_the_stored_ones(lab):
    lab.strength.value = 0.25
    before = bytes(lab.image.value)
    own = entry("replay", 0.25, seed=3, target=70, old=50)
    press(lab, record(own))
    assert lab.panel.trainer.started == [Setting("replay", 0.25, 3)]
    assert "Your run: 70 percent, 50.0 points lost" in told(lab.told)
    assert ">yours<" in lab.numbers.value and bytes(lab.image.value) != before
    assert "Replay 0.25, seed 3: done in" in told(lab.panel.status)
    lab.strength.value = 0.1
    assert "Your run" not in told(lab.told)


def test_a_live_run_that_diverges_is_told_and_not_shown(lab):
    made = record(entry("replay", 0.5, seed=3)) | {"diverged": "The loss became nan.", "right": {}}
    press(lab, made)
    assert told(lab.panel.status) == "The loss became nan." and "Your run" not in told(lab.told)


def test_the_process_makes_the_kind_of_run_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(grid, "make_entry", lambda setting, callbacks: ("entry", setting))
    monkeypatch.setattr(grid, "make_run", lambda setting, callbacks, base: ("run", setting, base))
    board, knobs = Setting("SAM", 0.1, 3), GridSetting(1e-2, 8, 60, 1200, 3)
    assert grid.make_live(board, [], None) == ("entry", board)
    assert grid.make_live(knobs, [], {"step": 0}) == ("run", knobs, {"step": 0})
