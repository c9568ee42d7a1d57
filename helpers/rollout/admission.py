"""Reading an audit report that is to let a version pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NotAdmitted

if TYPE_CHECKING:
    from ..audit import AuditReport


def text_of(report: AuditReport | Mapping[str, Any] | str | Path) -> str:
    """A report as JSON text, whether it comes as an object, as a dict or in a file.

    Raises:
        NotAdmitted: the file cannot be read.
    """
    if isinstance(report, Mapping):
        return json.dumps(report, ensure_ascii=False, sort_keys=True)
    if isinstance(report, (str, Path)):
        try:
            return Path(report).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotAdmitted(f"The report {report} cannot be read: {error}.") from error
    from ..audit.reports import as_json  # scipy, which a server that only rolls back never needs

    return as_json(report)


def check(text: str, version: str, base: str, adapter: str | None) -> None:
    """Refuse a report that does not say SHIP about these weights.

    That the report says SHIP is not enough: its rows must bear it out.

    Args:
        text: the report as JSON.
        base, adapter: digests of the version's folders.

    Raises:
        NotAdmitted: the message says why, and what to do.
    """
    try:
        report = json.loads(text)
        decision, rows = report["decision"], report["rows"]
        weights = report.get("weights") or {}
        held = [row["name"] for row in rows if row["gating"] and row["verdict"] != "PASS"]
        gating = any(row["gating"] for row in rows)
        named = weights.get("base"), weights.get("adapter")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotAdmitted(
            f"{version}: this is no audit report as JSON ({error!r}). Write one with "
            "`audit.save(report, 'report.json')`."
        ) from error
    if decision != "SHIP":
        raise NotAdmitted(f"{version}: the audit says {decision}, not SHIP. It stays outside.")
    if held or not gating:
        told = f"but {', '.join(held)} did not pass" if held else "but nothing in it had to pass"
        raise NotAdmitted(f"{version}: the report says SHIP, {told}. Audit again.")
    if not named[0]:
        raise NotAdmitted(
            f"{version}: the report does not say which weights it is about. Save the model, "
            "evaluate it as `load_model(folder)` gives it, and audit that."
        )
    if named != (base, adapter):
        part, own, other = next(
            (part, own, other)
            for part, own, other in zip(("base", "adapter"), (base, adapter), named, strict=True)
            if own != other
        )
        raise NotAdmitted(
            f"{version}: the report is about another {part}, {_short(other)} instead of "
            f"{_short(own)}. Audit the very files that are to be served."
        )


def _short(digest: object) -> str:
    return str(digest)[:12] if digest else "none"
