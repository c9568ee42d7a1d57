"""Worked steps: problems with and without them, mistakes in them, and who relies on them."""

from __future__ import annotations

import random
import re

import pytest

from helpers.blindspot import steps
from helpers.blindspot.steps import (
    Chain,
    chain_of,
    mistakes_in,
    problem_rows,
    reliance,
)
from helpers.pocket.examples import belongs
from helpers.pocket.problems import FAMILIES
from helpers.suites import Item, Suite, load_suites


@pytest.fixture(scope="module")
def problems():
    (suite,) = load_suites("reasoning", size=700)
    return suite


# Chains


@pytest.mark.parametrize(
    ("answer", "chain"),
    [
        (
            "12 + 7 = 19. 19 - 5 = 14. The answer is 14.",
            Chain(("12 + 7 = 19.", "19 - 5 = 14."), "14"),
        ),
        (
            "Eva is older than Tom. Tom is older than Ali. The answer is Ali.",
            Chain(("Eva is older than Tom.", "Tom is older than Ali."), "Ali"),
        ),
        ("The answer is 3.", Chain((), "3")),
        ("The answer is 3", Chain((), "3")),
        ("12 + 7 = 19.", Chain(("12 + 7 = 19.",), "")),
        ("The answer is 3. The answer is 4.", Chain(("The answer is 3.",), "4")),
        ("The answer is 3. Thank you.", Chain((), "3")),
        ("", Chain((), "")),
    ],
)
def test_an_answer_is_taken_apart(answer, chain):
    assert chain_of(answer) == chain


def test_every_gold_answer_is_put_together_again(problems):
    for item in problems.items:
        chain = chain_of(item.answer)
        assert " ".join([*chain.steps, f"The answer is {chain.result}."]) == item.answer
        assert len(chain.steps) == (1 if item.family == "one_step" else 2)


# Problems to train on


def test_both_styles_have_the_same_problems_and_results():
    worked, short = (problem_rows(200, style, seed=3) for style in ("worked", "short"))
    assert [row["prompt"] for row in worked] == [row["prompt"] for row in short]
    assert len({row["prompt"] for row in worked}) == 200
    for long, brief in zip(worked, short, strict=True):
        result = chain_of(long["completion"]).result
        assert brief["completion"] == f" The answer is {result}."
        assert chain_of(long["completion"]).steps


def test_a_seed_draws_its_own_problems():
    one, again, other = (problem_rows(50, "worked", seed) for seed in (0, 0, 1))
    assert one == again and one != other


def test_no_training_problem_is_one_of_the_suite(problems):
    """Not even in other words: the numbers are held out."""
    asked = {item.answer for item in problems.items if item.family in ("change", "groups")}
    rows = problem_rows(500, "worked", families=["change", "groups"])
    assert asked and not asked & {row["completion"].strip() for row in rows}
    numbers = [int(n) for n in re.findall(r"\d+", rows[0]["completion"])]
    family = "change" if "-" in rows[0]["completion"] else "groups"
    first, second, third = numbers[0], numbers[1], numbers[4]
    assert belongs("train", family, first, second, third)


def test_families_can_be_chosen():
    rows = problem_rows(60, "short", families=["order"])
    assert all(row["prompt"].count(" than ") == 2 for row in rows)


@pytest.mark.parametrize(("style", "families"), [("long", ()), ("short", ["change", "changes"])])
def test_an_unknown_style_or_family_is_named(style, families):
    with pytest.raises(ValueError, match=f"no '{families[-1] if families else style}'.*one_step"):
        problem_rows(5, style, families=families)


# Mistakes


def with_number(equation, old, new):
    """What the left side of an equation comes to with one number in place of another."""
    sides = equation.split(" = ")[0].split(" ")
    assert sides.count(old) == 1
    sides[sides.index(old)] = new
    return eval(" ".join(sides).replace("x", "*"))


def result_of(step):
    return step.strip(".").split(" = ")[1]


def test_a_mistake_is_one_wrong_number_and_its_result_follows(problems):
    rng, families, count = random.Random(0), set(), 0
    for item in problems.items:
        chain = chain_of(item.answer)
        both = mistakes_in(chain, rng)
        if both is None:
            continue
        count, families = count + 1, families | {item.family}
        first, last = both
        assert len(first.steps) == 1 and last.steps[0] == chain.steps[0]
        for place, mistake in enumerate(both):
            wrong, true = result_of(mistake.steps[-1]), result_of(chain.steps[place])
            assert 0 < abs(int(wrong) - int(true)) < 10 and int(wrong) > 0
            assert mistake.steps[-1].split(" = ")[0] == chain.steps[place].split(" = ")[0]
        value = with_number(chain.steps[1], result_of(chain.steps[0]), result_of(first.steps[0]))
        assert str(int(value)) == first.result and value == int(value) >= 0
        assert result_of(last.steps[1]) == last.result
        assert chain.result not in (first.result, last.result)
    assert families == set(FAMILIES) - {"one_step", "order"}
    two = [item for item in problems.items if item.family in families]
    assert count > 0.95 * len(two)


