"""Users who ask the real server: what they saw is what the telemetry tells."""

from __future__ import annotations

import socket

import pytest
from rollout_models import random_adapter, rolled_out

from helpers.evaluation import evaluate
from helpers.models import load_model
from helpers.rollout.eprocess import BadEvents
from helpers.rollout.router import Router
from helpers.rollout.serve import build, serving
from helpers.rollout.service import Limits
from helpers.rollout.simulate import Kind, Traffic
from helpers.rollout.users import COUNTS, questions, visit
from helpers.rollout.window import joined
from helpers.scope.brief import Brief
from helpers.scope.needs import EXAMPLE
from helpers.suites import Item, Suite

KEY = b"a key of 32 bytes for the tests."
TRAFFIC = Traffic.from_brief(Brief(EXAMPLE))
FACTS = Traffic((Kind("facts", 1.0, 0, 0),))


@pytest.fixture(scope="module")
def visited(tmp_path_factory):
    """Forty questions to a rollout whose candidate answers most of them wrongly."""
    top = tmp_path_factory.mktemp("visited")
    registry = rolled_out(top / "shop.db", None, random_adapter(top / "bad", 2), 0.5)
    service = build(registry.store.path, key=KEY)
    with serving(service) as url:
        visits = visit(url, TRAFFIC, 40, users=20, complains=0.6, seed=1)
    yield visits, service
    registry.close()


def test_everybody_is_answered_by_the_version_of_their_arm(visited):
    visits, _ = visited
    rows = visits.frame
    assert len(rows) == 40 and visits.failed.empty and (rows["tries"] == 1).all()
    router = Router(KEY)
    for user, version in zip(rows["user"], rows["version"], strict=True):
        assert version == ("v2" if router.arm(user, 0.5) == "candidate" else "(base)")
    assert set(rows["version"]) == {"v2", "(base)"}
    assert rows["id"].is_unique and (rows["seconds"] > 0).all()


def test_the_joined_telemetry_agrees_with_what_the_users_saw(visited):
    visits, service = visited
    seen = visits.frame.set_index("id").sort_index()
    told = joined(service.telemetry.answers(), service.telemetry.events())
    told = told.set_index("id").sort_index()
    assert told.index.tolist() == seen.index.tolist()
    assert told["version"].tolist() == seen["version"].tolist()
    assert told["harm"].tolist() == seen["reported"].tolist() and seen["reported"].any()
    assert (told["user"].groupby(seen["user"]).nunique() == 1).all()


def test_only_some_users_complain_and_those_always(visited):
    rows = visited[0].frame
    loud = {q.user for q in questions(TRAFFIC, 40, 20, complains=0.6, seed=1) if q.complains}
    assert 0 < len(loud) < rows["user"].nunique()
    assert (rows["reported"] == (~rows["right"] & rows["user"].isin(loud))).all()
    assert (~rows["right"] & ~rows["reported"]).any()  # harm that nobody hears of


def test_the_base_is_judged_as_the_suites_judge(visited):
    """Other code asks the same model the same prompts: `evaluate` with its own batches."""
    rows = visited[0].frame
    rows = rows[rows["version"] == "(base)"]
    items = [
        Item(str(n), row.category, "any", "any", row.asked, row.wanted)
        for n, row in enumerate(rows.itertuples())
    ]
    suites = [
        Suite(name, tuple(item for item in items if item.capability == name), "generate",
              COUNTS.get(name))
        for name in sorted(set(rows["category"]))
    ]  # fmt: skip
    found = evaluate(load_model(), suites)
    by_item = {r.item.id: r for results in found.results.values() for r in results}
    assert [by_item[item.id].correct for item in items] == rows["right"].tolist()
    assert rows["right"].mean() > 0.3  # the base cannot know the shop's policies
    assert rows[rows["category"] != "support"]["right"].mean() > 0.8


def test_it_is_told_in_a_few_lines(visited):
    text = repr(visited[0])
    assert "40 requests of" in text and "0 failed" in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["version", "(base)", "v2"]
    assert "<table>" in visited[0]._repr_html_()


def test_the_seed_settles_what_is_asked_and_by_whom():
    first, again = (questions(TRAFFIC, 200, seed=5) for _ in range(2))
    assert first == again and first != questions(TRAFFIC, 200, seed=6)
    assert first[:50] == questions(TRAFFIC, 50, seed=5)
    many = questions(TRAFFIC, 4000, seed=0)
    share = sum(q.example.capability == "support" for q in many) / 4000
    assert share == pytest.approx(0.95 * 0.5, abs=0.03)
    assert sum(q.complains for q in many) / 4000 == pytest.approx(0.5, abs=0.2)
    assert not any(q.complains for q in questions(TRAFFIC, 50, complains=0))
    assert all(q.judge(q.wanted) and not q.judge("Good morning!") for q in many[:200])


def test_a_full_server_is_asked_again_and_who_gives_up_is_counted(tmp_path):
    service = build(tmp_path / "shop.db", key=KEY, seats=1, waiting=1, limits=Limits(room=8))
    with serving(service) as url:
        hurried = visit(url, FACTS, 24, clients=8, patience=0)
        patient = visit(url, FACTS, 12, clients=4, patience=60)
    assert len(hurried.frame) == 24 and set(hurried.frame["status"]) == {200, 429}
    lost = hurried.failed
    assert lost["answer"].isna().all() and not lost["right"].any() and not lost["reported"].any()
    assert f"{len(lost)} failed ({len(lost)} with 429)" in repr(hurried)
    assert patient.failed.empty and (patient.frame["tries"] > 1).any()
    answered = len(patient.frame) + len(hurried.frame) - len(lost)
    assert len(service.telemetry.answers()) == answered


def test_a_server_that_is_away_or_locked_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = visit(f"http://127.0.0.1:{port}/v1", FACTS, 3, patience=0.3)
    assert nobody.frame["status"].tolist() == [0, 0, 0] and (nobody.frame["tries"] > 1).all()
    assert "3 with no connection" in repr(nobody)
    with serving(build(tmp_path / "shop.db", key=KEY, api_key="sesame")) as url:
        locked = visit(url, FACTS, 2)
        let_in = visit(url, FACTS, 2, api_key="sesame")
    assert locked.frame[["status", "tries"]].to_numpy().tolist() == [[401, 1]] * 2
    assert let_in.failed.empty


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"count": 0}, "a question"),
        ({"users": 0}, "a user"),
        ({"complains": 1.5}, "complains"),
        ({"clients": 0}, "client"),
        ({"patience": -1}, "patience"),
        ({"traffic": Traffic((Kind("stories", 1.0, 0, 0),))}, "'stories'"),
        ({"traffic": Traffic((Kind("cooking", 1.0, 0, 0),))}, "'cooking'"),
    ],
)
def test_what_users_cannot_do_is_named(changes, told):
    with pytest.raises(BadEvents, match=told):
        visit(**{"url": "http://127.0.0.1:1/v1", "traffic": FACTS, "count": 1, **changes})
