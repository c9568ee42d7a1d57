"""The registry: what may become of a version, by its methods and by raw SQL, and the journal."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest
from rollout_files import (
    ALLOWED,
    STATES,
    replay,
    ship,
    standings_by_tables,
    write_adapter,
    write_base,
)
from safetensors import SafetensorError, safe_open

from helpers.audit.__main__ import main
from helpers.audit.capability_map import Category
from helpers.audit.gate import AuditReport, Row
from helpers.audit.reports import save
from helpers.evaluation import evaluate
from helpers.fingerprint import file_digests, folder_digest
from helpers.models import load_model
from helpers.paths import DATA
from helpers.rollout import store
from helpers.rollout.errors import BadSetting, BadStore
from helpers.rollout.journal import Standing, fold
from helpers.rollout.registry import (
    Busy,
    Damaged,
    NotAdmitted,
    NotAllowed,
    NotStored,
    Registry,
    RolloutError,
    TooEarly,
    UnknownVersion,
)
from helpers.snapshots import Snapshot
from helpers.suites import load_suites

DAY = 86400.0


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(tmp_path, clock):
    made = Registry(tmp_path / "store.db", clock=clock)
    yield made
    made.close()


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


def new(registry, name, base, adapter=True):
    folder = base.parent / f"adapter-{name}"
    made = write_adapter(folder, seed=len(name) + ord(name[-1])) if adapter else None
    return registry.register(name, base, made)


def staged(registry, name, base, share=0.05):
    version = new(registry, name, base)
    registry.admit(name, ship(version))
    return registry.stage(name, share)


def live(registry, name, base):
    staged(registry, name, base)
    return registry.go_live(name)


def raw(registry):
    """A connection of somebody who knows nothing of our settings, such as the sqlite3 shell."""
    return closing(sqlite3.connect(registry.store.path, isolation_level=None))


# The life of a version


def test_a_version_from_its_registration_to_its_end(registry, base, clock):
    clock.now = 1000.0
    version = new(registry, "v1", base)
    assert version.state == "registered" and version.share == 0 and version.since == 1000
    assert version.adapter_digest == folder_digest(file_digests(version.adapter))
    assert registry.state() == (registry.state().__class__(None, None, 0.0, 0.0))
    assert registry.admit("v1", ship(version)).state == "admitted"
    clock.now = 2000.0
    assert registry.stage("v1", 0.01).share == 0.01
    clock.now = 3000.0
    registry.widen("v1", 0.25)
    state = registry.state()
    assert (state.live, state.candidate.name, state.share, state.since) == (None, "v1", 0.25, 3000)
    clock.now = 4000.0
    registry.go_live("v1")
    live(registry, "v2", base)
    state = registry.state()
    assert (state.live.name, state.candidate, state.share, state.since) == ("v2", None, 0, 4000)
    assert registry.version("v1").state == "standby"
    clock.now += 31 * DAY
    assert registry.retire("v1", "nobody went back").state == "retired"
    assert [v.name for v in registry.versions()] == ["v1", "v2"]
    assert registry.report("v1")["decision"] == "SHIP" and registry.version("v1").report
    actions = [line.action for line in registry.journal() if line.version == "v1"]
    assert actions == ["register", "admit", "stage", "widen", "go live", "go live", "retire"]


def test_the_journal_as_a_table(registry, base):
    staged(registry, "v1", base)
    frame = registry.journal_frame()
    assert list(frame.index) == [1, 2, 3] and frame["share"].iloc[-1] == 0.05
    assert str(frame["time"].iloc[0]) == "2027-01-15 08:00:00+00:00"
    assert list(Registry(base.parent / "empty.db").journal_frame().columns) == list(frame.columns)


def test_a_candidate_that_is_rolled_back_leaves_the_live_version_where_it_was(registry, base):
    live(registry, "v1", base)
    before = registry.version("v1")
    staged(registry, "v2", base)
    done = registry.rollback("harm")
    assert (done.rolled_back, done.live, done.reason, done.damage) == ("v2", "v1", "harm", "")
    assert done.checked == 4 and 0 < done.seconds < 5
    state = registry.state()
    assert state.live == before and state.candidate is None and state.share == 0
    assert registry.journal()[-1].reason == "harm" and len(registry.journal()) == 8


def test_a_live_version_that_is_rolled_back_gives_way_to_the_one_before(registry, base):
    for name in ("v1", "v2", "v3"):  # all at one time: the order of the journal decides
        live(registry, name, base)
    assert registry.rollback("harm").live == "v2"
    assert registry.state().live.name == "v2"
    assert registry.rollback("still").live == "v1"
    done = registry.rollback("and still")
    assert done.live is None and "v1 rolled back, the base answers everybody" in repr(done)
    assert registry.state().live is None
    with pytest.raises(NotAllowed, match="nothing to roll back"):
        registry.rollback("once more")


def test_a_rollback_that_is_overtaken_looks_again(registry, base, monkeypatch):
    """While it reads the files of the version to go back to, somebody puts a candidate up."""
    live(registry, "v1", base)
    live(registry, "v2", base)
    version = new(registry, "v3", base)
    registry.admit("v3", ship(version))
    other, verify, asked = Registry(registry.store.path), registry.verify, []

    def overtaken(name):
        asked.append(name)
        if len(asked) == 1:
            other.stage("v3", 0.05)
        return verify(name)

    monkeypatch.setattr(registry, "verify", overtaken)
    done = registry.rollback("harm")
    assert (done.rolled_back, done.live, asked) == ("v3", "v2", ["v1", "v2"])
    assert registry.state().live.name == "v2" and registry.version("v3").state == "rolled back"
    other.close()


def test_a_candidate_is_gone_before_large_files_are_read(registry, base, monkeypatch):
    live(registry, "v1", base)
    staged(registry, "v2", base)
    verify, found = registry.verify, []

    def slow(name):
        found.append((name, registry.version("v2").state))
        return verify(name)

    monkeypatch.setattr(registry, "verify", slow)
    assert registry.rollback("harm").checked > 0
    assert found == [("v1", "rolled back")]


def test_after_a_rollback_another_report_is_asked_for(registry, base):
    version = staged(registry, "v1", base)
    registry.rollback("harm")
    with pytest.raises(NotAdmitted, match="has let v1 pass before"):
        registry.admit("v1", ship(version))
    assert registry.version("v1").state == "rolled back"
    registry.admit("v1", ship(version, after="with the gap on the map"))
    assert registry.stage("v1", 0.01).state == "staged"


# What is refused


ACTS = {
    "admit": lambda r, v: r.admit("v", ship(v, after=v.state)),
    "stage": lambda r, v: r.stage("v", 0.1),
    "widen": lambda r, v: r.widen("v", 0.2),
    "go live": lambda r, v: r.go_live("v"),
    "retire": lambda r, v: r.retire("v"),
}


def brought_to(state, registry, base, clock):
    """A version "v" in a state, and perhaps others."""
    path = {
        "registered": (), "admitted": ("admit",), "staged": ("admit", "stage"),
        "live": ("admit", "stage", "go live"), "standby": ("admit", "stage", "go live"),
        "rolled back": ("admit", "stage", "roll back"), "retired": ("retire",),
    }[state]  # fmt: skip
    version = new(registry, "v", base)
    for action in path:
        registry.rollback("") if action == "roll back" else ACTS[action](registry, version)
    if state == "standby":
        live(registry, "next", base)
    clock.now += 31 * DAY
    assert registry.version("v").state == state
    return registry.version("v")


@pytest.mark.parametrize("state", STATES[1:])
def test_every_method_in_every_state(registry, base, clock, state):
    version = brought_to(state, registry, base, clock)
    for action, act in ACTS.items():
        lines = registry.journal()
        if any(start == state for start, _ in ALLOWED[action] - {("live", "standby")}):
            continue  # what is allowed is tested above
        with pytest.raises(NotAllowed, match=f"v is {state}: one cannot {action} it"):
            act(registry, version)
        assert registry.journal() == lines and registry.version("v") == version


@pytest.mark.parametrize("state", STATES[1:])
def test_by_raw_sql_the_store_itself_refuses_what_the_table_does_not_allow(
    registry, base, clock, state
):
    version = brought_to(state, registry, base, clock)
    accepted = set()
    with raw(registry) as db:
        for action, start, end in itertools.product([*ALLOWED, "anything"], STATES, STATES):
            db.execute("BEGIN")
            if state == "standby":  # nobody else is live, so that this is not what is refused
                say(db, "roll back", "next", "live", "rolled back", clock.now)
            report = None
            if end == "admitted":
                report = "f" * 64
                db.execute(
                    "INSERT INTO reports VALUES ('v', ?, 'SHIP', ?, ?, '{}')",
                    (report, version.base_digest, version.adapter_digest),
                )
            try:
                say(db, action, "v", start, end, clock.now, report)
                accepted.add((action, start, end))
            except sqlite3.IntegrityError as error:
                assert start != state or "not allowed" in str(error)
            db.execute("ROLLBACK")
    assert accepted == {(a, *pair) for a in ALLOWED for pair in ALLOWED[a] if pair[0] == state}


def say(db, action, version, start, end, time, report=None):
    """A line of the journal that is right in everything but, perhaps, the transition."""
    share = {"live": 1.0, "staged": 0.5}.get(end, 0.0)
    db.execute(
        "INSERT INTO journal (time, action, version, from_state, to_state, share, reason, report) "
        "VALUES (?, ?, ?, ?, ?, ?, '', ?)",
        (time, action, version, start, end, share, report),
    )


ATTACKS = (
    "UPDATE journal SET reason = 'it was somebody else'",
    "UPDATE OR REPLACE journal SET number = 1 WHERE number = 2",
    "DELETE FROM journal",
    "DELETE FROM journal WHERE number = (SELECT max(number) FROM journal)",
    "INSERT OR REPLACE INTO journal (number, time, action, version, from_state, to_state, share, "
    "reason) VALUES ({number}, 0, 'roll back', 'v2', 'staged', 'rolled back', 0, '')",
    "INSERT INTO journal (number, time, action, version, from_state, to_state, share, reason) "
    "VALUES (99, 0, 'roll back', 'v2', 'staged', 'rolled back', 0, '')",
    "INSERT INTO journal (number, time, action, version, from_state, to_state, share, reason) "
    "VALUES (-5, 0, 'roll back', 'v2', 'staged', 'rolled back', 0, '')",
    "INSERT INTO journal (time, action, version, from_state, to_state, share, reason) "
    "VALUES (0, 'go live', 'v2', 'staged', 'live', 1, '')",  # v1 is live
    "INSERT INTO journal (time, action, version, from_state, to_state, share, reason) "
    "VALUES (0, 'widen', 'v2', 'staged', 'staged', 0.04, '')",
    "INSERT INTO journal (time, action, version, from_state, to_state, share, reason) "
    "VALUES (0, 'widen', 'v2', 'staged', 'staged', 1.5, '')",
    "INSERT INTO journal (time, action, version, from_state, to_state, share, reason) "
    "VALUES (0, 'register', 'ghost', 'new', 'registered', 0, '')",
    "INSERT INTO journal (time, action, version, from_state, to_state, share, reason) "
    "VALUES (0, 'admit', 'v3', 'registered', 'admitted', 0, '')",  # without a report
    "INSERT INTO journal (time, action, version, from_state, to_state, share, reason, report) "
    "SELECT 0, 'admit', 'v3', 'registered', 'admitted', 0, '', digest FROM reports LIMIT 1",
    "UPDATE versions SET state = 'live' WHERE name = 'v3'",
    "UPDATE versions SET share = 0.5 WHERE name = 'v2'",
    "UPDATE versions SET kept_until = 5 WHERE name = 'v2'",
    "UPDATE versions SET adapter = '/tmp/mine' WHERE name = 'v1'",
    "UPDATE versions SET base_digest = 'mine' WHERE name = 'v1'",
    "DELETE FROM versions WHERE name = 'v3'",
    "INSERT INTO versions (name, base, base_digest, note, state) "
    "VALUES ('x', '', '', '', 'admitted')",
    "INSERT OR REPLACE INTO versions (name, base, base_digest, note) VALUES ('v1', '', '', '')",
    "UPDATE files SET digest = '" + "0" * 64 + "'",
    "DELETE FROM files",
    "INSERT INTO files VALUES ('v1', 'adapter', 'more.safetensors', '" + "0" * 64 + "')",
    "INSERT OR REPLACE INTO files SELECT version, part, name, '" + "0" * 64 + "' FROM files",
    "UPDATE reports SET text = '{{}}'",
    "DELETE FROM reports",
    "INSERT OR REPLACE INTO reports SELECT version, digest, decision, base_digest, "
    "adapter_digest, '{{}}' FROM reports",
    "INSERT INTO reports VALUES ('v3', '" + "a" * 64 + "', 'BLOCK', '', '', '{{}}')",
    "INSERT INTO transitions VALUES ('go live', 'registered', 'live')",
    "UPDATE transitions SET from_state = 'registered' WHERE to_state = 'live'",
    "DELETE FROM transitions",
)


def test_by_raw_sql_nothing_that_was_written_can_be_rewritten(registry, base):
    live(registry, "v1", base)
    staged(registry, "v2", base)
    new(registry, "v3", base)
    kept = dump(registry)
    with raw(registry) as db:
        for attack in ATTACKS:
            for number in (1, len(registry.journal())):
                with pytest.raises(sqlite3.IntegrityError):
                    db.execute(attack.format(number=number))
                assert dump(registry) == kept, attack


def dump(registry):
    tables = ("transitions", "versions", "files", "reports", "journal")
    return [registry.store.read(f"SELECT * FROM {table}") for table in tables]


def test_a_report_of_other_weights_admits_by_raw_sql_neither(registry, base):
    new(registry, "v1", base)
    with raw(registry) as db:
        db.execute("INSERT INTO reports VALUES ('v1', ?, 'SHIP', 'x', 'y', '{}')", ("a" * 64,))
        with pytest.raises(sqlite3.IntegrityError, match="not admitted"):
            say(db, "admit", "v1", "registered", "admitted", 0, "a" * 64)


def test_a_report_that_was_used_admits_by_raw_sql_no_second_time(registry, base):
    version = staged(registry, "v1", base)
    registry.rollback("harm")
    used = registry.version("v1").report
    with raw(registry) as db, pytest.raises(sqlite3.IntegrityError, match="the same report"):
        say(db, "admit", "v1", "rolled back", "admitted", 0, used)
    assert registry.admit("v1", ship(version, after="another")).state == "admitted"


def test_two_versions_are_never_staged_or_live_at_once(registry, base):
    staged(registry, "v1", base)
    version = new(registry, "v2", base)
    registry.admit("v2", ship(version))
    with pytest.raises(NotAllowed, match="v1 is staged, and users are compared with one candidate"):
        registry.stage("v2", 0.01)
    registry.go_live("v1")
    registry.stage("v2", 0.01)
    assert registry.state().live.name == "v1" and registry.state().candidate.name == "v2"


@pytest.mark.parametrize("share", [0.05, 0.01])
def test_a_share_only_grows(registry, base, share):
    staged(registry, "v1", base, 0.05)
    with pytest.raises(NotAllowed, match=r"v1 has a share of 0.05 already, and a share only grows"):
        registry.widen("v1", share)


@pytest.mark.parametrize("share", [0, -1, 1.01, 5, float("nan")])
def test_a_share_is_a_share(registry, base, share):
    version = new(registry, "v1", base)
    registry.admit("v1", ship(version))
    with pytest.raises(BadSetting, match="above 0 and at most 1"):
        registry.stage("v1", share)


@pytest.mark.parametrize("name", ["", "../v1", "/etc/passwd", "a b", "v" * 65, "-v", "v\n", "é"])
def test_a_name_is_no_path(registry, base, name):
    with pytest.raises(BadSetting, match="no name for a version"):
        registry.register(name, base)


def test_a_name_is_used_once_and_unknown_ones_are_told(registry, base):
    new(registry, "v1", base)
    with pytest.raises(NotAllowed, match="There is a version 'v1' already"):
        new(registry, "v1", base)
    for act in (registry.version, registry.go_live, registry.verify, registry.retire):
        with pytest.raises(UnknownVersion, match=r"no version 'v9'\. Registered: v1"):
            act("v9")


# Reports


def report_of(version, decision="SHIP"):
    verdict = {"SHIP": "PASS", "BLOCK": "BLOCK", "INCONCLUSIVE": "INCONCLUSIVE"}[decision]
    row = Row(Category("facts", "facts", margin=3), "exact_match", 700, 95.0, 94.0, 1.0, -1.0, 2.0,
              verdict, "")  # fmt: skip
    weights = {"base": version.base_digest, "adapter": version.adapter_digest}
    return AuditReport((row,), 0.05, "base", "tuned", weights=weights)


def test_a_report_may_be_an_object_a_dict_or_a_file(registry, base, tmp_path):
    for name, form in (("a", "object"), ("b", "dict"), ("c", "file"), ("d", "name of a file")):
        version = new(registry, name, base)
        report = report_of(version)
        path = save(report, tmp_path / f"{name}.json")
        given = {"object": report, "dict": json.loads(path.read_text()), "file": path}
        registry.admit(name, given.get(form, str(path)))
        assert registry.version(name).state == "admitted"
        assert registry.report(name)["weights"]["adapter"] == version.adapter_digest


@pytest.mark.parametrize("decision", ["BLOCK", "INCONCLUSIVE"])
def test_only_ship_admits(registry, base, decision):
    version = new(registry, "v1", base)
    with pytest.raises(NotAdmitted, match=f"the audit says {decision}"):
        registry.admit("v1", report_of(version, decision))
    assert registry.version("v1").state == "registered"


BLOCKED = [{"name": "facts", "gating": True, "verdict": "BLOCK"}]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rows": BLOCKED}, "says SHIP, but facts did not pass"),
        ({"rows": []}, "nothing in it had to pass"),
        ({"weights": {}}, "does not say which weights"),
        ({"weights": None}, "does not say which weights"),
        ({"weights": {"base": "0" * 64}}, "another base, 000000000000 instead of"),
        ({"weights": ["base"]}, "no audit report"),
        ({"rows": None}, "no audit report"),
    ],
)
def test_a_report_that_does_not_bear_out_its_verdict_is_refused(registry, base, changes, why):
    version = new(registry, "v1", base)
    with pytest.raises(NotAdmitted, match=why):
        registry.admit("v1", ship(version, **changes))


def test_a_report_of_another_adapter_or_of_the_base_alone_is_refused(registry, base):
    one, other = new(registry, "v1", base), new(registry, "v2", base)
    plain = new(registry, "plain", base, adapter=False)
    with pytest.raises(NotAdmitted, match=r"v1: the report is about another adapter, \w{12} inst"):
        registry.admit("v1", ship(other))
    with pytest.raises(NotAdmitted, match="another adapter, none instead of"):
        registry.admit("v1", ship(plain))
    with pytest.raises(NotAdmitted, match=r"another adapter, \w{12} instead of none"):
        registry.admit("plain", ship(one))
    assert registry.admit("plain", ship(plain)).state == "admitted"


def test_what_is_no_report_is_refused(registry, base, tmp_path):
    new(registry, "v1", base)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for given in (broken, tmp_path / "nothing.json", {}, {"decision": "SHIP"}):
        with pytest.raises(NotAdmitted):
            registry.admit("v1", given)


def test_an_evaluation_says_which_files_it_was_made_of(tiny_folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    suites = load_suites("facts", size=3)
    model = load_model(tiny_folder)
    base = folder_digest(file_digests(tiny_folder))
    assert evaluate(model, suites).weights == {"base": base}
    adapted = get_peft_model(model, LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    adapted.tokenizer = model.tokenizer
    assert evaluate(adapted, suites).weights == {}  # it is in no file yet
    adapted.save_pretrained(tmp_path / "adapter")
    read = load_model(tmp_path / "adapter")
    snapshot = evaluate(read, suites)
    adapter = folder_digest(file_digests(tmp_path / "adapter"))
    assert snapshot.weights == {"base": base, "adapter": adapter}
    assert Snapshot.load(snapshot.save(tmp_path / "run")).weights == snapshot.weights
    # The audit passes it on, and names it where lm-eval's results cannot.
    run, report = str(tmp_path / "run"), tmp_path / "report.json"
    (tmp_path / "map.yaml").write_text(
        "version: 1\ncategories:\n  facts: {task: pocket_facts, margin: 3}\n"
    )
    command = [run, run, "--map", str(tmp_path / "map.yaml"), "--report", str(report)]
    main(command)
    assert json.loads(report.read_text())["weights"] == snapshot.weights
    main([*command, "--weights", str(tiny_folder)])
    assert json.loads(report.read_text())["weights"] == {"base": base}
    with pytest.raises(SystemExit, match="64"):
        main([*command, "--weights", "a", "b", "c"])
    next(read.parameters()).data[0, 0] += 1
    assert evaluate(read, suites).weights == {}  # it is no longer what is in the files


# Files


def test_digests_do_not_depend_on_what_else_lies_in_the_folder(registry, base):
    version = new(registry, "v1", base)
    (base / "README.md").write_text("about it")
    (base / "results_1.json").write_text("{}")
    assert registry.verify("v1") == 4
    assert registry.digests("v1")["adapter"] == file_digests(version.adapter)
    lines = "".join(
        subprocess.run(["sha256sum", name], cwd=version.adapter, capture_output=True, text=True,
                       check=True).stdout
        for name in ("adapter_config.json", "adapter_model.safetensors")
    ) if shutil.which("sha256sum") else None  # fmt: skip
    if lines:
        import hashlib

        assert version.adapter_digest == hashlib.sha256(lines.encode()).hexdigest()


def flip_a_bit(folder):
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "one bit": flip_a_bit,
    "another scale": lambda f: (f / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 8}'),
    "cut off": lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x10"),
    "missing": lambda f: (f / "adapter_model.safetensors").unlink(),
    "one more": lambda f: (f / "more.safetensors").write_bytes(b""),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_rollback_to_a_damaged_version_is_refused_and_the_live_one_goes_on(
    registry, base, damage
):
    live(registry, "v1", base)
    live(registry, "v2", base)
    kept, journal = registry.state(), registry.journal()
    folder = base.parent / "adapter-v1"
    copied = shutil.copytree(folder, base.parent / "copy")
    DAMAGES[damage](folder)
    with pytest.raises(Damaged, match=r"v1: .*adapter-v1.*Put back the files"):
        registry.rollback("harm")
    assert registry.state() == kept and registry.journal() == journal
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(copied, folder)
    assert registry.rollback("harm").live == "v1"


def test_a_damaged_candidate_is_neither_staged_nor_does_it_go_live(registry, base):
    version = new(registry, "v1", base)
    registry.admit("v1", ship(version))
    flip_a_bit(base.parent / "adapter-v1")
    with pytest.raises(Damaged):
        registry.stage("v1", 0.1)
    flip_a_bit(base.parent / "adapter-v1")
    registry.stage("v1", 0.1)
    flip_a_bit(base.parent / "adapter-v1")
    with pytest.raises(Damaged):
        registry.go_live("v1")
    assert registry.version("v1").state == "staged"


def test_a_candidate_is_taken_back_even_when_the_files_below_the_live_version_are_damaged(
    registry, base
):
    """It answers from memory: to leave the users with the candidate would help nobody."""
    live(registry, "v1", base)
    staged(registry, "v2", base)
    flip_a_bit(base.parent / "adapter-v1")
    done = registry.rollback("harm")
    assert registry.state().candidate is None and done.live == "v1"
    assert "adapter-v1" in done.damage and "MEND BEFORE A RESTART" in repr(done)


def test_a_folder_without_whole_safetensors_is_not_registered(registry, base, tmp_path):
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (pickled / "config.json").write_text("{}")
    with pytest.raises(Damaged, match="no weights in safetensors"):
        registry.register("v1", base, pickled)
    folder = write_adapter(tmp_path / "cut")
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    broken = (
        whole[:-1],
        whole + b"x",
        whole[: 8 + header],
        whole[: header // 2],
        whole[:5],
        b"",
        b"\xff" * 8 + whole[8:],
        whole[:8] + b"[" + whole[9:],
        b"PK\x03\x04" + whole,
    )
    for data in broken:  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(SafetensorError), safe_open(path, framework="numpy"):
            pytest.fail("the package itself takes it")
        with pytest.raises(Damaged, match=r"no safetensors file|not as long as"):
            registry.register("v1", base, folder)
    with pytest.raises(Damaged, match="There is no folder"):
        registry.register("v1", tmp_path / "nowhere")
    assert registry.versions() == [] and registry.journal() == []


# Retention


def test_a_way_back_is_kept_for_its_time_and_it_is_said_until_when(registry, base, clock):
    live(registry, "v1", base)
    live(registry, "v2", base)
    clock.now += 30 * DAY - 1
    with pytest.raises(TooEarly, match="kept as a way back until 2027-02-14 08:00:00 UTC"):
        registry.retire("v1")
    assert registry.rollback("on the last day").live == "v1"
    clock.now += 31 * DAY
    with pytest.raises(NotAllowed, match="v1 is live: one cannot retire it"):
        registry.retire("v1")
    assert registry.retire("v2").state == "retired"


def test_a_shorter_retention_does_not_shorten_what_was_promised(registry, base, clock, tmp_path):
    live(registry, "v1", base)
    live(registry, "v2", base)
    hasty = Registry(tmp_path / "store.db", retention=timedelta(0), clock=clock)
    with pytest.raises(TooEarly):
        hasty.retire("v1")
    assert hasty.rollback("harm").rolled_back == "v2"
    assert hasty.retire("v2").state == "retired"  # promised by the hasty one
    hasty.close()


def test_by_raw_sql_the_store_itself_waits(registry, base, clock):
    live(registry, "v1", base)
    live(registry, "v2", base)
    with raw(registry) as db, pytest.raises(sqlite3.IntegrityError, match="too early"):
        say(db, "retire", "v1", "standby", "retired", clock.now + 29 * DAY)


# The journal's fold


def test_an_empty_journal_folds_to_nothing():
    assert fold([]) == {} and Standing().state == "new"


@pytest.mark.parametrize("seed", range(3))
def test_after_every_step_of_a_random_life_the_tables_are_the_journals_fold(
    registry, base, clock, seed
):
    rng = random.Random(seed)
    for step in range(200):
        clock.now += rng.uniform(0, 12 * DAY)
        version = rng.choice(registry.versions()[-3:] or [new(registry, "first", base)])
        fitting = [a for a in ALLOWED if any(start == version.state for start, _ in ALLOWED[a])]
        action = rng.choice(fitting if fitting and rng.random() < 0.7 else [*ALLOWED])
        if action == "retire" and rng.random() < 0.8:
            continue  # else hardly a version would live to see the others
        try:
            match action:
                case "register":
                    new(registry, f"v{step}", base)
                case "admit":
                    registry.admit(version.name, ship(version, after=step))
                case "stage":
                    registry.stage(version.name, rng.random())
                case "widen":
                    registry.widen(version.name, rng.random())
                case "go live":
                    registry.go_live(version.name)
                case "roll back":
                    registry.rollback("random")
                case "retire":
                    registry.retire(version.name)
        except RolloutError:
            pass
        lines = registry.journal()
        folded = {n: (s.state, s.share, s.since, s.kept_until) for n, s in fold(lines).items()}
        assert folded == standings_by_tables(registry) == replay(lines)
    done = {(line.action, line.from_state, line.to_state) for line in lines}
    assert len(done) >= 10  # of the 14 that there are: a life that goes nowhere shows nothing


# The store


def test_only_one_server_holds_a_store_and_a_registry_may_work_beside_it(registry, base):
    path = registry.store.path
    with store.hold(path):
        with pytest.raises(Busy, match="Another server answers from"), store.hold(path):
            pytest.fail("two servers")
        new(registry, "v1", base)
        other = subprocess.run(
            [sys.executable, "-c", "import sys; from helpers.rollout import store, errors\n"
             "try:\n    store.hold(sys.argv[1]).__enter__()\n"
             "except errors.Busy:\n    sys.exit(7)", str(path)], cwd=DATA.parent,
        )  # fmt: skip
        assert other.returncode == 7
    with store.hold(path):
        pass


def test_a_writer_that_does_not_end_is_named_and_nothing_is_lost(registry, base, tmp_path):
    new(registry, "v1", base)
    lines = registry.journal()
    registry.store.connection.execute("PRAGMA busy_timeout = 50")
    with raw(registry) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="keeps writing"):
            new(registry, "v2", base)
        assert registry.journal() == lines  # readers do not wait
        db.execute("ROLLBACK")
    assert new(registry, "v2", base).state == "registered"


def test_what_is_no_store_is_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, but long enough to have a header " * 20)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE theirs (x)")
    newer = tmp_path / "newer.db"
    Registry(newer).close()
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    for path, why in ((text, "no store"), (other, "something else"), (newer, "layout 99")):
        before = path.read_bytes()
        with pytest.raises(BadStore, match=why):
            Registry(path)
        assert path.read_bytes() == before
    with pytest.raises(BadStore, match="no folder"):
        Registry(tmp_path / "nowhere" / "store.db")
    with pytest.raises(BadStore):
        Registry(tmp_path)


def test_a_full_disk_is_named_and_nothing_is_lost(registry, base):
    live(registry, "v1", base)
    version = new(registry, "v2", base)
    kept = dump(registry)
    (pages,) = registry.store.read("PRAGMA page_count")[0]
    registry.store.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotStored, match=r"could not be written \(database or disk is full\)"):
        registry.admit("v2", ship(version, padding="x" * 100_000))
    assert dump(registry) == kept
    registry.store.read(f"PRAGMA max_page_count = {pages + 100}")
    assert registry.admit("v2", ship(version, padding="x" * 100_000)).state == "admitted"


def test_nothing_heavy_is_imported():
    """A rollback must not wait for torch; nor may each of hundreds of kill tests."""
    code = (
        "import sys\n"
        "from helpers.rollout import journal, plan, redact, registry, router, store, telemetry\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=DATA.parent, capture_output=True)
    assert ran.returncode == 0, ran.stderr


def test_a_person_can_read_who_answers_and_how_it_came_to_that(registry, base, clock):
    assert repr(registry.journal()) == "The journal has no line yet."
    live(registry, "v1", base)
    assert repr(registry.state()) == "v1 answers everybody"
    staged(registry, "v2", base)
    assert repr(registry.state()) == "v2 answers 5 % of the users, v1 the rest"
    assert repr(registry.version("v2")).startswith("v2: staged at 5 % since 15 Jan 08:00:00, files")
    registry.rollback("harm <b>beyond</b> the margin")
    told = repr(registry.journal()).splitlines()
    assert len(told) == 1 + len(registry.journal()) == 9
    assert "staged → rolled back" in told[-1] and told[-1].endswith("the margin")
    assert "&lt;b&gt;" in registry.journal()._repr_html_()
    assert repr(registry.state()) == "v1 answers everybody"
