"""Checkers of the exercises in lesson 06."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from numbers import Real
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import AutoTokenizer

from ..jsonl import read_lines
from ..mitigations.board import BOARD, ITEMS
from ..paths import DATA
from ..scope.brief import Brief
from ..scope.leaks import question_of
from ..scope.needs import EXAMPLE
from ..scope.replay import choose_families
from ..scope.retrieval import HelpIndex, shop_articles
from ..scope.stored import MIXING, NO_PROBLEMS, SEARCH, SHARE
from ..suites import load_suites
from ..tickets import read_tickets
from ..tradeoff import OLD as OLD_SKILLS
from . import exercise

SEEDS = (0, 1, 2)
Row = dict[str, str]


def _row(prompt: str, completion: str = "yes") -> Row:
    return {"prompt": prompt, "completion": f" {completion}"}


def _sum(a: int, b: int, format: str = "{}", sign: str = "+") -> Row:
    return _row(format.format(f"What is {a} {sign} {b}?"), f"{a} {sign} {b}")


class Mix(NamedTuple):
    """What the mixer is given, and how many old rows belong into the result."""

    tickets: list[Row]
    replay: list[Row]
    held_out: list[str]
    share: float
    count: int


QA, CHAT = "Question: {}\nAnswer:", "User: {}\nAssistant:"
SIGNS = "+-x"
#: Sorted by skill, as files are. Every third question is held out, in another format than most of
#: the old rows have.
OLD = [
    _sum(a, b, (QA, CHAT)[(a + b) % 2], sign)
    for sign in SIGNS
    for a in range(2, 12)
    for b in range(1, 13)
]
HELD_OUT = [
    CHAT.format(f"What is {a} {sign} {b}?")
    for sign in SIGNS
    for a in range(2, 12)
    for b in range(1, 13, 3)
]
NEW = [_row(f"Customer: Where is parcel {number}?\nAgent:") for number in range(90)]
MIXES = [
    Mix(NEW, OLD, HELD_OUT, 0.1, 10),
    Mix(NEW[:60], OLD, HELD_OUT, 0.25, 20),
    Mix(NEW[:30], OLD, HELD_OUT, 0.5, 30),
    Mix(NEW, OLD, HELD_OUT, 0.0, 0),
]
NO_REPLAY = "The old rows are all held out, so there is nothing to replay: raise a ValueError."


def _keys(rows: Iterable[Mapping[str, str]]) -> Counter[tuple[str, str]]:
    return Counter((row["prompt"], row["completion"]) for row in rows)


def _question(prompt: str) -> str:
    """What a prompt of these cases asks, whatever stands around it."""
    return prompt[prompt.index("What is") : prompt.index("?") + 1]


@exercise(
    "6.2",
    reading="`helpers.scope.replay.add_replay` has it, and refuses old data that leaks.",
)
def mix_in(function) -> str | None:
    found = []
    for mix in MIXES:
        given = copy.deepcopy(mix[:4])
        rows = function(*given)
        if mistake := _not_rows(rows):
            return mistake
        if list(given[:3]) != list(mix[:3]):
            return "The lists that were given are changed afterwards. Put the rows in a new list."
        found.append(_keys(rows))
    if mistake := _leak(found):
        return mistake
    for mix, rows in zip(MIXES, found, strict=True):
        if mistake := _mix_mistake(mix, rows):
            return mistake
    leaking = [_sum(3, 4, QA)]
    try:
        function(NEW, leaking, [CHAT.format("What is 3 + 4?")], 0.1)
    except Exception as error:
        if "raised ValueError" in str(error):  # the learner's errors come in a wrapping
            return None
        if "Your function" not in str(error):
            raise
        return f"{error}. {NO_REPLAY}"
    return NO_REPLAY


def _not_rows(found: Any) -> str | None:
    if not isinstance(found, (list, tuple, Dataset)):
        return f"It returned a {type(found).__name__}; a list of rows is asked for."
    if not all(
        isinstance(row, Mapping) and {"prompt", "completion"} <= row.keys() for row in found
    ):
        return 'Not all of what it returned are rows with a "prompt" and a "completion".'
    return None


def _leak(found: Sequence[Counter[tuple[str, str]]]) -> str | None:
    """What to say where rows of all the mixes together ask what is held out, or None."""
    asked = {_question(prompt) for prompt in HELD_OUT}
    old = _keys(OLD)
    leaks = [prompt for rows in found for prompt, _ in rows & old if _question(prompt) in asked]
    if not leaks:
        return None
    if not any(prompt in HELD_OUT for prompt in leaks):
        return (
            "It leaks: some old rows ask a held-out question in another format. Compare "
            "`question_of(prompt)` on both sides, not the prompts."
        )
    return (
        f"It leaks: {len(leaks)} old rows ask what the test asks, such as {_question(leaks[0])!r}. "
        "Who trains on the test measures memory, not retention."
    )


def _mix_mistake(mix: Mix, found: Counter[tuple[str, str]]) -> str | None:
    tickets, old = _keys(mix.tickets), _keys(mix.replay)
    replayed = found - tickets
    if set(replayed) - set(old):
        return "Some rows are neither tickets nor old rows. Take them over unchanged."
    if lost := sum((tickets - found).values()):
        return f"{lost} of {len(mix.tickets)} tickets are missing. Old rows come on top of them."
    some = f"With {len(mix.tickets)} tickets and a share of {mix.share:g}"
    if any(count > 1 for count in replayed.values()):
        return f"{some} some old rows come twice, while others have not been used yet."
    count = sum(replayed.values())
    if count == mix.count:
        missing = [sign for sign in SIGNS if not any(sign in prompt for prompt, _ in replayed)]
        if count < 20 or not missing:  # a fair draw of ten may miss a skill
            return None
        return (
            f"{some} the count is right, but a skill is missing: of the {count} old rows none has "
            f"a {missing[0]}. They come sorted by skill, and the first ones are all of one. Draw "
            "from all of them."
        )
    if mix.count and count == round(mix.share * len(mix.tickets)):
        return (
            f"{some} it adds {count} old rows: a share of the tickets. Of all rows of the result "
            f"that is only {count / (count + len(mix.tickets)):.0%}."
        )
    remedy = " Take out what leaks first, and count after that." if count < mix.count else ""
    return f"{some} it adds {count} old rows; {mix.count} make the share.{remedy}"


@cache
def _runs(path: Path = BOARD) -> dict[tuple[str, float, int], dict[str, str]]:
    """Right answers as ones, by method, strength and seed."""
    records = [record for _, record in read_lines(path)]
    return {tuple(r["setting"].values()): r["right"] for r in records}


@cache
def _fit(name: str) -> tuple[float, ...]:
    """How well the best article fits each of the first hundred items of a suite."""
    index = HelpIndex(shop_articles())
    (suite,) = load_suites(name, size=ITEMS)
    hits = [index.find(question_of(item.prompt), k=1) for item in suite.items]
    return tuple(hit[0].score if hit else 0.0 for hit in hits)


def _score(name: str, floor: float, method: str = "plain", seed: int = 0) -> float:
    """Percent of a suite's items that are right behind a floor."""
    by_base = _runs()["base", 0, 0][name]
    via = _runs(MIXING if method == SEARCH else BOARD)[method, 0, seed][name]
    right = [
        one if score > floor else other
        for score, one, other in zip(_fit(name), via, by_base, strict=True)
    ]
    return 100 * right.count("1") / len(right)


