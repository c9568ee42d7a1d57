"""Loading suites, and the errors for files that are not as they should be."""

from __future__ import annotations

import json

import pytest

from helpers.jsonl import read_lines
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import NAMES, BadItems, Item, UnknownCapability, load_suites, read_items

LINE = {"id": "a", "capability": "facts", "family": "f", "format": "qa", "prompt": "?"}
GOOD = {**LINE, "answer": "yes", "choices": ["no", "yes"]}


def test_every_suite_has_700_items_and_250_for_a_quick_look():
    assert [len(suite) for suite in load_suites(size=700)] == [700] * len(NAMES)
    facts, support = load_suites(["facts", "support"])
    assert (len(facts), facts.name, support.name) == (250, "facts", "support")
    assert load_suites("facts", size=700)[0].items[:250] == facts.items
    assert load_suites("stories", size=1)[0].kind == "text"


def test_an_unknown_capability_is_named_and_the_known_are_listed():
    with pytest.raises(UnknownCapability, match=r"'cooking'\. Known: facts, arithmetic, .*support"):
        load_suites(["facts", "cooking"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no items"),
        ([GOOD, "{"], "line 2"),
        ([GOOD, LINE], "line 2.*answer"),
        ([{**GOOD, "colour": "red"}], "line 1.*colour"),
        ([{**GOOD, "choices": ["no", "maybe"]}], "line 1: the answer is not among the choices"),
        ([GOOD, GOOD], "1 item ids occur more than once"),
        (["[1]"], "line 1"),
        ([{**GOOD, "answer": 5, "choices": []}], "line 1: prompt and answer must be text"),
        ([{**GOOD, "answer": "yes ", "choices": []}], "line 1: an answer is one line"),
        ([{**GOOD, "answer": "yes\nno", "choices": []}], "line 1: an answer is one line"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(tmp_path, lines, message):
    path = tmp_path / "items.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts))
    with pytest.raises(BadItems, match=rf"items\.jsonl.*{message}"):
        read_items(path)


def test_another_encoding_is_told_and_a_mark_at_the_beginning_is_not_minded(tmp_path):
    path = tmp_path / "items.jsonl"
    text = json.dumps({**GOOD, "prompt": "Où ?"}, ensure_ascii=False)
    for encoding in ("cp1252", "utf-16"):
        path.write_text(text, encoding=encoding)
        with pytest.raises(BadItems, match=r"items\.jsonl is not UTF-8.*Save it as UTF-8"):
            read_items(path)
    path.write_text(text, encoding="utf-8-sig")
    assert read_items(path)[0].prompt == "Où ?"


@pytest.mark.parametrize("size", [0, -1])
def test_no_items_cannot_be_asked_for(size):
    with pytest.raises(ValueError, match="1 to 700"):
        load_suites("facts", size=size)


def test_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text(f"\n{json.dumps(GOOD)}\n\n")
    (item,) = read_items(path)
    assert item.choices == ("no", "yes") and item.answer == "yes"


def test_line_separators_inside_a_text_do_not_break_its_line(tmp_path):
    """A text may hold U+2028 or U+0085, which Python's `splitlines` takes for line ends."""
    text = "one\u2028two\u0085three"
    item = Item("a", "facts", "f", "bare", text, "yes")
    snapshot = Snapshot({"facts": [ItemResult(item, text, True, 0.5, 1)]}).save(tmp_path)
    assert Snapshot.load(snapshot).results["facts"][0].output == text
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [record["text"] for _, record in read_lines(path)] == [text]
