"""The game of lesson 03: what a choice promises on one seed and keeps on the others."""

from __future__ import annotations

import html
import re

import pytest

from helpers.runs import BadRuns, Checkpoint, Setting, StoredRun
from helpers.suites import NAMES, TARGET
from helpers.tradeoff import OLD
from helpers.widgets.ship import Choice, Market, Result, ShipGame

#: Rate to (support, points every old skill has lost), one pair a seed.
SEEDS = {
    1e-3: [(60, 0), (20, 0), (30, 10)],  # promises most: 60, keeps 15
    1e-2: [(70, 10), (80, 5), (60, 5)],  # promises 50, keeps 60
    1e-1: [(40, 40), (50, 0), (None, 0)],  # promises -40, keeps 50; the last seed diverged
    1.0: [(90, 1), (None, 0), (None, 0)],  # of one seed only
}


def look(step, target, lost):
    scores = dict.fromkeys(NAMES, 100.0) | dict.fromkeys(OLD, 100.0 - lost) | {TARGET: target}
    scores["howto"] -= 3 * (step > 0)  # 0.3 points of the mean of ten skills
    scores["lists"] += 3 * (step > 0)
    return Checkpoint(step, scores, {}, 0.0, ())


def made_up():
    runs = []
    for rate, seeds in SEEDS.items():
        for seed, (target, lost) in enumerate(seeds):
            looks = [look(0, 0.0, 0.0)] + ([look(60, target, lost)] if target is not None else [])
            setting = Setting(rate, 8, 60, 1200, seed)
            runs.append(StoredRun(setting, tuple(looks), 1.0, "" if looks[1:] else "nan", {}))
    return runs


def choice(rate):
    return Choice(rate, 8, 60)


def told(widget):
    return html.unescape(re.sub("<[^>]+>", " ", widget.value))


@pytest.fixture
def game():
    return ShipGame(made_up()[::-1])


@pytest.mark.parametrize(
    ("rate", "promised", "kept", "place"),
    [(1e-2, 50, 60, 1), (1e-1, -40, 50, 2), (1e-3, 60, 15, 3)],
)
def test_a_choice_is_judged_on_the_seeds_one_has_not_seen(rate, promised, kept, place):
    found = Market(made_up()).result(choice(rate))
    assert found == Result(pytest.approx(promised), pytest.approx(kept), place)


def test_the_best_choice_keeps_most():
    assert Market(made_up()).best() == choice(1e-2)


def test_a_choice_of_one_seed_is_left_out(game):
    assert choice(1.0) not in game.market.looks
    game.lr.value = 1.0
    assert "this run diverged" in told(game.told)
    game.ship()
    assert game.shipped == [] and game.verdict.value == ""


def test_the_sentence_gives_the_audit_of_the_first_seed(game):
    game.lr.value = 1e-2
    assert told(game.told).strip() == (
        "Rate 0.01, rank 8, step 60, audit of one seed: support 70 percent, old skills lose "
        "10.0 points on average, most in howto (13). Worth 50."
    )


def test_what_was_shipped_is_listed_and_the_best_told_after_three(game):
    for rate in (1e-3, 1e-1):
        game.lr.value = rate
        game.ship()
    rows = re.findall("<tr>(.*?)</tr>", game.verdict.value)[1:]
    assert [re.findall("<td>(.*?)</td>", row) for row in rows] == [
        ["0.001", "8", "60", "60", "15", "3 of 3"],
        ["0.1", "8", "60", "-40", "50", "2 of 3"],
    ]
    assert "The best choice" not in told(game.verdict)
    before = game.image.value
    game.lr.value = 1e-2
    game.ship()
    assert "The best choice keeps 60: rate 0.01, rank 8, step 60." in told(game.verdict)
    assert game.image.value != before


def test_one_seed_is_not_enough_for_a_game():
    with pytest.raises(BadRuns, match="two seeds or more"):
        ShipGame([run for run in made_up() if run.setting.seed == 0])
