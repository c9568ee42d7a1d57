"""Telemetry: what is stored of an answer, and what is not, not even in the log beside the store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pandas
import pytest

from helpers.paths import DATA
from helpers.rollout.errors import BadSetting, Busy, NotStored, UnknownAnswer
from helpers.rollout.redact import redact
from helpers.rollout.router import user_hash
from helpers.rollout.telemetry import AnswerRow, Telemetry

KEY = b"0123456789abcdef" * 2
ROW = AnswerRow(
    id="a1", time=1000.0, user="alice", version="v1", arm="candidate", share=0.05,
    category="facts", prompt_tokens=9, answer_tokens=3, latency=0.2, refused=False, truncated=True,
    prompt="What is the capital of France?", answer="Paris",
)  # fmt: skip


@pytest.fixture
def telemetry(tmp_path):
    made = Telemetry(tmp_path / "store.db", KEY, clock=lambda: 5000.0)
    yield made
    made.close()


@pytest.fixture
def keeping(tmp_path):
    made = Telemetry(tmp_path / "texts.db", KEY, timedelta(hours=1), clock=lambda: 5000.0)
    yield made
    made.close()


# Answers and feedback


def test_an_answer_is_stored_once_with_all_that_is_known_of_it(telemetry):
    assert telemetry.record(ROW) == 1
    assert telemetry.record(ROW) == 0
    assert telemetry.record(ROW, replace(ROW, id="a2"), replace(ROW, id="a3")) == 2
    frame = telemetry.answers()
    assert list(frame["id"]) == ["a1", "a2", "a3"]
    found = frame.iloc[0].to_dict()
    assert found.pop("user") == user_hash(KEY, "alice")
    assert pandas.isna(found.pop("prompt")) and pandas.isna(found.pop("answer"))
    assert found == {name: getattr(ROW, name) for name in found}
    assert frame["truncated"].dtype == bool


def test_an_answer_to_nobody_in_particular_is_outside_the_comparison(telemetry):
    telemetry.record(replace(ROW, user=None, arm="direct", share=0.0))
    frame = telemetry.answers()
    assert frame["user"].isna().all() and list(frame["arm"]) == ["direct"]


def test_without_answers_the_frames_have_their_columns(telemetry):
    assert telemetry.answers().empty and "latency" in telemetry.answers().columns
    assert telemetry.events().empty and "harm" in telemetry.events().columns


def test_the_first_word_on_an_answer_counts_and_comes_with_what_is_known_of_it(telemetry):
    telemetry.record(ROW, replace(ROW, id="a2", user="bob", arm="control"))
    assert telemetry.feedback("a2", False, time=2000.0)
    assert telemetry.feedback("a1", True)
    assert not telemetry.feedback("a1", True)
    assert not telemetry.feedback("a1", False)
    events = telemetry.events()
    assert list(events["id"]) == ["a2", "a1"] and list(events["harm"]) == [False, True]
    assert list(events["time"]) == [2000.0, 5000.0] and list(events["answered"]) == [1000.0] * 2
    assert list(events["arm"]) == ["control", "candidate"] and set(events["share"]) == {0.05}
    assert list(telemetry.events(after=int(events["number"].iloc[0]))["id"]) == ["a1"]


def test_feedback_on_an_unknown_answer_is_told_so(telemetry):
    with pytest.raises(UnknownAnswer, match="no answer 'a9'"):
        telemetry.feedback("a9", True)
    assert telemetry.events().empty


@pytest.mark.parametrize(
    "change",
    [{"arm": "treatment"}, {"share": 2.0}, {"refused": 7}, {"version": None}, {"time": None}],
)
def test_a_row_that_cannot_be_is_refused_and_none_of_its_call_is_stored(telemetry, change):
    with pytest.raises(BadSetting, match="The store refuses this row"):
        telemetry.record(ROW, replace(ROW, id="a2", **change))
    assert telemetry.answers().empty


def test_a_key_is_needed_at_once_and_texts_are_kept_for_some_time(tmp_path):
    with pytest.raises(BadSetting, match="16 to 64 secret bytes"):
        Telemetry(tmp_path / "store.db", b"short")
    with pytest.raises(BadSetting, match="kept for some time"):
        Telemetry(tmp_path / "store.db", KEY, timedelta(0))
    assert not (tmp_path / "store.db").exists()


def test_many_threads_and_two_processes_write_and_no_row_is_lost(telemetry):
    """A server's threads share one `Telemetry`; a second connection stands for another process."""
    other = Telemetry(telemetry.store.path, KEY)

    def write(to, name):
        for number in range(20):
            to.record(replace(ROW, id=f"{name}-{number}"))
            to.feedback(f"{name}-{number}", number % 2 == 0)

    threads = [threading.Thread(target=write, args=(one, f"t{number}"))
               for number, one in enumerate([telemetry, telemetry, telemetry, other])]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert telemetry.answers()["id"].nunique() == len(telemetry.answers()) == 80
    events = telemetry.events()
    assert len(events) == 80 and events["harm"].sum() == 40
    assert events["number"].is_monotonic_increasing


