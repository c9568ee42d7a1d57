"""Plans of stages on many rollouts at once: as one rollout after the other, and with its limits."""

from __future__ import annotations

import numpy
import pytest

from helpers.rollout.eprocess import BadEvents
from helpers.rollout.errors import BadSetting
from helpers.rollout.plan import Stage, Stages
from helpers.rollout.simulate import STAGES, Traffic, rollout
from helpers.rollout.staged import Watch, staged
from helpers.rollout.trial import try_stages
from helpers.scope.brief import Brief
from helpers.scope.needs import EXAMPLE

BRIEF = Brief(EXAMPLE)
HARMFUL = Traffic.from_brief(BRIEF, {"order_sums": (0.05, 0.65)})
QUICK = Stages((Stage(0.25, 1), Stage(0.5), Stage(1.0)))


def test_they_end_as_rollouts_that_are_computed_one_by_one():
    """The same plan, traffic and looks; 12 whole monitors with users and a data frame each."""
    one = [
        rollout(HARMFUL, 1.0, stages=QUICK, per_hour=800, users=2_000_000, seed=seed)
        for seed in range(12)
    ]
    many = staged(
        QUICK, (HARMFUL.candidate, HARMFUL.control), 1.0, per_hour=800, every=1.0, count=500
    )
    assert many.rate("roll back") == 1.0 and {found.verdict for found in one} == {"roll back"}
    # The mean of 12 has a standard error of 0.3 of the spread.
    for each, all_of_them in (
        ([found.hours for found in one], many.hours),
        ([found.harmed for found in one], many.harmed),
        ([found.served for found in one], many.served),
    ):
        error = all_of_them.std() / numpy.sqrt(len(each))
        assert abs(numpy.mean(each) - all_of_them.mean()) < 3 * error


def test_a_stage_is_left_after_its_time_its_answers_and_what_it_asks_to_be_ruled_out():
    rates = (0.03, 0.03)
    plain = staged(QUICK, rates, 3.0, per_hour=2000, every=0.5)
    slow = staged(Stages((Stage(0.25, 9), Stage(0.5), Stage(1.0))), rates, 3.0, per_hour=2000)
    many = staged(Stages((Stage(0.25, 1, 5000), Stage(0.5), Stage(1.0))), rates, 3.0, per_hour=2000)
    asks = staged(Stages((Stage(0.25, 1, within=1), Stage(0.5), Stage(1.0))), rates, 3.0,
                  per_hour=2000)  # fmt: skip
    assert plain.rate("widen") == slow.rate("widen") == many.rate("widen") == 1.0
    assert slow.hours.min() >= 9 > plain.within(0.5, "widen")
    assert many.served.min() >= 5000
    both = Stages((Stage(0.25, 0, 3000), Stage(0.5, 0, 3000), Stage(1.0)))
    assert staged(both, rates, 3.0, per_hour=2000).served.min() >= 6000
    assert asks.within(0.5, "widen") > plain.within(0.5, "widen") + 2


def test_an_answer_counts_when_its_window_is_over_and_with_the_share_it_was_given_at(monkeypatch):
    one = Stages((Stage(0.5), Stage(1.0)))
    at_once, later = (
        staged(one, (0.1, 0.03), 1.0, window=w, delay=0.0, every=0.5) for w in (0.0, 3.0)
    )
    assert (later.hours == at_once.hours + 3).all()
    seen, see = [], Watch.see

    def spied(self, new, share):
        seen.append((share.mean(), new.candidate.sum() / (new.candidate + new.control).sum()))
        see(self, new, share)

    monkeypatch.setattr(Watch, "see", spied)
    staged(Stages((Stage(0.05, 2), Stage(0.5), Stage(1.0))), (0.03, 0.03), 3.0, window=6.0)
    shares = {share for share, _ in seen}
    assert min(shares) == pytest.approx(0.05) and max(shares) > 0.4
    for share, found in seen:
        assert found == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("stages", [STAGES, QUICK])
def test_at_the_margin_alpha_holds_through_all_stages(stages):
    found = staged(stages, (0.05, 0.03), 2.0, per_hour=1000, hours=72, count=1500)
    bound = 0.05 + 2.5 * numpy.sqrt(0.05 * 0.95 / 1500)
    assert found.rate("roll back") < bound and found.rate("widen") < bound


def test_the_harm_that_is_told_of_too_late_is_done_all_the_same():
    late = staged(QUICK, (0.1, 0.03), 1.0, window=0.5, delay=2.0, count=400)
    soon = staged(QUICK, (0.1, 0.03), 1.0, window=0.5, delay=0.0, count=400)
    assert late.median_hours > soon.median_hours
    for found in (late, soon):
        assert found.harmed.sum() / found.served.sum() == pytest.approx(0.1, abs=0.012)


def test_a_trial_compares_what_a_plan_finds_with_what_it_costs():
    careful, bold = (try_stages(plan, HARMFUL, 1.0, per_hour=1000) for plan in (STAGES, QUICK))
    assert careful.count == 200 and careful.false_rollbacks <= 0.1
    assert careful.detected + careful.missed <= 1 and careful.detected > 0.95
    assert careful.harmed < bold.harmed and careful.hours_to_live > bold.hours_to_live
    assert careful.harmed == pytest.approx(careful.harmful.extra.mean())
    assert f"half go live in {bold.hours_to_live:.0f} h" in repr(bold)
    assert repr(careful) == repr(try_stages(None, HARMFUL, 1.0, per_hour=1000))
    plan = {"stages": [{"percent": 50, "hours": 4}, {"percent": 100}]}
    assert "fewer than half go live" in repr(try_stages(plan, HARMFUL, 0.25, count=20, hours=6))


@pytest.mark.parametrize(
    ("plan", "margin", "changes", "says"),
    [
        (STAGES, 4.0, {}, "nothing to find"),
        (Stages((Stage(1.0),)), 1.0, {}, "nobody is left"),
        (STAGES, 1.0, {"every": 0}, "between two looks"),
        (STAGES, 1.0, {"per_hour": 1, "every": 0.5}, "between two looks"),
        (STAGES, 1.0, {"alpha": 2}, "alpha"),
        (STAGES, -1.0, {}, "margin"),
    ],
)
def test_impossible_trials_are_refused(plan, margin, changes, says):
    with pytest.raises(BadEvents, match=says):
        try_stages(plan, HARMFUL, margin, **changes)


def test_a_plan_of_another_form_is_refused_by_the_plan():
    with pytest.raises(BadSetting, match="last stage"):
        try_stages({"stages": [{"percent": 50}]}, HARMFUL, 1.0)
