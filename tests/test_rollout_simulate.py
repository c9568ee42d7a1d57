"""Simulated users and rollouts: the mix is the brief's, and the sliders do what they say."""

from __future__ import annotations

import itertools
import random
import re

import numpy
import pytest

from helpers.pocket.examples import held_out
from helpers.rollout import simulate
from helpers.rollout.eprocess import BadEvents
from helpers.rollout.order_sums import WORDINGS, order_sums
from helpers.rollout.plan import Stage, Stages
from helpers.rollout.simulate import (
    HOUR,
    Kind,
    Traffic,
    answers,
    prompts,
    rollout,
    rollouts,
)
from helpers.scope.brief import Brief
from helpers.scope.needs import EXAMPLE

BRIEF = Brief(EXAMPLE)
HARMFUL = {"order_sums": (0.05, 0.65)}


# Traffic.


def test_the_mix_is_the_brief_s_and_the_rest_is_on_nobody_s_map():
    traffic = Traffic.from_brief(BRIEF, HARMFUL)
    shares = {kind.name: kind.share for kind in traffic.kinds}
    assert shares["order_sums"] == pytest.approx(0.05)
    assert shares["howto"] / shares["reading"] == pytest.approx(20 / 8)
    assert sum(shares.values()) == pytest.approx(1)
    assert traffic.control == pytest.approx(0.95 * 0.03 + 0.05 * 0.05)
    assert traffic.candidate == pytest.approx(0.95 * 0.03 + 0.05 * 0.65)
    other = Traffic.from_brief(BRIEF, unmapped={"stories": 20.0})
    assert {kind.name: kind.share for kind in other.kinds}["stories"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("harm", "unmapped", "says"),
    [
        ({"order_sum": (0.1, 0.1)}, None, "no category 'order_sum'"),
        (None, {"howto": 5.0}, "cannot be unmapped"),
        (None, {"stories": 100.0}, "Nothing"),
        ({"howto": (0.1, 1.1)}, None, "from 0 to 1"),
    ],
)
def test_bad_mixes_are_refused(harm, unmapped, says):
    with pytest.raises(BadEvents, match=says):
        Traffic.from_brief(BRIEF, harm, unmapped)


def test_traffic_adds_up():
    with pytest.raises(BadEvents, match="add up to"):
        Traffic((Kind("howto", 0.5, 0.1, 0.1),))


def test_answers_have_the_mix_the_arms_and_the_harm_they_are_said_to_have():
    traffic = Traffic.from_brief(BRIEF, HARMFUL)
    events = answers(traffic, 20, 1000, [(0, 0.1), (10, 0.4)], users=50_000, delay=0.5)
    count = len(events)
    assert abs(count - 20_000) < 600 and events["id"].is_unique
    seen = events["category"].value_counts(normalize=True)
    for kind in traffic.kinds:
        error = numpy.sqrt(kind.share * (1 - kind.share) / count)
        assert abs(seen.get(kind.name, 0) - kind.share) < 4.5 * error
    for begin, share in ((0, 0.1), (10, 0.4)):
        part = events[events["time"].between(begin * HOUR, (begin + 10) * HOUR)]
        assert part["share"].eq(share).all()
        assert abs(part["arm"].eq("candidate").mean() - share) < 0.02
    sums = events[events["category"] == "order_sums"]
    for arm, rate in (("candidate", 0.65), ("control", 0.05)):
        assert abs(sums[sums["arm"] == arm]["harm"].mean() - rate) < 0.12
    told = events[events["harm"]]
    assert events["feedback_time"].notna().equals(events["harm"])
    assert ((told["feedback_time"] - told["time"]).mean() / HOUR) == pytest.approx(0.5, rel=0.15)


def test_users_are_sticky_and_nobody_goes_back():
    events = answers(Traffic.from_brief(BRIEF), 20, 200, [(0, 0.1), (10, 0.4)], users=300)
    candidate = events["arm"].eq("candidate").astype(int)
    assert (candidate.groupby(events["user"]).diff().dropna() >= 0).all()
    part = events[events["time"] < 10 * HOUR]
    assert (part.groupby("user")["arm"].nunique() == 1).all()


