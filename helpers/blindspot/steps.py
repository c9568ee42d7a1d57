"""Worked steps: training data with and without them, and whether a model relies on its own."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from transformers import PreTrainedModel

from ..generation import complete
from ..pocket.examples import COMMON_FORMATS
from ..pocket.problems import FAMILIES, reasoning
from ..suites import Suite

#: What stands before the result of a worked problem.
CONCLUSION = "The answer is"
#: An equation, such as "12 + 7 = 19."
EQUATION = re.compile(r"(\d+) ([-+x/]) (\d+) = (\d+)\.")
OPERATIONS = {"+": operator.add, "-": operator.sub, "x": operator.mul, "/": operator.truediv}


class Chain(NamedTuple):
    """A worked answer in its parts.

    Attributes:
        steps: the sentences before the conclusion, such as "12 + 7 = 19."
        result: what the conclusion says; "" where there is none.
    """

    steps: tuple[str, ...]
    result: str


def chain_of(answer: str) -> Chain:
    """The parts of a worked answer, or of what a model has written in place of one."""
    work, _, result = answer.rpartition(CONCLUSION) if CONCLUSION in answer else (answer, "", "")
    steps = tuple(step.strip() for step in re.findall(r"[^.]+\.", work))
    return Chain(steps, result.split(".")[0].strip())


def problem_rows(
    count: int, style: Literal["worked", "short"], seed: int = 0, families: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Word problems of the training split, as rows with a prompt and a completion.

    Args:
        style: completions with their worked steps, or only with "The answer is …".
        seed: draws the problems; both styles of a seed have the same ones.
        families: names in `helpers.pocket.problems.FAMILIES`; all of them when left out.

    Raises:
        ValueError: there is no such style or family.
    """
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or style not in ("worked", "short"):
        raise ValueError(
            f"There is no {unknown[0] if unknown else style!r}. Styles: worked, short. "
            f"Families: {', '.join(FAMILIES)}."
        )
    rng = random.Random(f"problems {seed}")
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < count:
        example = reasoning(rng, "train", rng.choice(list(families) or list(FAMILIES)))
        prompt = example.prompt(rng.choice(COMMON_FORMATS))
        result = f"{CONCLUSION} {chain_of(example.answer).result}."
        answer = example.answer if style == "worked" else result
        rows.setdefault(prompt, {"prompt": prompt, "completion": f" {answer}"})
    return list(rows.values())


class Mistake(NamedTuple):
    """A mistake in one of the two equations of a chain.

    Attributes:
        steps: the chain as far as the mistake.
        result: what follows from it.
    """

    steps: tuple[str, ...]
    result: str


def mistakes_in(chain: Chain, rng: random.Random) -> tuple[Mistake, Mistake] | None:
    """A mistake in the first equation, small enough for the second to come out even, and the same
    error in the second.

    None where there are none: the steps are no two equations, or the second does not say which of
    its numbers comes from the first.
    """
    found = [EQUATION.fullmatch(step) for step in chain.steps]
    if len(found) != 2 or None in found:
        return None
    (a, sign, b, first), (c, second_sign, d, last) = (match.groups() for match in found)
    if (c == first) == (d == first):
        return None
    errors = [error for error in range(-9, 10) if error]
    rng.shuffle(errors)
    for error in errors:
        wrong, end = int(first) + error, int(last) + error
        left, right = (wrong if part == first else int(part) for part in (c, d))
        if wrong < 1 or end < 1 or not right:
            continue
        result = OPERATIONS[second_sign](left, right)
        if result >= 0 and result == int(result) and str(int(result)) != last:
            return (
                Mistake((f"{a} {sign} {b} = {wrong}.",), str(int(result))),
                Mistake((chain.steps[0], f"{c} {second_sign} {d} = {end}."), str(end)),
            )
    return None