def _broken(floor: float, seeds: Sequence[int] = SEEDS) -> set[str]:
    """Skills whose mean over the seeds loses more than the brief's margin behind a floor."""
    before = {name: _score(name, 1e9) for name in OLD_SKILLS}
    brief = Brief(EXAMPLE, before)
    lost = {
        name: before[name] - fmean(_score(name, floor, seed=seed) for seed in seeds)
        for name in OLD_SKILLS
    }
    # Differences of percentages of a hundred items: 3.0000000001 points are 3.
    return set(brief.broken({name: round(value, 6) for name, value in lost.items()}))


TIGHT, CHOSEN = 4.0, 3.0


@exercise(
    "6.1",
    reading=(
        "Word problems lose 9 points where 5 are allowed, and support falls from 89 to 78 %, below "
        "the 85 that the brief wants. The report reads an average, and leaves out the target."
    ),
)
def report(answer: Any) -> str | None:
    broken, price = answer
    if isinstance(broken, (str, Mapping)) or not isinstance(broken, Iterable):
        return "`broken` should be a set of names, such as {'facts', 'lists'}."
    broken, right = set(broken), _broken(TIGHT)
    if unknown := sorted(map(str, broken - set(OLD_SKILLS))):
        return f"`broken` names {unknown[0]!r}, which is no old skill: {', '.join(OLD_SKILLS)}."
    if broken != right:
        return _wrong_skills(broken, right)
    if not isinstance(price, Real):
        return f"`price` should be one number, not a {type(price).__name__}."
    loose, tight = (
        fmean(_score("support", floor, seed=seed) for seed in SEEDS) for floor in (CHOSEN, TIGHT)
    )
    searched = _score("support", CHOSEN, SEARCH) - _score("support", TIGHT, SEARCH)
    cases = [
        (loose - tight, None),
        (tight - loose, "`price` has the wrong sign: points lost are positive here."),
        (tight, f"{tight:.1f} % is what is left behind the floor. How many points less is that?"),
        (3 * (loose - tight), "That is the sum over the seeds. Take their mean."),
        (100 * (loose - tight) / loose, "That is a share of what was right. Points are asked for."),
        (searched, f"{searched:g} points is what the search loses. The report is of the adapter."),
    ]
    for value, message in cases:
        if math.isclose(price, value, abs_tol=0.06):
            return message
    return f"`broken` is right. For `price` compare support behind {CHOSEN:g} and {TIGHT:g}."


