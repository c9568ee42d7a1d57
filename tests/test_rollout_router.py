"""The router, and the stages by which a share grows."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys

import numpy
import pytest
from scipy.stats import binom, chisquare, kstest

from helpers.paths import DATA
from helpers.rollout.errors import BadSetting
from helpers.rollout.plan import USUAL, Stages
from helpers.rollout.router import Router, user_hash

KEY = b"0123456789abcdef" * 2
USERS = [f"user-{number}" for number in range(100_000)]
SHARES = (0.0, 0.01, 0.05, 0.25, 1.0)


@pytest.fixture(scope="module")
def places():
    router = Router(KEY)
    return numpy.array([router.place(user) for user in USERS])


# Assignment


def test_places_are_uniform(places):
    """Chi-square over 100 equal bins and Kolmogorov-Smirnov, on 100,000 users."""
    counts = numpy.bincount((places * 100).astype(int), minlength=100)
    assert len(counts) == 100 and chisquare(counts).pvalue > 1e-3
    assert kstest(places, "uniform").pvalue > 1e-3
    assert places.min() >= 0 and places.max() < 1


def test_the_test_of_uniformity_can_fail(places):
    """A hash that is off by one part in thirty is noticed."""
    counts = numpy.bincount((places**1.03 * 100).astype(int), minlength=100)
    assert chisquare(counts).pvalue < 1e-3


@pytest.mark.parametrize("share", SHARES[1:-1])
def test_the_candidate_gets_its_share(places, share):
    got = int((places < share).sum())
    low, high = binom.interval(0.999, len(USERS), share)
    assert low <= got <= high


def test_a_user_has_the_same_place_in_every_process_and_after_every_restart(places):
    code = (
        "from helpers.rollout.router import Router\n"
        f"router = Router({KEY!r})\n"
        "print([router.place(f'user-{number}') for number in range(1000)])"
    )
    for seed in ("0", "1"):
        told = subprocess.run(
            [sys.executable, "-c", code], cwd=DATA.parent, capture_output=True, text=True,
            check=True, env={"PYTHONHASHSEED": seed},
        ).stdout  # fmt: skip
        assert json.loads(told) == places[:1000].tolist()


def test_nobody_leaves_the_candidate_when_its_share_grows():
    router = Router(KEY, holdout=0.1)
    users = USERS[:20_000]
    arms = [[router.arm(user, share) for user in users] for share in SHARES]
    for narrow, wide in itertools.pairwise(arms):
        for before, after in zip(narrow, wide, strict=True):
            assert before == after or (before, after) == ("control", "candidate")
    assert "candidate" not in arms[0] and "control" not in arms[-1]


def test_the_holdout_is_fixed_and_of_its_size_and_says_nothing_of_the_place(places):
    router = Router(KEY, holdout=0.1)
    held = numpy.array([router.arm(user, 0.0) == "holdout" for user in USERS])
    for share in SHARES[1:]:
        arms = numpy.array([router.arm(user, share) for user in USERS[:20_000]])
        assert ((arms == "holdout") == held[:20_000]).all()
    low, high = binom.interval(0.999, len(USERS), 0.1)
    assert low <= held.sum() <= high
    assert kstest(places[held], "uniform").pvalue > 1e-3
    rest = places[~held]
    low, high = binom.interval(0.999, len(rest), 0.05)
    assert low <= (rest < 0.05).sum() <= high


def test_the_place_is_53_bits_of_the_keyed_hash():
    found = hashlib.blake2b(b"user-1", digest_size=32, key=KEY, person=b"place").digest()
    assert Router(KEY).place("user-1") == (int.from_bytes(found[:8], "big") // 2**11) / 2**53


def test_another_key_places_anew_and_a_users_name_in_the_telemetry_says_nothing(places):
    others = numpy.array([Router(b"x" * 32).place(user) for user in USERS[:20_000]])
    assert abs(numpy.corrcoef(others, places[:20_000])[0, 1]) < 0.03
    hashes = [Router(KEY).user_hash(user) for user in USERS[:20_000]]
    assert len(set(hashes)) == 20_000 and {len(h) for h in hashes} == {32}
    numbers = numpy.array([int(h[:13], 16) for h in hashes]) / 16**13
    assert abs(numpy.corrcoef(numbers, places[:20_000])[0, 1]) < 0.03
    assert hashes[0] == user_hash(KEY, USERS[0]) != user_hash(b"x" * 32, USERS[0])


def test_odd_names_are_names_and_no_name_is_refused():
    router = Router(KEY)
    odd = ["é", "e\u0301", "\ud800", " ", "a\x00b", "x" * 100_000, "0"]
    assert len({router.place(user) for user in odd}) == len(odd)
    for user in ("", None, 7, b"user"):
        with pytest.raises(BadSetting, match="A user id is a text"):
            router.place(user)


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65, "a text of 32 letters or perhaps so"])
def test_a_key_is_secret_bytes(key):
    with pytest.raises(BadSetting, match="16 to 64 secret bytes"):
        Router(key)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(BadSetting):
        Router(KEY).arm("user", share)
    with pytest.raises(BadSetting, match="holdout"):
        Router(KEY, holdout=share)
    with pytest.raises(BadSetting, match="holdout"):
        Router(KEY, holdout=1.0)


# Stages

HOUR = 3600.0


def test_the_usual_plan_goes_from_1_to_5_to_25_to_100():
    stages = Stages.load()
    shares, now = [0.0], 0.0
    while (found := stages.next_share(shares[-1], now, 10**9, now + 10**9, 0.0)).share is not None:
        shares.append(found.share)
    assert shares == [0.0, 0.01, 0.05, 0.25, 1.0]
    assert "no wider stage" in found.reason


@pytest.mark.parametrize(
    ("hours", "seen", "share", "told"),
    [
        (23.9, 10_000, None, "wait for 0.1 more hours of 24."),
        (24, 499, None, "wait for 1 more answers of 500."),
        (12, 100, None, "12 more hours of 24 and 400 more answers of 500"),
        (24, 500, 0.05, "On to 5 % of the users."),
    ],
)
def test_a_stage_is_left_when_both_its_time_and_its_number_are_over(hours, seen, share, told):
    found = Stages.load().next_share(0.01, 1000.0, seen, 1000.0 + hours * HOUR)
    assert found.share == share and told in found.reason


def test_the_first_stage_is_entered_at_once_and_a_share_between_two_goes_on_to_the_next():
    stages = Stages.load()
    assert stages.next_share(0.0, 0.0, 0, 0.0).share == 0.01
    assert stages.next_share(0.1, 0.0, 2000, 24 * HOUR).share == 0.25  # as after the 5 % before it
    assert stages.next_share(0.1, 0.0, 1999, 24 * HOUR).share is None
    assert stages.next_share(0.001, 0.0, 0, 0.0).share == 0.01


@pytest.mark.parametrize(
    ("upper", "share"),
    [(None, None), (float("nan"), None), (5.01, None), (5.0, 1.0), (-1.0, 1.0)],
)
def test_a_stage_may_ask_that_harm_is_ruled_out(upper, share):
    found = Stages.load().next_share(0.25, 0.0, 5000, 48 * HOUR, upper)
    assert found.share == share
    assert share or "wait for more than 5 points of harm to be ruled out" in found.reason


def test_a_plan_comes_from_a_file_or_a_dict(tmp_path):
    (tmp_path / "plan.yaml").write_text(USUAL)
    assert Stages.load(tmp_path / "plan.yaml") == Stages.load(str(tmp_path / "plan.yaml"))
    assert Stages.load(tmp_path / "plan.yaml") == Stages.load()
    short = Stages.load({"stages": [{"percent": 10}, {"percent": 100}]})
    assert [(s.share, s.hours, s.answers) for s in short.stages] == [(0.1, 0, 0), (1, 0, 0)]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"stages": []}, "The last stage must be `percent: 100`"),
        ({"stages": [{"percent": 50}]}, "The last stage must be"),
        ({"stages": [{"percent": 50}, {"percent": 5}, {"percent": 100}]}, "unlike 50, 5, 100"),
        ({"stages": [{"percent": 0}, {"percent": 100}]}, "Stage 1: percent must be a number above"),
        ({"stages": [{"percent": "1 %"}]}, "Stage 1: percent must be a number .* not '1 %'"),
        ({"stages": [{"percent": 101}]}, "at most 100, not 101"),
        ({"stages": [{"percent": float("nan")}]}, "not nan"),
        ({"stages": [{"percent": 1, "hours": -1}]}, "hours must be a number at least 0, not -1"),
        ({"stages": [{"percent": 1, "answers": 1.5}]}, "answers are counted"),
        ({"stages": [{"percent": 1, "answers": float("inf")}]}, "answers are counted"),
        ({"stages": [{"percent": 1, "minutes": 5}]}, "Stage 1 has `percent`, `hours`, `ans"),
        ({"stages": [{"percent": 1, "within": 101}]}, "within must be a number from 0 to 100"),
        ({"stages": [7]}, "unlike 7"),
        ({}, "A plan is a list of `stages:`"),
        ({"stages": "all"}, "A plan is a list"),
    ],
)
def test_a_wrong_plan_is_told_what_is_wrong(plan, told):
    with pytest.raises(BadSetting, match=told):
        Stages.load(plan)


def test_a_file_that_is_no_plan_is_told_so(tmp_path):
    (tmp_path / "broken.yaml").write_text("stages: [")
    (tmp_path / "list.yaml").write_text("- 1\n- 5\n")
    for name, told in (("broken", "no YAML"), ("list", "A plan is a list"), ("none", "be read")):
        with pytest.raises(BadSetting, match=told):
            Stages.load(tmp_path / f"{name}.yaml")
