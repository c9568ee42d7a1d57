"""An audit report as Markdown, JSON and JUnit XML; `page` makes the HTML."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from .gate import AuditReport, Row
from .page import as_page
from .words import AGAIN, DECISIONS, flipped, interval, p_value, shares, shown, why


def save(report: AuditReport, path: str | Path) -> Path:
    """Write a report in the form that the file's ending names.

    Raises:
        ValueError: the ending is none of .md, .html, .json and .xml.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"A report can be {', '.join(WRITERS)}, not {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(WRITERS[path.suffix](report), encoding="utf-8")
    return path


def as_markdown(report: AuditReport) -> str:
    """For a pull request: the decision, a table, and the flips folded away."""
    lines = [f"# Regression audit: {report.decision}", ""]
    lines += [f"`{report.after}` against `{report.before}`: {DECISIONS[report.decision]}", ""]
    lines += [
        "| category | items | before | after | drop (interval) | margin | verdict | why |",
        "|---|--:|--:|--:|--:|--:|---|---|",
    ]
    for row in report.rows:
        cells = [row.category.name, str(row.items), f"{row.before:.1f}", f"{row.after:.1f}"]
        margin = "" if row.category.margin is None else f"{row.category.margin:g}"
        cells += [interval(row), margin, shown(row), why(row)]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    lines += ["", shares(report)]
    if any(row.needed for row in report.rows):
        lines += ["", AGAIN]
    if report.regressed:
        names = ", ".join(
            f"{row.category.name} ({p_value(row.p_regressed)})" for row in report.regressed
        )
        told = "Certain to have dropped at all, by however little (after Holm's correction for"
        lines += ["", f"{told} several categories): {names}."]
    for row in report.rows:
        lines += [f"\n> **{row.category.name}:** {note}." for note in row.notes]
        if row.lost_examples or row.gained_examples:
            lines += ["", *_folded(row)]
    return "\n".join(lines) + "\n"


def _folded(row: Row) -> list[str]:
    lines = [
        f"<details><summary>{row.category.name}: {flipped(row)}</summary>",
        "",
    ]
    turns = ("Turned wrong", "Turned right") if row.binary else ("Scored lower", "Scored higher")
    for flips, turned in zip((row.lost_examples, row.gained_examples), turns, strict=True):
        for flip in flips:
            told = f"{flip.prompt}\nexpected: {flip.target}\nbefore:   {flip.before}\n"
            told = f"{told}after:    {flip.after}".replace("```", "'''")  # would end the block
            lines += [f"{turned}:", "", "```text", told, "```", ""]
    return [*lines, "</details>"]


def as_json(report: AuditReport) -> str:
    """Everything, for other programs; what is infinite becomes null."""
    rows = [
        {
            **{key: _finite(value) for key, value in asdict(row).items() if key != "category"},
            "name": row.category.name,
            "category": asdict(row.category),
            "gating": row.gating,
        }
        for row in report.rows
    ]
    head = {
        "decision": report.decision,
        "exit_code": report.exit_code,
        "alpha": report.alpha,
        "looks": report.looks,
        "candidates": report.candidates,
        "level": report.level,
        "before": report.before,
        "after": report.after,
        "weights": dict(report.weights),
        "regressed": [row.category.name for row in report.regressed],
    }
    return json.dumps({**head, "rows": rows}, indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_junit(report: AuditReport) -> str:
    """One test case a category, for the page where a build server shows its tests.

    What cannot be told fails too, with a type of its own: a gate that passes silently is none.
    """
    failing = [row for row in report.rows if row.gating and row.verdict != "PASS"]
    suite = ElementTree.Element(
        "testsuite", name="regression audit", tests=str(len(report.rows)),
        failures=str(len(failing)), errors="0", skipped="0",
    )  # fmt: skip
    for row in report.rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"audit.{row.category.layer}", name=row.category.name
        )
        told = f"{row.before:.1f} to {row.after:.1f}, drop {interval(row)}. {why(row)}"
        if row in failing:
            kind = row.verdict.lower().replace(" ", "-")
            ElementTree.SubElement(case, "failure", type=kind, message=_printable(told))
        else:
            ElementTree.SubElement(case, "system-out").text = _printable(f"{shown(row)}: {told}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Without control characters, which XML forbids."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


WRITERS: dict[str, Callable[[AuditReport], str]] = {
    ".md": as_markdown,
    ".html": as_page,
    ".json": as_json,
    ".xml": as_junit,
}
