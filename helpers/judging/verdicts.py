"""A judge's verdicts as one more suite of a snapshot, so that an audit can compare them."""

from __future__ import annotations

import math
from dataclasses import replace

from ..snapshots import Snapshot, task_name
from .calibration import Calibration, UncalibratedJudge, require
from .judge import Judge


class NoVerdict(RuntimeError):
    """A judge gave no readable verdict on some answers."""


def judged(
    snapshot: Snapshot,
    judge: Judge,
    calibration: Calibration | None,
    suite: str = "support",
    name: str | None = None,
) -> Snapshot:
    """The snapshot with one suite more: a suite's answers, right where the judge calls them good.

    The judge's name and threshold enter the settings, so that snapshots judged differently are
    not compared.

    Args:
        calibration: what `calibrate` found for this judge; its threshold decides.
        suite: whose answers are judged.
        name: what the new suite is called; "<suite>_judged" when left out.

    Raises:
        UncalibratedJudge: there is no calibration, it is not this judge's, or it was not passed.
        NoVerdict: on some answer the judge gave no readable verdict.
        ValueError: the snapshot has no such suite, or it is running text.
    """
    threshold = require(calibration).threshold
    if threshold is None or calibration.judge != judge.name:
        raise UncalibratedJudge(
            f"The calibration is of {calibration.judge!r}, and the judge is {judge.name!r}. "
            "Calibrate the judge that is to decide, with calibrate(judge, known_good, known_bad)."
        )
    if suite not in snapshot.results or snapshot.is_text(suite):
        answered = [known for known in snapshot.results if not snapshot.is_text(known)]
        raise ValueError(f"There are no answers of {suite!r} to judge, only {', '.join(answered)}.")
    rows = snapshot.results[suite]
    scores = judge.score([row.item.prompt for row in rows], [row.output for row in rows])
    unread = sum(map(math.isnan, scores))
    if unread:
        raise NoVerdict(
            f"{judge.name} gave no readable verdict on {unread} of {len(rows)} answers. Counting "
            "them as right or as wrong would both be a guess; look at what the judge replied."
        )
    name = name or f"{suite}_judged"
    verdicts = [
        replace(row, correct=score > threshold, choice=None)
        for row, score in zip(rows, scores, strict=True)
    ]
    how = f"{judge.name}, threshold {threshold:.6g}"
    settings = {**snapshot.settings, f"{task_name(name)}.judge": how}
    return Snapshot({**snapshot.results, name: verdicts}, settings)
