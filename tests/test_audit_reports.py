"""The audit's reports: what they say, in four forms, and that nothing breaks them."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from helpers.audit.capability_map import Category
from helpers.audit.gate import AuditReport, Flip, Row
from helpers.audit.reports import save

NASTY = "<script>alert(1)</script> | `x` ``` & \x07 é"


def row(name, verdict="PASS", drop=1.0, **options):
    fields = {field.name for field in dataclasses.fields(Category)}
    category = {"margin": 3, **{key: v for key, v in options.items() if key in fields}}
    rest = {key: v for key, v in options.items() if key not in fields}
    made = {
        "metric": "exact_match", "items": 700, "before": 95.0, "after": 95.0 - drop, "drop": drop,
        "low": drop - 2, "high": drop + 2, "verdict": verdict, "reason": f"because of {name}",
    }  # fmt: skip
    return Row(Category(name, name, **category), **{**made, **rest})


FLIP = Flip("What is 2 + 2?", "4", "4", NASTY)
REPORT = AuditReport(
    rows=(
        row("facts"),
        row("sums", "BLOCK", drop=20.0, p_regressed=1e-6, lost=150, gained=10,
            lost_examples=(FLIP,), notes=("40 % of the answers are cut off",)),
        row("lists", "INCONCLUSIVE", drop=2.0, needed=(640, 1234)),
        row("stories", "BLOCK", drop=9.0, severity="warn"),
        row("extra", "WATCHED", drop=-80.0, role="watch", margin=None),
        row("dark", "NOT MEASURABLE", low=-float("inf"), high=float("inf"), adjusted=(1.0, -2.0)),
    ),
    alpha=0.05, before="base <1>", after="tuned & co",
)  # fmt: skip


@pytest.fixture(params=[".md", ".html", ".json", ".xml"])
def written(request, tmp_path):
    return save(REPORT, tmp_path / "new" / f"report{request.param}").read_text(encoding="utf-8")


def test_every_form_has_the_decision_and_every_category(written):
    assert "BLOCK" in written.upper() and "1,234" in written.replace("1234", "1,234")
    for name in ("facts", "sums", "lists", "stories", "extra", "dark"):
        assert name in written


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.md, \.html, \.json, \.xml, not 'report\.pdf'"):
        save(REPORT, tmp_path / "report.pdf")


def test_the_json_has_everything_and_is_strict(tmp_path):
    found = json.loads(
        save(REPORT, tmp_path / "r.json").read_text(encoding="utf-8"),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert found["decision"] == "BLOCK" and found["exit_code"] == 1
    sums, dark = found["rows"][1], found["rows"][5]
    assert sums["name"] == "sums" and sums["verdict"] == "BLOCK" and sums["gating"]
    assert sums["lost_examples"][0]["after"] == NASTY and sums["category"]["margin"] == 3
    assert dark["low"] is dark["high"] is None and found["regressed"] == ["sums"]


def test_in_junit_whatever_gates_and_does_not_pass_fails(tmp_path):
    root = ElementTree.parse(save(REPORT, tmp_path / "r.xml")).getroot()
    (suite,) = root
    assert suite.get("tests") == "6" and suite.get("failures") == "3"
    failed = {case.get("name"): case.find("failure") for case in suite}
    kinds = {name: found.get("type") for name, found in failed.items() if found is not None}
    assert kinds == {"sums": "block", "lists": "inconclusive", "dark": "not-measurable"}
    assert "because of sums" in failed["sums"].get("message")
    told = {case.get("name"): case.findtext("system-out") for case in suite}
    assert told["stories"].startswith("BLOCK (warns only)")


def test_the_markdown_table_keeps_its_columns(tmp_path):
    text = save(REPORT, tmp_path / "r.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(REPORT.rows) and {line.count(" | ") for line in rows} == {7}
    assert "20.0 (18.0 to 22.0)" in rows[2] and "BLOCK (warns only)" in rows[4]
    assert "by however little (after Holm's correction for several categories): sums" in text
    assert "From 640 to 1,234 items would settle it" in text and "raises the chance" in text
    assert text.count("```") % 2 == 0 and "150 answers turned wrong, 10 right" in text


class Tags(HTMLParser):
    """Checks that tags are closed in order, and gathers what a reader sees."""

    VOID = ("br", "meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.found = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_shows_what_models_wrote_as_text(tmp_path):
    text = save(REPORT, tmp_path / "r.html").read_text(encoding="utf-8")
    page = Tags(text)
    assert "script" not in [tag for tag, _ in page.found]
    assert "<script>alert(1)</script>" in page.text and "tuned & co" in page.text
    assert "40 % of the answers are cut off" in page.text


def test_the_page_opens_offline(tmp_path):
    text = save(REPORT, tmp_path / "r.html").read_text(encoding="utf-8")
    for _, attributes in Tags(text).found:
        assert "href" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?:", text)


def test_every_drawing_has_words_and_stays_inside_its_frame(tmp_path):
    page = Tags(save(REPORT, tmp_path / "r.html").read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.found if tag == "img"]
    assert len(images) == 6
    assert images[1]["alt"] == "drop 20.0 points, interval 18.0 to 22.0, margin 3"
    for image in images:
        drawing = base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,"))
        for line in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}line"):
            assert all(0 <= float(line.get(key)) <= 200 for key in ("x1", "x2"))


def test_verdicts_are_told_apart_without_colour(tmp_path):
    page = Tags(save(REPORT, tmp_path / "r.html").read_text(encoding="utf-8"))
    for sign in ("✓ PASS", "✗ BLOCK", "? INCONCLUSIVE", "– NOT MEASURABLE", "· WATCHED"):
        assert sign in page.text


def test_in_a_notebook_the_report_is_the_page_without_its_head():
    fragment = REPORT._repr_html_()
    assert "<html" not in fragment and 'class="audit"' in fragment
    assert repr(REPORT).startswith("BLOCK: tuned & co against base <1>")


def test_a_report_says_how_alpha_was_shared(tmp_path):
    shared = dataclasses.replace(REPORT, looks=2, candidates=4)
    for ending in (".md", ".html"):
        one, many = (
            save(report, tmp_path / f"r{ending}").read_text(encoding="utf-8")
            for report in (REPORT, shared)
        )
        assert "holds with 95 %." in one
        assert "99.4 %: alpha, 5 %, is shared by 2 looks at 4 candidates" in many
    assert json.loads(save(shared, tmp_path / "r.json").read_text("utf-8"))["level"] == 0.00625
