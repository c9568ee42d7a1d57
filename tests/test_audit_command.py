"""The audit from the command line, over folders that lm-eval or `Snapshot.save` wrote."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from helpers.audit import audit
from helpers.audit.__main__ import main
from helpers.audit.callback import RegressionAudit
from helpers.audit.capability_map import CapabilityMap
from helpers.audit.results import read_results
from helpers.evaluation import evaluate
from helpers.paths import DATA
from helpers.suites import SUITES, load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune

MAP = """\
version: 1
categories:
  facts: {task: pocket_facts, margin: 10}
  lists: {task: pocket_lists, margin: 40}
"""


def by_lm_eval(model, folder, limit=60):
    """A results folder written by lm-eval itself."""
    manager = TaskManager(include_path=str(SUITES), include_defaults=False)
    found = simple_evaluate(
        HFLM(pretrained=model, tokenizer=model.tokenizer, batch_size=60),
        tasks=["pocket_facts", "pocket_lists"], task_manager=manager, limit=limit,
        bootstrap_iters=0, log_samples=True,
    )  # fmt: skip
    samples = found.pop("samples")
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.save_results_aggregated(results=found, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    return folder


@pytest.fixture(scope="module")
def folders(pocket, tiny, tmp_path_factory):
    """The base, the base again, and a model that knows nothing, as lm-eval sees them."""
    top = tmp_path_factory.mktemp("lm_eval")
    models = {"base": pocket, "again": pocket, "lost": tiny}
    return {name: by_lm_eval(model, top / name) for name, model in models.items()}


@pytest.fixture
def map_file(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    return path


def call(folders, map_file, before, after, *more):
    return main([str(folders[before]), str(folders[after]), "--map", str(map_file), *more])


def test_two_runs_of_one_model_ship_or_cannot_be_told(folders, map_file, capsys):
    assert call(folders, map_file, "base", "again") == 0
    assert "SHIP" in capsys.readouterr().out
    map_file.write_text(MAP.replace("margin: 10", "margin: 3"))
    assert call(folders, map_file, "base", "again") == 2
    told = capsys.readouterr().out
    assert "INCONCLUSIVE" in told and "cannot be ruled out; the margin is 3" in told


def test_a_model_that_lost_its_skills_is_blocked(folders, map_file, tmp_path, capsys):
    reports = [str(tmp_path / f"report{ending}") for ending in (".md", ".html", ".json", ".xml")]
    assert call(folders, map_file, "base", "lost", "--report", *reports) == 1
    assert "BLOCK" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["exit_code"] == 1
    assert all((tmp_path / f"report{ending}").stat().st_size > 500 for ending in (".md", ".html"))


def edited(folder, target, change):
    """A copy of a results folder with its report changed."""
    import shutil

    shutil.copytree(folder, target)
    (path,) = target.rglob("results_*.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    change(report)
    path.write_text(json.dumps(report), encoding="utf-8")
    return target


def test_another_version_of_a_task_is_not_comparable(folders, map_file, tmp_path, capsys):
    def newer(report):
        report["versions"]["pocket_facts"] = 2

    changed = {**folders, "newer": edited(folders["base"], tmp_path / "newer", newer)}
    assert call(changed, map_file, "base", "newer") == 3
    assert "pocket_facts has version 1" in capsys.readouterr().err


def test_another_prompt_is_not_comparable(folders, map_file, tmp_path, capsys):
    changed = edited(folders["base"], tmp_path / "prompt", lambda report: None)
    (path,) = changed.rglob("samples_pocket_facts_*.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    first["prompt_hash"] = "0" * 64
    path.write_text("\n".join([json.dumps(first), *lines[1:]]), encoding="utf-8")
    assert call({**folders, "prompt": changed}, map_file, "base", "prompt") == 3
    assert "1 of 60 items" in capsys.readouterr().err


def test_fewer_items_are_not_comparable(folders, map_file, tmp_path, tiny, capsys):
    fewer = by_lm_eval(tiny, tmp_path / "fewer", limit=50)
    assert call({**folders, "fewer": fewer}, map_file, "base", "fewer") == 3
    assert "NOT COMPARABLE" in capsys.readouterr().err


def test_our_snapshots_go_through_the_same_command(pocket, tmp_path, map_file):
    suites = load_suites(["facts", "lists"], size=60)
    for name in ("before", "after"):
        evaluate(pocket, suites).save(tmp_path / name)
    assert main([str(tmp_path / "before"), str(tmp_path / "after"), "--map", str(map_file)]) == 0


def test_our_snapshot_is_not_compared_with_a_folder_of_lm_evals(
    folders, pocket, tmp_path, map_file
):
    """The answers are the same, but nobody can tell from the files that they were asked alike."""
    evaluate(pocket, load_suites(["facts", "lists"], size=60)).save(tmp_path / "ours")
    assert call({**folders, "ours": tmp_path / "ours"}, map_file, "base", "ours") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a capability map with --map"),
        (["a", "--map", "MAP"], "name two results folders"),
        (["a", "b", "--map", "nothing.yaml"], "There is no map nothing.yaml"),
        (["a", "b", "--map", "MAP"], "a"),
        (["a", "b", "--map", "MAP", "--report", "x.pdf"], "a report ends in .md"),
        (["a", "b", "--mop"], "unrecognized arguments: --mop"),
    ],
)
def test_a_wrong_call_ends_with_64(arguments, message, map_file, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments = [str(map_file) if text == "MAP" else text for text in arguments]
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 64
    assert message in capsys.readouterr().err


def test_the_plan_and_the_example_are_printed(map_file, capsys):
    assert main(["--plan", "--map", str(map_file)]) == 0
    assert "facts" in capsys.readouterr().out
    assert main(["--example"]) == 0
    assert CapabilityMap.parse(capsys.readouterr().out)["support"].min_score == 85


def test_the_module_is_a_command(map_file):
    """Exit codes reach the shell, which is what blocks a merge."""
    command = [sys.executable, "-m", "helpers.audit", "nowhere", "nothing", "--map", str(map_file)]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    assert done.returncode == 64 and "nowhere" in done.stderr


def test_the_audit_watches_a_run_and_can_stop_it(pocket):
    """Looks at every second step; a ruinous rate is stopped at the first."""
    suites = load_suites(["facts", "lists"], size=60)
    capability_map = CapabilityMap.parse(MAP)
    before = evaluate(pocket, suites)
    gentle = RegressionAudit(before, suites, capability_map, every=2)
    run = finetune(pocket, read_tickets(), lr=1e-6, steps=3, batch_size=2, callbacks=[gentle])
    assert [step for step, _ in gentle.reports] == [2, 3]
    assert [report.decision for _, report in gentle.reports] == ["SHIP", "SHIP"]
    assert gentle.stopped is None and len(run.losses) == 3
    ruinous = RegressionAudit(before, suites, capability_map, every=2, stop_on_block=True)
    options = dict(lr=3e-1, rank="full", steps=8, batch_size=2)
    run = finetune(pocket, read_tickets(), **options, callbacks=[ruinous])
    assert ruinous.stopped == 2 and len(run.losses) == 2
    assert ruinous.reports[-1][1].decision == "BLOCK"


def test_what_is_read_from_files_is_what_was_measured(pocket, tmp_path):
    suites = load_suites(["facts", "stories"], size=40)
    snapshot = evaluate(pocket, suites)
    read = read_results(snapshot.save(tmp_path))
    text = "version: 1\ncategories:\n  facts: {task: pocket_facts, margin: 20}\n"
    assert audit(snapshot, read, CapabilityMap.parse(text)).decision == "SHIP"


def test_the_audit_starts_without_torch():
    """A build server that only compares files should not wait for a library it does not use."""
    code = "import sys, helpers.audit.__main__; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=DATA.parent
    )
    assert done.stdout.strip() == "set()"
