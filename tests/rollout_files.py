"""Small folders that look like a base and its adapters, and reports about them."""

from __future__ import annotations

import json

#: The transitions as the issue has them, written a second time and by hand.
ALLOWED = {
    "register": {("new", "registered")},
    "admit": {("registered", "admitted"), ("rolled back", "admitted")},
    "stage": {("admitted", "staged")},
    "widen": {("staged", "staged")},
    "go live": {("staged", "live"), ("live", "standby")},
    "roll back": {("staged", "rolled back"), ("live", "rolled back"), ("standby", "live")},
    "retire": {
        (state, "retired") for state in ("registered", "admitted", "standby", "rolled back")
    },
}
STATES = ("new", "registered", "admitted", "staged", "live", "standby", "rolled back", "retired")


def write_base(folder, seed=0):
    _write(folder / "model.safetensors", "wte.weight", (8, 8), seed)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    return folder


def write_adapter(folder, seed=0):
    _write(folder / "adapter_model.safetensors", "lora_A.weight", (2, 8), seed)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 4}))
    return folder


def _write(path, name, shape, seed):
    import numpy  # a child that is killed does without
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    values = numpy.random.default_rng(seed).normal(size=shape).astype("float32")
    save_file({name: values}, path)


def ship(version, **changes):
    """A report that says SHIP about a version. `changes` make it another report."""
    weights = {"base": version.base_digest}
    if version.adapter_digest:
        weights["adapter"] = version.adapter_digest
    rows = [{"name": "facts", "gating": True, "verdict": "PASS"},
            {"name": "stories", "gating": False, "verdict": "BLOCK"}]  # fmt: skip
    return {"decision": "SHIP", "rows": rows, "weights": weights, **changes}


def standings_by_tables(registry):
    """What the tables say, for a comparison with what the journal adds up to."""
    rows = registry.store.read("SELECT name, state, share, since, kept_until FROM versions")
    return {name: tuple(rest) for name, *rest in rows}


def replay(lines):
    """The journal played back by hand, without the code under test: (state, share, since, kept).

    Every transition must be in `ALLOWED`, the numbers must run from 1 without a gap, and of live
    and of staged versions there may be one at most, except within what one call has done at once.
    """
    found = {}
    for number, line in enumerate(lines, start=1):
        assert line.number == number
        before = found.get(line.version, ("new",))[0]
        assert before == line.from_state
        assert (line.from_state, line.to_state) in ALLOWED[line.action]
        found[line.version] = (line.to_state, line.share, line.time, line.kept_until)
        states = [state for state, *_ in found.values()]
        assert states.count("live") <= 1 and states.count("staged") <= 1
    return found
