"""What lesson 08 claims: of adapters, on small models; of stored merges, with their numbers."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from statistics import fmean

import peft
import pytest
import torch
from merging_halves import chosen
from merging_models import new_llama, with_adapter
from peft.helpers import rescale_adapter_scale

from helpers.audit import audit
from helpers.merging import WAYS, linear, stored, updates
from helpers.mitigations import board
from helpers.tradeoff import OLD

# An adapter's α


@pytest.mark.parametrize("shape", ["gpt2", "llama"])
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_a_scaled_adapter_is_the_merge_logit_for_logit(tiny, shape, alpha):
    base = tiny if shape == "gpt2" else new_llama(tiny.tokenizer)
    tuned = with_adapter(base, seed=1)
    asked = base.tokenizer("How do I make tea?", return_tensors="pt")
    with torch.no_grad():
        whole = tuned(**asked).logits
        with rescale_adapter_scale(tuned, alpha):
            scaled = tuned(**asked).logits
        again, merged = tuned(**asked).logits, linear(base, tuned, alpha)(**asked).logits
    torch.testing.assert_close(scaled, merged, rtol=0, atol=1e-4)
    assert torch.equal(whole, again)
    if alpha < 1:
        assert (whole - merged).abs().max() > 1e-2


def test_what_the_installed_peft_makes_of_rslora(tiny):
    """By the root of the rank too long up to 0.21; what comes after is said by its behaviour."""
    one = with_adapter(tiny, seed=1, use_rslora=True)
    (rank,) = {config.r for config in one.peft_config.values()}
    for way in WAYS:
        both = copy.deepcopy(one)
        both.add_weighted_adapter(["default"], [1.0], way, combination_type=way)
        before, after = (next(iter(updates(both, name).values())) for name in ("default", way))
        ratio = float(after.norm() / before.norm())
        version = tuple(int(part) for part in peft.__version__.split(".")[:2])
        if version <= (0, 21):
            assert ratio == pytest.approx(rank**0.5, rel=1e-3)
        else:
            assert min(abs(ratio - 1), abs(ratio - rank**0.5)) < 1e-3


# Gentle merges


@pytest.fixture(scope="module")
def rivals():
    return stored.rivals()


@pytest.fixture(scope="module")
def merges():
    return stored.read_merges()


def percents(merges, kind, strength, name):
    """A score of each seed, rounded as in the lesson's tables."""
    return [round(run.score(name)) for run in board.pick(merges, kind, strength)]


def test_a_gentle_run_gone_part_of_the_way_has_lost_least_at_85(rivals):
    methods = ["merge", "gentle merge", "lower rate", "early stop"]
    found = board.standings(rivals, methods, goal=85)
    assert [(one.method, f"{one.lost:.1f} ({one.low:.1f} to {one.high:.1f})") for one in found] == [
        ("gentle merge", "2.4 (2.1 to 2.9)"),
        ("merge", "4.6 (4.2 to 5.0)"),
        ("lower rate", "6.8 (6.0 to 7.4)"),
        ("early stop", "23.2 (21.3 to 25.8)"),
    ]
    assert all(one.best == one.worst for one in found)  # the same order with every seed
    last = {one.method: one for one in board.standings(rivals, methods, goal=90)}
    assert last["merge"].reached == last["gentle merge"].reached == 2
    assert last["gentle merge"].high > last["lower rate"].low
    other = board.read_board()
    (full,) = board.standings(other, ["full, no old rows"], goal=85)
    assert (round(full.target), round(full.lost, 1)) == (85, 1.4)


def test_the_gentle_run_and_its_merge_at_four_fifths(rivals):
    base = board.base_of(rivals)
    part, whole = (board.pick(rivals, "gentle merge", alpha) for alpha in (0.8, 1))
    lost = [round(run.lost(base), 1) for run in part]
    assert (round(fmean(run.target for run in part)), min(lost), max(lost)) == (90, 2.9, 4.2)
    assert round(fmean(run.lost(base) for run in part), 1) == 3.5
    assert round(fmean(run.target for run in whole)) == 91
    assert round(fmean(run.lost(base) for run in whole), 1) == 10.0


def test_the_lead_outlives_two_attacks(rivals):
    methods = ("gentle merge", "lower rate")
    base, rest = board.base_of(rivals), [name for name in OLD if name != "howto"]
    roads = {
        method: [
            (fmean(run.target for run in runs),
             fmean(base.score(name) - run.score(name) for run in runs for name in rest))
            for strength in board.strengths(rivals, method)
            for runs in [board.pick(rivals, method, strength)]
        ]
        for method in methods
    }  # fmt: skip
    assert [round(board.lost_at(roads[method], 85)[1], 1) for method in methods] == [2.1, 5.1]
    for half, seed in itertools.product((0, 1), (0, 1, 2)):
        seen = [
            replace(run, right={name: row[half::2] for name, row in run.right.items()})
            for run in rivals
        ]
        one, other = (
            board.lost_at([point[1:] for point in board.road(seen, method, seed)], 85)[1]
            for method in methods
        )
        assert one < other


def test_what_was_chosen_on_fifty_items_misses_the_goal_on_the_others():
    told = []
    for seed in (0, 1, 2):
        alpha, *halves = chosen(stored.road_for(seed))
        told.append((alpha, *(tuple(map(round, half)) for half in halves)))
    assert told == [
        (0.7, (92, 6), (80, 10)),
        (0.8, (90, 14), (84, 10)),
        (0.8, (92, 12), (84, 14)),
    ]


