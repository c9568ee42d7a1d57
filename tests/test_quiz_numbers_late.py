"""The answers to the quizzes of lessons 04 to 08, taken anew from what the lessons show.

Those of lesson 09 are in `test_claims_09`.
"""

from __future__ import annotations

import re
from functools import cache
from statistics import fmean

import pandas
import pytest
from merging_halves import chosen

from helpers import audit
from helpers.blindspot import chains, steps, tax, taxed
from helpers.blindspot.chosen import by_target
from helpers.merging import stored as merged
from helpers.mitigations import board
from helpers.mitigations.costs import read_costs
from helpers.mitigations.methods import RANKED
from helpers.paths import DATA
from helpers.quiz_files import FOLDER, closed, read_quiz
from helpers.runs import SCALE, find, read_runs
from helpers.scope import stored
from helpers.scope.brief import Brief
from helpers.scope.compare import points_lost, reading
from helpers.scope.door import behind_door, best_scores, let_in
from helpers.scope.needs import EXAMPLE
from helpers.scope.retrieval import HelpIndex, shop_articles
from helpers.suites import load_suites
from helpers.tradeoff import OLD
from helpers.tradeoff import points_lost as lost_by

LATE = ("04", "05", "06", "07", "08", "09")


def entry(lesson: str, number: int) -> dict:
    return closed(read_quiz(FOLDER / f"{lesson}.json"))[number - 1]


def accepts(lesson: str, number: int, value: float) -> bool:
    """Whether a number is right as the answer to a question."""
    asked = entry(lesson, number)["number"]
    return asked["low"] <= value <= asked["high"]


def right(lesson: str, number: int) -> str:
    (text,) = (o["text"] for o in entry(lesson, number)["options"] if o["correct"])
    return text


def texts(lesson: str, number: int) -> list[str]:
    return [option["text"] for option in entry(lesson, number)["options"]]


@pytest.mark.parametrize("lesson", LATE)
def test_a_quiz_is_read_off_the_lesson(lesson):
    """Five closed questions; a question names the place to read, and at least three are numbers."""
    found = closed(read_quiz(FOLDER / f"{lesson}.json"))
    assert len(found) == 5
    assert sum("number" in one for one in found) >= 3
    (source,) = (DATA.parent / "source").glob(f"{lesson}_*.py")
    titles = re.findall(r"^# #+ (.*)", source.read_text(encoding="utf-8"), re.M)
    for one in found:
        named = re.findall(r'"([^"]+)"', one["question"])
        assert "same table" in one["question"] or named
        for name in named:
            assert any(title.replace('"', "").startswith(name) for title in titles), name


@pytest.mark.parametrize("lesson", LATE)
def test_a_range_is_too_narrow_for_a_guess(lesson):
    for one in closed(read_quiz(FOLDER / f"{lesson}.json")):
        if number := one.get("number"):
            assert number["high"] - number["low"] <= 0.08 * abs(number["high"] + number["low"])


# Lesson 04


@cache
def settings() -> pandas.DataFrame:
    return by_target(read_runs()).head(9)


def test_04_the_price_of_a_question():
    table = settings()
    support, lost = table["support right (%)"], table["points lost"]
    questions = (support.iloc[0] - support.iloc[8]) * 90 / 100
    assert round(questions) == 6
    kept = lost.iloc[0] - lost.iloc[8]
    assert accepts("04", 1, kept / questions)
    assert not accepts("04", 1, kept / (support.iloc[0] - support.iloc[8]))
    assert not accepts("04", 1, kept / 2)


def test_04_the_cheapest_of_the_good_settings():
    table = settings()
    good = table[table["support right (%)"] >= 91]
    named = {f"rate {rate}, rank {rank}": (rate, rank) for rate, rank in good.index}
    assert right("04", 2) == min(named, key=lambda name: good["points lost"][named[name]])
    assert set(texts("04", 2)) <= set(named)


def test_04_rows_that_cannot_tell_copying():
    (hundred,) = load_suites("reasoning", size=100)
    table = steps.compare({
        "base": [run.reliance for run in chains.read_chains() if run.setting.data == "base"],
        "copies": [steps.reliance(steps.copy_last, hundred)],
    })  # fmt: skip
    assert len(table) == 9
    assert accepts("04", 3, (table["base"] == table["copies"]).sum())


def test_04_what_ten_worked_problems_bring():
    short = [run for run in chains.read_chains() if run.setting.data == "short"]
    gains = [run.relearned - run.scores["reasoning"] for run in short]
    assert accepts("04", 4, fmean(gains))
    assert not any(accepts("04", 4, gain) for gain in (min(gains), max(gains)))


