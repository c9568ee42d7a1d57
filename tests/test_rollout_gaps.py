"""What the map forgot, found in telemetry whose truth is known."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy
import pandas
import pytest

from helpers.audit import CapabilityMap, Category
from helpers.rollout.eprocess import BadEvents
from helpers.rollout.gaps import find_gaps, proposed, telling_words, wilson
from helpers.rollout.simulate import Traffic, answers
from helpers.scope.brief import Brief
from helpers.scope.needs import EXAMPLE

BRIEF = Brief(EXAMPLE)
MAP = BRIEF.to_map()
HARMFUL = {"order_sums": (0.05, 0.65)}


@pytest.fixture(scope="module")
def events():
    return answers(Traffic.from_brief(BRIEF, HARMFUL), 10, 500, 0.3, texts=True)


def test_the_category_on_nobody_s_map_is_found_with_its_harm_and_its_questions(events):
    gaps = find_gaps(events, MAP, BRIEF)
    assert [(gap.category, gap.reason) for gap in gaps] == [("order_sums", "missing")]
    gap = gaps[0]
    assert gap.share_interval[0] < 0.05 < gap.share_interval[1]
    assert gap.candidate_interval[0] < 0.65 < gap.candidate_interval[1]
    assert gap.control_interval[0] < 0.05 < gap.control_interval[1]
    assert gap.harms == pytest.approx(1000 * 0.05 * 0.6, rel=0.35)
    harmed = events[events["harm"] & events["arm"].eq("candidate")]
    known = {" ".join(text.split()) for text in harmed["prompt"]}
    assert len(set(gap.examples)) == 3 and set(gap.examples) <= known
    assert re.search(r"\norder_sums +missing ", repr(gaps)) and "order_sums" in gaps._repr_html_()


def test_the_table_fits_a_page_and_shows_one_question_of_each_gap(events):
    taken = events.assign(category=events["category"].replace("order_sums", "other"))
    gaps = find_gaps(taken, MAP, BRIEF)
    head, row = repr(gaps).splitlines()
    assert len(head) < 200 and len(row) < 200
    question = re.search(r"\+\d+ +(.*)$", row)[1]
    assert "Customer" not in question and "Agent" not in question
    assert question.removesuffix(" …") in gaps[0].examples[0]
    assert f"{100 * gaps[0].share:.1f} %" in row and f"+{gaps[0].harms:.0f}" in row
    bare = find_gaps(events.assign(prompt=None), MAP, BRIEF)
    assert repr(bare).endswith("–")


def test_nothing_is_found_where_nothing_is_missing():
    harmless = answers(Traffic.from_brief(BRIEF, unmapped={}), 10, 500, 0.3)
    gaps = find_gaps(harmless, MAP, BRIEF)
    assert gaps == () and "nothing" in repr(gaps) and "nothing" in gaps._repr_html_()
    assert proposed(gaps, MAP) == MAP


@pytest.mark.parametrize("called", ["reasoning", "other"])
def test_it_is_found_too_where_its_questions_are_taken_for_something_else(events, called):
    """The telemetry only knows the nearest capability; a telling word sets the part apart."""
    taken = events.assign(category=events["category"].replace("order_sums", called))
    gaps = find_gaps(taken, MAP, BRIEF)
    gap = gaps[0]
    assert gap.category == called
    assert gap.reason == ("missing" if called == "other" else "harm that the map does not see")
    assert gap.name.startswith(f"{called}_") or called == "other"
    assert all("Customer:" in text for text in gap.examples)
    rows = {row.name for row in proposed(gaps, MAP).categories}
    assert gap.name in rows and rows > {row.name for row in MAP.categories}


def test_more_traffic_than_the_brief_says_wants_a_tighter_margin():
    more = Brief([n if n.capability != "facts" else replace(n, traffic=24) for n in EXAMPLE
                  if n.capability != "howto"])  # fmt: skip
    events = answers(Traffic.from_brief(more, unmapped={}), 10, 400, 0.3)
    gaps = find_gaps(events, MAP, BRIEF)
    assert [(gap.category, gap.reason) for gap in gaps] == [("facts", "more traffic than planned")]
    before, after = MAP["facts"], proposed(gaps, MAP)["facts"]
    assert (before.margin, after.margin) == (5, 3)
    assert after.min_items > before.min_items and after.task == before.task
    assert find_gaps(events, MAP) == ()  # without a brief nobody can say that it is more


def test_a_proposed_row_is_read_back_and_has_the_items_its_margin_needs(events, tmp_path):
    found = proposed(find_gaps(events, MAP, BRIEF), MAP)
    path = tmp_path / "map.yaml"
    path.write_text(found.dump(), encoding="utf-8")
    row = CapabilityMap.load(path)["order_sums"]
    assert (row.role, row.severity, row.margin, row.layer) == ("protected", "block", 5, "business")
    assert 240 < row.min_items < 320
    assert CapabilityMap.load(path).categories[:-1] == MAP.categories
    assert proposed(find_gaps(events, found, BRIEF), found).categories[-1].name != "order_sums"


def test_rare_questions_are_left_out_unless_they_are_harmed(events):
    few = events[events["category"] == "order_sums"].iloc[:30]
    rest = events[events["category"] != "order_sums"]
    some = pandas.concat([rest, few.assign(harm=False)])
    assert find_gaps(some, MAP, BRIEF) == ()
    assert len(find_gaps(some, MAP, BRIEF, least=0.001)) == 1
    harmed = few.assign(harm=few["arm"].eq("candidate"))
    assert len(find_gaps(pandas.concat([rest, harmed]), MAP, BRIEF)) == 1


def test_many_categories_at_their_margin_give_few_false_gaps():
    """Thirty mapped categories, each harmed by just the margin: alpha holds for all of them."""
    names = [f"skill {number}" for number in range(30)]
    many = CapabilityMap(tuple(Category(name, name, margin=5.0) for name in names))
    found = 0
    for seed in range(20):
        rng = numpy.random.default_rng(seed)
        chosen = rng.random(15_000) < 0.5
        events = pandas.DataFrame(
            {
                "category": numpy.repeat(names, 500),
                "arm": numpy.where(chosen, "candidate", "control"),
                "harm": rng.random(15_000) < numpy.where(chosen, 0.15, 0.10),
                "prompt": None,
            }
        )
        found += bool(find_gaps(events, many))
    assert found <= 4


def test_without_texts_or_an_arm_there_is_still_a_gap(events):
    bare = find_gaps(events.assign(prompt=None), MAP, BRIEF)
    assert bare[0].examples == () and bare[0].words == () and bare[0].name == "order_sums"
    alone = find_gaps(events[events["arm"] == "control"], MAP, BRIEF)
    assert alone[0].candidate is None and alone[0].harms == 0 and "–" in repr(alone)


def test_telling_words_are_those_of_the_harmed():
    harmed = ["what do two lamps cost", "what do my lamps cost"] * 10
    others = ["what do I do", "what is open", "what is a lamp"] * 20
    words = telling_words(harmed, others)
    assert set(words[:2]) == {"cost", "lamps"} and "what" not in words
    assert telling_words([], others) == telling_words(harmed, []) == ()
    assert telling_words(["one odd word"], others) == ()


def test_the_interval_is_wilson_s():
    """By his formula."""
    n, p, z = 50, 0.1, 1.959963984540054
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    assert wilson(5, 50) == pytest.approx((middle - half, middle + half))


def test_bad_telemetry_is_refused(events):
    with pytest.raises(BadEvents, match="lacks harm"):
        find_gaps(events.drop(columns="harm"), MAP)
    with pytest.raises(BadEvents, match="no answer"):
        find_gaps(events.iloc[:0], MAP)
    with pytest.raises(BadEvents, match="alpha"):
        find_gaps(events, MAP, alpha=2)
