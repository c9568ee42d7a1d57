"""What the lm-eval tasks in this folder need: the items, and how an answer is cleaned."""

import functools
import json
import re
from pathlib import Path

import datasets
from lm_eval.api.filter import Filter

FOLDER = Path(__file__).parent


def read(name, **kwargs):
    """All items of one suite, as lm-eval wants them."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return {"test": datasets.Dataset.from_list([json.loads(line) for line in lines])}


def reasoning_answer(doc):
    """In a worked problem only the last statement is scored."""
    return re.findall(r"The answer is ([^.\n]+)", doc["answer"])[-1]


class Strip(Filter):
    """Removes the space that stands between a prompt and its answer."""

    def apply(self, resps, docs):
        return [[answer.strip() for answer in answers] for answers in resps]


for path in FOLDER.glob("*.jsonl"):
    globals()[path.stem] = functools.partial(read, path.stem)
