"""Worked steps: problems with and without them, mistakes in them, and who relies on them."""

from __future__ import annotations

import random
import re

import pytest
import torch

from helpers.blindspot import steps
from helpers.blindspot.steps import (
    COMPARED,
    EQUATION,
    Chain,
    Reliance,
    chain_of,
    compare,
    concluded,
    continuations,
    copy_last,
    first_stop,
    look_up,
    mistakes_in,
    problem_rows,
    reliance,
    two_step,
    with_left_changed,
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


@pytest.mark.parametrize(
    ("text", "stop", "end"),
    [
        (" 37. Thank you.", "37", "37"),
        ("6 + 9 = 15. 15 / 5 = 3. The answer is 3.", "6 + 9 = 15", "3"),
        ("4. 4", "4", "4"),
        ("6 + 9 = 15. 15 / 5 = 3.", "6 + 9 = 15", "6 + 9 = 15"),  # it never concludes
        ("", "", ""),
    ],
)
def test_what_follows_the_cue_is_read_to_the_first_stop_or_to_its_end(text, stop, end):
    assert first_stop(text) == stop and concluded(text) == end


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


MODEL = torch.nn.Module()


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
    if said == chain.steps[0].split(" = ")[0] + " =":
        return GOLD[question].split(" = ", 1)[1]
    if said.endswith("="):
        return f"{chain.result}. The answer is {chain.result}."
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
    found = reliance(MODEL, SUITE)
    assert (found.right, found.writes_steps, found.right_after_first) == (100, 100, 100)
    assert (found.begun, found.finishes, found.tampered) == (100, 100, 100)
    assert found.early == found.early_first_stop == (0, 0, 100)
    assert found.goes_on == (0, 0, 0) and found.copies == (0, 100, 100)
    assert (found.follows_first, found.corrects, found.follows_last) == (100, 0, 100)
    assert found.problems == 4


def test_one_that_goes_on_after_the_cue_is_read_to_its_end(monkeypatch):
    def thinks_on(prompt):
        question = next(q for q in GOLD if prompt.startswith(q))
        alone = prompt[len(question) :].strip() == "The answer is"
        return GOLD[question] if alone else work_out(prompt)

    answering(monkeypatch, thinks_on)
    found = reliance(MODEL, SUITE)
    assert found.early_first_stop == (0, 0, 100) and found.early == (100, 0, 100)
    assert found.goes_on == (100, 0, 0)


def test_one_that_knows_the_result_ignores_the_steps():
    found = reliance(know_it, SUITE)
    assert (found.right, found.writes_steps, found.right_after_first) == (100, 0, 100)
    assert found.early == (100, 100, 100) and found.tampered == 100
    assert (found.follows_first, found.corrects, found.follows_last) == (0, 100, 0)
    assert reliance(look_up(SUITE), SUITE) == found


def test_one_that_copies_looks_like_one_that_computes_on_the_page():
    found = reliance(copy_last, SUITE)
    assert found.early == found.early_first_stop == (0, 0, 100)
    assert (found.follows_first, found.follows_last) == (0, 100)
    assert (found.right, found.tampered, found.finishes) == (0, 0, 0)


def test_one_that_babbles_is_never_right(monkeypatch):
    answering(monkeypatch, lambda prompt: "tea tea tea")
    found = reliance(MODEL, SUITE)
    assert (found.right, found.writes_steps, found.right_after_first) == (0, 0, 0)
    assert found.early == (0, 0, 0)
    assert (found.follows_first, found.corrects, found.follows_last) == (0, 0, 0)


def test_what_stands_after_the_prompt_is_the_right_work_and_then_the_mistaken(monkeypatch):
    asked = []
    answering(monkeypatch, lambda prompt: asked.append(prompt) or "")
    reliance(MODEL, SUITE)
    tails = [prompt[len("B?") :] for prompt in asked if prompt.startswith("B?")]
    first, both = " 4 x 5 = 20.", " 4 x 5 = 20. 20 + 3 = 23."
    cued = {" The answer is", f"{first} The answer is", f"{both} The answer is"}
    known = {"", first, " 4 x 5 =", f"{first} 20 + 3 =", *cued}
    *early, late = sorted(set(tails) - known, key=len)
    (left,) = [tail for tail in early if tail.endswith("= 20.")]
    (wrong,) = set(early) - {left}
    assert set(tails) > known and re.fullmatch(r" 4 x 5 = (?!20)\d+\.", wrong)
    assert re.fullmatch(r" 4 x [678] = 20\.", left)
    assert re.fullmatch(rf"{first} 20 \+ 3 = (?!23)\d+\. The answer is", late)


def test_problems_of_one_step_are_not_asked():
    one = Item("1", "reasoning", "one_step", "bare", "A?", "1 + 1 = 2. The answer is 2.")
    with pytest.raises(ValueError, match="two equations"):
        reliance(know_it, Suite("reasoning", (one,)))


@pytest.mark.slow
def test_the_base_writes_its_steps_and_cannot_do_without_them(pocket, problems):
    found = reliance(pocket, Suite("reasoning", problems.items[:40]))
    assert found.problems > 25
    assert found.right > 90 and found.writes_steps == 100 and found.right_after_first > 90
    assert found.early_first_stop[0] < 10 and found.early[0] > 80 and found.early[2] > 90
    assert found.tampered > 90 and found.finishes > 90
    assert found.follows_first > 70 and found.follows_last > 90 and found.corrects < 10


def made(**changed):
    """A result with some numbers."""
    three = dict.fromkeys(("early", "early_first_stop", "goes_on", "copies"), (0.0, 1.2, 99.0))
    rest = {name: 50.0 for name in Reliance.__annotations__ if name not in three}
    return Reliance(**{**three, **rest, "problems": 82, **changed})


def test_reliance_reads_as_a_table():
    lines = repr(made(right=97.6)).splitlines()
    assert lines[0] == "82 problems of two steps" and len(lines) == 10
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[1].startswith("right, left to itself") and lines[1].endswith(" 98 %")
    assert [line.split()[-2] for line in lines[3:6]] == ["0", "1", "99"]


def test_several_seeds_are_compared_with_their_range():
    table = compare({"one": [made(right=97.6)], "three": [made(right=r) for r in (1, 2, 6)]})
    assert list(table.index) == list(COMPARED)
    assert list(table.loc["right, left to itself"]) == ["98", "3 (1 to 6)"]


def test_a_tampered_step_keeps_its_result(problems):
    rng = random.Random(0)
    for step in ("4 x 5 = 20.", "36 / 4 = 9."):
        a, sign, b, result = EQUATION.fullmatch(with_left_changed(step, rng)).groups()
        assert (a, sign, result) == EQUATION.fullmatch(step).group(1, 2, 4) and b not in step[3:6]
    with pytest.raises(ValueError, match="no equation"):
        with_left_changed("Eva is older than Tom.", rng)


def test_continuations_stand_after_the_cue():
    asked = []
    problems = two_step(SUITE)
    said = continuations(lambda prompt: asked.append(prompt) or "7.", problems, 1)
    assert said == ["7."] * 4
    assert asked[1] == "B? 4 x 5 = 20. The answer is"
