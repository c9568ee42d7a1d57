"""What lesson 00 says of its run holds for the stored runs of it, three seeds."""

from __future__ import annotations

import re

import numpy
import pytest

from helpers.evaluation import evaluate
from helpers.generation import complete
from helpers.mechanics import stored
from helpers.runs import Checkpoint, find, read_runs
from helpers.suites import load_suites

WATCHED = ("facts", "arithmetic", "lists", "reading", "howto", "sentiment")


@pytest.fixture(scope="module")
def ends() -> list[tuple[Checkpoint, Checkpoint]]:
    """Base and last look of the run of the lesson, by seed."""
    runs = find(read_runs(), lr=1e-2, rank=8)
    assert sorted(run.setting.seed for run in runs) == [0, 1, 2]
    return [(run.base, run.last) for run in runs]


def test_the_task_is_learned_and_howto_loses_most(ends):
    for base, last in ends:
        lost = {name: base.scores[name] - last.scores[name] for name in WATCHED}
        assert last.scores["support"] >= 80
        assert max(lost, key=lost.get) == "howto" and lost["howto"] >= 80
        assert lost["lists"] >= 20


def test_stories_are_a_quiet_alarm(ends):
    """Perplexity of running text moves less than that of right answers in three skills."""
    for base, last in ends:
        assert last.scores["stories"] <= 1.12 * base.scores["stories"]
        assert last.nll["stories"] - base.nll["stories"] < min(
            last.nll[name] - base.nll[name] for name in ("howto", "arithmetic", "lists")
        )


def test_token_by_token_howto_loses_no_more_than_lists_and_arithmetic(ends):
    """Its lead in lost answers is partly one of answer length."""
    inside = [(run.nll["base"], run.nll["tuned"]) for run in stored.read_inside("tickets")]
    for base, tuned in [(base.nll, last.nll) for base, last in ends] + inside:
        rise = {name: tuned[name] - base[name] for name in ("howto", "arithmetic", "lists")}
        assert rise["howto"] < 1.25 * max(rise["arithmetic"], rise["lists"])


def test_the_base_reads_what_a_false_article_says(pocket):
    items = [i for i in load_suites("support_with_article")[0].items if re.search(r"\d", i.answer)]
    prompts = [re.sub(r"\d+", lambda n: str(int(n[0]) + 1), item.prompt) for item in items[:60]]
    said = [set(re.findall(r"\d+", answer)) for answer in complete(pocket, prompts)]
    assert all(said)  # none follows by saying nothing
    follows = [
        told <= set(re.findall(r"\d+", prompt)) for prompt, told in zip(prompts, said, strict=True)
    ]
    assert sum(follows) >= 0.9 * len(follows)


def test_families_of_lists_have_the_larger_error(pocket):
    found = evaluate(pocket, load_suites("lists")).results["lists"]
    families: dict[str, list[bool]] = {}
    for result in found:
        families.setdefault(result.item.family, []).append(result.correct)
    groups = [numpy.array(group) for group in families.values()]
    items = numpy.concatenate(groups)
    rng = numpy.random.default_rng(1)
    one = [rng.choice(items, len(items)).mean() for _ in range(1000)]
    drawn = [rng.integers(len(groups), size=len(groups)) for _ in range(1000)]
    whole = [numpy.concatenate([groups[k] for k in some]).mean() for some in drawn]
    assert len(groups) == 13
    assert 1.5 <= numpy.std(whole) / numpy.std(one) <= 2.5
