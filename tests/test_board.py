"""The scoreboard: reading it, choosing strengths, ranking, and the runs that make it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from helpers import plotting as plot
from helpers.audit import paired
from helpers.mitigations import flat, methods, stages
from helpers.mitigations.board import (
    ALL_ITEMS,
    BOARD,
    CANDIDATES,
    ITEMS,
    Entry,
    Setting,
    base_of,
    board_suites,
    from_record,
    lost_at,
    pick,
    places,
    read_board,
    road,
    roads,
    standings,
    strengths,
    verdicts,
)  # fmt: skip
from helpers.mitigations.flat import FLAT, FLATS
from helpers.mitigations.methods import (
    CANDIDATE_ENTRIES,
    ENTRIES,
    METHODS,
    SEEDS,
    Recipe,
    StopAt,
    make_entry,
)
from helpers.runs import BadRuns, digest
from helpers.suites import TARGET, load_suites
from helpers.tickets import read_tickets
from helpers.tradeoff import OLD
from helpers.training import finetune


def entry(method, strength=0.0, seed=0, target=90, old=90, of=20):
    """A run with these percentages right."""
    percents = {TARGET: target} | dict.fromkeys(OLD, old)
    right = {
        name: tuple(place < round(of * percent / 100) for place in range(of))
        for name, percent in percents.items()
    }
    return Entry(Setting(method, strength, seed), right, 60, 10.0, (), "", {})


BASE = entry("base", target=0, old=100)


def seeds(method, strength=0.0, **scores):
    return [entry(method, strength, seed, **scores) for seed in range(3)]


def record(one):
    return {
        "setting": one.setting._asdict(),
        "right": {name: "".join(str(int(c)) for c in row) for name, row in one.right.items()},
        "steps": one.steps,
        "seconds": one.seconds,
        "families": list(one.families),
        "diverged": one.diverged,
        "origin": one.origin,
    }


# Reading


def test_a_run_comes_back_as_it_was_written():
    one = replace(entry("replay", 0.1), families=("ages", "sale"))
    assert from_record(json.loads(json.dumps(record(one)))) == one


def test_runs_stand_by_method_strength_and_seed(tmp_path):
    path = tmp_path / "board.jsonl"
    runs = [entry("replay", 0.5), entry("replay", 0.1, 1), BASE, entry("replay", 0.1)]
    path.write_text("".join(f"{json.dumps(record(one))}\n" for one in runs), encoding="utf-8")
    found = [tuple(one.setting) for one in read_board(path)]
    assert found == [("base", 0, 0), ("replay", 0.1, 0), ("replay", 0.1, 1), ("replay", 0.5, 0)]


@pytest.mark.parametrize("text", ["", "{}\n", '{"setting": {"method": "plain"}}\n'])
def test_a_damaged_file_says_what_to_do(tmp_path, text):
    path = tmp_path / "board.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRuns, match="make runs"):
        read_board(path)


def test_scores_are_shares_of_items_and_losses_are_means_over_skills():
    one = entry("x", target=80, old=60)
    assert one.target == 80 and one.score("facts") == 60 and one.lost(BASE) == 40
    worse = replace(one, right=one.right | {"lists": (False,) * 20})
    assert worse.lost(BASE) == pytest.approx(40 + 60 / len(OLD))


def test_what_is_not_there_is_named_with_what_is():
    board = [BASE, *seeds("SAM", 0.1), *seeds("SAM", 0.3)]
    assert strengths(board, "SAM") == [0.1, 0.3] and len(pick(board, "SAM", 0.3)) == 3
    with pytest.raises(BadRuns, match=r"'SUM'.*base, SAM"):
        pick(board, "SUM")
    with pytest.raises(BadRuns, match=r"no runs of strength 0\.2\. It has 0\.1, 0\.3"):
        pick(board, "SAM", 0.2)
    with pytest.raises(BadRuns, match="'base'"):
        base_of(board[1:])


# Ranking


@pytest.mark.parametrize(
    ("road", "found"),
    [
        ([(60, 1.0), (90, 4.0)], (75, 2.5, [0, 1])),  # half-way between two strengths
        ([(90, 4.0), (60, 1.0)], (75, 2.5, [0, 1])),
        ([(60, 5.0), (90, 2.0)], (90, 2.0, [1])),  # more learned, and less lost
        ([(80, 3.0), (90, 9.0)], (80, 3.0, [0])),
        ([(60, 8.0), (90, 4.0), (60, 0.0)], (75, 2.0, [1, 2])),  # the cheaper of two crossings
        ([(75, 7.0)], (75, 7.0, [0])),
        ([(20, 0.0), (60, 5.0)], (60, 5.0, [])),
    ],
)
def test_losses_are_read_off_where_the_goal_is_reached(road, found):
    score, lost, places = lost_at(road, 75)
    assert (score, places) == (found[0], found[2]) and lost == pytest.approx(found[1])


def test_the_goal_is_met_between_two_strengths():
    board = [
        BASE,
        *seeds("a", 1, target=70, old=100),
        *seeds("a", 2, target=100, old=40),
    ]
    (one,) = standings(board, ["a"], goal=85)
    assert (one.between, one.target, one.lost) == ((1, 2), 85, pytest.approx(30))
    assert one.worst_skill[1] == pytest.approx(30) and one.reached == 3


def test_who_never_reaches_the_goal_comes_last():
    board = [BASE, *seeds("timid", target=40, old=100), *seeds("bold", target=100, old=20)]
    first, last = standings(board, ["timid", "bold"], goal=85)
    assert (first.method, first.between, first.best, first.worst) == ("bold", (0,), 1, 1)
    assert (last.method, last.between, last.lost, last.reached) == ("timid", (), 0, 0)
    assert last.target == pytest.approx(40)
    assert last.best == 2
    assert places(board, ["timid", "bold"], (30, 85)) == {
        "timid": {30: "1", 85: "short"}, "bold": {30: "2", 85: "1"},
    }  # fmt: skip


def test_a_method_without_one_of_the_seeds_is_refused():
    board = [BASE, *seeds("a", 1), *seeds("b", 1)[:2]]
    with pytest.raises(BadRuns, match="b 1 has not been run with every seed"):
        standings(board, ["a", "b"])


def test_a_range_is_that_of_the_seeds_each_on_its_own_road():
    board = [BASE] + [entry("a", 0, s, 100, old) for s, old in enumerate((30, 60, 90))]
    board += seeds("b", target=100, old=50)
    one, other = standings(board, ["a", "b"])
    assert (one.method, one.low, one.lost, one.high) == ("a", 10, pytest.approx(40), 70)
    assert (one.best, one.worst) == (1, 2) == (other.best, other.worst)
    assert (other.low, other.high) == (50, 50)


def test_a_seed_that_falls_short_is_counted_and_ranked_last():
    board = [BASE, *(entry("a", 0, s, target, 90) for s, target in enumerate((90, 90, 80)))]
    board += seeds("b", target=100, old=50)
    first, _ = standings(board, ["a", "b"], goal=85)
    assert (first.method, first.reached, first.best, first.worst) == ("a", 2, 1, 2)


def test_the_worst_skill_stands_beside_the_mean():
    runs = seeds("a", target=100, old=90)
    runs = [replace(r, right=r.right | {"lists": (False,) * 20}) for r in runs]
    (one,) = standings([BASE, *runs], ["a"])
    assert one.worst_skill == ("lists", 100) and one.lost < 20


def test_roads_are_means_and_those_of_single_seeds():
    board = [BASE] + [entry("a", 2, s, target) for s, target in enumerate((80, 90, 100))]
    board += seeds("a", 1, target=50)
    mean, *each = roads(board, ["a"])["a"]
    assert mean == road(board, "a") == [(1, 50, 10), (2, 90, 10)]
    assert [one[1][1] for one in each] == [80, 90, 100]
    with pytest.raises(BadRuns, match="no run with seed 7"):
        road(board, "a", 7)


# The audit


def test_a_skill_passes_by_itself_and_is_blocked_after_holms_correction():
    base = entry("base", old=100, of=600)

    def told(percent):
        lists = entry("x", old=percent, of=600).right["lists"]
        found = verdicts(base, replace(base, right=base.right | {"lists": lists}))
        assert {found[name] for name in OLD if name != "lists"} == {"PASS"}
        return found["lists"]

    assert (told(100), told(93), told(90)) == ("PASS", "cannot tell", "BLOCK")
    alone = paired.pair([1] * 600, [0] * 42 + [1] * 558)
    assert paired.p_block(alone, 0.05) < 0.05  # at 93 %, if nothing else were asked about


# Figures


def test_the_ranking_tells_every_method_in_words():
    board = [BASE, *seeds("timid", target=40, old=100), *seeds("bold", 0.5, target=100, old=20)]
    picture = plot.ranking(standings(board, ["timid", "bold"], goal=85), goal=85, margin=5)
    assert picture.png.startswith(b"\x89PNG")
    assert "compared at 85 % support: bold 80.0 (seeds 80.0 to 80.0) at 100 %" in picture.alt
    assert "timid (falls short) 0.0" in picture.alt


def test_roads_tell_every_strength():
    picture = plot.roads({"a": [(0.1, 20, 3.0), (0.2, 90, 5.5)], "b": [(0, 91, 21)]}, "x", "y")
    assert "a 0.1: (20, 3.0), 0.2: (90, 5.5); b 0: (91, 21.0)." in picture.alt
    thin = plot.roads({"a": [(0, 20, 3.0)]}, "x", "y", seeds={"a": [[(0, 19, 2.0)]]})
    assert "thin ones the seeds" in thin.alt and thin.png != picture.png


# Making runs


def test_every_method_is_planned_at_every_strength_with_every_seed():
    assert len(set(ENTRIES)) == len(ENTRIES)
    for name, method in METHODS.items():
        planned = [(s.strength, s.seed) for s in ENTRIES if s.method == name]
        wanted = [(s, seed) for s in method.strengths for seed in SEEDS]
        assert sorted(planned) == sorted(wanted if name != "base" else [(0, 0)])
        assert list(method.strengths) == sorted(method.strengths) and method.does


@pytest.fixture
def small(tiny, monkeypatch):
    """The makers of runs with a tiny model, few items and few steps."""
    for module in (methods, stages):
        monkeypatch.setattr(module, "course_model", lambda: tiny)
    few = load_suites(("facts", TARGET), size=4)
    monkeypatch.setattr(methods, "board_suites", lambda size=100: few)
    methods.base_fisher.cache_clear()
    methods.result_of.cache_clear()
    yield tiny
    methods.base_fisher.cache_clear()
    methods.result_of.cache_clear()


def test_a_recipe_is_followed_and_the_base_left_alone(small):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    made = methods.trained(Recipe(steps=3, lr=1e-2), 0)
    again = methods.trained(Recipe(steps=3, lr=1e-2), 0)
    other = methods.trained(Recipe(steps=3, lr=1e-2), 1)
    after = made.model.state_dict()
    assert any(not value.equal(before[name]) for name, value in after.items())
    assert all(value.equal(after[name]) for name, value in again.model.state_dict().items())
    assert any(not value.equal(after[name]) for name, value in other.model.state_dict().items())
    assert all(value.equal(before[name]) for name, value in small.state_dict().items())
    assert made.seconds > 0


def test_a_part_of_the_way_lies_between_base_and_result(small, monkeypatch):
    monkeypatch.setitem(METHODS, "plain", replace(METHODS["plain"], recipe=lambda s, seed: Recipe(
        lr=1e-2, steps=2)))  # fmt: skip
    whole = methods.result_of("plain", 0, 0).model.state_dict()
    half = methods.trained(Recipe(of=("plain", 0), alpha=0.5), 0).model.state_dict()
    for name, start in small.state_dict().items():
        assert half[name].allclose((start + whole[name]) / 2, atol=1e-6)


def test_training_stops_at_a_step_with_the_rate_of_the_whole_run(small):
    whole = finetune(small, read_tickets(), steps=4, seed=0)
    part = finetune(small, read_tickets(), steps=4, seed=0, callbacks=[StopAt(2)])
    assert part.losses == whole.losses[:2]


def test_a_record_has_an_answer_for_every_item_and_can_be_read(small, monkeypatch):
    monkeypatch.setitem(METHODS, "plain", replace(METHODS["plain"], recipe=lambda s, seed: Recipe(
        lr=1e-2, steps=2, families=("ages",))))  # fmt: skip
    setting = Setting("plain", 0, 1)
    made = json.loads(json.dumps({"setting": setting._asdict(), **make_entry(setting)}))
    one = from_record({**made, "origin": {}})
    assert one.setting == setting and one.steps == 2 and one.families == ("ages",)
    assert {name: len(row) for name, row in one.right.items()} == {"facts": 4, TARGET: 4}


def test_other_bases_are_fine_tuned_by_the_same_recipe(small, monkeypatch):
    stretched, seen = copy.deepcopy(small), []

    def tune(base, rows, **options):
        seen.append((base is stretched, options["lr"], options["steps"]))
        return SimpleNamespace(model=base, seconds=1.0)

    monkeypatch.setattr(methods, "finetune", tune)
    monkeypatch.setattr(flat, "course_model", lambda: small)
    monkeypatch.setattr(flat, "load_stretch", lambda name: stretched)
    flat.base_model.cache_clear()
    for setting in (("SAM", 0, 0), ("SAM", 3e-3, 1), ("shipped", 1e-2, 1)):
        flat.make_flat(Setting(*setting))
    flat.base_model.cache_clear()
    assert seen == [(True, 3e-3, 60), (False, 1e-2, 60)]  # rate 0 is the base itself


def test_a_run_that_diverges_says_so(small, monkeypatch):
    monkeypatch.setitem(METHODS, "plain", replace(METHODS["plain"], recipe=lambda s, seed: Recipe(
        lr=1e30, steps=5)))  # fmt: skip
    made = make_entry(Setting("plain", 0, 0))
    assert "learning rate" in made["diverged"] and made["right"] == {}


def test_every_ticket_is_seen_as_often_with_old_rows_as_without():
    assert [methods.longer(share) for share in (0, 0.25, 0.5)] == [60, 80, 120]
    recipe = methods.replayed(0.25, 0)
    assert len(recipe.rows) == 1600 and recipe.steps == 80
    problems = methods.worked(0.25, 2, 0)
    assert len(problems.rows) == 1600 and len(problems.families) == 2


@pytest.mark.parametrize("way", stages.WAYS)
def test_a_sequence_scores_every_task_after_every_stage(small, monkeypatch, way):
    monkeypatch.setattr(stages, "STEPS", 2)
    monkeypatch.setattr(stages, "FISHER_ROWS", 4)
    monkeypatch.setattr(stages, "ITEMS", 2)
    for function in (stages.task_suites, stages.scores_of_base):
        function.cache_clear()
    try:
        made = stages.make_sequence(stages.Stages(way, 0))
    finally:
        for function in (stages.task_suites, stages.scores_of_base):
            function.cache_clear()
    run = stages.from_record(
        {"setting": {"way": way, "seed": 0}, "origin": {}, **json.loads(json.dumps(made))}
    )
    count = len(stages.TASKS)
    assert [len(row) for row in run.scores] == [count] * count and len(run.before) == count
    assert not run.diverged
    if way == "EWC":
        assert len(set(run.kept)) == 1 and run.kept[0] > 0
    elif way == "replay":
        assert list(run.kept) == sorted(set(run.kept))
    else:
        assert set(run.kept) == {0}


# The shipped runs


@pytest.fixture(scope="module")
def shipped():
    return read_board()


def test_every_planned_run_is_there_once_and_made_from_todays_data(shipped):
    assert sorted(one.setting for one in shipped) == sorted(Setting(*s) for s in ENTRIES)
    assert {one.origin["data"] for one in shipped} == {digest()}
    sizes = {suite.name: len(suite.items) for suite in board_suites()}
    for one in shipped:
        assert {name: len(row) for name, row in one.right.items()} == sizes or one.diverged
    assert set(sizes.values()) == {ITEMS} and BOARD.stat().st_size < 600_000


@pytest.mark.parametrize(
    ("path", "planned", "items"),
    [(CANDIDATES, CANDIDATE_ENTRIES, ALL_ITEMS), (FLAT, FLATS, ITEMS)],
    ids=["candidates", "flat"],
)
def test_further_runs_are_there_once_and_made_from_todays_data(path, planned, items):
    found = read_board(path)
    assert sorted(one.setting for one in found) == sorted(Setting(*s) for s in planned)
    assert {one.origin["data"] for one in found} == {digest()}
    for one in found:
        assert set(one.right) == {TARGET, *OLD}
        assert {len(row) for row in one.right.values()} == {items}


def test_every_sequence_is_there_once_and_made_from_todays_data():
    found = stages.read_sequences()
    assert sorted(run.setting for run in found) == sorted(stages.ORDERS)
    assert {run.origin["data"] for run in found} == {digest()}
    assert not any(run.diverged for run in found)
    assert {len(run.scores) for run in found} == {len(stages.TASKS)}
