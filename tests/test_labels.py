"""Words in figures: apart from each other, inside, and near what they name."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from helpers import plotting as plot
from helpers.mitigations.board import GOAL, read_board, roads, standings
from helpers.mitigations.methods import RANKED
from helpers.plotting import board, curves, scores
from helpers.plotting.labels import LEADER, LINE_END, MARK, POINT, Box, apart, place
from helpers.training import Probe, Run


@pytest.mark.parametrize("seed", range(20))
def test_names_stand_apart_between_the_bounds_and_in_order(seed):
    chance = random.Random(seed)
    wanted = [round(chance.gauss(50, 12)) for _ in range(12)]
    sizes = [chance.uniform(4, 8) for _ in wanted]
    centres = apart(wanted, sizes, 0, 100)
    placed = sorted(zip(centres, sizes, wanted, strict=True))
    assert placed[0][0] - placed[0][1] / 2 >= -1e-9 and placed[-1][0] + placed[-1][1] / 2 <= 100
    for (below, one, first), (above, other, second) in itertools.pairwise(placed):
        assert above - below >= (one + other) / 2 - 1e-9
        assert first <= second


def test_a_name_that_has_room_stays_and_two_that_have_not_share_the_way():
    assert apart([10, 50, 90], [6, 6, 6], 0, 100) == [10, 50, 90]
    assert apart([50, 50], [6, 6], 0, 100) == [47, 53]
    assert apart([99, 98], [6, 6], 0, 100) == [97, 91]
    assert apart([1, 1, 1], [6, 6, 6], 0, 12) == [-0.0, 6, 12]  # too little room for three
    assert apart([], [], 0, 1) == []


def test_a_label_takes_the_place_that_hides_nothing_and_leaves_room_for_the_other():
    near, far = Box(0, 0, 10, 10), Box(20, 0, 30, 10)
    none = np.empty((0, 3))
    frame = Box(-5, -5, 60, 20)
    assert place([[(near, 0), (far, 3)]], frame, none) == [0]
    assert place([[(near, 0), (far, 3)]], frame, np.array([[5.0, 5.0, 9.0]])) == [1]
    assert place([[(near, 0), (far, 3)]], Box(15, -5, 60, 20), none) == [1]
    assert sorted(place([[(near, 0), (far, 3)]] * 2, frame, none)) == [0, 1]


CROWD = {
    f"line {n}": [[(0, 50.0), (1, 40 + n % 3)], [(0, 50.0), (1, 41 + n % 3)]] for n in range(9)
}
STEPS = (0, 15, 30)
SKILLS = ("facts", "arithmetic", "reasoning", "lists", "howto", "reading", "sentiment")


def crowd_of_roads():
    """Nine methods whose roads all begin and end within a few pixels."""
    return {
        f"method {n}": [
            (0.001, 80 + 0.1 * n, 5.0),
            (0.01, 85, 6 + 0.05 * n),
            (0.1, 88, 9 - 0.1 * n),
        ]
        for n in range(9)
    }


def at_the_ceiling():
    probes = [
        Probe(step, dict.fromkeys(("support", *SKILLS), 100.0), {"support": 1.0}) for step in STEPS
    ]
    return Run(None, [(step, 1.0) for step in range(1, 31)], probes, 1.0)


def of_the_board(*methods):
    found = roads(read_board(), methods)
    means = {name: every[0] for name, every in found.items()}
    return plot.roads(means, "x", "y", seeds={name: every[1:] for name, every in found.items()})


FIGURES = {
    "line ends": lambda: plot.lines(CROWD, "step", "percent", mark=(0.5, "half of the way")),
    "ceiling": lambda: plot.learning_and_forgetting(
        at_the_ceiling(), "support", SKILLS, reached=15
    ),
    "roads": lambda: plot.roads(crowd_of_roads(), "learned", "lost"),
    "stored roads": lambda: of_the_board("L2-SP", "EWC", "replay", "replay, lower rate", "merge"),
    "ranking": lambda: plot.ranking(standings(read_board(), RANKED), goal=GOAL),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figure that a helper has drawn last."""
    figures = []
    for module in (curves, scores, board):
        finish = module.finish
        monkeypatch.setattr(
            module,
            "finish",
            lambda figure, alt, _f=finish: figures.append(figure) or _f(figure, alt),
        )
    return figures


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_labels_of_a_crowded_figure_overlap_and_none_leaves_its_place(name, drawn):
    FIGURES[name]()
    (figure,) = drawn
    renderer = figure.canvas.get_renderer()
    whole = Box(0, 0, *figure.canvas.get_width_height())
    counted = 0
    for ax in figure.axes:
        frame = Box(*ax.get_window_extent(renderer).extents)
        labels = [text for text in ax.texts if text.get_gid() != LEADER]
        boxes = [Box(*text.get_window_extent(renderer).extents) for text in labels]
        counted += len(labels)
        for (one, first), (other, second) in itertools.combinations(
            zip(boxes, labels, strict=True), 2
        ):
            assert one.overlap(other) == 0, (first.get_text(), second.get_text())
        for box, label in zip(boxes, labels, strict=True):
            assert box.outside(whole) < 1e-6, label.get_text()
            if label.get_gid() == LINE_END:
                assert frame.low - 1 <= box.low and box.high <= frame.high + 1, label.get_text()
                assert box.left > ax.transData.transform(label.xy)[0]
            elif label.get_gid() in (POINT, MARK):
                assert box.outside(frame) < 1e-6, label.get_text()
    assert counted >= 8