def test_04_the_tax_on_the_mean_of_the_skills():
    runs = tax.read_tax()
    tuned = taxed.seeds_of(runs, "refusals alone, beta 0.1")
    (base,) = {run.looks[-1].skills for run in taxed.seeds_of(runs, "not tuned")}
    first, last = [taxed.first_at(run, 85) for run in tuned], [run.looks[-1] for run in tuned]
    (start,) = (run.looks[-1] for run in taxed.seeds_of(runs, "not tuned")[:1])
    mean, worst = fmean(look.skills for look in first), fmean(map(taxed.worst, first))
    later = fmean(look.skills for look in last)
    assert [round(each) for each in (base, mean, worst, later)] == [98, 95, 84, 66]
    fallen = [base - mean, taxed.worst(start) - worst, base - worst, base - later]
    assert texts("04", 5) == [f"About {points:.0f} points" for points in fallen]
    assert right("04", 5) == texts("04", 5)[0]
    assert min(tax.SKILLS, key=start.scores.get) == "lists" and taxed.worst(start) == 90
    howto = [start.scores["howto"] - look.scores["howto"] for look in first]
    assert round(fmean(howto)) == 16
    rest = [name for name in tax.SKILLS if name != "howto"]
    lost = [start.scores[name] - look.scores[name] for look in first for name in rest]
    assert (min(lost), max(lost)) == (0, 2.5)


# Lesson 05

MAP = "version: 1\nalpha: 0.05\npower: 0.8\ncategories:\n" + "".join(
    f"  {name}: {{task: pocket_{name}, margin: 5}}\n" for name in ("lists", "howto")
)


def prose(lesson: str) -> str:
    (source,) = (DATA.parent / "source").glob(f"{lesson}_*.py")
    return re.sub(r"\n# ", " ", source.read_text(encoding="utf-8"))


def test_05_the_smaller_of_two_blocked_losses():
    before, after = map(
        float, re.search(r"`lists` from (\d+\.\d) to (\d+\.\d)", prose("05")).groups()
    )
    assert accepts("05", 1, (before - after) / 5)


def test_05_audits_without_a_verdict():
    rates = audit.rehearse(audit.CapabilityMap.parse(MAP, "map.yaml"), items=450)
    assert accepts("05", 2, 1000 * rates.inconclusive)
    assert not accepts("05", 2, 200)


def test_05_candidates_against_looks():
    looks = audit.ask_again(300, looks=10, more=300)[-1]
    assert accepts("05", 3, 100 * (audit.try_candidates(297, 10) - looks))
    assert not accepts("05", 3, 100 * (1 - 0.95**10 - looks))


def test_05_the_price_of_a_second_look():
    one, two = audit.items_needed(5), audit.items_needed(5, alpha=0.05 / 2)
    assert accepts("05", 4, 100 * (two / one - 1))
    assert not accepts("05", 4, 27)  # by the normal approximation


def test_05_the_verdicts_on_the_careful_run():
    assert "The gate cannot tell in any of the three rows" in prose("05")
    assert right("05", 5) == "lists, howto and support cannot tell"


# Lesson 06


@cache
def mixed() -> list[board.Entry]:
    return [*board.read_board(), *board.read_board(stored.MIXING)]


@cache
def door() -> dict[str, tuple[float, ...]]:
    suites = load_suites(["support", *OLD], size=700)
    return best_scores(HelpIndex(shop_articles()), suites)


@cache
def brief() -> Brief:
    base = board.base_of(mixed())
    return Brief(EXAMPLE, {name: base.score(name) for name in OLD})


def howto(method: str, strength: float) -> float:
    """Points of how-to lost, mean over the seeds."""
    return points_lost(board.base_of(mixed()), *board.pick(mixed(), method, strength))["howto"]


def test_06_the_searchs_worst_skill():
    base, (search,) = board.base_of(mixed()), board.pick(mixed(), stored.SEARCH)
    lost = points_lost(base, behind_door(base, search, door(), 3))
    assert accepts("06", 1, max(lost.values()) - brief().weighted(lost))


def test_06_who_is_let_in():
    let = {name: let_in(door()[name][100:], 3) for name in OLD}
    assert right("06", 2) == max(let, key=let.get)
    assert [round(let[name]) for name in texts("06", 2)] == [51, 100, 50, 8]


