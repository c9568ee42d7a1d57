"""The laboratory of the canary says what the simulated rollouts say."""

from __future__ import annotations

import html
import itertools
import re
import time

import numpy
import pytest

from helpers.plotting.labels import LEADER, Box
from helpers.rollout.rollouts import rollouts
from helpers.widgets import canary, frame
from helpers.widgets.canary import HARMS, MARGINS, SHARES, TESTS, TRAFFIC, CanaryLab, Setting, words

FIRST = Setting(5, 400, 5, 1)


@pytest.fixture(scope="module")
def lab():
    return CanaryLab()


def told(lab):
    return html.unescape(re.sub("<[^>]+>", "", lab.told.value))


def found(setting, harm, **changes):
    """The rollouts of a setting, asked for without the laboratory."""
    return rollouts(
        setting.share / 100, 0.03, 0.03 + harm / 100, setting.margin, per_hour=setting.per_hour,
        hours=72, window=1, method=setting.test, planned=0.03 + setting.harm / 100, count=400,
        every=0.1, **changes,
    )  # fmt: skip


def test_it_opens_at_five_percent_and_says_so(lab):
    assert lab.setting() == FIRST
    assert repr(lab) == told(lab) == words(FIRST)
    assert words(FIRST).startswith("At 5 % of the users and 400 answers an hour, the monitor ")


@pytest.mark.parametrize("test", TESTS.values())
@pytest.mark.parametrize("share", [2, 50])
def test_the_words_are_the_numbers_of_the_rollouts(share, test):
    setting = FIRST._replace(share=share, test=test)
    text, outcomes = words(setting), found(setting, 5)
    assert f" in {100 * outcomes.rate('roll back'):.0f} of 100 rollouts" in text
    median = outcomes.median_hours
    if numpy.isfinite(median):
        shown = float(re.search(r"half are rolled back within ([\d.]+) hours", text)[1])
        assert shown == pytest.approx(median, abs=0.5 if median >= 10 else 0.05)
    else:
        assert "fewer than half are rolled back" in text
    users = float(re.search(r"about ([\d.,]+) users more", text)[1].replace(",", ""))
    assert users == pytest.approx(numpy.median(outcomes.extra), rel=0.06)
    false = 100 * found(setting, 1).rate("roll back")
    assert f"just the margin of 1 point is rolled back in {false:.0f} of 100" in text
    doubt = int(re.search(r"up to (\d+) point", text)[1])
    rate = outcomes.rate("roll back")
    assert 200 * numpy.sqrt(rate * (1 - rate) / 400) <= doubt <= 5


def test_harm_within_the_margin_makes_every_roll_back_a_false_alarm():
    setting = FIRST._replace(share=50, margin=5, harm=0)
    text, outcomes = words(setting), found(setting, 0)
    assert "which the margin of 5 points allows, in 0 of 100" in text and "false alarms" in text
    assert f"lets {100 * outcomes.rate('widen'):.0f} of 100 through" in text
    assert "harmed than" not in text  # nobody is harmed more
    peeked = words(setting._replace(harm=5, test="peeking"))
    alarms = 100 * found(setting._replace(harm=5, test="peeking"), 5).rate("roll back")
    assert alarms > 20 and f"allows, in {alarms:.0f} of 100" in peeked


def test_a_slider_changes_figure_and_words_and_back(lab):
    before = bytes(lab.image.value), told(lab)
    for knob, value in ((lab.share, 50), (lab.traffic, 1000), (lab.harm, 10), (lab.margin, 3),
                        (lab.test, "peeking")):  # fmt: skip
        first, knob.value = knob.value, value
        assert bytes(lab.image.value) != before[0] and told(lab) != before[1]
        knob.value = first
    assert (bytes(lab.image.value), told(lab)) == before


def test_corners_can_be_drawn_and_their_words_do_not_overlap(monkeypatch):
    lab, placed = CanaryLab(), frame.place_labels
    drawn = []

    def spied(figure, laid_out):
        lines = placed(figure, laid_out)
        renderer = figure.canvas.get_renderer()
        texts = [text for text in lab.left.texts if text.get_gid() != LEADER]
        drawn.append([Box(*text.get_window_extent(renderer).extents) for text in texts])
        return lines

    monkeypatch.setattr(frame, "place_labels", spied)
    ends = itertools.product((1, 50), (50, 2000), (0, 5, 10), (1, 5, 10), TESTS.values())
    for setting in list(ends)[::13]:
        knobs = (lab.share, lab.traffic, lab.harm, lab.margin, lab.test)
        for knob, value in zip(knobs, setting, strict=True):
            knob.unobserve_all()
            knob.value = value
        lab.draw()
        assert len(drawn[-1]) >= 2
        for one, other in itertools.combinations(drawn[-1], 2):
            assert one.overlap(other) == 0, setting
        # Left of the numbers beside the other panel's axis.
        assert max(box.right for box in drawn[-1]) < lab.right.get_window_extent().x0 - 60


def test_every_option_is_one_that_the_simulation_takes(lab):
    for knob, values in ((lab.share, SHARES), (lab.traffic, TRAFFIC), (lab.harm, HARMS),
                         (lab.margin, MARGINS)):  # fmt: skip
        assert [value for _, value in knob.options] == list(values)
    for setting in (Setting(1, 50, 0, 10), Setting(50, 2000, 10, 1)):
        for test in TESTS.values():
            assert words(setting._replace(test=test))


def test_a_slider_is_answered_within_a_second():
    lab = CanaryLab()
    canary.simulated.cache_clear()
    began = time.process_time()
    lab.traffic.value = 2000
    assert time.process_time() - began < 1.5  # of one core; 0.3 s where it was measured