def test_an_export_has_all_answers_and_their_feedback(telemetry, tmp_path):
    telemetry.record(ROW, replace(ROW, id="a2"), replace(ROW, id="a3"))
    telemetry.feedback("a1", True)
    telemetry.feedback("a2", False)
    path = telemetry.export(tmp_path / "answers.parquet")
    frame = pandas.read_parquet(path)
    assert list(frame["id"]) == ["a1", "a2", "a3"] and list(frame["latency"]) == [0.2] * 3
    assert frame["harm"].iloc[:2].tolist() == [True, False] and frame["harm"].isna().iloc[2]
    with pytest.raises(BadSetting, match=r"to a \.parquet file, not to 'answers\.csv'"):
        telemetry.export(tmp_path / "answers.csv")


# Texts


PRIVATE = {
    "<email>": ("alice@example.org", "a.b+c@mail.example.co.uk", "<bob@x.de>", "mailto:z@y.io",
                "o'neil@example.org", "ünal@müller.de", "x@localhost"),
    "<card>": ("4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005",
               "4111111111111111", "6011.0009.9013.9424"),
    "<number>": ("0171 2345678", "+49 30 1234-567", "(555) 123-4567", "030/12 34 56 78",
                 "1234567", "98765", "+1.415.555.2671", "12–34–56–78",
                 "٠١٢٣٤٥٦٧"),
    "<account>": ("DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819",
                  "FR14 2004 1010 0505 0001 3M02 606", "NO93 8601 1117 947"),
    "<key>": ("sk-proj-Zq8vT1xW0rLmB4nYc7Kd", "AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c8",
              "9f86d081884c7d659a2feaa0c55ad015"),
}  # fmt: skip


@pytest.mark.parametrize(("sign", "text"), [(k, t) for k, texts in PRIVATE.items() for t in texts])
def test_what_tells_who_somebody_is_goes(sign, text):
    told = redact(f"Please write to {text}, or call before 7.")
    assert sign in told and told.startswith("Please write to ") and told.endswith("call before 7.")
    digits = [letter for letter in text if letter.isdigit()]
    assert not any(text[i : i + 5] in told for i in range(len(text) - 5)) or not digits
    assert "@" not in told


@pytest.mark.parametrize(
    "text",
    ["17 + 34 = 51", "4 x 5 = 20. 20 + 17 = 37. The answer is 37.", "76, 54, 39", "order 3124",
     "1. Put it in. 2. Close it.", "within 28 days", "I am @home", "12:30 to 14:45", "3,50 dollars",
     "at 5 pm @ the store", "WXYZ", "internationalisation", "state-of-the-art-things", "",
     "ORDER NO12 WITH MORE WORDS IN IT", "AT 12 THE SHOP"],
)  # fmt: skip
def test_sums_lists_and_prices_stay(text):
    assert redact(text) == text


