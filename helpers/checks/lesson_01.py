"""Checkers of the exercises in lesson 01."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import peft
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from ..runs import StoredRun, read_runs
from ..tradeoff import learned, points_lost
from ..training import Probe, quiet
from . import exercise

#: The run of the lesson, and the control whose skills were spared: rate and rank.
RUN, CONTROL = (1e-2, 8), (1e-3, 64)
#: How many points of support apart two runs have learned equally much.
AS_MUCH = 5


def _stored() -> dict[tuple[float, object], list[StoredRun]]:
    """Stored runs of sixty steps with α = 2r by rate and rank, their seeds in order."""
    found: dict[tuple[float, object], list[StoredRun]] = {}
    for run in read_runs():
        if run.setting.alpha == "2r":
            found.setdefault((run.setting.lr, run.setting.rank), []).append(run)
    return found


def _losses(seeds: Sequence[StoredRun]) -> list[float]:
    return [points_lost(run.base, run.last) for run in seeds]


def _told(values: Sequence[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f}"


@exercise(
    "1.1",
    reading="With one thing changed and as much learned, the losses part: the rate did it, and at "
    "the high rate a larger rank only loses more.",
)
def deciding_control(answer) -> str | None:
    lr, rank, spared_by = answer
    stored = _stored()
    asked = (lr, rank)
    if spared_by not in ("rank", "rate"):
        return f'Say what spared the skills, "rank" or "rate", not {spared_by!r}.'
    if asked not in stored:
        rates, ranks = ({key[part] for key in stored} for part in (0, 1))
        known = ", ".join(f"{rate:g}" for rate in sorted(rates))
        return (
            f"There is no stored run with rate {lr} and rank {rank}. Rates: {known}; ranks: "
            f"{', '.join(map(str, sorted(ranks, key=str)))}."
        )
    if asked == CONTROL:
        return "That is the control whose credit is in dispute: it changed both things at once."
    if asked == RUN:
        return "That is the run of the lesson itself: nothing is changed, so nothing is decided."
    if rank == "full":
        return "All weights instead of LoRA is a third thing changed. Stay with LoRA."
    if lr != RUN[0] and rank != RUN[1]:
        return (
            "Rate and rank both differ from the run of the lesson. Whichever way it comes out, "
            "either may have done it: change one."
        )
    goal, reached = (
        statistics.fmean(learned(run.last) for run in stored[key]) for key in (RUN, asked)
    )
    if abs(reached - goal) > AS_MUCH:
        return (
            f"It answers {reached:.0f} % of support and the run {goal:.0f} %. What has learned "
            "less has lost less for that reason alone: choose one that learned as much."
            if reached < goal
            else f"It answers {reached:.0f} % of support and the run {goal:.0f} %: not as much."
        )
    mine, of_run = _losses(stored[asked]), _losses(stored[RUN])
    if max(mine) >= min(of_run) and min(mine) <= max(of_run):
        return (
            f"A fair comparison, but it does not decide: its seeds lose {_told(mine)} points and "
            f"the run's {_told(of_run)}. The ranges overlap; go farther from the run."
        )
    if spared_by == "rank":
        kept = "the rank stayed at 8" if rank == RUN[1] else "the rate stayed at 1e-2"
        return (
            f"Well chosen; now read it. In your run {kept}, and its seeds lose {_told(mine)} "
            f"points where the run's lose {_told(of_run)}. Can the rank have spared the skills?"
        )
    return None


def _counted(rank: int, width: int, layers: int) -> int:
    """Parameters that PEFT itself adds to `c_attn` of a GPT-2 of this shape."""
    with torch.device("meta"):
        config = dict(n_embd=width, n_layer=layers, n_head=1, vocab_size=8, n_positions=8)
        ends = dict(bos_token_id=0, eos_token_id=0)  # GPT-2's own lie outside so small a vocabulary
        model = GPT2LMHeadModel(GPT2Config(**config, **ends))
    config = peft.LoraConfig(r=rank, target_modules=["c_attn"], fan_in_fan_out=True)
    with quiet():
        adapted = peft.get_peft_model(model, config)
    return sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@exercise("1.3", reading="GPT-2 has 124,439,808 parameters, so with LoRA it is 124,734,720.")
def lora_parameters(function) -> str | None:
    for rank, width, layers in ((8, 768, 12), (3, 16, 2), (1, 32, 1)):
        fan_in, fan_out = width, 3 * width
        expected = _counted(rank, width, layers)
        found = function(rank, fan_in, fan_out, layers)
        if found == expected:
            continue
        if found == layers * fan_in * fan_out:
            return "That is the size of the matrix itself. LoRA adds two thin ones beside it."
        if found == layers * rank * fan_in * fan_out:
            return "The two thin matrices are stored side by side: their sizes add, not multiply."
        if found == rank * (fan_in + fan_out) and layers > 1:
            return "That is one layer. There is one pair of matrices in each."
        if found in (layers * rank * fan_in, layers * rank * fan_out):
            return "That is one of the two matrices. A and B both count."
        return (
            f"For rank {rank}, {fan_in} x {fan_out}, {layers} layers PEFT adds {expected:,}, "
            f"and you found {found:,}."
        )
    return None


def _probes(*rows: tuple[float, float]) -> list[Probe]:
    return [
        Probe(25 * number, {"facts": facts, "lists": lists}, {})
        for number, (facts, lists) in enumerate(rows)
    ]


@exercise("1.2", reading="Whether that step has learned enough is another question: look.")
def last_safe_step(function) -> str | None:
    names = ["facts", "lists"]
    sudden = _probes((100, 90), (96, 88), (80, 88), (97, 90))
    slow = _probes((100, 90), (96, 90), (92, 90), (88, 90))
    never = _probes((90, 90), (89, 91), (88, 92))
    second = _probes((100, 90), (100, 70), (100, 60))
    exact = _probes((100, 90), (90, 90), (89, 90))

    found = function(sudden, names, 10)
    if found == 75:
        return "Scores that come back do not count: stop at the first loss beyond the margin."
    if found == 50:
        return "That is the step of the loss itself. The last safe one lies before it."
    if found == 1:
        return "That is the number of the probe. The step is in `probe.step`."
    if found != 25:
        return f"One skill falls by 20 at step 50; step 25 was the last safe one, not {found}."
    if function(slow, names, 10) != 50:
        return "Slow losses add up: compare with the first probe, not with the one before."
    if function(never, names, 10) != 50:
        return "When nothing falls beyond the margin, the last probe is safe too."
    if function(second, names, 10) != 0:
        return "Any of the skills may be the one that falls; look at all names."
    if function(exact, names, 10) != 25:
        return "A loss of exactly the margin is still inside it."
    return None


@exercise("1.4", reading="For full fine-tuning that is four times the weights, before any text.")
def state_bytes(function) -> str | None:
    for weights, trained in ((1000, 10), (1000, 1000), (124_734_720, 294_912)):
        expected = sum((4 * weights, 4 * trained, 8 * trained))
        found = function(weights, trained)
        if found == expected:
            continue
        if found * 4 == expected:
            return "That counts numbers. In float32 each takes 4 bytes."
        if found == 16 * weights:
            return "Only trained weights have gradients and averages."
        if found == 4 * weights + 8 * trained:
            return "One of three is missing: a gradient and two averages per trained weight."
        if found == 12 * trained:
            return "The weights themselves take room too, trained or not."
        return f"For {weights:,} weights of which {trained:,} are trained it gave {found:,}."
    return None