def test_the_seed_decides():
    traffic = Traffic.from_brief(BRIEF)
    one, two = (answers(traffic, 2, 100, 0.3, texts=True, seed=4) for _ in range(2))
    assert one.equals(two)
    assert not one.equals(answers(traffic, 2, 100, 0.3, texts=True, seed=5))


# Questions.


def test_every_category_of_the_brief_can_be_asked():
    names = [need.capability for need in EXAMPLE] + ["order_sums"]
    found = prompts(names * 3)
    assert len(found) == 3 * len(names) and all(found)
    assert found == prompts(names * 3) != prompts(names * 3, seed=1)
    assert all(text.startswith("Customer: ") for text in prompts(["order_sums"] * 20))
    with pytest.raises(BadEvents, match="'weather'"):
        prompts(["weather"])


def test_order_sums_are_worked_out_and_held_out():
    rng = random.Random(0)
    seen = set()
    for _ in range(300):
        for split in ("train", "test"):
            example = order_sums(rng, split)
            seen.add(example.family)
            sums = re.findall(r"(\d+) ([-+x]) (\d+) = (\d+)\.", example.answer)
            assert len(sums) == 2
            for a, sign, b, result in sums:
                a, b = int(a), int(b)
                assert {"+": a + b, "-": a - b, "x": a * b}[sign] == int(result)
            assert example.answer.endswith(f"The answer is {sums[-1][3]}.")
            asked = [int(n) for n in re.findall(r"\d+", example.question)]
            if example.family == "sale":
                full, c, a = asked
                key = (a, full - c, c)
            elif example.family == "change":
                purse, a, b = asked
                key = (a, b, purse - a * b)
            else:
                key = tuple(asked)
            assert held_out("order_sums", example.family, *key) == (split == "test")
    assert seen == set(WORDINGS)


# The loop.


def test_a_harmful_rollout_is_rolled_back_before_many_are_harmed():
    traffic = Traffic.from_brief(BRIEF, HARMFUL)
    found = rollout(traffic, 1.0, users=50_000, per_hour=1000)
    assert found.verdict == "roll back" and found.share < 0.5
    assert found.looks[-1][2].verdict == "roll back"
    assert all(look.verdict != "roll back" for _, _, look in found.looks[:-1])
    everybody = 1000 * found.hours * traffic.candidate
    assert 0 < found.harmed < 0.1 * everybody


def test_a_harmless_rollout_goes_through_its_stages():
    stages = Stages(
        (
            Stage(0.05, 2, within=10),
            Stage(0.25, 2, answers=900, within=4),
            Stage(0.5, 1),
            Stage(1.0),
        )
    )
    found = rollout(
        Traffic.from_brief(BRIEF), 2.5, stages=stages, users=100_000, per_hour=1000, every=2
    )
    assert found.verdict == "widen" and found.share == 0.5
    shares = [share for _, share, _ in found.looks]
    assert shares == sorted(shares) and set(shares) == {0.05, 0.25, 0.5}
    assert found.looks[-1][2].upper <= 2.5
    for (_, before, look), (_, after, _) in itertools.pairwise(found.looks):
        assert after == before or look.upper <= {0.05: 10, 0.25: 4}[before]


def test_a_rollout_whose_arms_contradict_their_shares_is_not_widened(monkeypatch):
    """The telemetry writes down half of the share that the router has used."""
    monkeypatch.setattr(
        simulate, "answers", lambda *a, **k: answers(*a, **k).assign(share=lambda f: f["share"] / 2)
    )
    stages = Stages((Stage(0.2), Stage(0.5), Stage(1.0)))
    found = rollout(Traffic.from_brief(BRIEF), 5.0, stages=stages, per_hour=1000, window=0, hours=6)
    first = next(hour for hour, _, look in found.looks if look.mismatch)
    shares = {share for hour, share, _ in found.looks if hour >= first}
    assert found.verdict == "hold" and len(shares) == 1
    assert first == 1.0 and shares == {0.2}


