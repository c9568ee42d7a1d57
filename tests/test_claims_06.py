"""What lesson 06 says, held against the stored runs over their seeds."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from statistics import fmean

import pytest

from helpers.mitigations import board
from helpers.pocket.problems import FAMILIES
from helpers.pocket.support import shop
from helpers.runs import digest, read_records
from helpers.scope import stored, strangers
from helpers.scope.brief import Brief
from helpers.scope.compare import points_lost, reading, span
from helpers.scope.door import FLOORS, behind_door, best_scores, choose_floor, let_in, road
from helpers.scope.leaks import question_of
from helpers.scope.needs import EXAMPLE
from helpers.scope.replay import add_replay, choose_families, extra_rows, token_share
from helpers.scope.retrieval import HelpIndex, evaluate_with_articles, shop_articles
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, read_tickets
from helpers.tradeoff import OLD

ALL = ["support", *OLD]


@pytest.fixture(scope="module")
def runs(scoreboard):
    return [*scoreboard, *board.read_board(stored.MIXING)]


@pytest.fixture(scope="module")
def brief(unchanged):
    return Brief(EXAMPLE, {name: unchanged.score(name) for name in OLD})


@pytest.fixture(scope="module")
def suites():
    return load_suites(ALL, size=700)


@pytest.fixture(scope="module")
def scores(suites):
    return best_scores(HelpIndex(shop_articles()), suites)


@pytest.fixture(scope="module")
def adapters(runs):
    return board.pick(runs, "plain")


@pytest.fixture(scope="module")
def search(runs):
    (found,) = board.pick(runs, stored.SEARCH)
    return found


def lost(unchanged, runs, method, strength, name):
    """Points that a skill lost, by seed."""
    return [unchanged.score(name) - r.score(name) for r in board.pick(runs, method, strength)]


# The stored runs


def test_every_stored_run_is_there_once_and_of_todays_data():
    lines = read_records(stored.MIXING, dict)
    found = Counter(board.Setting(**line["setting"]) for line in lines)
    assert found == Counter(dict.fromkeys(stored.MIXED, 1))
    assert {line["origin"]["data"] for line in lines} == {digest()}


def test_the_scoreboard_has_three_seeds_of_all_that_is_shown(runs):
    for method in ("plain", "replay", "self replay", "lower rate", "replay, lower rate"):
        for strength in board.strengths(runs, method):
            seeds = [run.setting.seed for run in board.pick(runs, method, strength)]
            assert seeds == [0, 1, 2], (method, strength)


@pytest.mark.slow
def test_the_stored_search_is_the_one_that_runs_today(pocket, search):
    few = load_suites(["support", "howto"], size=15)
    found = evaluate_with_articles(pocket, HelpIndex(shop_articles()), few, formats=None)
    for suite in few:
        right = tuple(bool(row.correct) for row in found.results[suite.name])
        assert right == search.right[suite.name][:15]


# The door


def test_the_floor_is_the_same_on_other_items(scores):
    customers = scores["support"]
    for part in (customers[100:], customers[:100], customers[400:], customers[100:400]):
        assert choose_floor(part) == 3


def test_a_door_takes_most_of_the_loss_off_both_routes(brief, unchanged, adapters, search, scores):
    """What a search or a fine-tune for everyone loses, it loses for want of a floor."""
    inside = [behind_door(unchanged, run, scores, 3) for run in adapters]
    before = [brief.weighted(points_lost(unchanged, run)) for run in adapters]
    after = [brief.weighted(points_lost(unchanged, run)) for run in inside]
    assert all(was > 40 for was in before) and all(4 < now < 7 for now in after)
    assert [run.target for run in inside] == [run.target for run in adapters]
    searched = behind_door(unchanged, search, scores, 3)
    assert span([brief.weighted(points_lost(unchanged, search))], 1) == "14.9"
    assert span([brief.weighted(points_lost(unchanged, searched))], 1) == "2.4"
    assert searched.target == search.target == 99


def test_the_numbers_that_the_table_of_doors_is_read_by(brief, unchanged, adapters, scores):
    rows = [
        reading(brief, unchanged, group)
        for group in (adapters, [behind_door(unchanged, run, scores, 3) for run in adapters])
    ]
    assert [row["lost, by traffic"] for row in rows] == ["41.5 to 50.3", "4.5 to 6.2"]
    assert [row["worst skill"] for row in rows] == ["howto 80 to 99", "reasoning 20 to 23"]
    assert fmean(brief.weighted(points_lost(unchanged, run)) for run in adapters) == (
        pytest.approx(45, abs=1)
    )


def test_the_door_does_not_hold_every_margin(brief, unchanged, adapters, search, scores):
    for group in (adapters, [search]):
        inside = [behind_door(unchanged, run, scores, 3) for run in group]
        assert "reasoning" in brief.broken(points_lost(unchanged, *inside))
    assert 40 < let_in(scores["reasoning"][100:], 3) < 60
    assert 40 < let_in(scores["reading"][100:], 3) < 60
    assert let_in(scores["sentiment"][100:], 3) == 100


def test_a_higher_floor_costs_the_target(brief, unchanged, adapters, scores):
    """The report of exercise 6.1: three points at most by the traffic, and two faults."""
    tight = [behind_door(unchanged, run, scores, 4) for run in adapters]
    assert all(brief.weighted(points_lost(unchanged, run)) < 3.01 for run in tight)
    assert set(brief.broken(points_lost(unchanged, *tight))) == {"reasoning"}
    assert all(run.target < 85 for run in tight)


def test_another_measure_is_another_door_and_no_free_one(
    brief, unchanged, adapters, suites, scores
):
    other = best_scores(HelpIndex(shop_articles()), suites, by_length=True)
    floor = choose_floor(other["support"][100:], floors=[step / 20 for step in range(80)])
    plain, by_length = (
        [behind_door(unchanged, run, row, at) for run in adapters]
        for row, at in ((scores, 3), (other, floor))
    )
    worst = [max(points_lost(unchanged, *group).values()) for group in (plain, by_length)]
    assert worst[1] < worst[0] / 1.5
    means = [
        fmean(brief.weighted(points_lost(unchanged, run)) for run in group)
        for group in (plain, by_length)
    ]
    assert means[1] > means[0]


def test_the_door_does_more_than_rescue_a_rough_rate(brief, unchanged, runs, scores):
    """A gentle run without an old row, and every run with old rows, behind the same door."""

    def both(method, strength):
        found = board.pick(runs, method, strength)
        inside = [behind_door(unchanged, run, scores, 3) for run in found]
        rows = [reading(brief, unchanged, group) for group in (found, inside)]
        assert [run.target for run in inside] == [run.target for run in found]
        return [row["lost, by traffic"] for row in rows], rows[1]["margins broken"]

    assert both("lower rate", 3e-3) == (["20.4 to 22.8", "0.9 to 2.4"], "reasoning")
    assert both("replay, lower rate", 0.25) == (["3.0 to 4.1", "0.2 to 0.7"], "none")
    assert both("replay, lower rate", 0.50) == (["1.0 to 1.3", "0.1 to 0.3"], "none")
    gentle = board.pick(runs, "lower rate", 3e-3)
    inside = [behind_door(unchanged, run, scores, 3) for run in gentle]
    means = [fmean(brief.weighted(points_lost(unchanged, run)) for run in group)
             for group in (gentle, inside)]  # fmt: skip
    assert [f"{mean:.1f}" for mean in means] == ["21.6", "1.5"]
    for method, strength in (("replay", 0.10), ("replay", 0.25), ("replay", 0.50),
                             ("self replay", 0.10)):  # fmt: skip
        found = board.pick(runs, method, strength)
        was, now = (
            fmean(brief.weighted(points_lost(unchanged, run)) for run in group)
            for group in (found, [behind_door(unchanged, run, scores, 3) for run in found])
        )
        assert now < was / 3, (method, strength)


def test_without_the_tickets_questions_there_is_no_floor(suites):
    bare = best_scores(HelpIndex(shop_articles(())), suites[:1])["support"]
    with pytest.raises(ValueError, match=r"even 0 turns away 10 % of the customers"):
        choose_floor(bare[100:])
    assert let_in(bare[100:], 3) < 20


def test_a_road_begins_where_all_that_share_a_word_go_through(brief, unchanged, search, scores):
    found = road(brief, unchanged, search, scores)
    assert [at.floor for at in found] == list(FLOORS)
    assert found[0].right == search.target
    assert all(a.right >= b.right for a, b in itertools.pairwise(found))


def test_a_dented_parcel_just_passes_the_floor():
    (hit,) = HelpIndex(shop_articles()).find("My parcel came with a dent.", k=1)
    assert 3 < hit.score < 3.0015 and hit.article.name == "missing_parcel"


def test_sixteen_policies_change_and_31_questions_ask_about_them():
    asked = load_suites("support", size=60)[0].items
    changed = sorted({item.family for item in asked})[::2]
    assert (len(changed), sum(item.family in changed for item in asked)) == (16, 31)


# Customers with words of their own


def words_of(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def fours(text):
    """Every four words in a row."""
    words = words_of(text)
    return {tuple(words[place : place + 4]) for place in range(len(words) - 3)}


@pytest.fixture(scope="module")
def heard():
    index = HelpIndex(shop_articles())
    return {kind: strangers.scores_of(index, kind) for kind in strangers.KINDS}


def test_the_paraphrases_share_no_four_words_with_tickets_or_tests(suites):
    asked = [question_of(row["prompt"]) for row in read_tickets()]
    asked += [question_of(item.prompt) for item in suites[0].items]
    known = set().union(*map(fours, asked))
    found = strangers.paraphrases()
    assert list(found) == [intent["name"] for intent in shop()["intents"]] and len(found) == 40
    assert not [
        q for kind in strangers.KINDS for q in strangers.questions(kind) if fours(q) & known
    ]


def test_the_strangers_answers_are_of_todays_data():
    lines = read_records(strangers.STRANGERS, dict)
    found = [strangers.StrangerSetting(**line["setting"]) for line in lines]
    assert Counter(found) == Counter(strangers.ASKED_BY_STRANGERS)
    assert {line["origin"]["data"] for line in lines} == {digest()}


@pytest.mark.slow
def test_the_stored_answers_to_strangers_are_those_of_today():
    (searched,) = strangers.read_strangers("search")
    told = strangers.make_strangers(searched.setting)["told"]
    assert {kind: tuple(names) for kind, names in told.items()} == searched.told


def test_strangers_are_turned_away_more_often_than_customers_who_speak_like_tickets(heard, scores):
    assert [let_in(heard[kind], 3) for kind in strangers.KINDS] == [82.5, 22.5]
    assert let_in(scores["support"][100:], 3) > 99
    assert choose_floor(heard["near"]) == 1.5
    with pytest.raises(ValueError, match="even 0 turns away 12 %"):
        choose_floor(heard["far"])


def test_a_floor_that_lets_strangers_in_brings_the_loss_back(brief, unchanged, adapters, scores):
    inside = [behind_door(unchanged, run, scores, 1.5) for run in adapters]
    assert reading(brief, unchanged, inside)["lost, by traffic"] == "29.8 to 35.1"


def test_neither_route_reads_words_of_a_customers_own(heard, adapters, search):
    assert min(run.target for run in adapters) >= 85 and search.target == 99
    tuned, (searched,) = map(strangers.read_strangers, ("fine-tune", "search"))
    near, far = heard["near"], heard["far"]
    assert span([run.right("near", near, 3) for run in tuned], 1) == "45.0 to 52.5"
    assert span([run.right("near") for run in tuned], 1) == "47.5 to 57.5"
    assert span([run.another("near", near, 3) for run in tuned], 1) == "20.0 to 25.0"
    assert span([run.right("far", far, 3) for run in tuned], 1) == "2.5"
    found = [searched.right("near", near, 3), searched.right("near"), searched.right("far", far, 3)]
    assert found == pytest.approx([55, 57.5, 5]) and searched.another("near", near, 3) == 2.5


def test_it_is_new_words_that_strangers_are_not_understood_for(adapters, suites):
    asked = [question_of(row["prompt"]) for row in read_tickets()]
    known, words = set().union(*map(fours, asked)), {w for q in asked for w in words_of(q)}
    scored = [question_of(item.prompt) for item in suites[0].items[:100]]
    apart = [place for place, question in enumerate(scored) if not fours(question) & known]
    right = [100 * fmean(run.right["support"][place] for place in apart) for run in adapters]
    assert len(apart) == 30 and span(right) == "87 to 100"
    new = {word for question in scored for word in words_of(question)} - words
    assert new <= {"hey", "evening", "question", "afternoon", "sorry"}
    few = [len([w for w in words_of(q) if w not in words]) < 2 for q in strangers.questions("near")]
    found = {True: [], False: []}
    for run in strangers.read_strangers("fine-tune"):
        rows = list(zip(few, run.told["near"], strangers.paraphrases(), strict=True))
        for group, counts in found.items():
            counts.append(sum(told == name for one, told, name in rows if one is group))
    assert (sum(few), found) == (15, {True: [13, 12, 13], False: [10, 7, 8]})


# Old rows


def test_replay_does_not_save_by_learning_less(runs):
    for method in ("replay", "replay, lower rate", "lower rate"):
        for strength in (0.10, 0.25, 0.50) if method == "replay" else board.strengths(runs, method):
            if (method, strength) not in (("lower rate", 1e-3), ("lower rate", 5e-3)):
                for run in board.pick(runs, method, strength):
                    assert 85 <= run.target <= 95, run.setting


def test_fifty_percent_holds_howto_better_than_twenty_five_on_every_seed(unchanged, runs):
    quarter, half = (lost(unchanged, runs, "replay", s, "howto") for s in (0.25, 0.50))
    assert [round(x) for x in quarter] == [11, 14, 13] and [round(x) for x in half] == [5, 7, 1]
    means = [[run.lost(unchanged) for run in board.pick(runs, "replay", s)] for s in (0.25, 0.5)]
    # by the mean there is little in it
    assert [fmean(one) for one in means] == pytest.approx([5.9, 5.3], abs=0.05)


def test_replay_with_a_lower_rate_holds_howto_and_the_rate_alone_does_not(brief, unchanged, runs):
    both = lost(unchanged, runs, "replay, lower rate", 0.50, "howto")
    assert [round(x) for x in both] == [1, 2, 0]
    alone = lost(unchanged, runs, "lower rate", 3e-3, "howto")
    assert (round(min(alone)), round(max(alone))) == (39, 47)
    found = reading(brief, unchanged, board.pick(runs, "replay, lower rate", 0.50))
    assert (found["margins broken"], found["lost, by traffic"]) == ("lists", "1.0 to 1.3")


def test_a_share_of_rows_is_a_smaller_share_of_tokens(tokenizer):
    tickets, old = read_tickets(), read_tickets(SUPPORT / "replay.jsonl")
    found = {
        share: token_share(old, add_replay(tickets, old, share), tokenizer)
        for share in (0.05, 0.25, 0.50)
    }
    assert found == pytest.approx({0.05: 4, 0.25: 18, 0.50: 38}, abs=0.6)


def test_the_bases_own_rows_serve_at_ten_percent_and_fall_behind_at_twenty_five(unchanged, runs):
    own, old = (
        {share: lost(unchanged, runs, method, share, "howto") for share in (0.10, 0.25)}
        for method in ("self replay", "replay")
    )
    assert fmean(own[0.10]) < fmean(old[0.10])
    assert all(a > b for a, b in zip(own[0.25], old[0.25], strict=True))


def test_steps_grow_with_the_share(scoreboard):
    plain = board.pick(scoreboard, "plain")[0].steps
    for share in board.strengths(scoreboard, "replay"):
        steps = board.pick(scoreboard, "replay", share)[0].steps
        rows = len(read_tickets())
        assert steps == pytest.approx(plain * (rows + extra_rows(rows, share)) / rows, abs=1)


# Worked problems


def others_right(runs, method):
    """Percent of word problems right in the nine families that one family leaves out, by seed."""
    kinds = [item.family for item in load_suites("reasoning", size=board.ITEMS)[0].items]
    found = {}
    for run in (run for run in runs if run.setting.method == method):
        (known,) = choose_families(1, run.setting.seed)
        rows = zip(kinds, run.right["reasoning"], strict=True)
        found[run.setting.seed] = 100 * fmean(right for kind, right in rows if kind != known)
    return found


def test_old_rows_without_a_word_problem_bring_most_of_them_back(unchanged, runs):
    one = others_right([r for r in runs if len(r.families) == 1], "families")
    control, plain = others_right(runs, stored.NO_PROBLEMS), others_right(runs, "plain")
    assert set(one) == set(control) == {0, 1, 2}
    assert max(plain.values()) < 70 and min(one.values()) > 84
    assert sum(control[seed] > one[seed] for seed in one) == 2
    assert fmean(control.values()) > fmean(plain.values()) + 0.8 * (
        fmean(one.values()) - fmean(plain.values())
    )
    assert len(FAMILIES) == 10
    means = [round(fmean(found.values())) for found in (plain, control, one)]
    assert means == [63, 85, 87]
    for group, low, high in (
        (board.pick(runs, stored.NO_PROBLEMS, 0.25), 15, 19),
        ([run for run in runs if len(run.families) == 1], 62, 82),
    ):
        howto = [round(unchanged.score("howto") - run.score("howto")) for run in group]
        assert (min(howto), max(howto)) == (low, high)


def test_worked_problems_hold_the_other_skills_less_than_old_rows_do(unchanged, runs):
    worked = lost(unchanged, runs, "worked steps", 0.25, "howto")
    assert min(worked) > max(lost(unchanged, runs, stored.NO_PROBLEMS, 0.25, "howto"))


# The brief


def test_the_example_needs_more_items_than_the_suites_hold():
    """Whatever the base's scores: it is the wished margins that ask for 761 items."""
    missing = Brief(EXAMPLE).missing_items(dict.fromkeys(ALL, 700))
    assert missing == {"howto": 61, "arithmetic": 61, "refusal": 61}


def test_howto_is_two_fifths_of_the_old_requests():
    traffic = {need.capability: need.traffic for need in EXAMPLE if need.role != "target"}
    assert traffic["howto"] / sum(traffic.values()) == pytest.approx(0.4, abs=0.01)


def test_a_door_on_the_mark_is_perfect(suites):
    marked = {
        suite.name: sum("Customer:" in item.prompt for item in suite.items) for suite in suites
    }
    assert marked == {"support": 700, **dict.fromkeys(OLD, 0)}


def test_the_floor_of_zero_turns_some_requests_away(brief, unchanged, adapters, scores):
    everyone = fmean(brief.weighted(points_lost(unchanged, run)) for run in adapters)
    at_zero = fmean(road(brief, unchanged, run, scores, [0])[0].lost for run in adapters)
    assert [f"{everyone:.1f}", f"{at_zero:.1f}"] == ["45.5", "44.4"]
    assert any(score == 0 for name in OLD for score in scores[name][:100])
