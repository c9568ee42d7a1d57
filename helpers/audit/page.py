"""An audit report as one HTML file that opens offline, prints, and fits a narrow window."""

from __future__ import annotations

import base64
import html
import math

from .. import tables
from .gate import AuditReport, Flip, Row
from .words import AGAIN, DECISIONS, flipped, interval, p_value, shares, shown, why

#: Each verdict has a sign and a word besides its colour.
SIGNS = {
    "PASS": ("&#10003;", "#00694D"),
    "SHIP": ("&#10003;", "#00694D"),
    "BLOCK": ("&#10007;", "#B34700"),
    "INCONCLUSIVE": ("?", "#0064A0"),
    "NOT MEASURABLE": ("&ndash;", "#5A5A5A"),
    "WATCHED": ("&middot;", "#5A5A5A"),
}

STYLE = """
.audit { font: 16px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; }
.audit h1 { font-size: 1.5em; margin: 0 0 .3em; }
.audit table { border-collapse: collapse; width: 100%; margin: 1em 0; table-layout: auto; }
.audit th, .audit td { text-align: left; vertical-align: top; padding: .45em .6em;
  border-bottom: 1px solid #d5d5d5; }
.audit td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.audit thead th:nth-child(n+2):nth-child(-n+5) { text-align: right !important; }
.audit .verdict { font-weight: 600; white-space: nowrap; }
.audit td.why { min-width: 14em; }
.audit img { display: block; min-width: 100px; }
.audit details { margin: .4em 0; } .audit summary { cursor: pointer; }
.audit pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4;
  padding: .6em; margin: .4em 0; font-family: monospace !important; font-size: .85em; }
.audit .note { border-left: 4px solid #B34700; padding-left: .6em; margin: .4em 0; }
.audit .small { color: #4a4a4a; font-size: .9em; }
@media screen and (max-width: 46em) {
  .audit thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip: rect(0 0 0 0); }
  .audit tr { display: block; border-bottom: 2px solid #888; padding: .4em 0; }
  .audit tbody th, .audit td, .audit td.number { display: block; border: 0; padding: .1em .2em;
    text-align: left !important; }
  .audit td[data-label]::before { content: attr(data-label) ": "; color: #4a4a4a; }
}
@media print {
  .audit { font-size: 8.5pt; } .audit th, .audit td { padding: .3em .4em; }
  .audit td.why { min-width: 11em; } .audit img { width: 110px; height: auto; }
  .audit tr, .audit pre { break-inside: avoid; }
  .audit thead { display: table-header-group; }
}
"""
HEADS = ("category", "items", "before", "after", "drop", "0, margin and interval", "verdict", "why")


def as_page(report: AuditReport) -> str:
    """The whole page."""
    title = f"Regression audit: {report.decision}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>body {{ margin: 1.5em auto; max-width: 76em; "
        f"padding: 0 1em; }}</style></head>\n<body>{as_fragment(report)}</body></html>\n"
    )


def as_fragment(report: AuditReport) -> str:
    """The report as a piece of HTML, for a notebook."""
    sign, colour = SIGNS[report.decision]
    reach = _reach(report)
    rows = "\n".join(_row(row, reach) for row in report.rows)
    regressed = ""
    if report.regressed:
        names = ", ".join(
            f"{html.escape(row.category.name)} ({html.escape(p_value(row.p_regressed))})"
            for row in report.regressed
        )
        regressed = (
            "<p>Certain to have dropped at all, by however little (after Holm&rsquo;s correction "
            f"for several categories): {names}.</p>"
        )
    notes = "".join(
        f'<p class="note"><b>{html.escape(row.category.name)}:</b> {html.escape(note)}.</p>'
        for row in report.rows
        for note in row.notes
    )
    flips = "".join(_flips(row) for row in report.rows)
    again = f" {AGAIN}" if any(row.needed for row in report.rows) else ""
    return (
        f'<style>{STYLE}</style>\n<div class="audit">'
        f'<h1 style="color:{colour}">{sign} {report.decision}</h1>'
        f"<p>{html.escape(report.after)} against {html.escape(report.before)}: "
        f"{DECISIONS[report.decision]}</p>\n"
        f"<table>{tables.head(HEADS)}<tbody>\n{rows}\n</tbody></table>\n"
        f'<p class="small">{shares(report)} A category passes when its whole interval lies left '
        f"of the margin.{again}</p>\n{regressed}{notes}{flips}</div>"
    )