def test_a_rollout_without_enough_users_runs_out_of_time():
    found = rollout(Traffic.from_brief(BRIEF), 1.0, per_hour=20, hours=6)
    assert (found.verdict, found.hours, found.share) == ("hold", 6, 0.01)


def test_a_plan_without_a_canary_is_refused():
    with pytest.raises(BadEvents, match="nobody is left"):
        rollout(Traffic.from_brief(BRIEF), 1.0, stages=Stages((Stage(1.0),)))


# The laboratory.


def test_harm_is_rolled_back_and_its_absence_is_widened():
    harmful = rollouts(0.5, 0.02, 0.07, 1.0, count=100)
    assert harmful.rate("roll back") > 0.97 and harmful.rate("widen") == 0
    harmless = rollouts(0.5, 0.02, 0.02, 2.0, count=100)
    assert harmless.rate("roll back") == 0 and harmless.rate("widen") > 0.8
    assert harmless.extra.tolist() == [0] * 100
    assert repr(harmful).startswith("100 rollouts: 100.0 % roll back, 0.0 % widen, 0.0 % hold; ")


def test_more_harm_is_found_sooner_and_a_wider_margin_later():
    by_harm = [rollouts(0.5, 0.02, c, 1.0, count=100).median_hours for c in (0.15, 0.07, 0.05)]
    assert by_harm == sorted(by_harm) and len(set(by_harm)) == 3
    by_margin = [rollouts(0.5, 0.02, 0.08, m, count=100).median_hours for m in (0.5, 1.0, 2.5)]
    assert by_margin == sorted(by_margin) and len(set(by_margin)) == 3


def test_a_small_share_takes_longer_and_harms_fewer():
    small, large = (rollouts(s, 0.02, 0.12, 1.0, hours=48, count=100) for s in (0.05, 0.5))
    assert small.median_hours > large.median_hours
    assert small.harmed.mean() < large.harmed.mean()


def test_lateness_costs_time_and_users():
    soon, late = (rollouts(0.5, 0.02, 0.12, 1.0, window=w, count=100) for w in (0.0, 3.0))
    assert late.median_hours == pytest.approx(soon.median_hours + 3, abs=0.01)
    assert late.harmed.mean() > soon.harmed.mean()
    deaf = rollouts(0.5, 0.02, 0.12, 1.0, window=1.0, delay=2.0, count=100)
    heard = rollouts(0.5, 0.02, 0.12, 1.0, window=1.0, delay=0.1, count=100)
    assert deaf.median_hours > heard.median_hours


def test_the_four_methods_on_the_same_users():
    null = {
        "share": 0.5,
        "control": 0.04,
        "candidate": 0.05,
        "margin": 1.0,
        "count": 300,
        "hours": 10,
    }
    alarms = {
        m: rollouts(method=m, **null).rate("roll back") for m in ("anytime", "once", "peeking")
    }
    assert alarms["anytime"] <= 0.055 and alarms["once"] < 0.09
    assert alarms["peeking"] > 2 * alarms["once"]
    planted = {"share": 0.5, "control": 0.02, "candidate": 0.07, "margin": 1.0, "count": 200}
    hours = {m: rollouts(method=m, **planted).median_hours for m in ("anytime", "oracle", "once")}
    assert hours["oracle"] < hours["anytime"]
    assert rollouts(method="once", **planted).rate("roll back") == pytest.approx(0.8, abs=0.1)
    assert numpy.isinf(rollouts(0.5, 0.02, 0.02, 1.0, count=10).median_hours)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"share": 1.0}, "share"),
        ({"candidate": 1.5}, "Rates"),
        ({"window": 24.0}, "window"),
        ({"delay": -1.0}, "window"),
        ({"count": 0}, "window"),
        ({"alpha": 0.0}, "alpha"),
        ({"method": "sometimes"}, "sometimes"),
    ],
)
def test_bad_sliders_are_refused(change, says):
    settings = {"share": 0.5, "control": 0.02, "candidate": 0.07, "margin": 1.0} | change
    with pytest.raises(BadEvents, match=says):
        rollouts(**settings)