def test_the_id_of_whom_a_text_is_from_goes_too(keeping):
    text = "mallory here. Is mallory's name malloryx?"
    keeping.record(replace(ROW, user="mallory", prompt=text))
    assert keeping.answers()["prompt"].tolist() == ["<user> here. Is <user>'s name malloryx?"]
    keeping.feedback(ROW.id, True, "I, mallory, am not bob.")
    assert keeping.events()["note"].tolist() == ["I, <user>, am not bob."]


def test_redaction_takes_no_longer_for_texts_made_to_slow_it_down():
    started = time.perf_counter()
    for text in ("a" * 200_000, "1" * 200_000, "1 " * 100_000, "@" * 200_000, "a@" * 100_000,
                 "(" * 100_000 + "1", "1" + "(" * 200_000, "AB12" * 50_000, "AB12 " * 40_000,
                 "AB12 CD" + "E" * 200_000):  # fmt: skip
        redact(text)
    assert time.perf_counter() - started < 2


def test_texts_are_kept_only_when_asked_for_and_redacted(telemetry, keeping):
    row = replace(ROW, prompt="I am alice@example.org, 48 + 46?", answer="Call 0171 2345678: 94")
    for one in (telemetry, keeping):
        one.record(row)
        one.feedback("a1", True, "she wrote from alice@example.org")
    without, kept = telemetry.answers().iloc[0], keeping.answers().iloc[0]
    assert pandas.isna(without["prompt"]) and pandas.isna(without["answer"])
    assert telemetry.events()["note"].isna().all()
    assert kept["prompt"] == "I am <email>, 48 + 46?" and kept["answer"] == "Call <number>: 94"
    assert keeping.events()["note"].iloc[0] == "she wrote from <email>"


def test_texts_go_when_their_time_is_over_and_the_numbers_stay(keeping):
    keeping.record(ROW, replace(ROW, id="a2", time=3000.0))
    keeping.feedback("a1", True, "a telling note")
    assert keeping.expire(1000.0 + 3599) == 0
    assert keeping.expire(1000.0 + 3600) == 1
    frame = keeping.answers()
    assert frame["prompt"].isna().tolist() == [True, False]
    assert frame["prompt"].iloc[1] == ROW.prompt and list(frame["latency"]) == [0.2, 0.2]
    assert keeping.events()["note"].isna().all() and keeping.events()["harm"].all()
    assert b"telling note" not in everything(keeping)
    assert keeping.expire() == 0  # the clock says 5000
    keeping.feedback("a1", True, "a late note")
    assert keeping.expire(10_000.0) == 1 and b"Paris" not in everything(keeping)


def test_how_long_a_text_is_kept_was_settled_when_it_was_stored(keeping):
    keeping.record(ROW)
    longer = Telemetry(keeping.store.path, KEY, timedelta(days=1000))
    assert longer.expire(1000.0 + 3601) == 1
    longer.close()


# Privacy, byte by byte


def everything(telemetry, *more):
    """All bytes on the disk: the store, its log and index, and whatever lies beside them."""
    folder = telemetry.store.path.parent
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


PLANTED = ("carol@example.com", "+49 171 5550123", "5500 0055 5555 5559", "5500005555555559",
           "1715550123", "dave-the-user")  # fmt: skip


def test_planted_addresses_and_numbers_are_in_no_byte_on_the_disk(keeping, tmp_path):
    """Of users, prompts, answers and notes; in the store, its log, and an export."""
    for number in range(60):
        secret = PLANTED[number % 5]
        keeping.record(
            replace(ROW, id=f"a{number}", user=f"{secret} {PLANTED[5]}",
                    prompt=f"My account {secret}, what is the capital of France?",
                    answer=f"Dear ({secret}): Paris. Again: {secret}!")
        )  # fmt: skip
        keeping.feedback(f"a{number}", number % 2 == 0, f"from {secret}")
    exported = keeping.export(tmp_path / "answers.parquet")
    plain = pandas.read_parquet(exported)
    plain.to_csv(tmp_path / "plain.csv")  # Parquet is compressed: this is what is in it
    disk = everything(keeping)
    assert b"capital of France" in disk and b"<email>" in disk  # the search finds what is there
    assert (tmp_path / "texts.db-wal").stat().st_size > 0
    for secret in PLANTED:
        assert secret.encode() not in disk
    assert b"carol" not in disk and b"5550123" not in disk and b"5559" not in disk


