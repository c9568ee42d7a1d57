"""What a lesson says to do on Monday runs as printed, on a small random model of Llama's shape."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
import yaml
from small_models import small_model
from transformers import AutoTokenizer

from helpers.paths import DATA

SOURCES = [
    path
    for path in sorted((DATA.parent / "source").glob("[0-9]*.py"))
    if "\n# ## On Monday" in path.read_text(encoding="utf-8")
]
#: Marks the assistant's tokens, as TRL wants it for a loss on answers alone.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}Assistant:"
    "{% generation %} {{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}User: {{ message['content'] }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
NEW = [("When will I see my refund?", "In 3 days."), ("Can I pay later?", "No.")] * 8
OLD = [("What is 1 + 2?", "3"), ("What is the capital of France?", "Paris")] * 8
TASK = {
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def boxes(path: Path) -> list[str]:
    """The cells of a lesson that say what to do on Monday."""
    cells = jupytext.read(path).cells
    return [cell.source for cell in cells if cell.source.startswith("## On Monday")]


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block."""
    return re.findall(r"^```(python|bash)\n(.*?)^```", text, re.M | re.S)


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def desk(tmp_path):
    """A folder with a model, rows and tasks, as the lessons assume them."""
    tokenizer = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2")
    tokenizer.chat_template = TEMPLATE
    model = small_model("llama", tokenizer)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "tasks").mkdir()
    for name, rows in (("rows", NEW), ("old", OLD)):
        chats = [
            {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
            for a, b in rows
        ]
        write_lines(tmp_path / f"{name}.jsonl", chats)
    write_lines(tmp_path / "pairs.jsonl", [{"prompt": a, "completion": f" {b}"} for a, b in NEW])
    for name, rows in (("target", NEW), ("keep", OLD)):
        write_lines(
            tmp_path / "tasks" / f"{name}.jsonl", [{"prompt": a, "answer": b} for a, b in rows]
        )
        files = {"dataset_kwargs": {"data_files": {"test": f"tasks/{name}.jsonl"}}}
        task = yaml.safe_dump({"task": name, **TASK, **files})
        (tmp_path / "tasks" / f"{name}.yaml").write_text(task)
    (tmp_path / "tasks" / "both.yaml").write_text(
        yaml.safe_dump({"group": "both", "task": ["target", "keep"]})
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_monday_runs_as_printed(path, desk, monkeypatch):
    (box,) = boxes(path)
    found = blocks(box)
    assert found, "the box has no commands"
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"PATH": tools, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(desk / "cache")}
    for key, value in quiet.items():
        monkeypatch.setenv(key, value)
    names: dict[str, object] = {"__name__": "__monday__"}
    monkeypatch.chdir(desk)
    for language, code in found:
        if language == "python":  # as cells of one notebook
            exec(compile(code, f"{path.stem}, On Monday", "exec"), names)
            continue
        shell = ["bash", "-euo", "pipefail", "-c", code]
        ran = subprocess.run(shell, capture_output=True, text=True)
        assert ran.returncode == 0, f"{code}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"


def test_blocks_are_found():
    text = "## On Monday\nSay\n```bash\nls\n```\nand\n```python\nx = 1\n```\n```text\nno\n```"
    assert blocks(text) == [("bash", "ls\n"), ("python", "x = 1\n")]
