"""The door: who gets through, where its floor comes from, and what comes out behind it."""

from __future__ import annotations

import pytest

from helpers import plotting as plot
from helpers.mitigations.board import Entry, Setting
from helpers.scope.brief import Brief
from helpers.scope.compare import points_lost, reading, span
from helpers.scope.door import (
    Behind,
    behind_door,
    best_scores,
    choose_floor,
    let_in,
    road,
)
from helpers.scope.needs import Need
from helpers.scope.retrieval import HelpIndex, shop_articles
from helpers.suites import load_suites
from helpers.tradeoff import OLD


def entry(method, seed=0, **right):
    """A run on four items a skill, all of which are right unless given."""
    rows = {name: (True,) * 4 for name in OLD} | {"support": (False,) * 4}
    rows |= {name: tuple(c == "1" for c in row) for name, row in right.items()}
    return Entry(Setting(method, 0, seed), rows, 60, 1.0, (), "", {})


BASE = entry("base")
ROUTE = entry("plain", support="1111", lists="0000")
SCORES = {name: (0, 1, 2, 3) for name in (*OLD, "support")}
BRIEF = Brief(
    [Need("support", 85, 50, role="target")]
    + [Need(name, 80, 5, "nothing", "nothing" if name == "facts" else "complain") for name in OLD]
)


def test_who_is_above_the_floor_takes_the_route_and_the_base_gets_the_rest():
    found = behind_door(BASE, ROUTE, SCORES, 1.5)
    assert found.right["support"] == (False, False, True, True)
    assert found.right["lists"] == (True, True, False, False)
    assert found.right["facts"] == (True,) * 4
    assert behind_door(BASE, ROUTE, SCORES, 9).right == BASE.right
    assert behind_door(BASE, ROUTE, SCORES, -1).right == ROUTE.right


def test_a_score_at_the_floor_is_not_above_it_as_in_the_index():
    assert behind_door(BASE, ROUTE, SCORES, 3).target == 0
    assert let_in((0, 1, 2, 3), 2) == 25


def test_more_scores_than_items_do_no_harm():
    longer = {name: (*row, 9, 9) for name, row in SCORES.items()}
    assert behind_door(BASE, ROUTE, longer, 1).right == behind_door(BASE, ROUTE, SCORES, 1).right


def test_the_highest_floor_within_the_limit_is_chosen():
    customers = [2.0] + [4.0] * 99
    assert choose_floor(customers, 1) == 3.5  # 4 turns away everybody
    assert choose_floor(customers, 0.5) == 1.5
    assert choose_floor(customers, 1, floors=(1, 2, 3)) == 3


def test_no_floor_is_told():
    with pytest.raises(ValueError, match="even 0 turns away 50 % of the customers"):
        choose_floor([0, 5])
    with pytest.raises(ValueError, match="there are none"):
        choose_floor([])


def test_scores_are_those_of_the_search_and_by_length_shorter():
    index, suites = HelpIndex(shop_articles()), load_suites(["support", "facts"], size=5)
    scores = best_scores(index, suites)
    shorter = best_scores(index, suites, by_length=True)
    for suite in suites:
        for item, score, other in zip(
            suite.items, scores[suite.name], shorter[suite.name], strict=True
        ):
            question = item.prompt.removeprefix("Customer: ").removesuffix("\nAgent:")
            if suite.name == "support":
                (hit,) = index.find(question, k=1)
                assert score == hit.score
                assert other == pytest.approx(score / len(question.split()) ** 0.5)
            assert other <= score


def test_a_road_has_the_brief_loss_and_the_worst_skill():
    first, second = road(BRIEF, BASE, ROUTE, SCORES, floors=(0, 2))
    assert first == Behind(0, 75, pytest.approx(7.5), 75)
    assert second == Behind(2, 25, pytest.approx(2.5), 25)


def test_a_reading_gives_ranges_seeds_and_broken_margins():
    runs = [ROUTE, entry("plain", 1, support="0111", howto="0111", lists="0111")]
    assert points_lost(BASE, *runs)["lists"] == 62.5
    assert reading(BRIEF, BASE, runs) == {
        "support right (%)": "75 to 100",
        "lost, by traffic": "5.0 to 10.0",
        "how-to lost, by seed": "0 / 25",
        "worst skill": "lists 25 to 100",
        "margins broken": "howto, lists",
    }


def test_a_range_of_one_value_is_the_value():
    assert (span([2.0, 2.04]), span([1, 3]), span([-0.0], 1)) == ("2", "1 to 3", "0.0")


def test_the_figure_is_told_in_words():
    roads = {name: [road(BRIEF, BASE, ROUTE, SCORES, floors=(0, 1, 2))] * seeds
             for name, seeds in (("fine-tune", 2), ("search", 1))}  # fmt: skip
    picture = plot.doors(roads, chosen=1)
    assert "fine-tune: from the lowest floor to 1 new questions go from 75 to 50" in picture.alt
    assert picture.png.startswith(b"\x89PNG")
