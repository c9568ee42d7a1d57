"""Word problems in wordings that neither pre-training nor the rows of a tuning use.

`data/runs/wordings.jsonl` holds what the base and the runs of `chains` make of them; `make runs`
makes it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from ..generation import complete
from ..mechanics import merged
from ..mechanics.stored import course_model
from ..pocket.examples import belongs
from ..pocket.problems import FAMILIES
from ..pocket.words import COUNTED, NAMES, THINGS
from ..runs import RUNS, read_records
from .chains import ChainSetting, trained
from .steps import EQUATION, chain_of

WORDINGS = RUNS / "wordings.jsonl"
EACH = 20  # problems of each wording
#: The base alone answers a first draw of problems, which says what wordings it can read; all models
#: answer a second.
DRAWS = ("first", "second")
#: By family, other ways to tell its problems: other verbs, another order, another question.
REWORDED: dict[str, tuple[str, ...]] = {
    "change": (
        "At first {one} owns {a} {things}. Later {b} more come in and {c} go out. "
        "How many {things} does {one} own at the end?",
        "{one} starts the day with {a} {things}, collects {b} more and throws {c} away. "
        "How many {things} remain?",
        "In the morning {one} counts {a} {things}. By noon {b} more are there, and by night {c} "
        "are gone. How many {things} does {one} count now?",
    ),
    "back": (
        "{one} had {a} {things}. {one} threw {c} away. Later {one} got {b} more. "
        "How many {things} does {one} have at the end?",
        "{one} starts the day with {a} {things}, throws {c} away and collects {b} more. "
        "How many {things} remain?",
        "Out of {a} {things}, {one} hands {c} to a child. Later {one} collects {b} more. "
        "How many {things} does {one} own at the end?",
        "In the morning {one} counts {a} {things}. By noon {c} are gone, and by night {b} more "
        "are there. How many {things} does {one} count now?",
    ),
    "groups": (
        "There are {a} baskets with {b} {things} each and {c} more {things} on the table. "
        "How many {things} can {one} count?",
        "{one} fills {a} baskets with {b} {things} each and keeps {c} more on a shelf. "
        "How many {things} is that?",
        "In {a} drawers lie {b} {things} each, and {c} more {things} lie on the desk. "
        "How many {things} does {one} count?",
        "{a} children bring {b} {things} each, and the teacher brings {c} more. "
        "How many {things} are brought?",
    ),
    "money": (
        "{one} takes {purse} dollars to the market and buys {a} {things} for {b} dollars each. "
        "How many dollars does {one} bring home?",
        "{one} goes to the market with {purse} dollars and takes home {a} {things}, {b} dollars "
        "each. How many dollars remain?",
        "With {purse} dollars in the pocket {one} pays for {a} {things} at {b} dollars each. "
        "How many dollars does {one} still have?",
    ),
    "compare": (
        "{one} has {a} {things}. {two} has {b} more than {one}. "
        "How many {things} is that for both?",
        "{one} collects {a} {things}, and {two} collects {b} more than {one}. "
        "How many {things} do both collect?",
        "{two} owns {b} more {things} than {one}, and {one} owns {a}. "
        "How many {things} do both own?",
    ),
    "share": (
        "{one} has {first} old {things} and {rest} new {things}. {a} people share them equally. "
        "How many does one person get?",
        "{first} old {things} and {rest} new {things} go to {a} people in equal parts. "
        "How many {things} does one person get?",
        "{one} brings {first} {things} and {two} brings {rest} {things}. They fill {a} baskets "
        "equally. How many {things} are in one basket?",
    ),
    "ages": (
        "{two} was born {b} years before {one}, who is {a}. {three} was born {c} years after "
        "{two}. How old is {three}?",
        "{one} turns {a} today. {two} is older by {b} years, and {three} is younger than {two} by "
        "{c} years. How old is {three}?",
    ),
    "sale": (
        "A {thing} costs {full} dollars. This week it is {c} dollars cheaper. {one} wants {a} of "
        "them. How many dollars is that?",
        "The shop takes {c} dollars off a {thing} of {full} dollars. "
        "How many dollars must {one} pay for {a} of them?",
        "{one} wants {a} of the {thing} that was {full} dollars and got {c} dollars cheaper. "
        "How many dollars must {one} pay?",
    ),
}


def all_wordings() -> list[tuple[str, str]]:
    """Every wording with its family, in order."""
    return [(family, text) for family, texts in REWORDED.items() for text in texts]


def problems_of(family: str, wording: str, draw: str = "second") -> list[tuple[str, str]]:
    """Problems of one wording and their results; the numbers are held out of pre-training."""
    rng = random.Random(f"{draw} {wording}")
    write, numbers_of = FAMILIES[family]
    found = []
    while len(found) < EACH:
        a, b, c = numbers = numbers_of(rng)
        if not belongs("test", family, *numbers):
            continue
        _, _, result = write(rng, *numbers)
        one, two, three = rng.sample(tuple(NAMES), 3)
        names = dict(one=one, two=two, three=three, things=rng.choice(COUNTED))
        sums = dict(purse=a * b + c, first=c, rest=a * b - c, full=b + c)
        problem = wording.format(a=a, b=b, c=c, thing=rng.choice(THINGS), **names, **sums)
        found.append((problem, result))
    return found


@dataclass(frozen=True)
class RewordedRun:
    """What one model makes of the wordings.

    Attributes:
        right: percent of problems right, by draw, one number for each of `all_wordings`; the first
            draw is the base's alone.
        writes_steps: percent of the second draw answered with an equation, likewise.
        origin: package versions, the digest of the data and the commit the run was made from.
    """

    setting: ChainSetting
    right: dict[str, tuple[float, ...]]
    writes_steps: tuple[float, ...]
    origin: dict[str, Any]


def make_reworded(setting: ChainSetting) -> dict[str, Any]:
    """Ask one model; the record of its line in the file."""
    is_base = setting.data == "base"
    model = course_model() if is_base else merged(trained(setting).model)
    right, steps = {}, []
    for draw in DRAWS if is_base else DRAWS[1:]:
        found = [_asked(model, *wording, draw) for wording in all_wordings()]
        right[draw] = [share for share, _ in found]
        steps = [share for _, share in found]
    return {"right": right, "writes_steps": steps}


def _asked(model: PreTrainedModel, family: str, wording: str, draw: str) -> tuple[float, float]:
    """Percent right, and percent with an equation."""
    problems = problems_of(family, wording, draw)
    said = complete(model, [problem for problem, _ in problems])
    pairs = zip(said, problems, strict=True)
    right = sum(chain_of(text).result == result for text, (_, result) in pairs)
    return 100 * right / EACH, 100 * sum(bool(EQUATION.search(t)) for t in said) / EACH


def read_wordings() -> list[RewordedRun]:
    """The stored runs, in the order of their settings.

    Raises:
        BadRuns: the file is missing or damaged; the message says what to do.
    """
    return sorted(read_records(WORDINGS, _from_record), key=lambda run: run.setting)


def _from_record(record: dict[str, Any]) -> RewordedRun:
    right = {draw: tuple(shares) for draw, shares in record["right"].items()}
    setting = ChainSetting(**record["setting"])
    return RewordedRun(setting, right, tuple(record["writes_steps"]), record["origin"])
