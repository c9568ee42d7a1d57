"""What a run learned against what it lost, and how to compare runs that learned unequally."""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from scipy.optimize import curve_fit
from scipy.stats import spearmanr

from .runs import Checkpoint, Rank, StoredRun
from .suites import PROTECTED, TARGET

#: Old skills that are scored by right and wrong.
OLD = tuple(name for name in PROTECTED if name != "stories")


def learned(checkpoint: Checkpoint) -> float:
    """The target score in percent."""
    return checkpoint.scores[TARGET]


def points_lost(base: Checkpoint, now: Checkpoint) -> float:
    """How many points the old skills have lost, on average over the capabilities."""
    return statistics.fmean(base.scores[name] - now.scores[name] for name in OLD)


def worst_loss(base: Checkpoint, *seeds: Checkpoint) -> tuple[str, float]:
    """The capability that has lost most on average over seeds, and its points."""
    lost = {
        name: base.scores[name] - statistics.fmean(now.scores[name] for now in seeds)
        for name in OLD
    }
    worst = max(lost, key=lost.__getitem__)
    return worst, lost[worst]


def old_loss(checkpoint: Checkpoint) -> float:
    """Loss of the old skills, nats per token, averaged over the capabilities (stories included).

    Finer than points: it moves before the first answer changes.
    """
    return statistics.fmean(checkpoint.nll[name] for name in PROTECTED)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"


def bootstrap(values: Sequence[float], repeats: int = 2_000, seed: int = 0) -> Estimate:
    """The mean of some values and its percentile bootstrap interval (Efron 1979).

    Raises:
        ValueError: there are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError("An interval needs at least two values.")
    rng = random.Random(seed)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(repeats))
    low, high = means[round(0.025 * repeats)], means[round(0.975 * repeats) - 1]
    return Estimate(statistics.fmean(values), low, high)


def rank_correlations(
    runs: Sequence[StoredRun], along: str, outcome: Callable[[StoredRun], float]
) -> list[float]:
    """Spearman correlations of an outcome with one knob, all others held.

    Args:
        along: "lr" or "rank"; full fine-tuning has no rank and is left out of the latter.
        outcome: one number per run, such as `lambda run: old_loss(run.last)`.

    Returns:
        One coefficient for each value of the other knob and each seed: 1 where the outcome rises
        with the knob without exception. Where the outcome never changes there is none.
    """
    other = {"lr": "rank", "rank": "lr"}[along]
    groups: dict[tuple[Rank | float, int], list[StoredRun]] = {}
    for run in runs:
        if along != "rank" or run.setting.rank != "full":
            key = (getattr(run.setting, other), run.setting.seed)
            groups.setdefault(key, []).append(run)
    found = []
    for group in groups.values():
        knob = [getattr(run.setting, along) for run in group]
        outcomes = [outcome(run) for run in group]
        if len(set(outcomes)) > 1:
            found.append(float(spearmanr(knob, outcomes).statistic))
    return found


#: Points (target score, points lost) in the order in which they are reached.
Path = Sequence[tuple[float, float]]


def crossing(path: Path, score: float) -> float | None:
    """Points lost where a path first reaches a target score; None where it never does.

    Between two points the path is taken as a straight line.
    """
    if path[0][0] >= score:
        return path[0][1]
    for (before, lost), (after, more) in itertools.pairwise(path):
        if before < score <= after:
            return lost + (score - before) / (after - before) * (more - lost)
    return None


def lost_when_learned(run: StoredRun, score: float) -> float | None:
    """Points lost at the moment a run reached a target score; None where it never did.

    Runs are compared at equal learning and not at equal steps, because "forgets less" is often "has
    learned less" (Biderman et al. 2024, arXiv 2405.09673).
    """
    return crossing(
        [(learned(look), points_lost(run.base, look)) for look in run.checkpoints], score
    )


def roads(
    runs: Sequence[StoredRun], loss: Callable[[Checkpoint, Checkpoint], float] = points_lost
) -> list[Path]:
    """Where runs end that differ in one knob: for each seed the base and then every run's end.

    Args:
        runs: in the order of the knob, as `read_runs` gives them for a rate.
        loss: what base and end have to tell of the old skills; the mean of the points lost.

    Returns:
        One path for each seed. Every point is a finished run, whose learning rate has come down to
        zero, while a look in the middle of a run catches it at full speed.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for run in runs:
        path = found.setdefault(run.setting.seed, [(learned(run.base), loss(run.base, run.base))])
        path.append((learned(run.last), loss(run.base, run.last)))
    return list(found.values())


def at_equal_learning(paths: Sequence[Path], score: float) -> list[float] | None:
    """Points lost at a target score, one number a path; None unless every path reaches it."""
    found = [crossing(path, score) for path in paths]
    return None if None in found else found


def told(values: Sequence[float] | None) -> str:
    """A few values as "mean (lowest to highest)"; None as "not reached".

    The range of three seeds is called a range: an interval would need more of them.
    """
    if values is None:
        return "not reached"
    return f"{statistics.fmean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


@dataclass(frozen=True)
class PowerLaw:
    """y = scale * x ** exponent + shift, and how far the data lie from it.

    Attributes:
        residuals: data minus law, in the order of the data.
        explained: share of the variance of y that the law explains.
    """

    scale: float
    exponent: float
    shift: float
    residuals: tuple[float, ...]
    explained: float

    def __call__(self, x: float) -> float:
        return self.scale * x**self.exponent + self.shift


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit a shifted power law by least squares, from several starting points.

    Kalajdzievski (2024, arXiv 2401.05605) finds that forgetting follows one in the number of
    update steps and of trained parameters. With a negative exponent the law levels off at its
    shift; near 0 it is a logarithm in disguise, of huge scale.

    Raises:
        ValueError: fewer than four points, values that are no numbers, or no law to be found.
    """
    if len(x) < 4:
        raise ValueError(f"Three numbers cannot be fitted to {len(x)} points; give four or more.")
    places, values = numpy.asarray(x, float), numpy.asarray(y, float)
    if len(places) != len(values) or not numpy.isfinite([places, values]).all():
        raise ValueError("Give as many values as places, all of them finite numbers.")
    if values.min() == values.max():
        raise ValueError("All values are the same; there is nothing to fit.")

    def law(x: numpy.ndarray, scale: float, exponent: float, shift: float) -> numpy.ndarray:
        return scale * x**exponent + shift

    found = []
    for exponent in (-1.0, -0.3, 0.3, 1.0):
        powers = places**exponent
        scale, shift = numpy.polyfit(powers, values, 1)
        with contextlib.suppress(RuntimeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a spread that cannot be estimated; it is not used
            fitted, _ = curve_fit(law, places, values, (scale, exponent, shift), maxfev=5_000)
            found.append((float(((values - law(places, *fitted)) ** 2).sum()), tuple(fitted)))
    if not found:
        raise ValueError("No power law fits these points.")
    rest, best = min(found)
    residuals = values - law(places, *best)
    explained = 1 - rest / float(((values - values.mean()) ** 2).sum())
    return PowerLaw(*map(float, best), tuple(map(float, residuals)), explained)