@dataclass(frozen=True, repr=False)
class Reliance:
    """What a model does with worked steps, in percent of the problems.

    Attributes:
        right: right when it answers as it likes.
        writes_steps: answers with at least one step before the conclusion.
        right_after_first: right when the first step stands there already and it goes on as it
            likes.
        early: right when made to conclude after none, one and both of the right steps.
        follows_first: the first step stands there with a mistake, it goes on as it likes, and the
            answer is what follows from the mistake.
        corrects: in the same case, the answer is the right one all the same.
        follows_last: both steps stand there, the second with a mistake, it is made to conclude,
            and the answer is the mistaken number.
        problems: how many were asked.
    """

    right: float
    writes_steps: float
    right_after_first: float
    early: tuple[float, float, float]
    follows_first: float
    corrects: float
    follows_last: float
    problems: int

    def __repr__(self) -> str:
        lines = {
            "right, left to itself": self.right,
            "writes steps": self.writes_steps,
            "right when made to conclude after no step": self.early[0],
            "                               after one": self.early[1],
            "                              after both": self.early[2],
            "follows a mistake in the first step": self.follows_first,
            "is right in spite of it": self.corrects,
            "follows a mistake in the second step": self.follows_last,
        }
        told = (f"{label:43}{value:4.0f} %" for label, value in lines.items())
        return "\n".join([f"{self.problems} problems of two steps", *told])


def reliance(model: PreTrainedModel, suite: Suite, seed: int = 0) -> Reliance:
    """Ask a model word problems with more or less of the work done for it, rightly or wrongly.

    Concluding after a part of the steps and putting mistakes into them are two tests of Lanham et
    al. (2023, arXiv 2307.13702): a model that relies on its steps is wrong without them and follows
    their mistakes. They cut and change the model's own steps. Here the right ones are used for
    every model, so that models that write none can be asked too.

    Args:
        suite: problems with worked answers; only those with two equations are used.
        seed: draws the mistakes; the same for every model.

    Raises:
        ValueError: the suite has no problem with two equations.
    """
    rng = random.Random(seed)
    found = [(i.prompt, chain_of(i.answer)) for i in suite.items]
    asked = [(p, chain, both) for p, chain in found if (both := mistakes_in(chain, rng))]
    if not asked:
        raise ValueError(f"The suite {suite.name!r} has no problem worked in two equations.")
    prompts = [prompt for prompt, _, _ in asked]
    chains = [chain for _, chain, _ in asked]
    right = [chain.result for chain in chains]
    first, last = ([both[place] for _, _, both in asked] for place in (0, 1))

    def answers(written: Sequence[Sequence[str]]) -> list[str]:
        """What the model writes when these sentences stand after the prompts."""
        pairs = zip(prompts, written, strict=True)
        return complete(model, [" ".join([prompt, *sentences]) for prompt, sentences in pairs])

    def goes_on(written: Sequence[Sequence[str]]) -> list[str]:
        return [chain_of(answer).result for answer in answers(written)]

    def concludes(written: Sequence[Sequence[str]]) -> list[str]:
        said = answers([[*sentences, CONCLUSION] for sentences in written])
        return [answer.split(".")[0].strip() for answer in said]

    def share(results: Sequence[str], wanted: Sequence[str]) -> float:
        return 100 * sum(map(operator.eq, results, wanted)) / len(asked)

    free = [chain_of(answer) for answer in answers([()] * len(asked))]
    misled = goes_on([mistake.steps for mistake in first])
    return Reliance(
        right=share([chain.result for chain in free], right),
        writes_steps=100 * sum(bool(chain.steps) for chain in free) / len(asked),
        right_after_first=share(goes_on([chain.steps[:1] for chain in chains]), right),
        early=tuple(
            share(concludes([chain.steps[:count] for chain in chains]), right) for count in range(3)
        ),
        follows_first=share(misled, [mistake.result for mistake in first]),
        corrects=share(misled, right),
        follows_last=share(
            concludes([mistake.steps for mistake in last]), [mistake.result for mistake in last]
        ),
        problems=len(asked),
    )