def test_06_what_the_rows_add_to_the_rate():
    both = howto("replay, lower rate", 0.5)
    assert accepts("06", 3, howto("lower rate", 3e-3) - both)
    assert not accepts("06", 3, howto("replay", 0.5) - both)
    assert not accepts("06", 3, howto("plain", 0) - both)


def test_06_broken_margins():
    def broken(method, strength):
        told = reading(brief(), board.base_of(mixed()), board.pick(mixed(), method, strength))
        return len(told["margins broken"].split(", "))

    rows = [("replay", 0.10), ("replay", 0.25), ("replay", 0.50)]
    tenth, quarter, half = (broken(*row) for row in rows)
    low = [broken("replay, lower rate", share) for share in (0.25, 0.50)]
    pairs = [(tenth, quarter), low, (tenth, half), (quarter, half)]
    assert texts("06", 4) == ["from {} to {}".format(*pair) for pair in pairs]
    assert right("06", 4) == texts("06", 4)[3]


def test_06_rows_of_its_own():
    assert accepts("06", 5, howto("self replay", 0.25) / howto("replay", 0.25))
    assert not accepts("06", 5, howto("self replay", 0.10) / howto("replay", 0.10))


# Lesson 07


def test_07_third_at_ninety():
    found = board.read_board()
    names = {g: [o.method for o in board.standings(found, RANKED, goal=g)] for g in (80, 85, 90)}
    by_name = [names[85][2], names[80][2], names[90][4], names[90][2]]
    assert [text.replace(" by itself", "") for text in texts("07", 1)] == by_name
    assert names[85].index("self replay") == 12
    assert right("07", 1) == texts("07", 1)[3]


def test_07_the_seed_on_which_rows_save_least():
    found = board.read_board()
    base = board.base_of(found)
    rows = {r.setting.seed: r.lost(base) for r in board.pick(found, "replay, lower rate", 0.5)}
    alone = {
        run.setting.seed: lost_by(run.base, run.last)
        for run in find(read_runs(SCALE), lr=3e-3, rank=8, steps=240)
    }
    saved = [alone[seed] - rows[seed] for seed in (0, 1, 2)]
    assert accepts("07", 2, min(saved))
    assert not accepts("07", 2, fmean(saved))
    assert not accepts("07", 2, min(alone.values()) - max(rows.values()))


@cache
def ranked() -> dict[str, board.Standing]:
    return {one.method: one for one in board.standings(board.read_board(), RANKED)}


def test_07_the_worst_skill_at_eighty():
    assert right("07", 3) == max(texts("07", 3), key=lambda name: ranked()[name].worst_skill[1])
    found = [f"{ranked()[name].worst_skill[1]:.0f}" for name in texts("07", 3)]
    assert found == ["10", "9", "5", "3"]


def test_07_what_sixteen_numbers_save():
    found = board.read_board()

    def points(method, strength):
        (one,) = [p[1:] for p in board.road(found, method) if p[0] == strength]
        return one

    def share(strength):
        """At the support of the sixteen numbers."""
        support, lost = points("EWC, per matrix", strength)
        plain, ewc = (
            board.lost_at([p[1:] for p in board.road(found, m)], support)[1]
            for m in ("L2-SP", "EWC")
        )
        return 100 * (plain - lost) / (plain - ewc)

    plain, matrix, ewc = (points(m, 0.003)[1] for m in ("L2-SP", "EWC, per matrix", "EWC"))
    assert accepts("07", 4, share(0.003)) and not accepts("07", 4, share(0.001))
    at_equal_strength = 100 * (plain - matrix) / (plain - ewc)
    wrong = (at_equal_strength, 100 * (plain - matrix) / plain, 100 * (plain - ewc) / plain)
    assert not any(accepts("07", 4, value) for value in wrong)


def test_07_the_bill_of_the_first_place():
    found, took = board.read_board(), read_costs()["EWC"]["step time"]

    def steps_of(name):
        return board.pick(found, name, ranked()[name].between[-1])[0].steps

    rows, held = steps_of("replay, lower rate"), steps_of("replay, EWC")
    assert accepts("07", 5, rows / (held * took))
    assert not any(accepts("07", 5, wrong) for wrong in (rows / held, rows / (held * took**2)))


# Lesson 08

RIVALS = ["merge", "gentle merge", "lower rate", "early stop"]


@cache
def rivals() -> dict[str, board.Standing]:
    found = board.standings(merged.rivals(), RIVALS, goal=85)
    return {one.method: one for one in found}


