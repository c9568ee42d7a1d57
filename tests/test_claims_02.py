"""What lesson 02 says of its stored runs holds on every seed."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import pytest

from helpers.mechanics import KINDS, kind_of, stored, walks
from helpers.merging import stored as merging
from helpers.mitigations import board
from helpers.runs import digest
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, read_tickets

OTHERS = [skill for skill in stored.OLD_SKILLS if skill != "howto"]


@pytest.fixture(scope="module")
def runs():
    return stored.read_inside("tickets")


@pytest.fixture(scope="module")
def controls():
    return stored.read_inside("control")


def near(*expected):
    """Numbers as the lesson prints them, to half of their last digit."""
    return pytest.approx(expected, abs=0.0501)


def test_there_are_three_of_each_and_the_control_is_shorter(runs, controls):
    seeds = [[run.setting.seed for run in group] for group in (runs, controls)]
    assert seeds == [[0, 1, 2]] * 2
    assert all(c.norm < 0.9 * r.norm for r, c in zip(runs, controls, strict=True))


def gaps(runs, controls, of_run, of_control):
    return [c.mean(of_control) - r.mean(of_run) for r, c in zip(runs, controls, strict=True)]


def test_old_examples_as_they_come_hold_most_of_the_tested_how_to_texts():
    rows = read_tickets(SUPPORT / "replay.jsonl")
    texts = {row["completion"].strip() for row in rows}
    (suite,) = load_suites("howto", size=40)
    assert sum(item.answer in texts for item in suite.items) == 32


def test_the_gap_to_the_control_shrinks_at_equal_length_and_keeps_its_sign(runs, controls):
    other = "as far as the other"
    assert gaps(runs, controls, "tuned", "tuned") == near(22.9, 28.2, 26.1)
    assert gaps(runs, controls, other, "tuned") == near(11.1, 8.9, 0.4)
    assert gaps(runs, controls, "tuned", other) == near(21.1, 20.4, 14.6)
    assert gaps(runs, controls, other, "tuned")[2] == pytest.approx(100 / 280)
    whole = gaps(runs, controls, "tuned", "tuned")
    left = gaps(runs, controls, other, "tuned") + gaps(runs, controls, "tuned", other)
    shares = [100 * part / gap for part, gap in zip(left, whole * 2, strict=True)]
    assert [round(min(shares)), round(max(shares))] == [1, 92]
    cut = [c.norm / r.norm for r, c in zip(runs, controls, strict=True)]
    assert cut == pytest.approx([0.85, 0.76, 0.70], abs=0.0051)


def test_length_costs_even_the_control(runs, controls):
    saved = [run.mean("as far as the other") - run.mean("tuned") for run in runs]
    costs = [run.mean("tuned") - run.mean("as far as the other") for run in controls]
    assert [round(min(saved)), round(max(saved))] == [12, 26]
    assert [min(costs), max(costs)] == near(1.8, 11.4)
    lost = [[r.mean("base") - r.mean("tuned") for r in group] for group in (runs, controls)]
    assert [round(f(part)) for part in lost for f in (min, max)] == [29, 35, 4, 6]
    assert [run.scores["tuned"]["lists"] for run in controls] == [57.5, 60, 72.5]


def test_a_random_update_of_this_length_and_spectrum_is_harmless(runs):
    costs = [run.mean("base") - run.mean("turned") for run in runs]
    assert [min(costs), max(costs)] == near(0.7, 1.4)
    assert all(run.scores["turned"]["support"] == 0 for run in runs)


def test_walking_back_undoes_the_loss_before_support_is_given_up(runs):
    undone, paid = [], []
    for run in runs:
        lost = run.mean("base") - run.mean("tuned")
        undone.append(round(100 * (run.mean("walked 0.7") - run.mean("tuned")) / lost))
        paid.append(run.scores["tuned"]["support"] - run.scores["walked 0.7"]["support"])
        assert 94 <= run.mean("walked 0.5") < 96.5
        assert 17 <= run.scores["tuned"]["support"] - run.scores["walked 0.5"]["support"] <= 25
        # Exact match is no mirage of this: the likelihood of right how-to answers does the same.
        nll = {name: run.nll[name]["howto"] for name in ("base", "walked 0.7", "tuned")}
        assert nll["walked 0.7"] - nll["base"] < 0.2 * (nll["tuned"] - nll["base"])
    nats = [round(run.nll[name]["howto"], 2) for name in ("tuned", "walked 0.7") for run in runs]
    assert nats == [0.24, 0.43, 0.18, 0.03, 0.06, 0.02]
    assert undone == [71, 64, 85] and paid == [2.5, 2.5, 0]


def chosen_on_one_half(walk):
    """α by one half of the questions, with what it undoes and pays there and on the other half."""
    halves = [range(0, walks.ITEMS, 2), range(1, walks.ITEMS, 2)]
    for here, there in (halves, halves[::-1]):
        alpha = walk.chosen(here)
        yield alpha, *(f(alpha, half) for f in (walk.undone, walk.paid) for half in (here, there))


def test_the_walks_are_of_todays_data_and_of_the_stored_runs(runs):
    found = walks.read_walks()
    assert [walk.setting for walk in found] == walks.WALKED
    assert {walk.origin["data"] for walk in found} == {digest()}
    names = {0.0: "base", 0.5: "walked 0.5", 0.7: "walked 0.7", 0.8: "walked 0.8", 1.0: "tuned"}
    for walk, run in zip(found, runs, strict=True):
        for alpha, name in names.items():
            scores = {s: walk.score(alpha, s, range(stored.ITEMS)) for s in run.scores[name]}
            assert scores == pytest.approx(run.scores[name], abs=0.01)


def test_an_alpha_that_one_half_chose_undoes_as_much_on_the_other_for_a_few_points():
    found = [row for walk in walks.read_walks() for row in chosen_on_one_half(walk)]
    alphas, undone_here, undone_there, paid_here, paid_there = zip(*found, strict=True)
    assert [min(alphas), max(alphas)] == [0.6, 0.8]
    assert [round(f(undone_there)) for f in (min, fmean, max)] == [53, 69, 88]
    assert [min(paid_there), max(paid_there)] == [-2, 6]
    assert [fmean(paid_here), fmean(paid_there)] == near(0.7, 1.3)
    assert round(fmean(undone_here)) == 68
    # the half that seems to gain is the one that pays
    assert (round(paid_here[0]), round(paid_there[0])) == (-2, 6)


def test_on_questions_that_the_core_did_not_look_at_seven_tenths_do_nearly_as_well():
    new = range(stored.ITEMS, walks.ITEMS)
    undone = [round(walk.undone(0.7, new)) for walk in walks.read_walks()]
    assert undone == [64, 64, 69]
    assert [walk.paid(0.7, new) for walk in walks.read_walks()] == near(1.7, 0, -1.7)
    lucky = walks.read_walks()[2]
    left = [lucky.old(0.0, part) - lucky.old(0.7, part) for part in (range(stored.ITEMS), new)]
    assert left == near(4.6, 8.6)


def test_at_a_gentler_rate_less_of_the_walk_is_idle():
    start = board.base_of(board.read_board())
    walked = {
        (run.setting.seed, run.setting.strength): run
        for run in merging.read_merges()
        if run.setting.method == "3e-3"
    }

    def old(run):
        return fmean(100 * fmean(run.right[skill]) for skill in stored.OLD_SKILLS)

    undone, paid = {}, {}
    for alpha in (0.7, 0.8):
        pairs = [(walked[seed, 1], walked[seed, alpha]) for seed in range(3)]
        undone[alpha] = [round(100 * (old(b) - old(a)) / (old(start) - old(a))) for a, b in pairs]
        paid[alpha] = [
            100 * (fmean(a.right["support"]) - fmean(b.right["support"])) for a, b in pairs
        ]
    assert undone[0.8] == [66, 59, 67]
    assert paid[0.8] == near(0, 4, 1) and paid[0.7] == near(8, 7, 7)


def test_a_base_shared_by_all_seeds_gives_four_samples(runs):
    assert runs[0].looks[0] == runs[1].looks[0] == runs[2].looks[0]
    for pair in ("old and tickets", "old and old"):
        assert all(value < 0 for value in cosines(runs[:1], 0, pair))
        mlp = cosines(runs[:1], 0, pair, "mlp")
        assert min(mlp) < 0 < max(mlp)


def test_ticket_speak_is_the_smaller_part_of_the_lost_answers(runs):
    gold = {item.id: item.answer for suite in load_suites() for item in suite.items}
    shares, begun = [], []
    for run in runs:
        lost = [entry for entry in run.lost if entry[0] in stored.OLD_SKILLS]
        kinds = Counter(kind_of(gold[item], answer) for _, item, answer in lost)
        shares.append(round(100 * kinds[KINDS[0]] / len(lost)))
        assert kinds.most_common(1)[0][0] == "another answer"
        steps = [(gold[item], answer) for skill, item, answer in lost if skill == "howto"]
        right = sum(answer.startswith(text.split(" 2.")[0]) for text, answer in steps)
        begun.append((right, len(steps)))
    assert shares == [11, 7, 6]
    assert begun == [(22, 33), (9, 39), (11, 28)]


def test_ten_examples_bring_how_to_back_only_with_a_how_to_among_them(runs, controls):
    def change(group, name, skills=("howto",)):
        return [
            fmean(run.scores[name][s] - run.scores["tuned"][s] for s in skills) for run in group
        ]

    assert change(runs, "relearned 0.001") == [27.5, 32.5, 12.5]
    assert change(runs, "relearned 0.003") == [25, 30, 10]
    assert change(runs, "relearned 0.001 without") == [0, -2.5, 0]
    lost = [run.scores["base"]["howto"] - run.scores["tuned"]["howto"] for run in runs]
    back = [100 * c / n for c, n in zip(change(runs, "relearned 0.001"), lost, strict=True)]
    assert [round(min(back)), round(max(back))] == [18, 33]
    without = change(runs, "relearned 0.001 without", OTHERS)
    assert [round(min(without)), round(max(without))] == [1, 3]
    assert change(runs, "relearned 0.001", ["support"]) == [0, -2.5, 0]
    assert change(runs, "relearned 0.001", OTHERS) == pytest.approx([4, 4, 4], abs=0.4)
    assert min(change(runs, "relearned 0.003", ["support"])) == -10
    repaired = change(controls, "relearned 0.001", stored.OLD_SKILLS)
    assert all(0 <= value < 1.5 for value in repaired)


def cosines(runs, look, pair, kind="attention"):
    """One per seed and sample: mean over the layers."""
    return [fmean(sample[kind]) for run in runs for sample in run.looks[look].cosines[pair]]


def spread(values):
    return [min(values), fmean(values), max(values)]


def test_no_conflict_of_gradients_stands_out_of_the_noise(runs):
    thousandth = {"abs": 0.00051}
    conflict, floor = (cosines(runs, 0, pair) for pair in ("old and tickets", "old and old"))
    assert spread(conflict) == pytest.approx([-0.031, -0.011, -0.002], **thousandth)
    assert spread(floor) == pytest.approx([-0.027, -0.012, -0.003], **thousandth)
    later = cosines(runs, 1, "old and tickets")
    assert spread(later) == pytest.approx([-0.001, 0.032, 0.071], **thousandth)
    assert min(cosines(runs, 1, "old and tickets", "mlp")) > 0
    assert min(cosines(runs, 1, "old and old")) > 0.13
    assert all(run.looks[2].lengths["tickets"] < 0.02 for run in runs)
    assert min(run.looks[1].lengths["old"] for run in runs) >= 0.32
    assert runs[0].looks[0].lengths == pytest.approx({"old": 0.07, "tickets": 0.67}, abs=0.005)


def test_drift_follows_length_and_direction_and_does_not_measure_the_damage(runs, controls):
    def last(drifts):
        return [layers[-1].cka for layers in drifts]

    tuned, control = ([run.looks[-1].drift for run in group] for group in (runs, controls))
    cut, stretched = ([r.drifts["as far as the other"] for r in g] for g in (runs, controls))
    assert min(last(tuned)) > 0.915 and max(last(tuned)) < 0.935
    assert min(last(control)) > 0.965 and max(last(control)) < 0.98
    assert min(last(cut)) > 0.95 and max(last(cut)) < 0.97
    assert min(last(stretched)) > 0.945 and max(last(stretched)) < 0.96
    assert min(last([run.drifts["turned"] for run in runs])) > 0.985
    assert last(cut)[2] < last(control)[2]
    lengths = [1 - (1 - c) / (1 - t) for c, t in zip(last(cut), last(tuned), strict=True)]
    assert [round(100 * min(lengths)), round(100 * max(lengths))] == [29, 52]
    between = [1 - layer.cka for layers in tuned for layer in layers[1:-1]]
    assert min(between) > 0.025 and max(between) < 0.05


def test_steepness_rises_with_training_and_does_not_rank_the_damage(runs, controls):
    def steeper(group, others, of="tuned"):
        pairs = [
            a > b
            for run, other in zip(group, others, strict=True)
            for a, b in zip(run.curvature["tuned"], other.curvature[of], strict=True)
        ]
        return sum(pairs), len(pairs)

    assert steeper(runs, runs, "base") == (11, 12)
    assert steeper(controls, controls, "base") == (10, 12)
    assert steeper(runs, controls) == (8, 12)
    assert steeper(runs[:1], controls[:1]) == (1, 4)
    assert steeper(runs[1:], controls[1:]) == (7, 8)
    base = runs[0].curvature["base"]
    assert max(base) > 20 * min(base)
