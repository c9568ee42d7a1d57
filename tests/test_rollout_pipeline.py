"""The pipeline: its plan, what is kept and what is made anew, and what survives a kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from pipeline_world import MAP, PLAN, work, write_world

from helpers.paths import DATA
from helpers.rollout.errors import BadSetting, Busy, NotAllowed
from helpers.rollout.pipeline import main, run
from helpers.rollout.pipeline_plan import EXAMPLE, SCHEDULES, Plan
from helpers.rollout.pipeline_steps import suites_in
from helpers.rollout.registry import Registry
from helpers.rollout.store import hold

TESTS = Path(__file__).parent
QUALITY = {50: {"facts": 0.5}, 40: {"support": 0.4}}
STEPS = ["items", "baseline", "map", "train", "score-00020", "score-00040", "score-00050", "choose",
         "judge", "gate", "registry"]  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    return write_world(tmp_path)


def silent(line):
    pass


def go(plan, quality=QUALITY):
    """Run a plan; the outcome, and the calls that needed a model."""
    calls = []
    return run(plan, work(quality, calls), silent), calls


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def fresh(outcome):
    return [name for name, step in outcome.steps.items() if step.fresh]


# What it does.


def test_it_goes_from_the_items_to_an_admitted_version(plan):
    outcome, calls = go(plan)
    assert list(outcome.steps) == STEPS and fresh(outcome) == STEPS
    assert (outcome.decision, outcome.exit_code, outcome.admitted) == ("SHIP", 0, True)
    registry = Registry(plan.parent / "store" / "rollout.db")
    version = registry.version("careful")
    assert version.state == "admitted" and registry.report("careful")["decision"] == "SHIP"
    # It is the checkpoint that was chosen, and a copy that no later run will touch.
    assert Path(version.adapter) == plan.parent / "store" / "versions" / "careful"
    assert version.adapter_digest == outcome.steps["train"].result["checkpoints"]["20"]
    assert registry.verify("careful") == 4
    assert calls[-1] == "score step-00020"


def test_a_kept_run_asks_no_model_and_says_the_same(plan):
    first, _ = go(plan)
    second, calls = go(plan, {})
    assert calls == [] and second.digest == first.digest
    assert fresh(second) == ["registry"]  # which looks at the store, and finds all done
    assert first.log == second.log and "# careful: SHIP\n" in first.log.read_text()


@pytest.mark.parametrize(
    ("quality", "decision", "code"),
    [
        ({step: {"facts": 0.3} for step in (20, 40, 50)}, "BLOCK", 1),
        ({step: {"facts": 0.8} for step in (20, 40, 50)}, "INCONCLUSIVE", 2),
    ],
)
def test_what_does_not_pass_is_registered_and_not_admitted(plan, capsys, quality, decision, code):
    assert main([str(plan)], work(quality)) == code
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(STEPS) + 1 and told[-1].startswith(f"{decision}: see ")
    assert told[-2].endswith(f"registered and not admitted: the audit says {decision}")
    assert told[-3].endswith(f"{decision} (facts)")
    registry = Registry(plan.parent / "store" / "rollout.db")
    assert [line.action for line in registry.journal()] == ["register"]
    page = (plan.parent / "runs" / "careful" / "log.md").read_text()
    assert page.startswith(f"# careful: {decision}\n") and f"| {decision} |" in page


def test_the_checkpoint_is_chosen_by_what_its_worst_row_has_to_spare(plan):
    outcome, _ = go(plan, {20: {"facts": 0.9}, 40: {"support": 0.6}, 50: {"facts": 0.9}})
    assert outcome.steps["choose"].result == {
        "step": 20,  # as good as 50, and earlier
        "spare": {"20": [10, "facts"], "40": [10, "support"], "50": [10, "facts"]},
    }
    outcome, _ = go(write_world_beside(plan), {20: {"facts": 0.7}, 50: {"facts": 0.9}})
    assert outcome.steps["choose"].result["step"] == 40


def test_where_the_worst_rows_are_equal_the_next_ones_decide(plan):
    outcome, _ = go(
        plan, {20: {"facts": 0.9, "support": 0.7}, 40: {"facts": 0.9}, 50: {"facts": 0.8}}
    )
    assert outcome.steps["choose"].result == {
        "step": 40, "spare": {"20": [10, "facts"], "40": [10, "facts"], "50": [0, "facts"]}
    }  # fmt: skip


def write_world_beside(plan):
    folder = plan.parent / "another"
    folder.mkdir()
    return write_world(folder)


def test_no_item_both_chooses_and_judges(plan):
    # Two questions of the file are asked twice: in the part that judges, and after it.
    path = plan.parent / "suites" / "facts.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for place, twin in ((40, 3), (45, 7)):
        rows[place] |= {key: rows[twin][key] for key in ("prompt", "answer")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome, _ = go(plan)
    choose, judge = (suites_in(outcome.steps["items"], part) for part in ("choose", "judge"))
    for one, other in zip(choose, judge, strict=True):
        assert (len(one), len(other)) == (10, 40)
        assert not {item.prompt for item in one.items} & {item.prompt for item in other.items}


def test_a_brief_becomes_a_map_that_knows_the_base(plan):
    change(plan, "map: map.yaml", "brief: brief.yaml")
    needs = [
        {
            "capability": "trivia",
            "task": "pocket_facts",
            "level": 96,
            "traffic": 30,
            "at_15": "notice",
        },
        {"capability": "support", "level": 50, "traffic": 50, "role": "target"},
    ]
    brief = plan.parent / "brief.yaml"
    brief.write_text(yaml.safe_dump({"needs": needs}))
    outcome, _ = go(plan)
    # Ten points by the rule, five because there is so much traffic; the base leaves four.
    found = outcome.steps["map"].result
    assert found["margins"] == {"trivia": 4} and found["from"] == "brief"
    # What can be known before the training is said before it.
    assert found["short"]["support"] == 250 and found["short"]["trivia"] > 250
    assert "; 2 cannot pass with so few items (trivia needs " in outcome.log.read_text()
    assert outcome.decision == "INCONCLUSIVE"
    brief.write_text(yaml.safe_dump({"needs": [{**needs[0], "level": 99.5}, needs[1]]}))
    with pytest.raises(BadSetting, match=r"brief: trivia: the base scores 100\.0 percent"):
        go(plan)


# What is made anew.


def test_only_what_depends_on_a_change_is_made_anew(plan):
    first, _ = go(plan)
    change(plan.parent / "map.yaml", "margin: 20", "margin: 21")
    second, calls = go(plan)
    assert fresh(second) == ["map", *STEPS[STEPS.index("choose") :]]
    assert calls == ["score step-00020"]
    change(plan.parent / "map.yaml", "margin: 21", "margin: 20")
    assert go(plan)[0].digest == first.digest


def test_another_recipe_trains_anew_and_needs_a_new_name(plan):
    go(plan)
    change(plan, "lr: 1e-3", "lr: 2e-3")
    adapter = plan.parent / "store" / "versions" / "careful" / "adapter_config.json"
    before = adapter.read_bytes()
    with pytest.raises(NotAllowed, match="give this one a new name"):
        go(plan, {20: {"facts": 0.95}, 40: {"facts": 0.5}, 50: {"facts": 0.5}})
    assert adapter.read_bytes() == before
    page = (plan.parent / "runs" / "careful" / "log.md").read_text()
    assert page.startswith("# careful: stopped after 10 of 11 steps\n") and "a new name" in page
    change(plan, "name: careful", "name: careful-2")
    outcome, calls = go(plan)
    assert outcome.admitted and calls == []


def test_what_was_admitted_does_not_stay_so_in_silence_when_the_map_gets_stricter(plan):
    go(plan, {step: {"facts": 0.95} for step in (20, 40, 50)})
    change(plan.parent / "map.yaml", "margin: 20", "margin: 1")
    with pytest.raises(NotAllowed, match="an earlier audit has let 'careful' pass"):
        go(plan)


@pytest.mark.parametrize("harm", ["bytes", "missing", "result"])
def test_a_damaged_step_is_made_anew_with_the_same_result(plan, harm):
    first, _ = go(plan)
    step = first.steps["score-00040"].folder
    samples = next(step.glob("samples_pocket_facts*"))
    if harm == "bytes":
        samples.write_text(samples.read_text().replace("facts", "facsts", 1))
    elif harm == "missing":
        samples.unlink()
    else:
        (step / "result.json").write_text("{")
    second, calls = go(plan)
    assert calls == ["score step-00040"] and second.digest == first.digest


def test_a_file_that_somebody_put_beside_the_results_does_no_harm(plan):
    first, _ = go(plan)
    (first.steps["train"].folder / ".DS_Store").write_text("a file browser was here")
    assert go(plan)[1] == []


def test_a_lost_store_is_filled_again(plan):
    go(plan)
    shutil.rmtree(plan.parent / "store")
    assert go(plan)[0].admitted
    assert Registry(plan.parent / "store" / "rollout.db").version("careful").state == "admitted"


def test_a_run_that_was_moved_is_taken_as_it_is(plan, tmp_path_factory):
    first, _ = go(plan)
    there = tmp_path_factory.mktemp("another-machine") / "copy"
    shutil.copytree(plan.parent, there)
    shutil.rmtree(there / "store")
    second, calls = go(there / plan.name, {})
    assert calls == [] and fresh(second) == ["registry"] and second.digest == first.digest
    # And what is made there is the same.
    shutil.rmtree(there / "runs")
    third, calls = go(there / plan.name)
    assert fresh(third) == STEPS and third.digest == first.digest


def test_two_pipelines_do_not_share_a_folder(plan):
    out = plan.parent / "runs" / "careful"
    out.mkdir(parents=True)
    with hold(out / "pipeline"), pytest.raises(Busy, match="give this plan another `out`"):
        go(plan)
    assert go(plan)[0].admitted


# Wrong plans.


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lr: 1e-3", "lr: fast", r"recipe\.lr: must be a number above 0, not 'fast'"),
        ("lr: 1e-3", "lr: 0", r"recipe\.lr: must be a number above 0, not 0"),
        ("lr: 1e-3, ", "", r"recipe: it needs `lr`"),
        ("steps: 50", "steps: 1.5", r"recipe\.steps: must be a whole number of at least 1"),
        ("steps: 50", "steps: 50, rank: full", r"recipe\.rank: the pipeline trains adapters"),
        ("steps: 50", "step: 50", r"`recipe` has no 'step'; did you mean 'steps'\?"),
        ("steps: 50", "steps: 50, schedule: up", r"recipe\.schedule: one of linear, cosine"),
        ("steps: 50", "steps: 50, warmup_steps: 50", r"recipe\.warmup_steps: fewer than"),
        ("steps: 50", "steps: 50, old_share: 1", r"recipe\.old_share: must be a number of at leas"),
        ("steps: 50", "steps: 50, old_share: 0.3", r"name the file with the `old_rows`"),
        ("steps: 50", "steps: 50, seed: yes", r"recipe\.seed: must be a whole number"),
        ("choose: 10", "choose: 3", r"items\.choose: must be a whole number of at least 4"),
        ("choose: 10", "choose: 21", r"items: facts has 60 items, too few for judge: 40 and choos"),
        ("folder: suites", "folder: sweets", r"items\.folder: there is no folder"),
        ("map: map.yaml", "map: none.yaml", r"map: there is no file .*the course's own is 'shop'"),
        ("map: map.yaml", "map: map.yaml\nbrief: map.yaml", "`map` or `brief`, one of them"),
        ("map: map.yaml", "brief: map.yaml", r"the brief has no 'version'; known: alpha, needs"),
        ("base: base", "base: rows.jsonl", r"base: there is no folder"),
        ("rows: rows.jsonl", "rows: 7", r"rows: must be a path, not 7"),
        ("store: store/rollout.db\n", "", r"The plan needs `store`"),
        ("name: careful", "name: ../careful", r"name: '\.\./careful' is no name for a version"),
        ("name: careful", "nam: careful", r"the plan has no 'nam'; did you mean 'name'\?"),
        ("name: careful", "name: [", r"is no YAML"),
    ],
)  # fmt: skip
def test_a_wrong_plan_names_the_key_and_costs_no_training(plan, capsys, old, new, told):
    change(plan, old, new)
    with pytest.raises(BadSetting, match=told):
        go(plan)
    calls = []
    assert main([str(plan)], work({}, calls)) == 64 and calls == []
    assert "pipeline: " in capsys.readouterr().err


def test_a_wrong_map_and_missing_items_name_the_fix(plan):
    (plan.parent / "map.yaml").write_text(MAP.replace("margin: 20, ", ""))
    with pytest.raises(BadSetting, match=r"map: map\.yaml, line 3: .* needs a `margin`"):
        go(plan)
    (plan.parent / "map.yaml").write_text(MAP.replace("pocket_facts", "pocket_sums"))
    with pytest.raises(BadSetting, match=r"There are no items for sums"):
        go(plan)


def test_what_the_gate_would_refuse_is_told_before_the_training(plan):
    change(plan.parent / "map.yaml", "margin: 20", "cluster: format, margin: 20")
    calls = []
    with pytest.raises(BadSetting, match=r"map: Category 'facts': its 40 items make 1 group"):
        run(plan, work({}, calls), silent)
    assert calls == ["score base", "score base"]


def test_the_command_prints_a_plan_to_begin_with(capsys, tmp_path):
    assert main(["--example"]) == 0
    told = capsys.readouterr().out
    found = Plan.read(yaml.safe_load(told), tmp_path)
    assert told == EXAMPLE and found.base == DATA / "pocket-gpt2"
    assert found.recipe.looks == (160, 320) and found.out == tmp_path / "runs" / "careful-1"
    for wrong in ([], ["--what"], [str(tmp_path / "none.yaml")]):
        try:
            code = main(wrong)
        except SystemExit as error:
            code = error.code
        assert code == 64


# Killed.


@pytest.fixture
def disk(tmp_path):
    """A folder in memory where there is one: there, bringing a file to the disk takes no time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork and no SIGKILL")
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_anywhere_and_started_again_it_comes_to_the_same(disk, every):
    """Killed after every step and before every so manieth act on the disk, and then once more."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DATA.parent), str(TESTS)])}
    program = [sys.executable, str(TESTS / "pipeline_forks.py"), str(disk), str(every)]
    child = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    unharmed, found = told["unharmed"], told["found"]
    assert unharmed["step"] == len(STEPS) and unharmed["act"] > 100
    assert len(found) == len(STEPS) + -(-unharmed["act"] // every)
    for one in found:
        for what in ("digest", "decision", "journal", "left"):
            assert one[what] == unharmed[what], one["kill"]
    assert unharmed["journal"] == [
        ["register", "careful", "registered"], ["admit", "careful", "admitted"]
    ]  # fmt: skip
    assert unharmed["left"] == []
    # After so many steps the page says so, and what is finished is not made again.
    for number, one in enumerate(found[: len(STEPS)], start=1):
        done = "SHIP" if number == len(STEPS) else f"{number} of {len(STEPS)} steps done"
        assert one["log"].startswith(f"# careful: {done}\n")
        # (The second kill is after as many steps.)
        assert ("train" in one["calls"]) == (number <= STEPS.index("train"))


# With a model.


def test_the_plan_and_the_training_know_the_same_schedules():
    from helpers.training import SCHEDULES as known

    assert known == SCHEDULES


def test_an_adapter_s_settings_are_the_same_in_every_process_and_on_every_machine(tmp_path):
    """PEFT writes a set of strings, which Python orders otherwise in every process."""
    from helpers.rollout.pipeline_work import _settle

    texts = []
    for modules in (["c_proj", "c_attn", "c_fc"], ["c_fc", "c_proj", "c_attn"]):
        path = tmp_path / "adapter_config.json"
        path.write_text(json.dumps({"target_modules": modules, "r": 2, "layers": [3, 1]}))
        _settle(path, "base")
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0]) == {
        "target_modules": ["c_attn", "c_fc", "c_proj"], "r": 2, "layers": [3, 1],
        "base_model_name_or_path": "base",
    }  # fmt: skip


def test_a_model_is_trained_watched_scored_and_judged(tmp_path, tiny_folder):
    from helpers.models import ModelNotFound, load_model

    write_world(tmp_path)
    for name in ("facts", "support"):
        lines = (DATA / "suites" / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "suites" / f"{name}.jsonl").write_text("".join(lines[:18]))
    tickets = (DATA / "support" / "tickets.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(tickets[:30]))
    plan = yaml.safe_load(PLAN)
    plan |= {"base": str(tiny_folder), "old_rows": "shop",
             "items": {"judge": 12, "choose": 6, "probe": 2, "folder": "suites"}}  # fmt: skip
    plan["recipe"] = {"lr": 1e-2, "steps": 3, "rank": 2, "batch_size": 2, "look_every": 2,
                      "old_share": 0.25}  # fmt: skip
    outcome = run(Plan.read(plan, tmp_path), say=silent)
    train = outcome.steps["train"]
    assert list(train.result["checkpoints"]) == ["2", "3"]
    assert len(set(train.result["checkpoints"].values())) == 2
    assert train.result["rows"] == 40 and train.result["settings"]["steps"] == 3
    assert [step for step, _ in train.result["probes"]] == [0, 2, 3]
    watched = json.loads((train.folder / "watched.json").read_text())
    assert [step for step, _ in watched["gradients"]] == [1, 2, 3]
    assert [step for step, _ in watched["drifts"]] == [2, 3]
    assert [layer[0] for layer in train.result["layers"]] == [1, 2]
    for _, cosine, length, drift in train.result["layers"]:
        assert -1 <= cosine <= 1 and length > 0 and drift > 0
    # Random weights know nothing, so nothing can be said about them.
    assert not outcome.admitted and outcome.exit_code in (1, 2)
    version = Registry(tmp_path / "store" / "rollout.db").version("careful")
    report = json.loads((outcome.steps["gate"].folder / "report.json").read_text())
    assert report["weights"] == {"base": version.base_digest, "adapter": version.adapter_digest}
    # It does not depend on where anything lies, and the adapter finds its base when told where.
    here = [str(path).encode() for path in (tmp_path, tiny_folder, DATA)]
    for path in (tmp_path / "runs").rglob("*"):
        if path.is_file() and "registry" not in path.parts:
            assert not any(part in path.read_bytes() for part in here), path
    loaded = load_model(train.folder / "step-00003", base=tiny_folder)
    assert loaded.origin.weights["base"] == version.base_digest
    with pytest.raises(ModelNotFound, match=tiny_folder.name):
        load_model(train.folder / "step-00003")
    # Trained again as a whole, it is the same in every bit.
    shutil.rmtree(train.folder)
    again = run(Plan.read(plan, tmp_path), say=silent)
    assert fresh(again) == ["train", "registry"] and again.digest == outcome.digest