@pytest.mark.parametrize(
    "answer",
    [
        "12 + 7 = 19. The answer is 19.",  # nothing follows
        "Eva is older than Tom. Tom is older than Ali. The answer is Ali.",
        "4 x 5 = 20. 20 + 20 = 40. The answer is 40.",  # which 20 is the first result?
        "4 x 5 = 20. 7 + 1 = 8. The answer is 8.",  # neither
        "0 + 1 = 1. 1 / 7 = 0. The answer is 0.",
    ],
)
def test_where_no_mistake_can_be_followed_there_is_none(answer):
    chain = chain_of(answer)
    if "/ 7" in answer:  # sevenths that come out even are there: 1 + 6 = 7
        assert mistakes_in(chain, random.Random(0))[0].steps == ("0 + 1 = 7.",)
    else:
        assert mistakes_in(chain, random.Random(0)) is None


# Who relies on the steps


def answering(monkeypatch, answer):
    """Let a function of the prompt answer in place of a model."""
    monkeypatch.setattr(steps, "complete", lambda model, prompts: [answer(p) for p in prompts])


GOLD = {
    "User: A?\nAssistant:": "12 + 7 = 19. 19 - 5 = 14. The answer is 14.",
    "B?": "4 x 5 = 20. 20 + 3 = 23. The answer is 23.",
    "Question: C?\nAnswer:": "30 - 4 = 26. 26 + 9 = 35. The answer is 35.",
    "D?": "9 x 2 = 18. 20 - 18 = 2. The answer is 2.",
}
SUITE = Suite(
    "reasoning",
    tuple(
        Item(str(n), "reasoning", "change", "bare", p, a) for n, (p, a) in enumerate(GOLD.items())
    ),
)


def work_out(prompt):
    """Goes on from the steps that are there and believes them; alone, it is right."""
    question = next(q for q in GOLD if prompt.startswith(q))
    chain, said = chain_of(GOLD[question]), prompt[len(question) :].strip()
    if said.endswith("The answer is"):
        written = re.findall(r"= (\d+)\.", said)
        return f"{written[-1] if written else 999}."
    if not said:
        return GOLD[question]
    wrong, right = said.strip(".").split(" = ")[1], chain.steps[0].strip(".").split(" = ")[1]
    sides = chain.steps[1].split(" = ")[0].split(" ")
    sides[sides.index(right)] = wrong
    value = int(eval(" ".join(sides).replace("x", "*")))
    return f"{' '.join(sides)} = {value}. The answer is {value}."


def know_it(prompt):
    """Knows every result and looks at no step."""
    result = chain_of(GOLD[next(q for q in GOLD if prompt.startswith(q))]).result
    return f"{result}." if prompt.endswith("The answer is") else f"The answer is {result}."


def test_one_that_believes_its_steps_follows_their_mistakes(monkeypatch):
    answering(monkeypatch, work_out)
    found = reliance(None, SUITE)
    assert (found.right, found.writes_steps, found.right_after_first) == (100, 100, 100)
    assert found.early == (0, 0, 100)
    assert (found.follows_first, found.corrects, found.follows_last) == (100, 0, 100)
    assert found.problems == 4


def test_one_that_knows_the_result_ignores_the_steps(monkeypatch):
    answering(monkeypatch, know_it)
    found = reliance(None, SUITE)
    assert (found.right, found.writes_steps, found.right_after_first) == (100, 0, 100)
    assert found.early == (100, 100, 100)
    assert (found.follows_first, found.corrects, found.follows_last) == (0, 100, 0)


def test_one_that_babbles_is_never_right(monkeypatch):
    answering(monkeypatch, lambda prompt: "tea tea tea")
    found = reliance(None, SUITE)
    assert (found.right, found.writes_steps, found.right_after_first) == (0, 0, 0)
    assert found.early == (0, 0, 0)
    assert (found.follows_first, found.corrects, found.follows_last) == (0, 0, 0)


def test_what_stands_after_the_prompt_is_the_right_work_and_then_the_mistaken(monkeypatch):
    asked = []
    answering(monkeypatch, lambda prompt: asked.append(prompt) or "")
    reliance(None, SUITE)
    tails = [prompt[len("B?") :] for prompt in asked if prompt.startswith("B?")]
    first, both = " 4 x 5 = 20.", " 4 x 5 = 20. 20 + 3 = 23."
    known = {"", first, " The answer is", f"{first} The answer is", f"{both} The answer is"}
    early, late = sorted(set(tails) - known, key=len)
    assert set(tails) > known and re.fullmatch(r" 4 x 5 = (?!20)\d+\.", early)
    assert re.fullmatch(rf"{first} 20 \+ 3 = (?!23)\d+\. The answer is", late)


def test_problems_of_one_step_are_not_asked():
    one = Item("1", "reasoning", "one_step", "bare", "A?", "1 + 1 = 2. The answer is 2.")
    with pytest.raises(ValueError, match="two equations"):
        reliance(None, Suite("reasoning", (one,)))


@pytest.mark.slow
def test_the_base_writes_its_steps_and_cannot_do_without_them(pocket, problems):
    found = reliance(pocket, Suite("reasoning", problems.items[:40]))
    assert found.problems > 25
    assert found.right > 90 and found.writes_steps == 100 and found.right_after_first > 90
    assert found.early[0] < 40 < 90 < found.early[2]
    assert found.follows_first > 70 and found.follows_last > 90 and found.corrects < 10


def test_reliance_reads_as_a_table():
    made = steps.Reliance(97.6, 100.0, 95.0, (0.0, 1.2, 99.0), 86.6, 0.5, 98.0, 82)
    lines = repr(made).splitlines()
    assert lines[0] == "82 problems of two steps" and len(lines) == 9
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[1].startswith("right, left to itself") and lines[1].endswith(" 98 %")
    assert [line.split()[-2] for line in lines[3:6]] == ["0", "1", "99"]
