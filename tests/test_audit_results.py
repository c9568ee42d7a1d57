"""Reading results: folders written by us, by lm-eval itself, and by hand with a defect each."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from helpers.audit.capability_map import CapabilityMap
from helpers.audit.gate import audit
from helpers.audit.results import BadResults, from_snapshot, read_results
from helpers.evaluation import evaluate
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import SUITES, Item, load_suites

STAMP = "2026-01-02T03-04-05.678901"
LIMIT = 5
TOKENS = 4


# Folders written by lm-eval itself.

TWO_FILTERS = """
task: two_filters
custom_dataset: !function items.facts
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
filter_list:
  - name: whole
    filter: [{function: take_first}]
  - name: word
    filter: [{function: regex, regex_pattern: "(\\\\w+)"}, {function: take_first}]
metric_list: [{metric: exact_match}, {metric: bleu}]
metadata: {version: 2.0}
"""
ONE_ANSWER = """
task: one_answer
custom_dataset: !function items.facts
test_split: test
output_type: loglikelihood
doc_to_text: "{{prompt}}"
doc_to_target: " {{answer}}"
metric_list: [{metric: perplexity}, {metric: acc}]
"""
ONLY_BLEU = """
task: only_bleu
custom_dataset: !function items.facts
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
metric_list: [{metric: bleu}]
"""
GROUP = """
group: both
task: [two_filters, one_answer]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""
POCKET = ("pocket_facts", "pocket_reasoning", "pocket_facts_choice", "pocket_stories")


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory):
    """lm-eval's output folder for some of our tasks, odd tasks and a group, and its samples."""
    own = tmp_path_factory.mktemp("tasks")
    texts = {"two_filters": TWO_FILTERS, "one_answer": ONE_ANSWER, "only_bleu": ONLY_BLEU}
    for name, text in {**texts, "both": GROUP}.items():
        (own / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name in ("items.py", "facts.jsonl"):
        shutil.copy(SUITES / name, own)
    tracker = EvaluationTracker(output_path=str(tmp_path_factory.mktemp("output")))
    results = simple_evaluate(
        HFLM(pretrained=tiny, tokenizer=tiny.tokenizer, batch_size=20),
        tasks=[*POCKET, "both", "only_bleu"],
        task_manager=TaskManager(include_path=[str(SUITES), str(own)], include_defaults=False),
        limit=LIMIT,
        gen_kwargs={"max_gen_toks": TOKENS},
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    return tracker.output_path, samples


@pytest.fixture(scope="module")
def theirs(written):
    return read_results(written[0])


@pytest.fixture(scope="module")
def ours(tiny):
    suites = load_suites(("facts", "reasoning", "stories"), size=LIMIT)
    return from_snapshot(evaluate(tiny, suites, max_new_tokens=TOKENS))


def test_the_folder_of_lm_eval_has_its_tasks_and_not_the_group(theirs):
    assert set(theirs.tasks) == {*POCKET, "two_filters", "one_answer", "only_bleu"}
    assert all(len(task.answers) == LIMIT for task in theirs.tasks.values())
    assert theirs.tasks["pocket_facts"].version == "1"
    assert theirs.tasks["two_filters"].version == "2.0"


def test_the_group_of_lm_eval_is_known_by_its_tasks(theirs):
    assert theirs.groups == {"both": ("two_filters", "one_answer")}
    assert theirs.leaves("both") == theirs.groups["both"] and theirs.leaves("nothing") == ()


@pytest.mark.parametrize("suite", ["facts", "reasoning", "stories"])
def test_a_snapshot_pairs_with_lm_eval_item_by_item(ours, theirs, suite):
    mine, other = ours.tasks[f"pocket_{suite}"], theirs.tasks[f"pocket_{suite}"]
    assert [a.key for a in mine.answers] == [a.key for a in other.answers]
    assert mine.version == other.version
    for a, b in zip(mine.answers, other.answers, strict=True):
        assert (a.prompt, a.output, a.chance) == (b.prompt, b.output, b.chance)
        assert a.cluster["family"] == b.cluster["family"]
        assert a.scores.get("exact_match") == b.scores.get("exact_match")


def test_running_text_is_scored_in_nats_per_byte_by_lm_eval_and_per_token_by_us(
    ours, theirs, written
):
    mine, other = ours.tasks["pocket_stories"], theirs.tasks["pocket_stories"]
    assert mine.metrics["nll"] is False and other.metrics["nll"] is False
    samples = written[1]["pocket_stories"]
    for answer, sample in zip(other.answers, samples, strict=True):
        log_likelihood, size = sample["byte_perplexity"]
        assert answer.scores["nll"] == pytest.approx(-log_likelihood / size)
        assert size == len(answer.prompt.encode())
    # A random model knows nothing: about log(vocabulary) for each token.
    assert mine.answers[0].scores["nll"] > 4


def test_a_choice_is_shown_as_text(theirs, written):
    for answer, sample in zip(
        theirs.tasks["pocket_facts_choice"].answers, written[1]["pocket_facts_choice"], strict=True
    ):
        assert answer.target == sample["doc"]["answer"]
        assert answer.output in sample["doc"]["choices"]
        assert (answer.output == answer.target) == bool(answer.scores["acc"])
        assert answer.chance == 1 / len(sample["doc"]["choices"])


def test_several_filters_keep_only_full_names(theirs, written):
    task = theirs.tasks["two_filters"]
    assert task.metrics == {"exact_match,whole": True, "exact_match,word": True}
    rows = written[1]["two_filters"]
    assert len(rows) == 2 * LIMIT
    for answer, whole, word in zip(task.answers, rows[:LIMIT], rows[LIMIT:], strict=True):
        assert answer.scores["exact_match,whole"] == whole["exact_match"]
        assert answer.scores["exact_match,word"] == word["exact_match"]


def test_a_log_likelihood_called_perplexity_becomes_nll(theirs, written):
    task = theirs.tasks["one_answer"]
    assert list(task.metrics)[:2] == ["nll", "acc"] and task.metrics["nll"] is False
    for answer, sample in zip(task.answers, written[1]["one_answer"], strict=True):
        assert answer.scores["nll"] == -sample["perplexity"] > 0


def test_a_task_without_numbers_is_kept_without_metrics(theirs):
    assert theirs.tasks["only_bleu"].metrics == {}
    assert len(theirs.tasks["only_bleu"].answers) == LIMIT


def test_the_settings_of_lm_eval_are_those_that_must_agree(theirs):
    settings = theirs.settings
    assert settings["dtype"] == "float32" and settings["limit"] == LIMIT
    assert settings["fewshot_seed"] == 1234 and settings["max_length"] == 256
    assert settings["pocket_facts.num_fewshot"] == 0
    assert settings["pocket_facts.generation_kwargs"]["max_gen_toks"] == TOKENS
    assert settings["pocket_stories.output_type"] == "loglikelihood_rolling"
    text = json.dumps(settings)
    assert "<class 'items.Strip'>" in text  # a function of a filter, without its folder
    assert "0x" not in text
    assert not {"model", "model_args", "date", "git_hash"} & set(settings)


# Our snapshots.


def result(number: int, **changes: object) -> ItemResult:
    item = Item(f"i{number}", "facts", "capital", "qa", f"Question {number}?", "a", ("a", "b"))
    row = ItemResult(item, "a", True, nll=3.0, tokens=2, choice="b", truncated=True)
    return replace(row, **changes)


def test_a_saved_snapshot_reads_as_the_snapshot(tiny, tmp_path):
    suites = load_suites(("facts", "lists", "stories"), size=3)
    snapshot = evaluate(tiny, suites, max_new_tokens=2)
    mine, read = from_snapshot(snapshot), read_results(snapshot.save(tmp_path))
    assert mine == read
    assert mine.settings == {k: v for k, v in snapshot.settings.items() if k != "model"}
    assert mine.model == snapshot.settings["model"]
    assert "dtype" in mine.settings and "model" not in mine.settings


def test_a_snapshot_has_matches_choices_and_nats_per_token():
    task = from_snapshot(Snapshot({"facts": [result(0), result(1)]})).tasks["pocket_facts"]
    first = task.answers[0]
    assert first.scores["exact_match"] == 1 and first.scores["choice"] == 0
    assert first.scores["nll"] == 1.5
    assert first.chance == 0.5 and first.truncated is True
    assert first.cluster["family"] == "capital"
    plain = [name for name in task.metrics if "," not in name]
    assert plain == ["exact_match", "nll", "choice"]
    assert [task.metrics[name] for name in plain] == [True, False, True]


def test_a_metric_that_some_items_lack_is_not_listed():
    rows = [result(0), result(1, choice=None)]
    task = from_snapshot(Snapshot({"facts": rows})).tasks["pocket_facts"]
    assert "choice" not in task.metrics and "nll" in task.metrics


def test_a_snapshot_with_a_loss_that_is_no_number_is_refused():
    rows = [result(0), result(1, nll=math.nan)]
    with pytest.raises(BadResults, match=r"pocket_facts, i1.*nll is nan.*float32"):
        from_snapshot(Snapshot({"facts": rows}))


# Folders written by hand, in lm-eval's layout.


def sample(number: int, **changes: object) -> dict:
    row = {
        "doc_id": number,
        "doc": {"question": f"Question {number}?", "subject": "law", "choices": ["x", "y"]},
        "target": "1",
        "arguments": {
            f"gen_args_{i}": {"arg_0": f"Question {number}? Answer:", "arg_1": f" {choice}"}
            for i, choice in enumerate("xy")
        },
        "resps": [[["-2.5", "False"]], [["-1.5", "False"]]],
        "filtered_resps": [["-2.5", "False"], ["-1.5", "False"]],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "doc_hash": f"doc{number}",
        "prompt_hash": f"prompt{number}",
        "target_hash": "target",
        "acc": 1.0,
        "acc_norm": 0.0,
    }
    return {**row, **changes}


def without(row: dict, *names: str) -> dict:
    return {name: value for name, value in row.items() if name not in names}


def write(folder, rows, stamp=STAMP, task="mmlu_law", **changes):
    """A results folder with one task; `rows` are samples, or lines that are written as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "results": {task: {"acc,none": 1.0}},
        "configs": {task: {"task": task, "output_type": "multiple_choice"}},
        "versions": {task: 1.0},
        "n-shot": {task: 5},
        "higher_is_better": {task: {"acc": True, "acc_norm": True}},
        "n-samples": {task: {"original": 100, "effective": len(rows)}},
        "config": {"model": "hf", "model_args": "pretrained=gpt2,dtype=float16", "batch_size": "8"},
    }
    text = json.dumps({**report, **changes}, default=str)
    (folder / f"results_{stamp}.json").write_text(text, encoding="utf-8")
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / f"samples_{task}_{stamp}.jsonl").write_text(
        "".join(line + "\n" for line in lines), encoding="utf-8"
    )
    return folder


def read(folder):
    return read_results(folder).tasks["mmlu_law"]


def test_a_folder_by_hand_is_read(tmp_path):
    results = read_results(write(tmp_path, [sample(0), sample(1)]))
    task = results.tasks["mmlu_law"]
    assert task.version == "1.0" and results.model == "gpt2"
    assert results.settings["dtype"] == "float16"  # from the arguments, where it is only there
    assert results.settings["batch_size"] == 8
    assert results.settings["mmlu_law.num_fewshot"] == 5
    answer = task.answers[0]
    assert answer.key == "doc0prompt0" and answer.target_hash == "target"
    assert answer.scores == {"acc": 1, "acc_norm": 0, "acc,none": 1, "acc_norm,none": 0}
    assert (answer.prompt, answer.target, answer.output) == ("Question 0? Answer:", "y", "y")
    assert answer.chance == 0.5 and answer.truncated is None
    assert answer.cluster == {"question": "Question 0?", "subject": "law"}


def test_lm_evals_folder_below_is_found_and_two_models_are_not_confused(tmp_path):
    write(tmp_path / "org__base", [sample(0)])
    assert len(read(tmp_path).answers) == 1
    write(tmp_path / "org__tuned", [sample(0)])
    with pytest.raises(BadResults, match=r"several models: org__base, org__tuned\. Give one"):
        read_results(tmp_path)


def test_of_several_runs_the_newest_is_read(tmp_path):
    write(tmp_path, [sample(0)], stamp="2026-01-02T03-04-06")  # a full second has no fraction
    write(tmp_path, [sample(0, acc=0.0)], stamp="2026-01-02T03-04-06.500000")
    write(tmp_path, [sample(0)], stamp="2025-12-31T23-59-59.000001")
    assert read(tmp_path).answers[0].scores["acc"] == 0


def test_missing_hashes_are_computed_as_lm_eval_does(theirs, written, tmp_path):
    rows = [without(row, "doc_hash", "prompt_hash") for row in written[1]["pocket_facts"]]
    folder = write(tmp_path, rows, task="pocket_facts", configs={"pocket_facts": {}})
    keys = [answer.key for answer in read_results(folder).tasks["pocket_facts"].answers]
    assert keys == [answer.key for answer in theirs.tasks["pocket_facts"].answers]


def test_items_that_are_alike_are_numbered(tmp_path):
    twin = {"doc_hash": "doc0", "prompt_hash": "prompt0"}
    rows = [sample(0), sample(1, **twin), sample(2), sample(3, **twin)]
    keys = [answer.key for answer in read(write(tmp_path, rows)).answers]
    assert keys == ["doc0prompt0", "doc0prompt0#2", "doc2prompt2", "doc0prompt0#3"]


def test_line_separators_inside_a_text_do_not_cut_a_line(tmp_path):
    text = "one\u2028two\x85three\r"
    rows = [sample(0, doc={"question": text}), sample(1)]
    assert read(write(tmp_path, rows)).answers[0].cluster == {"question": text}


def test_groups_are_no_tasks(tmp_path):
    write(
        tmp_path,
        [sample(0)],
        results={"mmlu": {}, "mmlu_law": {}},
        groups={"mmlu": {}},
        group_subtasks={"mmlu": ["mmlu_law"], "mmlu_law": []},
        configs={"mmlu": {}, "mmlu_law": {}},
    )
    assert list(read_results(tmp_path).tasks) == ["mmlu_law"]


def mmlu(folder, right=lambda subject, number: 1.0, subjects=57, items=12):
    """A folder in the layout that `lm_eval --tasks mmlu --log_samples` writes: one file a subject,
    groups of groups, and no file for any group."""
    names = [f"mmlu_{number:02}" for number in range(subjects)]
    halves = {"mmlu_stem": names[:19], "mmlu_other": names[19:]}
    groups = {"mmlu": list(halves), **halves}
    folder.mkdir(parents=True)
    for place, name in enumerate(names):
        rows = [
            sample(n, acc=right(place, n), doc_hash=f"{name}{n}", prompt_hash=f"{name}{n}")
            for n in range(items)
        ]
        write(folder, rows, task=name)  # the report is written anew below
    report = json.loads((folder / f"results_{STAMP}.json").read_text(encoding="utf-8"))
    for part in ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples"):
        ((_, one),) = report[part].items()
        report[part] = dict.fromkeys(names, one)
    report["results"] |= {name: {"acc,none": 1.0} for name in groups}
    report |= {"groups": {name: {"acc,none": 1.0} for name in groups}, "group_subtasks": groups}
    (folder / f"results_{STAMP}.json").write_text(json.dumps(report), encoding="utf-8")
    return folder


def test_mmlu_is_one_row_of_a_map_with_its_57_subjects_as_groups(tmp_path):
    """As `--tasks mmlu` writes it; half of every third subject is lost."""
    before = read_results(mmlu(tmp_path / "before"))
    lost = mmlu(tmp_path / "after", lambda subject, n: float(subject % 3 > 0 or n % 2))
    after = read_results(lost)
    assert len(before.groups["mmlu"]) == 57 and len(before.groups["mmlu_stem"]) == 19
    capability_map = CapabilityMap.parse("version: 1\ncategories: {mmlu: {margin: 2}}")
    row = audit(before, after, capability_map)["mmlu"]
    assert row.items == 57 * 12 and row.before == 100 and row.drop == pytest.approx(100 / 6)
    assert row.verdict == "BLOCK" and row.design_effect > 2 and row.metric == "acc"
    assert audit(before, before, capability_map)["mmlu"].verdict == "PASS"


def test_truth_values_are_numbers_and_other_values_are_left_out(tmp_path):
    names = ["acc", "f1", "bleu", "bypass"]
    rows = [
        sample(i, metrics=names, acc=True, f1=[1, 0], bleu=["a", "b"], bypass=999) for i in range(2)
    ]
    task = read(write(tmp_path, rows))
    assert task.metrics == {"acc": True, "acc,none": True}


@pytest.mark.parametrize(
    "logged, expected",
    [
        ({"word_perplexity": [-30.0, 10]}, 3.0),
        ({"word_perplexity": [-30.0, 10], "byte_perplexity": [-30.0, 60]}, 0.5),
        ({"bits_per_byte": [-30.0, 60]}, 0.5),
    ],
)
def test_pairs_become_nats_per_byte_else_per_word(tmp_path, logged, expected):
    rows = [sample(0, metrics=list(logged), **logged)]
    task = read(write(tmp_path, rows))
    assert task.metrics["nll"] is False and task.answers[0].scores["nll"] == expected


def test_what_is_better_is_read_and_else_known_by_name(tmp_path):
    names = ["acc", "toxicity", "ter", "odd"]
    rows = [sample(0, metrics=names, acc=1, toxicity=0.5, ter=0.5, odd=0.5)]
    told = {"mmlu_law": {"toxicity": False, "ter": None}}
    metrics = read(write(tmp_path, rows, higher_is_better=told)).metrics
    plain = {name: higher for name, higher in metrics.items() if "," not in name}
    assert plain == {"acc": True, "toxicity": False, "ter": False, "odd": True}


def test_the_choices_that_are_asked_without_a_prompt_do_not_count(tmp_path):
    asked = sample(0)["arguments"]
    bare = {f"gen_args_{i + 2}": {"arg_0": "", "arg_1": f" {c}"} for i, c in enumerate("xy")}
    resps = [[["-2.5", "False"]], [["-1.5", "False"]], [["-1.0", "False"]], [["-0.5", "False"]]]
    row = sample(0, arguments=asked | bare, resps=resps, metrics=["acc", "acc_mutual_info"])
    answer = read(write(tmp_path, [{**row, "acc_mutual_info": 0.0}])).answers[0]
    assert answer.chance == 0.5 and answer.output == "y"


def test_an_adapter_is_named_beside_its_base(tmp_path):
    config = {"model_args": {"pretrained": "gpt2", "peft": "mine", "dtype": "bfloat16"}}
    tuned = read_results(write(tmp_path / "tuned", [sample(0)], config=config))
    config = {"model_args": "pretrained=gpt2", "model_dtype": "torch.bfloat16"}
    base = read_results(write(tmp_path / "base", [sample(0)], config=config))
    assert (base.model, tuned.model) == ("gpt2", "gpt2 + mine")
    assert base.settings == tuned.settings


def test_older_files_list_neither_filter_nor_metrics(tmp_path):
    listed = [[f"Question {i}? Answer:", f" {c}"] for i in range(1) for c in "xy"]
    row = without(sample(0, arguments=listed), "filter", "metrics")
    assert read(write(tmp_path, [row])).metrics["acc_norm"] is True


# Defects, each with its own message.

BAD_SAMPLES = {
    "none at all": ([], f"samples_mmlu_law_{STAMP}.jsonl holds no answers"),
    "not JSON": ([sample(0), '{"doc_id": 1, "do'], "line 2 is not JSON.*again"),
    "no object": ([sample(0), "[1]"], "line 2 is no object"),
    "no document number": ([without(sample(0), "doc_id")], "line 1 has no 'doc_id'"),
    "no document": ([sample(0), without(sample(1), "doc")], "line 2 has no 'doc'"),
    "no arguments": ([without(sample(0), "arguments")], "line 1 has no 'arguments'"),
    "no prompt": ([sample(0, arguments={})], "'arguments' has no prompt"),
    "no target": ([without(sample(0), "target")], "line 1 has no 'target'"),
    "odd arguments": ([sample(0, arguments=7)], "line 1 is no sample of lm-eval"),
    "odd number": ([sample(0, doc_id=[0])], "line 1 is no sample of lm-eval"),
    "odd responses": ([sample(0, resps=[])], "line 1 is no sample of lm-eval"),
    "listed, not there": ([without(sample(0), "acc")], "lists the metric 'acc' and lacks it"),
    "not a number": ([sample(0), sample(7, acc=math.nan)], r"document 7\): acc is nan"),
    "infinite": ([sample(0, acc_norm=math.inf)], r"document 0\): acc_norm is inf"),
    "infinite loss": (
        [sample(0, metrics=["word_perplexity"], word_perplexity=[-math.inf, 3])],
        r"document 0\): word_perplexity is -inf",
    ),
    "twice": ([sample(0), sample(1), sample(0)], "line 3: document 0 is there twice"),
    "twice, no filter": (
        [without(sample(0), "filter"), without(sample(0, acc=0.0), "filter")],
        "too old to tell its filters apart",
    ),
    "other documents": (
        [sample(0, filter="a"), sample(1, filter="a"), sample(0, filter="b")],
        "filters 'a' and 'b' have different documents.*has 1",
    ),
}


@pytest.mark.parametrize("rows, message", BAD_SAMPLES.values(), ids=BAD_SAMPLES)
def test_bad_samples_are_named(tmp_path, rows, message):
    with pytest.raises(BadResults, match=message):
        read_results(write(tmp_path, rows))


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    count = {"mmlu_law": {"original": 100, "effective": 3}}
    with pytest.raises(BadResults, match="has 2 documents, but 3 were evaluated"):
        read_results(write(tmp_path, [sample(0), sample(1)], **{"n-samples": count}))


def test_a_count_of_values_is_no_count_of_documents(tmp_path):
    some = [without(sample(i, metrics=["acc"]), "acc_norm") for i in range(2)]
    others = [without(sample(i, metrics=["acc_norm"]), "acc") for i in (2, 3, 4)]
    count = {"mmlu_law": {"original": 100, "effective": 3}}
    assert read(write(tmp_path, [*some, *others], **{"n-samples": count})).metrics == {}


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(BadResults, match="nowhere does not exist"):
        read_results(tmp_path / "nowhere")
    with pytest.raises(BadResults, match=r"no results_\*.json.*--output_path"):
        read_results(tmp_path)
    write(tmp_path, [sample(0)])
    with pytest.raises(BadResults, match="is a file: give the folder"):
        read_results(tmp_path / f"results_{STAMP}.json")


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"results": {"a"', "is not JSON"),
        ("[]", "has no 'results'"),
        ("{}", "has no 'results'"),
        ('{"results": {"a": {}}, "configs": [1]}', "'configs' is no object"),
        ('{"results": {"a": {}}, "groups": {"a": {}}}', "names no task"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_a_damaged_report_is_named(tmp_path, text, message):
    path = tmp_path / f"results_{STAMP}.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadResults, match=f"results_{STAMP}.json.*{message}"):
        read_results(tmp_path)


def test_answers_that_were_not_logged_are_asked_for(tmp_path):
    configs = {"mmlu_law": {}, "gsm8k": {}, "arc": {}}
    with pytest.raises(BadResults, match=r"no answers to gsm8k, arc.*--log_samples"):
        read_results(write(tmp_path, [sample(0)], configs=configs))


def test_samples_that_are_no_text_are_refused(tmp_path):
    write(tmp_path, [sample(0)])
    (tmp_path / f"samples_mmlu_law_{STAMP}.jsonl").write_bytes(b'{"doc": "\xff"}\n')
    with pytest.raises(BadResults, match="is not UTF-8"):
        read_results(tmp_path)
