"""Kill a pipeline again and again: `python pipeline_forks.py FOLDER EVERY`.

A process of its own without torch, which forks a pipeline for every kill. It is killed right after
each of its steps, and before every EVERYth act on the disk (fsync, rename, mkdir, unlink, and what
the registry does). It is then started again, killed again after one of its steps, and started a
third time, which must end. Prints, as JSON, what each ended with.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from pipeline_world import work, write_world

from helpers.rollout.pipeline import run
from helpers.rollout.registry import Registry

ACTS = ("fsync", "rename", "replace", "mkdir", "unlink")
#: The last checkpoint forgets facts, the one before knows too little of the shop.
QUALITY = {50: {"facts": 0.5}, 40: {"support": 0.4}}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def pipeline(plan, kill):
    """Run a plan; `kill` is ("step", n) to die after n steps, ("act", n) before act n, or None."""
    kind, number = kill or ("", 0)
    seen = {"step": 0, "act": 0}

    def count(what):
        seen[what] += 1
        if kind == what and seen[what] == number:
            die()

    def counted(call):
        def wrapped(*arguments, **options):
            count("act")
            return call(*arguments, **options)

        return wrapped

    for name in ACTS:
        setattr(os, name, counted(getattr(os, name)))
    for name in ("register", "admit"):
        setattr(Registry, name, counted(getattr(Registry, name)))
    calls = []
    outcome = run(plan, work(QUALITY, calls), lambda line: count("step"))
    registry = Registry(plan.parent / "store" / "rollout.db")
    journal = [[line.action, line.version, line.to_state] for line in registry.journal()]
    registry.verify("careful")
    registry.close()
    left = [path.name for path in plan.parent.rglob("*") if path.name.startswith(".")]
    return {"digest": outcome.digest, "decision": outcome.decision, "journal": journal,
            "left": left, "calls": calls, **seen}  # fmt: skip


def forked(plan, kill):
    """What a pipeline in a process of its own came to, or None if it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            found = json.dumps(pipeline(plan, kill)).encode()
            os.write(writing, found)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert status == 0, f"the pipeline failed after {kill}"
    return json.loads(text)


def main(folder, every):
    def world(name):
        (folder / name).mkdir()
        return write_world(folder / name)

    plan = world("unharmed")
    unharmed = forked(plan, None)
    steps, acts = unharmed["step"], unharmed["act"]
    kills = [("step", n) for n in range(1, steps + 1)]
    kills += [("act", n) for n in range(1, acts + 1, every)]
    found = []
    for number, kill in enumerate(kills):
        plan = world(str(number))
        assert forked(plan, kill) is None, kill
        log = plan.parent / "runs" / "careful" / "log.md"
        logged = log.read_text() if log.exists() else ""
        assert forked(plan, ("step", number % steps + 1)) is None
        found.append({"kill": kill, "log": logged, **forked(plan, None)})
    print(json.dumps({"unharmed": unharmed, "found": found}))


if __name__ == "__main__":
    assert "torch" not in sys.modules
    main(Path(sys.argv[1]), int(sys.argv[2]))
