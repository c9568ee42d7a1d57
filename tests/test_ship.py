"""The game of lesson 03: what a choice promises on one seed and keeps on the others."""

from __future__ import annotations

import html
import re
import statistics

import pytest

from helpers.runs import BadRuns, Checkpoint, Setting, StoredRun, read_runs
from helpers.suites import NAMES, TARGET
from helpers.tradeoff import OLD
from helpers.widgets.ship import Choice, Market, ShipGame

#: Rate to (support, points that how-to has lost), one pair a seed.
SEEDS = {
    1e-3: [(60, 0), (60, 10), (60, 20)],
    1e-2: [(90, 30), (90, 20), (90, 10)],
    1e-1: [(90, 80), (90, 80), (None, 0)],  # the last seed diverged
}


def look(step, target, lost):
    scores = dict.fromkeys(NAMES, 100.0) | dict.fromkeys(OLD, 99.0) | {TARGET: target}
    scores["howto"] = 100.0 - lost
    return Checkpoint(step, scores, {}, 0.0, ())


def made_up(alpha="2r"):
    runs = []
    for rate, seeds in SEEDS.items():
        for seed, (target, lost) in enumerate(seeds):
            base = look(0, 0.0, 0.0)
            base.scores.update(dict.fromkeys(OLD, 100.0))
            looks = [base] + ([look(60, target, lost)] if target is not None else [])
            setting = Setting(rate, 8, 60, 1200, seed, alpha)
            runs.append(StoredRun(setting, tuple(looks), 1.0, "" if looks[1:] else "nan", {}))
    return runs


def told(widget):
    return html.unescape(re.sub("<[^>]+>", " ", widget.value)).strip()


@pytest.fixture
def game():
    return ShipGame(made_up()[::-1])


def test_a_choice_is_worth_its_target_less_what_the_worst_skill_lost():
    market = Market(made_up())
    assert set(market.looks) == {Choice(rate, 8, "2r", 60) for rate in (1e-3, 1e-2)}
    one = market.looks[Choice(1e-3, 8, "2r", 60)]
    assert [look.worth for look in one] == [59, 50, 40]  # at least another skill has lost one
    assert [look.skill for look in one][1:] == ["howto", "howto"]


def test_an_offer_shows_one_seed_and_keeps_the_others():
    market = Market(made_up())
    for turn in range(3):
        for offer in market.sweep(turn):
            looks = list(market.looks[offer.choice])
            assert sorted([offer.seen, *offer.others]) == sorted(looks)
            assert offer.promised == offer.seen.worth
            looks.remove(offer.seen)
            assert offer.kept == statistics.fmean(look.worth for look in looks)
        promised = [offer.promised for offer in market.sweep(turn)]
        assert promised == sorted(promised, reverse=True)


def test_over_three_turns_every_seed_of_a_choice_is_seen_once():
    market = Market(made_up())
    for shuffle in range(4):
        seen = {}
        for turn in range(3):
            for offer in market.sweep(turn, shuffle):
                seen.setdefault(offer.choice, []).append(offer.seen)
        assert all(sorted(seen[c]) == sorted(market.looks[c]) for c in market.looks)
    sweeps = {str(market.sweep(0, shuffle)) for shuffle in range(8)}
    assert len(sweeps) > 1


def test_three_are_shipped_and_then_the_outcome_is_told(game):
    assert told(game.told).startswith("Sweep 1 of 3: 2 runs")
    promised, kept = [], []
    for turn in range(3):
        offer = game.market.sweep(turn)[1]
        game.pick.value = 1
        promised.append(offer.promised)
        kept.append(offer.kept)
        game.ship()
    rows = re.findall("<tr>(.*?)</tr>", game.verdict.value)[1:]
    cells = [re.findall("<td>(.*?)</td>", row) for row in rows]
    assert [row[0] for row in cells] == ["B"] * 3
    assert [row[2:] for row in cells] == [
        [f"{p:.0f}", f"{k:.0f}"] for p, k in zip(promised, kept, strict=True)
    ]
    average = f"On average promised {statistics.fmean(promised):.0f}, "
    assert average + f"kept {statistics.fmean(kept):.0f}." in told(game.verdict)
    assert game.button.disabled and not game.again.disabled
    game.ship()
    assert game.turn == 3


def test_before_the_last_sweep_the_outcome_is_not_told(game):
    game.ship()
    assert "On average" not in told(game.verdict) and "promised" in told(game.verdict)


def test_the_game_begins_again_with_other_seeds(game):
    for _ in range(3):
        game.ship()
    game.restart()
    assert game.turn == 0 and game.shuffle == 1 and game.verdict.value == ""
    assert not game.button.disabled and game.again.disabled


def test_candidates_have_no_names_before_they_are_shipped(game):
    """Whoever knew the rate or the rank would choose by what the lesson has told."""
    assert not re.search(r"rate|rank|0\.0", repr(game))
    game.ship()
    assert "rate 0.01, rank 8, α 16, step 60" in told(game.verdict)


def test_the_picture_follows_the_choice(game):
    before = bytes(game.image.value)
    game.pick.value = 1
    assert bytes(game.image.value) != before


def test_two_seeds_are_not_enough_for_a_game():
    with pytest.raises(BadRuns, match="three seeds"):
        ShipGame([run for run in made_up() if run.setting.seed < 2])


# The winner's curse in the shipped runs, whatever seeds are looked at


def falls(offers):
    return [offer.promised - offer.kept for offer in offers]


def test_what_looks_best_keeps_less_whichever_seeds_are_seen():
    market = Market(read_runs(alpha=None))
    best = [falls(market.sweep(turn, shuffle)[:1])[0] for shuffle in range(100)
            for turn in range(3)]  # fmt: skip
    assert statistics.fmean(best) > 5
    games = [statistics.fmean(best[first : first + 3]) for first in range(0, 300, 3)]
    assert min(games) > -0.01  # whoever ships the best-looking three times never gains by it
    assert sum(game > 3 for game in games) > 90


def test_any_of_the_ten_keeps_less_on_average_and_the_other_runs_do_not():
    """The control: among all runs, chosen or not, those seen fare like those not seen."""
    market = Market(read_runs(alpha=None))
    for shuffle in range(20):
        sweeps = [market.sweep(turn, shuffle) for turn in range(3)]
        assert statistics.fmean(statistics.fmean(falls(sweep[:10])) for sweep in sweeps) > 3
        everything = statistics.fmean(statistics.fmean(falls(sweep)) for sweep in sweeps)
        assert everything == pytest.approx(0, abs=1e-9)
