"""The figures of a rollout say what its numbers say, and no two of their words overlap."""

from __future__ import annotations

import itertools
import re

import numpy
import pandas
import pytest

from helpers import plotting as plot
from helpers.plotting import rollout as figures
from helpers.plotting.labels import LEADER, Box
from helpers.rollout.alarms import NAMES, Alarms, false_alarms
from helpers.rollout.canary import Look
from helpers.rollout.eprocess import BadEvents
from helpers.rollout.harm_rates import harm_by_category
from helpers.rollout.rollouts import rollouts
from helpers.scope.brief import Brief
from helpers.scope.needs import EXAMPLE

MAP = Brief(EXAMPLE).to_map()


def look(lower, upper, verdict="hold"):
    return Look(verdict, 100, 10, 90, 1, 2, 1.0, 1.0, lower, upper, False)


LOOKS = (
    (1.0, 0.01, look(-numpy.inf, numpy.inf)),
    (2.0, 0.05, look(-8.0, 20.0)),
    (3.0, 0.25, look(-2.0, 8.0)),
    (4.0, 0.25, look(1.25, 6.5, "roll back")),
)
ALARMS = Alarms(
    {
        "fixed test, peeked at": numpy.array([120.0, 300, 900, numpy.inf]),
        "monitor": numpy.array([numpy.inf, numpy.inf, numpy.inf, 500]),
        "fixed test, once": numpy.array([1000, numpy.inf, numpy.inf, numpy.inf]),
    },
    answers=1000,
    alpha=0.05,
)


def events():
    """Three categories; one of them is on nobody's map, and harmed."""
    rows = []
    for category, candidate, control in (("facts", 2, 4), ("weather", 60, 4), ("howto", 0, 0)):
        for arm, hits in (("candidate", candidate), ("control", control)):
            rows += [(category, arm, number < hits) for number in range(100)]
    return pandas.DataFrame(rows, columns=["category", "arm", "harm"])


FIGURES = {
    "alarms": lambda: plot.false_alarms(ALARMS),
    "path": lambda: plot.confidence_path(LOOKS, 1.0),
    "one look": lambda: plot.confidence_path(LOOKS[:1], 1.0),
    "harm": lambda: plot.harm_by_category(events(), MAP),
    "noted": lambda: plot.harm_by_category(events(), notes={"facts": "as before", "howto": "x"}),
}
SAYS = {
    "alarms": ["of 4 rollouts at the margin", "peeked at 75.0 percent, monitor 25.0 percent",
               "once 25.0"],
    "path": ["1 percent from hour 0, 5 percent from hour 1, 25 percent from hour 2",
             "At hour 4 it said roll back", "1.25 to 6.50 points"],
    "one look": ["At hour 1 it said hold", "difference not yet known"],
    "harm": ["weather (not on the map) candidate 60.0, control 4.0; howto candidate 0.0",
             "facts candidate 2.0, control 4.0."],
    "noted": ["weather candidate 60.0"],
}  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    found, finish = [], figures.finish
    monkeypatch.setattr(figures, "finish", lambda f, alt: found.append(f) or finish(f, alt))
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_its_numbers_and_no_two_words_overlap(name, drawn):
    picture = FIGURES[name]()
    for part in SAYS[name]:
        assert part in picture.alt
    assert picture.png == FIGURES[name]().png
    figure = drawn[0]
    whole = Box(0, 0, *figure.canvas.get_width_height())
    texts = [text for text in figure.axes[0].texts if text.get_gid() != LEADER]
    boxes = [Box(*text.get_window_extent().extents) for text in texts]
    for (one, first), (other, second) in itertools.combinations(zip(boxes, texts, strict=True), 2):
        assert one.overlap(other) == 0, (first.get_text(), second.get_text())
    assert all(box.outside(whole) < 1e-6 for box in boxes)
    assert figure.axes[0].get_xlabel()


def test_the_band_is_what_the_looks_have_not_ruled_out(drawn):
    plot.confidence_path(LOOKS, 1.0)
    ax = drawn[0].axes[0]
    upper, lower = (line.get_ydata() for line in ax.lines[:2])
    assert list(upper[1:]) == [20.0, 8.0, 6.5] and list(lower[1:]) == [-8.0, -2.0, 1.25]
    low, high = ax.get_ylim()
    assert low < 0 < 1 < high and upper[0] > high and lower[0] < low  # not known: to the edge
    with pytest.raises(ValueError, match="looks"):
        plot.confidence_path((), 1.0)


def test_harm_is_ordered_by_its_difference_and_has_wilson_s_intervals():
    found = harm_by_category(events())
    assert [row.category for row in found] == ["weather", "howto", "facts"]
    low, high = found[0].candidate.interval  # of 60 in 100, by a table
    assert (low, high) == (pytest.approx(0.5020, abs=2e-4), pytest.approx(0.6906, abs=2e-4))
    alone = harm_by_category(events().query("arm == 'control'"))
    assert alone[0].candidate is None and alone[0].difference == 0
    assert plot.harm_by_category(events().query("arm == 'control'")).png
    with pytest.raises(BadEvents, match="lacks harm"):
        plot.harm_by_category(events().drop(columns="harm"))


def test_peeking_raises_false_alarms_and_the_monitor_does_not():
    found = false_alarms(count=300, answers=4000)
    assert found.rate("monitor") <= 0.05 and found.rate("fixed test, once") < 0.09
    assert found.rate("fixed test, peeked at") > 0.2
    early = [found.rate("fixed test, peeked at", answers) for answers in (99, 500, 4000)]
    assert early == sorted(early) and early[0] == 0
    assert found.rate("fixed test, once", 3999) == 0
    again = rollouts(0.5, 0.03, 0.04, 1.0, per_hour=1000, hours=4, window=0, count=300)
    assert found.rate(NAMES["anytime"]) == again.rate("roll back")
    assert re.match(r"False alarms in 300 rollouts of 4,000 answers: fixed test", repr(found))
    with pytest.raises(BadEvents, match="too few"):
        false_alarms(answers=99)


def test_ten_peeks_are_worse_than_one_and_better_than_thousands():
    found = false_alarms(count=400, answers=5000, peeks=10)
    names = list(found.at)
    assert names == ["fixed test, peeked at", "fixed test, 10 peeks", "monitor", "fixed test, once"]
    rates = [found.rate(name) for name in names]
    assert rates[0] > rates[1] + 0.05 and rates[1] > rates[3] + 0.05
    at = found.at["fixed test, 10 peeks"]
    assert set(at[numpy.isfinite(at)]) <= set(range(500, 5001, 500))
    assert plot.false_alarms(found).alt.count("percent") == 5
    with pytest.raises(BadEvents, match="2 to 50"):
        false_alarms(answers=5000, peeks=51)