def _wrong_skills(broken: set[str], right: set[str]) -> str:
    """What to say of a wrong set of broken margins."""
    if not broken:
        return (
            "No margin broken is what the average says, and what the search comes to behind this "
            "floor. Compare each skill of the fine-tune with its own margin."
        )
    if broken == _broken(-1):
        return "Those are broken where everybody gets the fine-tune. Put the door before it."
    if broken == _broken(CHOSEN):  # so does whoever counts the worst seed at the higher floor
        return (
            "`howto` loses 3, 4 and 2 points behind the higher floor: a mean of 3, which its "
            f"margin of 3 allows. Did you take the floor of {CHOSEN:g}, or the worst seed?"
        )
    if missing := sorted(right - broken):
        return f"A skill is missing: {missing[0]} loses more than its margin. See `brief.broken`."
    extra = sorted(broken - right)[0]
    return f"On average over the three seeds {extra} stays inside its margin behind this floor."


#: What each candidate for the deciding run lacks as a control.
NOT_A_CONTROL = {
    ("plain", 0): "The plain run has no old rows at all, so it differs in two things: any old row "
    "may have held the problems, not only a worked one.",
    (
        "families",
        5,
    ): "With five families there are worked problems in the data too: more of what is "
    "in question, where you want none of it.",
    ("worked steps", 0.25): "All of its old rows are worked problems, of all ten families: more of "
    "what is in question, where you want none of it.",
    ("replay", 0.25): "Among its old rows every eighth is a worked problem. If it does well, these "
    "may be the reason.",
    ("self replay", 0.25): "Some of its prompts are word problems, and the base answers them with "
    "worked steps. You want old rows without any.",
}


def _others_right(setting: tuple[str, float, int], path: Path) -> float:
    """Percent of word problems right in the families that the seed's run with one left out."""
    (family,) = choose_families(1, setting[-1])
    (suite,) = load_suites("reasoning", size=ITEMS)
    row = zip(suite.items, _runs(path)[setting]["reasoning"], strict=True)
    return 100 * fmean(right == "1" for item, right in row if item.family != family)


@exercise("6.3")
def deciding_run(answer: Any) -> str | None:
    control, right = answer
    if not isinstance(control, (tuple, list)) or len(control) != 2:
        return "`control` should be a method and a strength, such as ('plain', 0)."
    control = (control[0], control[1])
    if control in NOT_A_CONTROL:
        return NOT_A_CONTROL[control]
    if control != (NO_PROBLEMS, SHARE):
        return f"There is no {control} among the candidates. Take one as it is printed."
    if not isinstance(right, Real):
        return "`control` is right. `control_right` should be one number, in percent."
    settings = [key for key in _runs(MIXING) if key[0] == NO_PROBLEMS]
    expected = fmean(_others_right(key, MIXING) for key in settings)
    whole = fmean(100 * _runs(MIXING)[key]["reasoning"].count("1") / ITEMS for key in settings)
    if abs(right - expected) <= 0.6:
        return None
    if math.isclose(right * 100, expected, abs_tol=0.6):
        return "`control_right` should be in percent."
    if math.isclose(right, expected * len(settings), rel_tol=0.01):
        return "That is the sum over the seeds. Take their mean."
    if math.isclose(right, whole, abs_tol=0.05):
        return "That is all word problems. Leave out each seed's own family, with `others_right`."
    return f"`control` is right. Its mean over the {len(settings)} seeds is not {right:.1f} %."


@cache
def _tokens() -> tuple[float, float]:
    """Tokens that the lesson's run reads, and those that an article adds to a request."""
    tokenizer = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2")

    def count(texts: Iterable[str]) -> float:
        return fmean(map(len, tokenizer(list(texts))["input_ids"]))

    index, (suite,) = HelpIndex(shop_articles()), load_suites("support", size=60)
    prompts = [item.prompt for item in suite.items]
    found = [index.find(question_of(prompt), k=1)[0].article.shown for prompt in prompts]
    above = [f"Help article. {text}\n{p}" for text, p in zip(found, prompts, strict=True)]
    tickets = (row["prompt"] + row["completion"] for row in read_tickets())
    return 60 * 16 * count(tickets), count(above) - count(prompts)


@exercise("6.4", reading="It counts computing only: nobody is paid for writing tickets in it.")
def break_even(answer: Any) -> str | None:
    if not isinstance(answer, Real):
        return f"`requests` should be one number, not a {type(answer).__name__}."
    trained, extra = _tokens()
    exact = 39 * trained / extra
    if answer == math.ceil(exact):
        return None
    cases = [
        (exact, "That is no whole number of requests, or not quite enough: round up."),
        (math.floor(exact), "That many requests are not quite enough: round up."),
        (exact / 3, "A token in training costs three times as much as one that is only read: it is "
         "read, and the way back takes twice that."),
        (exact * 12 / 13, "The first training counts as well: twelve changes make thirteen."),
        (exact / 13, "Every change of policy needs a training of its own."),
        (1 / exact, "That is the wrong way round: how often do a request's further tokens go into "
         "the trainings?"),
        (39 * trained, "Those are the tokens. How many requests read as many further ones?"),
    ]  # fmt: skip
    for value, message in cases:
        if math.isclose(answer, value, rel_tol=1e-3):
            return message
    return f"It is not {answer:,.4g}. Count 3 × 13 trainings against the further tokens a request."