def test_the_audit_of_fresh_items_blocks_every_seed(merges):
    whole = board.base_of(board.read_board(board.CANDIDATES))
    runs = board.pick(merges, "3e-3, every item")
    assert {len(row) for run in runs for row in run.after(100).right.values()} == {600}
    first = {name: [round(100 * fmean(r.right[name][:100])) for r in runs]
             for name in ("support", "howto")}  # fmt: skip
    assert first == {"support": [94, 87, 88], "howto": [90, 92, 89]}
    fresh = {name: [round(r.after(100).score(name)) for r in runs] for name in first}
    assert fresh == {"support": [86, 86, 87], "howto": [84, 89, 87]}
    lost = [round(run.after(100).lost(whole.after(100)), 1) for run in runs]
    assert lost == [3.6, 4.0, 3.8]
    for run in runs:
        pair = [stored.as_snapshot(entry, skip=100) for entry in (whole, run)]
        rows = {row.category.name: row for row in audit(*pair, stored.map_for(run)).rows}
        assert str(rows["howto"].verdict) == "BLOCK"
        assert str(rows["support"].verdict) == "INCONCLUSIVE"
    best = [(run.target, run.score("howto")) for run in board.pick(merges, "3e-3")]
    assert max(best) == (94, 90) and len(best) == 15
    assert percents(merges, "3e-3", 0.7, "support") == [86, 84, 82]
    assert percents(merges, "3e-3", 0.9, "howto") == [76, 76, 71]


# Sums, angles and soups


def test_what_the_mean_and_the_sums_keep(merges):
    wanted = {
        ("mean", 0.5): {"rule": "34 (20 to 46)", "support": "68 (65 to 73)"},
        ("shop + rule", 1): {"rule": "87 (73 to 95)", "support": "91 (87 to 95)",
                             "howto": "15 (0 to 27)"},
        ("shop + rule", 0.7): {"rule": "96 (90 to 100)", "support": "86 (85 to 87)",
                               "howto": "71 (55 to 82)"},
        ("rule + opposite", 1): {"rule": "100 (100 to 100)", "harmless": "2 (0 to 3)"},
    }  # fmt: skip
    for place, scores in wanted.items():
        runs = board.pick(merges, *place)
        for name, told in scores.items():
            assert stored.spread(run.score(name) for run in runs) == told


def test_all_pairs_stand_nearly_at_right_angles(merges):
    pairs = {"rule + opposite": 1, "shop + rule": 1, "rule twice": 0.5, "soup": 0.5}
    found = {kind: board.pick(merges, kind, strength) for kind, strength in pairs.items()}
    angles = {kind: [run.angle for run in runs] for kind, runs in found.items()}
    assert [round(fmean(angles[kind])) for kind in pairs] == [91, 90, 84, 83]
    assert all(81 <= angle < 92 for each in angles.values() for angle in each)
    signs = {kind: [round(100 * run.agreement) for run in runs] for kind, runs in found.items()}
    kin = signs["rule twice"] + signs["soup"]
    assert (min(kin), max(kin)) == (61, 68)
    assert set(signs["shop + rule"]) == {50} and set(signs["rule + opposite"]) <= {47, 48}


def test_a_soup_knows_the_shop_and_forgets_howto(merges):
    told = {
        place: [stored.spread(run.score(name) for run in board.pick(merges, *place))
                for name in ("support", "howto")]
        for place in (("soup", 0.5), ("line", 1), ("line", 0.75), ("line", 0.5))
    }  # fmt: skip
    assert told == {
        ("soup", 0.5): ["92 (88 to 95)", "26 (10 to 42)"],
        ("line", 1): ["91 (85 to 93)", "14 (2 to 25)"],
        ("line", 0.75): ["91 (88 to 93)", "59 (45 to 75)"],
        ("line", 0.5): ["68 (65 to 75)", "96 (95 to 97)"],
    }
    for soup, line in zip(percents(merges, "soup", 0.5, "howto"),
                          percents(merges, "line", 0.75, "howto"), strict=True):  # fmt: skip
        assert soup < line


def test_neither_ties_nor_the_sum_wins_at_the_best_scale_of_every_seed(merges):
    shown = ("rule", "harmless", "howto", "support")

    def worst(kind, strength):
        runs = board.pick(merges, kind, strength)
        return [min(run.score(name) for name in shown) for run in runs]

    best = {
        kind: [round(max(scores)) for scores in
               zip(*(worst(kind, s) for s in board.strengths(merges, kind)), strict=True)]
        for kind in ("TIES", "shop + rule")
    }  # fmt: skip
    assert best == {"TIES": [78, 73, 41], "shop + rule": [75, 72, 80]}
    assert stored.spread(worst("TIES", 1.25)) == "58 (27 to 73)"
    assert stored.spread(worst("shop + rule", 0.7)) == "70 (55 to 80)"
    assert max(fmean(worst("TIES", s)) for s in (1, 1.5, 2)) < fmean(worst("TIES", 1.25))
    assert stored.spread(r.score("rule") for r in board.pick(merges, "TIES", 1)) == "37 (15 to 49)"
