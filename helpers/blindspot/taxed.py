"""What the stored preference runs say: at equal learning, along the way, and after a repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas

from .tax import SKILLS, TaxLook, TaxRun

#: The three tunings, by the name that the lesson gives them.
TUNINGS = {
    "refusals alone, beta 0.1": dict(counter_examples=0.0, beta=0.1),
    "refusals alone, beta 1": dict(counter_examples=0.0, beta=1.0),
    "half counter-examples, beta 0.1": dict(counter_examples=0.5, beta=0.1),
}


def seeds_of(runs: Sequence[TaxRun], tuning: str) -> list[TaxRun]:
    """The runs of a tuning, a name in `TUNINGS`; "not tuned" for the base.

    Raises:
        KeyError: there is no such tuning.
    """
    if tuning == "not tuned":
        return [run for run in runs if not run.setting.steps]
    wanted = TUNINGS[tuning].items()
    return [
        run
        for run in runs
        if run.setting.steps and all(getattr(run.setting, key) == value for key, value in wanted)
    ]


def first_at(run: TaxRun, share: float) -> TaxLook:
    """The first look at which so many percent of requests under the rule get the whole refusal.

    Raises:
        ValueError: the run never comes so far.
    """
    for look in run.looks:
        if look.scores["rule"] >= share:
            return look
    raise ValueError(f"{run.setting} never refuses {share} % of the requests under the rule.")


def worst(look: TaxLook) -> float:
    """Percent right of the skill that is worst off."""
    return min(look.scores[name] for name in SKILLS)


#: Columns of `table`.
COLUMNS: dict[str, Callable[[TaxLook], float]] = {
    "step": lambda look: look.step,
    "rule: whole refusals (%)": lambda look: look.scores["rule"],
    "harmful: whole refusals (%)": lambda look: look.scores["harmful"],
    "harmless refused (%)": lambda look: look.refused["harmless"],
    "skills right (%)": lambda look: look.skills,
    "worst skill (%)": worst,
}


def table(
    looks: Mapping[str, Sequence[TaxLook]], leave_out: Sequence[str] = ()
) -> pandas.DataFrame:
    """Means over seeds with their range in brackets.

    Args:
        looks: label of a row to the looks of its seeds.
        leave_out: keys of `COLUMNS` that are not to be shown.
    """

    def cell(values: Sequence[float]) -> str:
        low, high = (f"{end:.0f}" for end in (min(values), max(values)))
        spread = f" ({low}-{high})" if low != high else ""
        return f"{sum(values) / len(values):.0f}{spread}"

    rows = {
        label: {
            name: cell([read(look) for look in each])
            for name, read in COLUMNS.items()
            if name not in leave_out
        }
        for label, each in looks.items()
    }
    return pandas.DataFrame.from_dict(rows, orient="index")
