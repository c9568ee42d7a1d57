"""Compare two runs from the command line: `python -m helpers.audit BEFORE AFTER --map MAP`.

Exit codes: 0 ship, 1 block, 2 inconclusive, 3 not comparable, 64 a wrong call or a broken file.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import NoReturn

from ..fingerprint import file_digests, folder_digest
from .capability_map import BadMap, CapabilityMap, example_map
from .gate import NotComparable, apart, audit
from .planning import plan
from .reports import WRITERS, save
from .results import BadResults, read_results

NOT_COMPARABLE, MISUSE = 3, 64


class Parser(argparse.ArgumentParser):
    """argparse ends a wrong call with 2, which is "inconclusive" here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(MISUSE, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Parser(
        prog="python -m helpers.audit",
        description="Did the model after lose more than the map allows?",
        epilog="Exit codes: 0 ship, 1 block, 2 inconclusive, 3 not comparable, 64 wrong call.",
    )
    parser.add_argument("before", nargs="?", type=Path, help="results folder of the base")
    parser.add_argument("after", nargs="?", type=Path, help="results folder of the fine-tune")
    parser.add_argument("--map", type=Path, help="the capability map, a YAML file")
    parser.add_argument(
        "--report", type=Path, nargs="+", action="extend", default=[], metavar="FILE",
        help=f"write a report; the ending says in which form: {', '.join(WRITERS)}",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, nargs="+", metavar="FOLDER",
        help="base (and adapter) that lm-eval measured as AFTER: their digests go into the report",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="print how many items the map needs")
    parser.add_argument("--example", action="store_true", help="print a small map to begin with")
    options = parser.parse_args(arguments)
    if options.example:
        print(example_map(), end="")
        return 0
    if options.map is None:
        parser.error("name a capability map with --map (--example prints one)")
    unknown = [str(path) for path in options.report if path.suffix not in WRITERS]
    if unknown:
        parser.error(f"a report ends in {', '.join(WRITERS)}, not as {', '.join(unknown)}")
    if options.weights and len(options.weights) > 2:
        parser.error("--weights takes the folder of the base and, after it, that of the adapter")
    try:
        capability_map = CapabilityMap.load(options.map)
        if options.plan:
            print(plan(capability_map))
            return 0
        if options.before is None or options.after is None:
            parser.error("name two results folders: BEFORE and AFTER")
        runs = [read_results(folder) for folder in (options.before, options.after)]
        names = None
        if runs[0].model == runs[1].model:  # then the folders tell them apart
            names = apart(*(str(folder) for folder in (options.before, options.after)))
        report = audit(*runs, capability_map, names=names)
        if options.weights:
            report = dataclasses.replace(report, weights=_digests(options.weights))
        for path in options.report:
            save(report, path)
    except NotComparable as error:
        print(f"NOT COMPARABLE: {error}", file=sys.stderr)
        return NOT_COMPARABLE
    except (BadMap, BadResults, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return MISUSE
    print(report)
    return report.exit_code


def _digests(folders: list[Path]) -> dict[str, str]:
    """Of files that lm-eval's results do not name: whoever gives them says what was measured."""
    return {
        part: folder_digest(file_digests(folder))
        for part, folder in zip(("base", "adapter"), folders, strict=False)
    }


if __name__ == "__main__":
    sys.exit(main())