def test_the_key_is_not_in_the_store(keeping):
    keeping.record(ROW)
    assert KEY not in everything(keeping) and KEY[:8] not in everything(keeping)


def test_who_is_forgotten_is_in_no_byte_of_the_store_or_its_log(keeping):
    for number in range(40):
        user, text = ("alice", "a word of Alice") if number % 2 else ("bob", "a word of Bob")
        keeping.record(replace(ROW, id=f"{user}-{number}", user=user, prompt=text * 50))
        keeping.feedback(f"{user}-{number}", True, f"a note on {user.title()}")
    hashed = user_hash(KEY, "alice").encode()
    assert hashed in everything(keeping) and b"word of Alice" in everything(keeping)
    assert keeping.forget("alice") == 20
    assert keeping.forget("alice") == 0
    disk = everything(keeping)
    for trace in (hashed, b"word of Alice", b"note on Alice", b"alice-1"):
        assert trace not in disk
    assert b"word of Bob" in disk and b"note on Bob" in disk
    assert len(keeping.answers()) == len(keeping.events()) == 20
    with pytest.raises(UnknownAnswer):
        keeping.feedback("alice-1", True)


def test_a_reader_that_keeps_the_log_is_told_of(keeping):
    keeping.record(ROW, replace(ROW, id="b", user="bob"))
    keeping.store.connection.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(keeping.store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM answers").fetchall()
        with pytest.raises(Busy, match="traces of them are still in it"):
            keeping.forget("alice")
        assert list(keeping.answers()["id"]) == ["b"]
        reader.execute("COMMIT")
    assert keeping.forget("alice") == 0
    assert user_hash(KEY, "alice").encode() not in everything(keeping)


# Full disks


def test_a_full_store_is_named_and_loses_nothing(telemetry):
    pages = telemetry.store.read("PRAGMA page_count")[0][0]
    telemetry.store.read(f"PRAGMA max_page_count = {pages + 6}")
    stored = 0
    with pytest.raises(NotStored, match="Make room on the disk"):
        for stored in range(10_000):
            telemetry.record(replace(ROW, id=f"a{stored}"))
    assert len(telemetry.answers()) == stored > 50
    with pytest.raises(NotStored):
        telemetry.record(*(replace(ROW, id=f"b{number}") for number in range(100)))
    assert len(telemetry.answers()) == stored
    telemetry.store.read("PRAGMA max_page_count = 1000")
    assert telemetry.record(replace(ROW, id="b")) == 1


FILL = """
import resource, sys
from dataclasses import replace
from helpers.rollout.errors import NotStored
from helpers.rollout.telemetry import AnswerRow, Telemetry

telemetry = Telemetry(sys.argv[1], b"k" * 32)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
row = AnswerRow("", 0.0, "u", "v1", "control", 0.0, "facts", 1, 1, 0.1, False, False)
stored = 0
try:
    while True:
        telemetry.record(replace(row, id=f"a{stored}"))
        stored += 1
except NotStored as error:
    print(stored, error)
try:
    telemetry.feedback("a0", True)
except NotStored:
    print("feedback neither")
print(len(telemetry.store.read("SELECT 1 FROM answers")))
"""


def test_a_disk_that_takes_no_more_bytes_is_named_and_loses_nothing(tmp_path):
    """The operating system itself refuses: no file may grow beyond 300,000 bytes."""
    pytest.importorskip("resource", reason="Windows has no such limits")
    ran = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "store.db")], cwd=DATA.parent, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    first, *rest = ran.stdout.splitlines()
    stored = int(first.split()[0])
    assert stored > 10 and "could not be written" in first
    assert int(rest[-1]) == stored
    telemetry = Telemetry(tmp_path / "store.db", KEY)
    assert list(telemetry.answers()["id"]) == [f"a{number}" for number in range(stored)]
    assert telemetry.record(ROW) == 0 and telemetry.record(replace(ROW, id="new")) == 1
    telemetry.close()
