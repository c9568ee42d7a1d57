"""The gate: verdicts, decisions, and the runs it refuses to compare."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy
import pytest

from helpers.audit.capability_map import BadMap, CapabilityMap, Category
from helpers.audit.gate import NotComparable, TooFewGroups, audit
from helpers.audit.paired import p_pass, pair
from helpers.audit.rehearsal import rehearse
from helpers.audit.results import Answer, Results, Task

SETTINGS = {"batch_size": 8, "dtype": "float32"}


def answers(scores, metric="exact_match", chance=0.0, **changes):
    """One answer an item; what is right is "yes"."""
    return tuple(
        Answer(
            key=f"item {number}",
            scores={metric: float(score)},
            cluster={"family": str(number % 40)},
            prompt=f"Question {number}?",
            target="yes",
            output="yes" if score else f"no {number}",
            chance=chance,
            truncated=False,
            target_hash="t",
            **changes,
        )
        for number, score in enumerate(scores)
    )


def run(tasks, model="m", settings=SETTINGS, version="1", higher=True, metric="exact_match"):
    """Results with a list of scores a task."""
    made = {
        name: Task(name, version, {metric: higher}, rows if rows and isinstance(rows[0], Answer)
                   else answers(rows, metric))
        for name, rows in tasks.items()
    }  # fmt: skip
    return Results(made, settings, model)


def wrong(count, n=300):
    """Scores of n items of which the first `count` are wrong."""
    return [0] * count + [1] * (n - count)


def a_map(**categories):
    rows = (
        Category(name, name, **{"margin": 5, **options}) for name, options in categories.items()
    )
    return CapabilityMap(tuple(rows))


def verdict(before, after, **options):
    """The only row of an audit of one category."""
    return audit(run({"a": before}), run({"a": after}), a_map(a=options))["a"]


# Verdicts


@pytest.mark.parametrize(
    ("lost", "expected"), [(0, "PASS"), (3, "PASS"), (12, "INCONCLUSIVE"), (60, "BLOCK")]
)
def test_a_category_passes_only_when_a_loss_beyond_the_margin_is_ruled_out(lost, expected):
    row = verdict(wrong(6), wrong(6 + lost))
    assert row.verdict == expected, row.reason
    assert row.drop == pytest.approx(100 * lost / 300) and row.low <= row.drop <= row.high
    assert (row.high < 5) == (expected == "PASS") and (row.low > 5) == (expected == "BLOCK")
    assert (row.lost, row.gained) == (lost, 0)


def test_not_significant_is_not_safe():
    """Ten of sixty lost and six gained: no test would call it a drop, and nothing is known."""
    before, after = [1] * 54 + [0] * 6, [0] * 10 + [1] * 50
    row = verdict(before, after)
    assert row.p_regressed > 0.05 and row.verdict == "INCONCLUSIVE" and row.needed[1] > 60


def test_too_few_items_never_pass():
    for n in (1, 5, 20, 40):
        row = verdict([1] * n, [1] * n)
        assert row.verdict != "PASS" and row.high > 5


def test_fewer_items_than_the_map_asks_for_do_not_pass():
    assert verdict([1] * 300, [1] * 300, min_items=300).verdict == "PASS"
    row = verdict([1] * 300, [1] * 300, min_items=301)
    assert row.verdict == "INCONCLUSIVE" and "the map asks for 301" in row.reason


def test_what_an_inconclusive_row_needs_is_a_range_that_would_settle_it():
    row = verdict(wrong(15), wrong(24))
    low, high = row.needed
    assert row.verdict == "INCONCLUSIVE" and low < 300 and 10 * low < high
    factor = math.ceil(high / 300)
    more = verdict(wrong(15 * factor, 300 * factor), wrong(24 * factor, 300 * factor))
    assert more.verdict == "PASS" and more.needed is None


def test_a_drop_at_the_margin_may_take_any_number():
    assert verdict(wrong(0), wrong(15)).needed[1] > 100 * 300


@pytest.mark.parametrize("drop", [0, 1, 2, 3, 4, 6, 7, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_range_of_items_holds_the_right_number(drop, seed):
    """In at least 80 % of the audits that could not tell, whatever the true drop."""
    from helpers.audit.paired import p_block_counts, p_pass_counts
    from helpers.audit.planning import advised, settling

    rng = numpy.random.default_rng(seed)
    shares = [(0.1 + drop / 100) / 2, (0.1 - drop / 100) / 2, 0.9]
    drawn = rng.multinomial(300, shares, size=1_500)
    p, q = (test(300, drawn[:, 0], drawn[:, 1], 0.05) for test in (p_pass_counts, p_block_counts))
    untold = drawn[(p >= 0.05) & (q >= 0.05)][:150]
    right, inside = advised(5, 0.1, drop), 0
    for lost, gained, _ in untold:
        after = [0] * lost + [1] * (300 - lost)
        before = [1] * (300 - gained) + [0] * gained
        low, high = settling(pair(before, after), 5)
        inside += low <= right <= high
    assert inside >= 0.8 * len(untold), inside / len(untold)


def test_a_skill_that_is_not_there_cannot_be_measured():
    row = verdict(wrong(299), wrong(300))
    assert row.verdict == "NOT MEASURABLE"
    assert audit(run({"a": wrong(299)}), run({"a": wrong(300)}), a_map(a={})).exit_code == 2


def test_chance_is_told_by_the_choices_and_taken_off():
    rows = [answers(wrong(n), metric="acc", chance=0.25) for n in (60, 63)]
    runs = [run({"a": part}, metric="acc") for part in rows]
    row = audit(*runs, a_map(a={}))["a"]
    assert row.adjusted == pytest.approx((100 * (0.8 - 0.25) / 0.75, 100 * (0.79 - 0.25) / 0.75))
    guessing = [run({"a": answers(wrong(220), metric="acc", chance=0.25)}, metric="acc")] * 2
    assert audit(*guessing, a_map(a={}))["a"].verdict == "NOT MEASURABLE"
    assert audit(*guessing, a_map(a={"chance": 0}))["a"].verdict == "PASS"


def test_of_a_metric_where_less_is_better_a_rise_is_a_drop():
    rng = numpy.random.default_rng(0)
    before = list(rng.uniform(0.5, 1.5, 300))
    for more, expected in ((0.0, "PASS"), (0.3, "BLOCK")):
        after = [value + more + noise for value, noise in zip(before, rng.normal(0, 0.05, 300),
                                                              strict=True)]  # fmt: skip
        runs = [run({"a": rows}, metric="nll", higher=False) for rows in (before, after)]
        row = audit(*runs, a_map(a={}))["a"]
        assert row.verdict == expected and row.drop == pytest.approx(100 * more, abs=1.5)
        assert row.after - row.before == pytest.approx(row.drop)


def test_alike_items_count_for_less():
    """Every item of two families in forty is lost: seven points or so, whatever the chance."""
    after = [0 if number % 40 < 2 else 1 for number in range(800)]
    alone, grouped = (
        verdict([1] * 800, after, margin=8, cluster=field) for field in (None, "family")
    )
    assert alone.verdict == "PASS" and grouped.verdict == "INCONCLUSIVE"
    assert grouped.design_effect > 10 and grouped.high > alone.high


def test_few_groups_are_pointed_out():
    rows = [
        tuple(dataclasses.replace(answer, cluster={"family": answer.key[-1]}) for answer in part)
        for part in (answers([1] * 300), answers([1] * 300))
    ]
    row = audit(*(run({"a": part}) for part in rows), a_map(a={"cluster": "family"}))["a"]
    assert any("only 10 groups" in note for note in row.notes)


def test_fewer_than_ten_groups_are_refused_with_what_to_write_instead():
    """How-to has one family: its interval would reach from -100 to 100."""
    rows = [
        dataclasses.replace(answer, cluster={"family": "ingredients", "id": answer.key, **more})
        for number, answer in enumerate(answers([1] * 300))
        for more in [{"topic": str(number // 10)}]
    ]
    with pytest.raises(TooFewGroups) as caught:
        audit(*[run({"a": tuple(rows)})] * 2, a_map(a={"cluster": "family"}))
    told = str(caught.value)
    assert "'a': its 300 items make 1 group by 'family'" in told
    assert "name a finer field (topic (30 groups))" in told and "leave `cluster` out" in told
    bare = tuple(dataclasses.replace(row, cluster={"family": "one"}) for row in rows)
    with pytest.raises(BadMap, match="So leave `cluster` out"):
        audit(*[run({"a": bare})] * 2, a_map(a={"cluster": "family"}))


# A group of tasks, such as MMLU


def subjects(lost=lambda subject: 0, count=57, size=60):
    """Results of a group whose subtasks lose so many answers each."""
    tasks = {f"mmlu_{n:02}": wrong(lost(n), size) for n in range(count)}
    return dataclasses.replace(run(tasks), groups={"mmlu": tuple(tasks)})


def test_a_group_is_one_row_and_its_subtasks_are_what_is_alike():
    """Six of 57 subjects lost whole: for 3,420 independent items 10 points would be certain."""
    before, after = subjects(), subjects(lambda n: 60 if n % 10 == 0 else 0)
    row = audit(before, after, a_map(mmlu={"margin": 8}))["mmlu"]
    assert row.items == 57 * 60 and row.drop == pytest.approx(100 * 6 / 57)
    assert row.design_effect > 30 and row.verdict == "INCONCLUSIVE"
    flat = {"mmlu": [s for n in range(57) for s in wrong(60 if n % 10 == 0 else 0, 60)]}
    alone = audit(run({"mmlu": [1] * 3420}), run(flat), a_map(mmlu={"margin": 8}))["mmlu"]
    assert alone.verdict == "BLOCK" and alone.drop == pytest.approx(row.drop)


def test_the_drop_of_a_group_weighs_every_item_alike():
    before, after = subjects(), subjects(lambda n: n % 3)
    row = audit(before, after, a_map(mmlu={"margin": 8}))["mmlu"]
    assert row.drop == pytest.approx(100 * sum(n % 3 for n in range(57)) / (57 * 60))


def test_a_group_of_few_subtasks_is_sent_back():
    few = subjects(count=4)
    with pytest.raises(TooFewGroups, match=r"4 groups by 'subtask'.* write one row for each"):
        audit(few, few, a_map(mmlu={"margin": 8}))


def test_the_settings_of_a_groups_subtasks_must_agree():
    before, after = subjects(), subjects()
    other = dataclasses.replace(after, settings={**SETTINGS, "mmlu_03.num_fewshot": 5})
    with pytest.raises(NotComparable, match=r"mmlu_03\.num_fewshot"):
        audit(before, other, a_map(mmlu={"margin": 8}))
    lacking = dataclasses.replace(after, groups={"mmlu": tuple(after.tasks)[1:]})
    with pytest.raises(NotComparable, match="only one of the runs has mmlu_00"):
        audit(before, lacking, a_map(mmlu={"margin": 8}))


# Names, and what alpha is shared by


def test_two_models_of_one_name_are_told_apart():
    one = run({"a": wrong(0)}, model="pocket-gpt2")
    assert "pocket-gpt2 (after) against pocket-gpt2 (before)" in repr(audit(one, one, a_map(a={})))
    other = dataclasses.replace(one, model="tuned")
    assert "SHIP: tuned against pocket-gpt2" in repr(audit(one, other, a_map(a={})))


def test_planned_looks_and_candidates_share_alpha():
    """What one look ships is held back where the map has planned four."""
    both = [run({"a": wrong(0)}), run({"a": wrong(6)})]
    one = audit(*both, a_map(a={}))
    shared = audit(*both, dataclasses.replace(a_map(a={}), looks=2, candidates=2))
    assert (one.decision, shared.decision) == ("SHIP", "INCONCLUSIVE")
    assert (one.level, shared.level) == (0.05, 0.0125)
    assert shared["a"].high > one["a"].high and shared["a"].low < one["a"].low


# The target


@pytest.mark.parametrize(
    ("right", "expected"), [(285, "PASS"), (262, "INCONCLUSIVE"), (200, "BLOCK")]
)
def test_the_target_must_reach_its_goal(right, expected):
    row = verdict(wrong(300), wrong(300 - right), role="target", min_score=85, margin=None)
    assert row.verdict == expected and row.p_regressed is None


# The decision


def test_one_blocked_category_blocks_though_average_and_target_improve():
    before = {"a": wrong(60), "b": wrong(60), "c": wrong(5), "t": wrong(300)}
    after = {"a": wrong(0), "b": wrong(0), "c": wrong(50), "t": wrong(3)}
    a_to_c = {name: {} for name in "abc"}
    report = audit(run(before), run(after), a_map(**a_to_c, t={"role": "target", "min_score": 85}))
    assert sum(row.drop for row in report.rows) < 0
    assert [row.verdict for row in report.rows] == ["PASS", "PASS", "BLOCK", "PASS"]
    assert report.decision == "BLOCK" and report.exit_code == 1
    assert [row.category.name for row in report.regressed] == ["c"]


def test_a_model_that_stays_inside_every_margin_ships():
    report = audit(run({"a": wrong(9)}), run({"a": wrong(10)}), a_map(a={}))
    assert report.decision == "SHIP" and report.exit_code == 0 and report.regressed == []


def test_one_category_that_cannot_be_told_holds_the_release():
    tasks = {"a": wrong(0), "b": wrong(0, 20)}
    report = audit(run(tasks), run(tasks), a_map(a={}, b={}))
    assert report.decision == "INCONCLUSIVE" and report.exit_code == 2


@pytest.mark.parametrize("options", [{"severity": "warn"}, {"role": "watch"}])
def test_a_warning_and_a_watched_category_do_not_gate(options):
    before, after = {"a": wrong(0), "b": wrong(0)}, {"a": wrong(0), "b": wrong(200)}
    report = audit(run(before), run(after), a_map(a={}, b=options))
    assert report.decision == "SHIP"
    assert report["b"].verdict == ("BLOCK" if "severity" in options else "WATCHED")


def test_a_map_without_gating_rows_ships_nothing():
    report = audit(run({"a": wrong(0)}), run({"a": wrong(0)}), a_map(a={"severity": "warn"}))
    assert report.decision == "INCONCLUSIVE"


def test_flips_are_kept_both_ways_with_what_was_said():
    row = audit(run({"a": [1, 1, 0] * 100}), run({"a": [0, 1, 1] * 100}), a_map(a={}), examples=2)
    row = row["a"]
    assert (row.lost, row.gained) == (100, 100)
    assert [flip.prompt for flip in row.lost_examples] == ["Question 0?", "Question 3?"]
    assert dataclasses.astuple(row.gained_examples[0]) == ("Question 2?", "yes", "no 2", "yes")


def test_signs_of_a_lost_format_are_noted():
    cut, same, empty = (
        tuple(dataclasses.replace(answer, **changes) for answer in answers(wrong(100)))
        for changes in ({"truncated": True}, {"output": "Dear customer"}, {"output": ""})
    )
    found = [
        audit(run({"a": wrong(0)}), run({"a": part}), a_map(a={}))["a"].notes
        for part in (cut, same, empty)
    ]
    texts = [" ".join(notes) for notes in found]
    assert "100 % of the answers are cut off" in texts[0]
    assert "the same text: 'Dear customer'" in texts[1]
    assert "are empty" in texts[2]


# Runs that cannot be compared


def changed(rows, **changes):
    return (dataclasses.replace(rows[0], **changes), *rows[1:])


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (run({"a": wrong(0)}, settings={**SETTINGS, "dtype": "bfloat16"}), r"dtype .float32"),
        (run({"a": wrong(0)}, settings={"batch_size": 8}), r"dtype .*not given after"),
        (run({"a": wrong(0)}, version="2"), "version 1 before and 2 after"),
        (run({"b": wrong(0)}), r"no task .a.*It has b"),
        (run({"a": wrong(0)}, metric="f1"), "share no metric"),
        (run({"a": wrong(0, 250)}), r"50 of 300 items .* not in the run after"),
        (run({"a": changed(answers(wrong(0)), key="other")}), r"1 of 300 items .* has 1 others"),
        (run({"a": changed(answers(wrong(0)), target_hash="x")}), "right answer to 'Question 0"),
        (run({"a": changed(answers(wrong(0)), scores={})}), "1 of 300 items have no 'exact_match'"),
    ],
)
def test_two_runs_that_were_not_made_alike_are_refused(after, message):
    with pytest.raises(NotComparable, match=message):
        audit(run({"a": wrong(0)}), after, a_map(a={}))


def test_settings_of_tasks_that_nobody_asks_for_do_not_matter():
    before = run({"a": wrong(0), "b": wrong(0)}, settings={**SETTINGS, "b.filter": "one"})
    after = run({"a": wrong(0)}, settings=SETTINGS)
    assert audit(before, after, a_map(a={})).decision == "SHIP"
    other = run({"a": wrong(0)}, settings={**SETTINGS, "a.filter": "two"})
    with pytest.raises(NotComparable, match=r"a\.filter .not given before, two after"):
        audit(before, other, a_map(a={}))


def test_a_metric_or_field_that_is_not_there_is_refused_with_those_there_are():
    runs = [run({"a": wrong(0)})] * 2
    with pytest.raises(NotComparable, match="no metric 'f1' in both runs; they share exact_match"):
        audit(*runs, a_map(a={"metric": "f1"}))
    with pytest.raises(NotComparable, match=r"field .topic. .*all have family"):
        audit(*runs, a_map(a={"cluster": "topic"}))


def test_the_order_of_items_does_not_matter():
    before, after = answers(wrong(30)), answers(wrong(45))
    plain = audit(run({"a": before}), run({"a": after}), a_map(a={}))
    turned = audit(run({"a": before}), run({"a": after[::-1]}), a_map(a={}))
    assert plain.rows[0].drop == turned.rows[0].drop == 5.0
    assert plain.rows[0].high == turned.rows[0].high


# How often the gate errs

TEN = {f"c{number}": {} for number in range(10)}


def test_models_that_lost_nothing_are_not_blocked():
    rates = rehearse(a_map(**TEN), items=300, drops=0.0, repeats=1_000)
    assert rates.block <= 0.05


def test_models_at_their_margins_are_neither_shipped_nor_blocked_beyond_alpha():
    """One category at the margin: a false ship. All of them: a false block."""
    one = rehearse(a_map(**TEN), items=1_500, drops={"c3": 5}, repeats=1_000, seed=1)
    assert 0 < one.ship <= 0.05
    every = rehearse(a_map(**TEN), items=300, drops=5, repeats=1_000, seed=2)
    assert every.block <= 0.05 and every.ship <= 0.05


def test_planted_drops_are_found_as_often_as_planned():
    from helpers.audit.planning import chances, items_needed

    only = a_map(a={"discordance": 0.12})
    for drop, wanted in ((0, "ship"), (2, "ship"), (10, "block")):
        count = items_needed(5, 0.12, drop)
        rates = rehearse(only, items=count, drops=float(drop), repeats=4_000, seed=drop)
        planned = chances(count, 5, 0.12, drop)[wanted == "block"]
        assert getattr(rates, wanted) == pytest.approx(planned, abs=0.03)
        assert getattr(rates, wanted) == pytest.approx(0.80, abs=0.03)


def test_the_rehearsal_decides_as_the_gate_does():
    """The same numbers through the whole audit, for thirty draws of three categories."""
    rng = numpy.random.default_rng(5)
    three = a_map(a={}, b={}, c={"severity": "warn"})
    for _ in range(30):
        after = {name: wrong(int(rng.integers(0, 45)), 200) for name in "abc"}
        report = audit(run({name: wrong(0, 200) for name in "abc"}), run(after), three)
        counts = {name: 200 - sum(rows) for name, rows in after.items()}
        assert report.decision == decided(counts, three), counts


def decided(lost, capability_map):
    """The decision from counts alone, as `rehearse` takes it."""
    from helpers.audit.paired import p_block_counts, p_pass_counts
    from helpers.audit.rehearsal import holds

    p = numpy.array([[p_block_counts(200, lost[name], 0, 0.05)] for name in "abc"])
    if holds(p, 0.05)[:2].any():
        return "BLOCK"
    passing = [p_pass_counts(200, lost[name], 0, 0.05) < 0.05 for name in "ab"]
    return "SHIP" if all(passing) else "INCONCLUSIVE"


def test_swapping_two_real_runs_at_random_blocks_no_more_often_than_alpha():
    """Answers of two runs exchanged item by item: a null pair with their own changes."""
    rng = numpy.random.default_rng(6)
    before, after = wrong(30), [0 if n % 10 == 0 else 1 for n in range(300)]
    blocked = 0
    for _ in range(200):
        swap = rng.random(300) < 0.5
        x = [b if s else a for a, b, s in zip(before, after, swap, strict=True)]
        y = [a if s else b for a, b, s in zip(before, after, swap, strict=True)]
        blocked += verdict(x, y, margin=1).verdict == "BLOCK"
    assert blocked <= 0.05 * 200


def test_the_gate_uses_the_paired_statistics():
    before, after = wrong(6), wrong(9)
    row = verdict(before, after)
    assert p_pass(pair(before, after), 0.05) < 0.05 and row.verdict == "PASS"
    assert math.isfinite(row.high) and list(itertools.pairwise([row.low, row.drop, row.high]))