def test_08_what_is_saved_whichever_seeds_are_paired():
    gentle, lower, plain = (rivals()[name] for name in ("gentle merge", "lower rate", "merge"))
    assert accepts("08", 1, lower.low - gentle.high)
    assert accepts("08", 1, round(lower.low, 1) - round(gentle.high, 1))  # as printed
    ends = gentle.low, gentle.high, lower.low, plain.high
    assert [f"{end:.1f}" for end in ends] == ["2.1", "2.9", "6.0", "5.0"]
    means = lower.lost - gentle.lost
    for wrong in (means, lower.low - plain.high, rivals()["early stop"].lost - gentle.lost):
        assert not accepts("08", 1, wrong)
    assert f"{means:.1f}" == "4.4" and f"{lower.low - plain.high:.1f}" == "1.0"
    at_90 = {o.method: o for o in board.standings(merged.rivals(), RIVALS, goal=90)}
    assert at_90["gentle merge"].high > at_90["lower rate"].low  # there the ranges meet


def test_08_what_the_choosing_half_flatters():
    fall, worse, short = [], [], []
    for seed in (0, 1, 2):
        _, (seen, lost), (told, lost_there) = chosen(merged.road_for(seed))
        fall.append(seen - told)
        worse.append(lost_there - lost)
        short.append(85 - told)
    assert [round(each) for each in fall] == [12, 6, 8]
    assert [round(each) for each in worse] == [4, -4, 2]
    assert accepts("08", 2, fmean(fall))
    assert not any(accepts("08", 2, wrong) for wrong in (*fall, fmean(short)))


def test_08_seeds_on_which_ties_is_ahead():
    merges, shown = merged.read_merges(), ("rule", "harmless", "howto", "support")
    best = {
        kind: [
            max(
                min(run.score(name) for name in shown)
                for strength in board.strengths(merges, kind)
                for run in board.pick(merges, kind, strength)
                if run.setting.seed == seed
            )
            for seed in (0, 1, 2)
        ]
        for kind in ("TIES", "shop + rule")
    }
    ties, total = best.values()
    assert [round(each) for each in ties] == [78, 73, 41]
    assert [round(each) for each in total] == [75, 72, 80]
    assert round(total[2] - ties[2]) == 39
    ahead = sum(a > b for a, b in zip(ties, total, strict=True))
    assert right("08", 3) == texts("08", 3)[ahead] and "two" in right("08", 3)
    assert min(ties) < min(total) and fmean(ties) < fmean(total)


def test_08_what_a_sum_at_right_angles_costs():
    merges = merged.read_merges()

    def harmless(kind, strength):
        return fmean(run.score("harmless") for run in board.pick(merges, kind, strength))

    alone, whole = harmless("rule", 1), harmless("shop + rule", 1)
    part, opposite = harmless("shop + rule", 0.7), harmless("rule + opposite", 1)
    wrong = {
        "part": alone - part,
        "shop": harmless("line", 1) - whole,
        "mean": harmless("mean", 0.5) - whole,
        "opposite": alone - opposite,
    }
    assert [round(points) for points in wrong.values()] == [6, 7, 38, 79]
    assert [round(alone), round(whole)] == [81, 53]
    assert accepts("08", 4, alone - whole)
    assert not any(accepts("08", 4, points) for points in wrong.values())
    angles = [
        {round(run.angle) for run in board.pick(merges, kind, 1)}
        for kind in ("shop + rule", "rule + opposite")
    ]
    assert angles == [{90}, {91}]


def test_08_the_skill_that_passes_with_each_seed():
    whole = board.base_of(board.read_board(board.CANDIDATES))
    told = []
    for run in board.pick(merged.read_merges(), "3e-3, every item"):
        pair = [merged.as_snapshot(entry, skip=100) for entry in (whole, run)]
        told.append({r.category.name: r for r in audit.audit(*pair, merged.map_for(run)).rows})
    shown = {
        name: [f"{rows[name].after:.0f} {rows[name].verdict}" for rows in told]
        for name in texts("08", 5)
    }
    assert shown == {
        "facts": ["96 PASS", "96 PASS", "95 PASS"],
        "refusal": ["98 PASS", "98 PASS", "97 INCONCLUSIVE"],
        "rewriting": ["96 PASS", "91 INCONCLUSIVE", "94 INCONCLUSIVE"],
        "arithmetic": ["96 PASS", "92 INCONCLUSIVE", "94 INCONCLUSIVE"],
    }
    assert right("08", 5) == "facts"
    assert [told[0][name].category.margin for name in ("facts", "refusal")] == [5, 3]
    fell = [told[0][name].before - told[0][name].after for name in ("facts", "refusal")]
    assert [round(each, 1) for each in fell] == [2.2, 0.8]
