"""The way of a fine-tune from the brief to the registry, as code that can be run again.

    python -m helpers.rollout.pipeline plan.yaml

Killed at any point and started again, it goes on where it was, with the same result. Exit codes are
the audit's: 0 ship, 1 block, 2 inconclusive, 3 not comparable, 64 a wrong plan or a broken file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..audit import NotComparable
from .errors import Busy, RolloutError
from .pipeline_log import found, page
from .pipeline_plan import EXAMPLE, Plan
from .pipeline_steps import Work, digest_of_run, steps_of
from .resume import Done, replace, walk
from .store import hold

NOT_COMPARABLE, MISUSE = 3, 64


@dataclass(frozen=True)
class Outcome:
    """What a pipeline came to.

    Attributes:
        steps: the finished steps by name, in order.
        digest: of all they found; the same after any number of kills.
        log: the page about it.
    """

    steps: dict[str, Done]
    digest: str
    log: Path

    @property
    def decision(self) -> str:
        """SHIP, BLOCK or INCONCLUSIVE."""
        return self.steps["gate"].result["decision"]

    @property
    def admitted(self) -> bool:
        return self.steps["registry"].result["admitted"]

    @property
    def exit_code(self) -> int:
        return self.steps["gate"].result["exit_code"]

    def __repr__(self) -> str:
        return "\n".join(f"{name:12} {found(step)}" for name, step in self.steps.items())


def run(
    plan: Plan | str | Path, work: Work | None = None, say: Callable[[str], None] = print
) -> Outcome:
    """Take a plan from its items to the registry; what is finished already is taken from the disk.

    Args:
        plan: or the path of its YAML file.
        work: what trains and scores; with the course's tools when left out.
        say: is given one line a step.

    Raises:
        BadSetting: the plan, its map, its brief or its items are wrong; names the key.
        NotAllowed: the registry has another version of this name.
        Busy: another pipeline is at work in the same folder.
        ValueError, FloatingPointError: the training cannot be done; see `helpers.training`.
    """
    plan = plan if isinstance(plan, Plan) else Plan.load(plan)
    if work is None:
        from .pipeline_work import WORK as work  # torch: not needed to find a mistake in a plan

    steps = steps_of(plan, work)
    done: dict[str, Done] = {}
    log = plan.out / "log.md"
    plan.out.mkdir(parents=True, exist_ok=True)
    with _alone(plan.out):
        try:
            for step in walk(steps, plan.out):
                done[step.name] = step
                replace(log, page(plan, done, len(steps)))
                how = f"{step.seconds:6.1f} s" if step.fresh else "  kept  "
                say(f"{step.name:12} {how}  {found(step)}")
        except Exception as error:
            replace(log, page(plan, done, len(steps), str(error)))
            raise
    return Outcome(done, digest_of_run(done), log)


class _alone:
    """Be the one pipeline in a folder. The system takes the lock back from a process that dies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, hold(folder / "pipeline")

    def __enter__(self) -> None:
        try:
            self.lock.__enter__()
        except Busy as error:
            raise Busy(
                f"Another pipeline is at work in {self.folder}. Wait for it, or give this plan "
                "another `out`."
            ) from error

    def __exit__(self, *error: object) -> None:
        self.lock.__exit__(*error)


class Parser(argparse.ArgumentParser):
    """argparse ends a wrong call with 2, which is "inconclusive" here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(MISUSE, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None, work: Work | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Parser(
        prog="python -m helpers.rollout.pipeline",
        description="From the capability map to a registered version, resumable at any step.",
        epilog="Exit codes: 0 ship, 1 block, 2 inconclusive, 3 not comparable, 64 wrong plan.",
    )
    parser.add_argument("plan", nargs="?", type=Path, help="the plan, a YAML file")
    parser.add_argument("--example", action="store_true", help="print a plan to begin with")
    options = parser.parse_args(arguments)
    if options.example:
        print(EXAMPLE, end="")
        return 0
    if options.plan is None:
        parser.error("name a plan (--example prints one)")
    try:
        outcome = run(options.plan, work, lambda line: print(line, flush=True))
    except NotComparable as error:
        print(f"NOT COMPARABLE: {error}", file=sys.stderr)
        return NOT_COMPARABLE
    except (RolloutError, ValueError, FloatingPointError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return MISUSE
    print(f"{outcome.decision}: see {outcome.log}")
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
