"""From answers and late feedback to events that a monitor may count.

Feedback is late, and harm may be reported sooner than its absence, or sooner by users of one arm.
Events counted as they come in then have another share of candidates than the router gave, and no
test that relies on the shares is valid. Three rules put that right:
1. An answer is counted when its attribution window is over. Harm reported by then is harm, silence
   is none; later feedback changes nothing. What is compared is harm that is heard of in time: where
   one arm's users take longer to report it than the window lasts, make it longer.
2. Answers are counted in the order in which they were given.
3. A user counts when a coin is tossed about them, not with every answer: their arm is sticky, and
   their second answer says nothing new about who was given what.
"""

from __future__ import annotations

import numpy
import pandas

from .eprocess import BadEvents

#: Columns that the telemetry's events must have.
NEEDED = ("id", "time", "user", "arm", "share", "harm", "feedback_time")
#: Who may have answered. "direct" is an answer outside the experiment: it is not counted.
ARMS = ("candidate", "control", "holdout", "direct")


def joined(answers: pandas.DataFrame, feedback: pandas.DataFrame) -> pandas.DataFrame:
    """The telemetry's answers with the feedback on them: what `settled` reads.

    Args:
        answers: one row per answer, with its `id`.
        feedback: one row per answer that was spoken of, with the answer's `id`, `harm`, and `time`.
    """
    told = feedback[["id", "harm", "time"]].rename(columns={"time": "feedback_time"})
    rows = answers.merge(told, on="id", how="left", validate="one_to_one")
    return rows.assign(harm=rows["harm"].eq(True))


def settled(
    events: pandas.DataFrame, window: float, now: float, holdout: float = 0.0
) -> pandas.DataFrame:
    """The events that count by now, in the order to be counted.

    A user who is new is the candidate's with the chance of their share s. One who was the control's
    when the share was q becomes the candidate's with the chance (s - q) / (1 - q) when it widens to
    s, since the router moves nobody back; that is the share they are counted with. Who is the
    candidate's stays so, whatever happens, and is not counted again.

    Args:
        events: one row per answer of one rollout with its id, time in seconds, user, arm, share
            that the candidate had then, harm, and the time its feedback came in (missing where
            there was none). Users who are held out count as the control's.
        window: seconds that feedback may take.
        now: time in seconds. What is settled at one time stays settled: later calls add rows behind
            these.
        holdout: the share of users whom the router holds out; the others are what `share` is of.

    Returns:
        The rows that count, with `share` and `harm` as they count.

    Raises:
        BadEvents: a column is missing, or holds what it must not.
    """
    if missing := [name for name in NEEDED if name not in events.columns]:
        raise BadEvents(f"The events lack {', '.join(missing)}; they need {', '.join(NEEDED)}.")
    if not window >= 0:
        raise BadEvents(f"window must be a number of seconds from 0 on, not {window!r}.")
    if not events["arm"].isin(ARMS).all():
        raise BadEvents(f"arm must be one of {', '.join(ARMS)}.")
    if not 0 <= holdout < 1:
        raise BadEvents(f"holdout is a share of users from 0 to below 1, not {holdout!r}.")
    rows = events[(events["arm"] != "direct") & (events["time"] + window <= now)]
    rows = rows.sort_values(["time", "id"], kind="stable")
    rows = rows.assign(share=rows["share"] * (1 - holdout))
    candidate = rows["arm"] == "candidate"
    moved = candidate.groupby(rows["user"]).cumsum() - candidate > 0
    earlier = rows.groupby("user")["share"].cummax().groupby(rows["user"]).shift(fill_value=0.0)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        chance = (rows["share"] - earlier) / (1 - earlier)
    in_time = rows["feedback_time"] <= rows["time"] + window
    rows = rows.assign(
        share=chance,
        arm=numpy.where(candidate, "candidate", "control"),
        harm=rows["harm"].eq(True) & in_time,
    )
    # Where the candidate has everybody, or nobody new, there is nothing to compare.
    return rows[~moved & (chance > 0) & (chance < 1)]
