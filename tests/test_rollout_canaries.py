"""A monitor for each category: alpha shared out, and harm found that the whole hides."""

from __future__ import annotations

import numpy
import pandas
import pytest

from helpers.audit import CapabilityMap
from helpers.paths import DATA
from helpers.rollout.canaries import ALL, Canaries
from helpers.rollout.category import OTHER
from helpers.rollout.eprocess import BadEvents
from helpers.rollout.simulate import Kind, Traffic, answers

HOUR = 3600.0
HIDDEN = Traffic(
    (
        Kind("support", 0.8, 0.10, 0.10),
        Kind("howto", 0.15, 0.01, 0.11),
        Kind("lists", 0.05, 0.1, 0.1),
    )
)
HARMLESS = Traffic(tuple(Kind(kind.name, kind.share, kind.control, kind.control)
                         for kind in HIDDEN.kinds))  # fmt: skip


def day(traffic, seed, hours=16):
    return answers(traffic, hours, 1000, 0.25, users=50_000, seed=seed, key=seed)


def watch(events, hours=16, margins=None, alpha=0.05):
    """The hour at which something is red, or None, and what was said then."""
    canaries = Canaries(margins or {ALL: 1.0, "support": 3.0, "lists": 5.0, OTHER: 3.0}, alpha)
    for hour in range(1, hours + 1):
        looks = canaries.look(events, 2 * HOUR, hour * HOUR)
        if looks.red:
            return hour, looks
    return None, looks


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_points_in_a_category_are_found_and_not_in_all_of_the_traffic(seed):
    hour, looks = watch(day(HIDDEN, seed))
    assert looks.red == (OTHER,) and hour < 16
    assert looks[ALL].verdict == "hold" and next(iter(looks)) == OTHER
    assert looks[OTHER].lower >= 3.0 and looks[OTHER].upper > 9


def test_harmless_candidates_are_left_alone():
    """Twenty rollouts looked at each hour: at 5 % each, three false alarms are rare."""
    red = [watch(day(HARMLESS, seed, 6), 6)[0] for seed in range(20)]
    assert sum(hour is not None for hour in red) <= 2


def test_alpha_is_shared_out_and_what_is_on_no_row_gets_the_least_margin():
    found = CapabilityMap.load(DATA / "rollout" / "forgetful_map.yaml")
    canaries = Canaries.from_map(found, whole=1.5, alpha=0.04)
    assert set(canaries.margins) == {ALL, OTHER, *(row.name for row in found.categories)}
    margins = {row.name: row.margin for row in found.categories}
    assert canaries.margins[ALL] == 1.5 and canaries.margins[OTHER] == 3.0 == margins["refusal"]
    assert canaries.margins["support"] == 3.0 and canaries.margins["facts"] == margins["facts"]
    each = {monitor.alpha for monitor in canaries.monitors.values()}
    assert each == {0.04 / len(canaries.margins)}


def test_each_answer_is_counted_in_its_category_and_in_all():
    events = day(HIDDEN, 0, 4)
    _, looks = watch(events, 4)
    parts = [look for name, look in looks.items() if name != ALL]
    # A user counts once in each category, and once in all.
    assert sum(look.events for look in parts) >= looks[ALL].events > 0
    settled = events[events["time"] <= 2 * HOUR]
    for name in ("support", "lists"):
        users = settled[settled["category"] == name]["user"].nunique()
        assert looks[name].events == users
    assert looks[OTHER].events == settled[settled["category"] == "howto"]["user"].nunique()


def test_looks_are_shown_as_a_table_with_what_is_red_first():
    _, looks = watch(day(HIDDEN, 1))
    lines = repr(looks).splitlines()
    assert lines[1].startswith(OTHER) and lines[1].endswith("roll back")
    assert len(lines) == 1 + len(looks) and "<table>" in looks._repr_html_()


def test_a_category_without_answers_is_not_yet_known():
    _, looks = watch(day(HIDDEN, 0, 1), 1, {ALL: 1.0, "translation": 5.0, OTHER: 3.0})
    assert looks["translation"].events == 0 and "not yet known" in repr(looks)


def test_what_cannot_be_watched_is_told():
    with pytest.raises(BadEvents, match="no category to watch"):
        Canaries({})
    with pytest.raises(BadEvents, match="column category"):
        Canaries({ALL: 1.0}).look(pandas.DataFrame({"id": ["a"]}), HOUR, HOUR)
    with pytest.raises(BadEvents):
        Canaries({ALL: 1.0}, alpha=numpy.nan)
