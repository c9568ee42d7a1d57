"""The journals of the exercise: made by the registry itself, and wrong in what is said of them."""

from __future__ import annotations

import numpy
import pytest
from rollout_files import replay

from helpers.rollout import desk as desks
from helpers.rollout import fixed, journals
from helpers.rollout.desk import MARGIN, NEW, OLD, PLAN
from helpers.rollout.eprocess import Counts
from helpers.rollout.journal import Line


@pytest.fixture(scope="module")
def cases():
    return {case.name: case for case in journals.cases()}


def line(case, number):
    return case.journal.loc[number]


def look_at(case, hour):
    """What the monitor had said last by an hour."""
    return case.looks[case.looks["hour"] <= hour].iloc[-1]


def test_there_are_six_and_the_registry_has_allowed_every_line(cases):
    assert list(cases) == list("ABCDEF")
    for case in cases.values():
        lines = [
            Line(number, *(row[name] for name in list(Line.__dataclass_fields__)[1:]))
            for number, row in case.journal.iterrows()
        ]
        replay(lines)
        assert set(case.lines) <= set(case.journal.index) and len(case.lines) <= 2
        hours = case.journal["hour"].tolist()
        assert hours == sorted(hours)


def test_what_is_shown_holds_every_line_of_the_rollout_and_not_the_answer(cases):
    for case in cases.values():
        shown = repr(case) + case._repr_html_()
        for number in case.journal.index[case.journal["hour"] >= 0]:
            assert f"\n{number} " in repr(case)
        assert case.what not in shown and len(repr(case).splitlines()) < 16
        assert all(said in shown for said in case.looks["said"])


def test_a_was_rolled_back_on_proof_at_once(cases):
    case = cases["A"]
    assert case.lines == () and list(case.looks["verdict"])[-1] == "roll back"
    assert set(case.looks["verdict"][:-1]) == {"hold"} and case.looks["lower"].iloc[-1] > MARGIN
    assert case.journal.iloc[-1][["action", "version"]].tolist() == ["roll back", NEW]


def test_e_went_to_everybody_while_the_monitor_said_hold(cases):
    case = cases["E"]
    wrong = line(case, case.lines[0])
    assert (wrong.action, wrong.share) == ("widen", 1.0)
    before = look_at(case, wrong.hour)
    assert before.verdict == "hold"
    asked = next(stage.within for stage in PLAN.stages if stage.share == before.share)
    assert before.upper > asked


def test_b_was_widened_in_spite_of_a_mismatch(cases):
    case = cases["B"]
    wrong = line(case, case.lines[0])
    assert wrong.action == "widen" and look_at(case, wrong.hour).mismatch
    earlier = case.looks[case.looks["hour"] < wrong.hour]
    assert not earlier["mismatch"].any()


def test_c_was_rolled_back_at_a_peek_that_the_monitor_did_not_join(cases):
    case = cases["C"]
    wrong = line(case, case.lines[0])
    assert wrong.action == "roll back" and set(case.looks["verdict"]) == {"hold"}
    p = [
        float(fixed.p_value(Counts(k.candidate, k.control, k.candidate_harmed, k.control_harmed),
                            MARGIN / 100))
        for k in case.looks.itertuples()
    ]  # fmt: skip
    assert p[-1] <= 0.05 < min(p[:-1]) and len(p) > 2
    assert ", ".join(f"{value:.3f}" for value in p) in wrong.reason
    assert 0 < journals.ALLOWED.candidate - journals.ALLOWED.control < MARGIN / 100


def test_d_counted_silence_before_anybody_could_speak(cases):
    case = cases["D"]
    wrong = line(case, case.lines[0])
    assert wrong.name == case.journal.index[case.journal["action"] == "widen"][0]
    before = look_at(case, wrong.hour)
    assert before.late > before.candidate_harmed + before.control_harmed
    assert list(case.looks["verdict"])[-1] == "widen"
    assert journals.HARMFUL.candidate - journals.HARMFUL.control > MARGIN / 100
    assert case.journal.iloc[-1][["version", "to_state"]].tolist() == [OLD, "live"]


def test_f_had_no_version_left_to_go_back_to(cases):
    case = cases["F"]
    wrong = line(case, case.lines[0])
    assert (wrong.action, wrong.version) == ("retire", OLD)
    last = case.journal.iloc[-1]
    assert (last.action, last.version) == ("roll back", NEW)  # and no other line: only the base
    live = line(case, case.journal.index[case.journal["to_state"] == "live"][-1])
    assert wrong.hour - live.hour < 24


def test_they_are_the_same_every_time(cases, tmp_path):
    other = journals._impatient(tmp_path)
    assert repr(other) == repr(cases["E"])
    assert other.journal.equals(cases["E"].journal)


def test_the_clock_is_the_desk_s(cases):
    first = cases["A"].journal.query("hour >= 0").iloc[0]
    assert first.time.timestamp() == desks.START and first.time.hour == 9
    assert numpy.isfinite(cases["A"].looks["upper"]).all()
