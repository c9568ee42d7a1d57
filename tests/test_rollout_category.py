"""What a request is about, guessed from the items of the map."""

from __future__ import annotations

import pytest

from helpers.audit import CapabilityMap
from helpers.paths import DATA
from helpers.rollout.category import OTHER, Categories
from helpers.rollout.errors import BadSetting
from helpers.suites import load_suites

MAP = CapabilityMap.load(DATA / "capability_map.yaml")


@pytest.fixture(scope="module")
def prompts():
    return {suite.name: [item.prompt for item in suite.items] for suite in load_suites(size=300)}


@pytest.fixture(scope="module")
def categories(prompts):
    return Categories.from_map(MAP, {name: found[:200] for name, found in prompts.items()})


def test_items_that_it_has_not_seen_get_their_category(categories, prompts):
    for name, found in prompts.items():
        guesses = [categories.guess(prompt)[0] for prompt in found[200:]]
        assert guesses.count(name) >= 85, name
        assert guesses.count(OTHER) <= 12, name  # two of a hundred are meant to be


@pytest.mark.parametrize(
    "prompt",
    [
        "Customer: My order has 2 shirts for 15 dollars and a hat for 9 dollars. "
        "What is the total?\nAgent:",
        "Wie geht es dir heute?",
        "Who won the world cup in 1998?",
        "asdf qwer zxcv",
        "",
        "?!",
        "🙂",
    ],
)
def test_what_is_on_nobodys_map_is_other(categories, prompt):
    name, score = categories.guess(prompt)
    assert name == OTHER and score >= 0


def test_numbers_do_not_matter(categories):
    assert categories.guess("Work out 17 + 34.") == categories.guess("Work out 905 + 1.")
    assert categories.guess("Work out 17 + 34.")[0] == "arithmetic"


def test_a_floor_is_what_all_but_a_few_of_the_own_items_reach(prompts):
    found = {name: prompts[name][:100] for name in ("facts", "reading")}
    strict, lenient = Categories(found, missed=0.5), Categories(found, missed=0.0)
    for name in found:
        assert strict.floors[name] > lenient.floors[name] > 0
        told = [strict.guess(prompt)[0] for prompt in prompts[name][100:200]]
        assert 25 <= told.count(OTHER) <= 75
        told = [lenient.guess(prompt)[0] for prompt in prompts[name][100:200]]
        assert told.count(OTHER) <= 10


def test_a_single_example_is_enough_to_be_found_by(prompts):
    few = Categories({"one": ["the blue boat"], "two": ["a red car", "the red house"]})
    assert few.guess("blue boat") == ("one", pytest.approx(few.guess("blue boat")[1]))
    assert few.guess("car")[0] == "two" and few.guess("green")[0] == OTHER


def test_missing_and_empty_examples_are_named():
    with pytest.raises(BadSetting, match="no examples of 'facts'"):
        Categories.from_map(MAP, {"lists": ["sort"]})
    with pytest.raises(BadSetting, match="'one' has no example with a word"):
        Categories({"one": ["?", ""]})
    with pytest.raises(BadSetting, match="no examples"):
        Categories({})
    with pytest.raises(BadSetting, match="missed is a share"):
        Categories({"one": ["word"]}, missed=1.0)
