"""A sequence of tasks, summed up: what was kept of each when the last had been learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

#: R[i][j] is the score on task j after stage i, both counted from 0.
Matrix = Sequence[Sequence[float]]


def accuracy(scores: Matrix) -> float:
    """ACC: the mean score on all tasks after the last stage (Lopez-Paz and Ranzato 2017).

    Args:
        scores: R, with one row per stage and one column per task; arXiv 1706.08840.

    Raises:
        ValueError: the matrix is not square, or a score of its last row is missing.
    """
    last = len(_checked(scores)) - 1
    return fmean(_known(scores, last, task) for task in range(last + 1))


def backward_transfer(scores: Matrix) -> float:
    """BWT: how much the score of a task changed since it was learned, on average; below 0 = lost.

    The last task, which nothing came after, is left out (Lopez-Paz and Ranzato 2017, arXiv
    1706.08840).

    Raises:
        ValueError: the matrix is not square, has fewer than two tasks, or lacks a score of its last
            row or its diagonal.
    """
    last = _last_of_two(scores)
    return fmean(_known(scores, last, task) - _known(scores, task, task) for task in range(last))


def forgetting(scores: Matrix) -> float:
    """How far each task ended below its best score at any earlier stage, on average.

    Chaudhry et al. (2018, arXiv 1801.10112). The best is looked for in all stages but the last, in
    those before the task was learned too; the last task is left out. Where every task was at its
    best right after its own stage, it is minus BWT. Below 0 where the last stage was the best.

    Raises:
        ValueError: the matrix is not square, has fewer than two tasks, or lacks a score.
    """
    last = _last_of_two(scores)
    return fmean(
        max(_known(scores, stage, task) for stage in range(last)) - _known(scores, last, task)
        for task in range(last)
    )


def _checked(scores: Matrix) -> Matrix:
    rows = [len(row) for row in scores]
    if not rows or any(length != len(rows) for length in rows):
        raise ValueError(
            f"The matrix needs a row per stage and a column per task, as many of each; it has "
            f"{len(rows)} rows of {', '.join(map(str, sorted(set(rows)))) or 'no'} scores."
        )
    return scores


def _last_of_two(scores: Matrix) -> int:
    if len(_checked(scores)) < 2:
        raise ValueError("With a single task nothing can be forgotten: give two or more.")
    return len(scores) - 1


def _known(scores: Matrix, stage: int, task: int) -> float:
    value = float(scores[stage][task])
    if not math.isfinite(value):
        raise ValueError(f"The score of task {task} after stage {stage} is {value}: measure it.")
    return value
