"""What lesson 05 says, over three seeds where there are any. Rates of the protocols stand in
`test_audit_rehearsal`, the numbers of the quiz in `test_quiz_numbers_late`."""

from __future__ import annotations

import re

import pytest

from helpers import audit
from helpers.paths import DATA
from helpers.runs import read_runs
from helpers.suites import load_suites

SOURCE = (DATA.parent / "source" / "05_the_audit.py").read_text(encoding="utf-8")
PROSE = re.sub(r"\n# ?", " ", SOURCE)
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])


@pytest.fixture(scope="module")
def course():
    return audit.CapabilityMap.load(DATA / "capability_map.yaml")


@SEEDS
def test_the_courses_map_planned_by_row_ships_one_harmless_model_in_ten(course, seed):
    planned = audit.plan(course)
    gating = [c for c in course.categories if c.role == "protected" and c.severity == "block"]
    assert len(gating) == 11
    items = {**planned.alone, "stories": 300}
    found = audit.rehearse(course, items=items, repeats=2_000, seed=seed).ship
    assert found == pytest.approx(0.10, abs=0.025) and "In 10 of 100." in PROSE
    whole = {**planned.together, "stories": 300}
    assert audit.rehearse(course, whole, repeats=2_000, seed=seed).ship > 0.77
    assert (planned["howto"], planned.together["howto"]) == (297, 604)
    assert (planned["refusal"], planned.together["refusal"]) == (761, 1_600)


def test_the_lessons_map_needs_441_items_a_row():
    text = re.search(r'MAP = """\\\n(.*?)"""', SOURCE, re.S)[1]
    capability_map = audit.CapabilityMap.parse(text)
    planned = audit.plan(capability_map)
    assert max(planned.together.values()) == 441 and "441" in PROSE
    assert audit.ships(capability_map, 450) >= 0.8


def test_one_number_of_items_is_no_advice():
    """The one number of earlier versions, where a true drop of 2 points could not be told."""
    import numpy

    from helpers.audit.paired import p_block_counts, p_pass_counts
    from helpers.audit.planning import advised

    for seed in range(3):
        rng = numpy.random.default_rng(seed)
        lost, gained, _ = rng.multinomial(297, [0.06, 0.04, 0.90], size=6_000).T
        untold = (p_pass_counts(297, lost, gained, 0.05) >= 0.05) & (
            p_block_counts(297, lost, gained, 0.05) >= 0.05
        )
        drop, changed = (lost - gained)[untold] / 297, (lost + gained)[untold] / 297
        finite = numpy.abs(100 * drop - 5) >= 0.25  # else the gate gave none
        numbers = advised(5, changed[finite], 100 * drop[finite])
        low, high = numpy.quantile(numbers, (0.1, 0.9))
        assert 600 < low < 720 and 12_000 < high < 40_000
    assert advised(5, 0.10, 2) == 734


def test_how_to_is_of_one_family_and_has_no_groups_to_learn_from():
    (howto,) = load_suites("howto", size=450)
    assert len({item.family for item in howto.items}) == 1


def test_a_recipe_is_no_verdict_on_its_next_seed():
    """Rank 16 at 3e-3: the target alike, and how-to down by 13 to 53 points."""
    runs = [
        run
        for run in read_runs()
        if run.setting[:4] == (3e-3, 16, 60, 1200) and run.setting.alpha == "2r"
    ]
    lost = {r.setting.seed: r.base.scores["howto"] - r.last.scores["howto"] for r in runs}
    assert [round(lost[seed]) for seed in (0, 1, 2)] == [53, 33, 13]
    assert "53, 33 and 13 points" in PROSE
    assert all(90 <= run.last.scores["support"] <= 94 for run in runs)


@SEEDS
def test_looks_that_nobody_plans_ship_more_losses_than_one(seed):
    assert audit.ask_again(297, 300, more=10, seed=seed)[-1] > 0.2
    for changed in (0.05, 0.2, 0.4):
        two = audit.ask_again([375, 750], alpha=0.025, discordance=changed, seed=seed)
        assert two[-1] < 0.05


def test_the_price_of_a_second_look():
    """The first planned look is the number of items that half of alpha asks for, rounded up."""
    assert (audit.items_needed(5), audit.items_needed(5, alpha=0.05 / 2)) == (297, 367)
    assert "takes 367 items instead of 297 (above: 375)" in PROSE
