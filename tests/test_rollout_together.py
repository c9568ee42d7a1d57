"""Router, telemetry, monitor and gaps on one store, as a rollout puts them together."""

from __future__ import annotations

from datetime import timedelta

import numpy
import pytest

from helpers.audit import CapabilityMap
from helpers.rollout.canary import Monitor
from helpers.rollout.gaps import find_gaps, proposed
from helpers.rollout.router import Router
from helpers.rollout.simulate import HOUR, Traffic, answers
from helpers.rollout.telemetry import AnswerRow, Telemetry
from helpers.rollout.window import joined
from helpers.scope.brief import Brief
from helpers.scope.needs import EXAMPLE

KEY = bytes(range(32))
HOLDOUT = 0.1
BRIEF = Brief(EXAMPLE)


def fill(telemetry, router, traffic, until):
    """Eight hours of answers at two shares; harm is told of by `until` at the latest."""
    events = answers(traffic, 8, 600, 0.3, users=20_000, texts=True, seed=2)
    rng = numpy.random.default_rng(0)
    rates = {kind.name: kind for kind in traffic.kinds}
    rows, told = [], []
    for event in events.itertuples():
        share = 0.2 if event.time < 4 * HOUR else 0.5
        arm = router.arm(event.user, share)
        kind = rates[event.category]
        rows.append(
            AnswerRow(
                id=event.id, time=event.time, user=event.user, version=arm, arm=arm, share=share,
                category=event.category, prompt_tokens=9, answer_tokens=9, latency=0.1,
                refused=False, truncated=False, prompt=event.prompt,
            )
        )  # fmt: skip
        when = event.time + rng.exponential(0.3 * HOUR)
        harmed = rng.random() < (kind.candidate if arm == "candidate" else kind.control)
        if harmed and when <= until:
            told.append((when, event.id))
    telemetry.record(*rows)
    rng.shuffle(told)  # late and in no order
    for when, key in told:
        telemetry.feedback(str(key), True, time=float(when))
    return len(rows)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    traffic = Traffic.from_brief(BRIEF, {"order_sums": (0.05, 0.9)})
    telemetry = Telemetry(tmp_path_factory.mktemp("store") / "s.db", KEY, timedelta(days=1))
    count = fill(telemetry, Router(KEY, HOLDOUT), traffic, 8 * HOUR)
    yield telemetry, count
    telemetry.close()


def test_the_monitor_reads_the_telemetry(filled):
    telemetry, count = filled
    events = joined(telemetry.answers(), telemetry.events())
    assert len(events) == count and events["harm"].sum() > 100
    look = Monitor(1.0).look(events, HOUR, 8 * HOUR, HOLDOUT)
    assert look.verdict == "roll back" and not look.mismatch
    assert look.lower > 1
    # Who restarts the monitor from the same telemetry comes to the same end.
    again = Monitor(1.0)
    for hour in range(2, 9):
        seen = events[events["time"] <= hour * HOUR]
        found = again.look(seen, HOUR, hour * HOUR, HOLDOUT)
    assert (found.verdict, found.events) == (look.verdict, look.events)
    assert found.beyond == pytest.approx(look.beyond)


def test_a_holdout_that_is_not_told_of_is_a_mismatch_in_the_long_run(filled):
    """A wrong share is no small thing: the arms' sizes give it away."""
    telemetry, _ = filled
    events = joined(telemetry.answers(), telemetry.events())
    assert not Monitor(1.0).look(events, HOUR, 8 * HOUR, HOLDOUT).mismatch
    assert Monitor(1.0).look(events, HOUR, 8 * HOUR, holdout=0.5).mismatch


def test_the_gap_is_read_from_the_telemetry_and_proposed_as_a_row(filled, tmp_path):
    telemetry, _ = filled
    events = joined(telemetry.answers(), telemetry.events())
    gaps = find_gaps(events, BRIEF.to_map(), BRIEF)
    assert [gap.name for gap in gaps] == ["order_sums"]
    assert all(text.startswith("Customer: ") for text in gaps[0].examples)
    path = tmp_path / "map.yaml"
    path.write_text(proposed(gaps, BRIEF.to_map()).dump(), encoding="utf-8")
    assert CapabilityMap.load(path)["order_sums"].role == "protected"


def test_a_candidate_that_does_no_harm_is_not_rolled_back(tmp_path):
    telemetry = Telemetry(tmp_path / "s.db", KEY)
    fill(telemetry, Router(KEY, HOLDOUT), Traffic.from_brief(BRIEF), 8 * HOUR)
    events = joined(telemetry.answers(), telemetry.events())
    look = Monitor(5.0).look(events, HOUR, 8 * HOUR, HOLDOUT)
    assert look.verdict == "widen" and look.upper <= 5
    assert find_gaps(events, BRIEF.to_map(), BRIEF)[0].examples == ()  # no texts were kept
    telemetry.close()