def _row(row: Row, reach: tuple[float, float]) -> str:
    sign, colour = SIGNS[row.verdict]
    guess = ""
    if row.adjusted:
        guess = f" Above guessing: {row.adjusted[0]:.0f} to {row.adjusted[1]:.0f} %."
    cells = [
        ("items", f"{row.items:,}", "number"),
        ("before", f"{row.before:.1f}", "number"),
        ("after", f"{row.after:.1f}", "number"),
        ("drop", html.escape(interval(row)), "number"),
    ]
    # Aligned cell by cell: notebooks drop style sheets and align every cell to the right.
    told = "".join(
        f'<td class="{kind}" data-label="{label}" style="text-align:right">{text}</td>'
        for label, text, kind in cells
    )
    left = 'style="text-align:left"'
    return (
        f'<tr><th scope="row" {left}>{html.escape(row.category.name)}'
        f'<br><span class="small">{row.category.role}</span></th>{told}'
        f"<td>{_drawing(row, reach)}</td>"
        f'<td class="verdict" style="text-align:left;color:{colour}">{sign} {shown(row)}</td>'
        f'<td class="why" {left}>{html.escape(why(row) + guess)}</td></tr>'
    )


def _reach(report: AuditReport) -> tuple[float, float]:
    """The range of points that all drawings share."""
    ends = [end for row in report.rows for end in (row.low, row.high) if math.isfinite(end)]
    ends += [row.category.margin for row in report.rows if row.category.margin]
    # A target that gains eighty points must not squeeze everything else.
    ends = [end for end in ends if end >= -30]
    low, high = min([-2.0, *ends]), max([5.0, *ends])
    room = (high - low) * 0.04
    return low - room, high + room


def _drawing(row: Row, reach: tuple[float, float]) -> str:
    """Zero, the margin, and the drop with its interval, on a line."""
    low, high = reach

    def across(points: float) -> float:
        return round(200 * (min(max(points, low), high) - low) / (high - low), 1)

    colour = SIGNS[row.verdict][1]
    margin = row.category.margin
    words = f"drop {row.drop:.1f} points, interval {row.low:.1f} to {row.high:.1f}"
    words += f", margin {margin:g}" if margin is not None else ""
    limit = "" if margin is None else (
        f'<line x1="{across(margin)}" x2="{across(margin)}" y1="2" y2="34" stroke="#1a1a1a" '
        'stroke-width="1.6" stroke-dasharray="4 3"/>'
    )  # fmt: skip
    # As an image, because notebooks that are not trusted show images and strip drawings.
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 36" width="200" height="36">'
        f'<line x1="{across(0)}" x2="{across(0)}" y1="2" y2="34" stroke="#9a9a9a"/>{limit}'
        f'<line x1="{across(row.low)}" x2="{across(row.high)}" y1="18" y2="18" stroke="{colour}" '
        f'stroke-width="4"/><rect x="{across(row.drop) - 3}" y="10" width="6" height="16" '
        f'fill="{colour}"/></svg>'
    )
    data = base64.b64encode(drawing.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{words}" width="200" height="36">'


def _flips(row: Row) -> str:
    if not row.lost_examples and not row.gained_examples:
        return ""
    turns = ("Turned wrong", "Turned right") if row.binary else ("Scored lower", "Scored higher")
    parts = [_flip(flip, turns[0]) for flip in row.lost_examples]
    parts += [_flip(flip, turns[1]) for flip in row.gained_examples]
    name = html.escape(row.category.name)
    return f"<details><summary>{name}: {flipped(row)}</summary>{''.join(parts)}</details>"


def _flip(flip: Flip, turned: str) -> str:
    lines = [flip.prompt, f"expected: {flip.target}", f"before: {flip.before}"]
    text = "\n".join([*lines, f"after: {flip.after}"])
    return f"<p>{turned}:</p><pre>{html.escape(text)}</pre>"
