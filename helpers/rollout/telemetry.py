"""Telemetry: one row for each answer, and what was found out about it later.

What was asked and answered is nobody's business unless somebody decides that it is: texts are kept
only when asked for, for a stated time, and redacted. Users are keyed hashes from the beginning, and
`forget` deletes all rows of one of them.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import BadSetting, UnknownAnswer, explain_refusal
from .redact import redact
from .router import Arm, user_hash
from .store import Store

if TYPE_CHECKING:  # takes longer to import than a server does to start
    import pandas

#: What is stored of an answer, in the order of the table.
COLUMNS = (
    "id", "time", "user", "version", "arm", "share", "category", "prompt_tokens", "answer_tokens",
    "latency", "refused", "truncated", "prompt", "answer", "texts_until",
)  # fmt: skip
SHOWN = COLUMNS[:-1]
EVENTS = (
    "number", "id", "time", "answered", "user", "version", "arm", "share", "category", "harm",
    "note",
)  # fmt: skip


@dataclass(frozen=True)
class AnswerRow:
    """An answer as the server knows it.

    Attributes:
        id: unique; what feedback will call it.
        time: when it was answered, seconds since 1970.
        user: the user's own id, hashed before it is stored; None where nobody said who they are.
        version: who answered.
        arm: "direct" for an answer outside the comparison: to nobody in particular, or by a version
            that was asked for by its name.
        share: of the users, 0 to 1, that the candidate had then.
        category: what was asked about, as guessed: see `category.Categories`.
        prompt_tokens, answer_tokens: lengths.
        latency: seconds from the request to the end of the answer.
        refused: the model would not answer.
        truncated: the answer was cut off at the limit.
        prompt, answer: the texts; dropped here and now unless the telemetry keeps texts.
    """

    id: str
    time: float
    user: str | None
    version: str
    arm: Arm | Literal["direct"]
    share: float
    category: str = "other"
    prompt_tokens: int = 0
    answer_tokens: int = 0
    latency: float = 0.0
    refused: bool = False
    truncated: bool = False
    prompt: str | None = None
    answer: str | None = None


class Telemetry:
    """Answers and feedback in the store.

    Args:
        path: the store; made where there is none.
        key: secret, 16 to 64 bytes; the router's.
        keep_texts: how long prompts, answers and notes are kept, redacted; None for not at all.
        clock: seconds since 1970.

    Raises:
        BadStore, Busy, NotStored: the store cannot be opened; see `store.connect`.
        BadSetting: the key or the time is not of that kind.
    """

    def __init__(
        self,
        path: str | Path,
        key: bytes,
        keep_texts: timedelta | None = None,
        clock: Callable[[], float] = clocks.time,
    ) -> None:
        if keep_texts is not None and keep_texts <= timedelta(0):
            raise BadSetting(f"Texts are kept for some time, or not at all (None): {keep_texts}.")
        user_hash(key, "anybody")  # refuses a bad key at once, and not at the first answer
        self._key = key
        self.keep_texts, self.clock = keep_texts, clock
        self.store = Store(path)

    def close(self) -> None:
        """Close the store. Nothing is lost without it."""
        self.store.close()

    def record(self, *rows: AnswerRow) -> int:
        """Store answers, all of them or none; when it returns, they are on the disk.

        An answer whose id is there already is not stored a second time, so that whoever does not
        know whether it was stored may simply ask again. Several rows in one call cost hardly more
        than one: what takes time is the disk, once a call.

        Returns:
            How many were new.

        Raises:
            BadSetting: a row has a value that cannot be, such as a share of 2.
            Busy, NotStored: and then none of them is stored.
        """
        made = [self._stored(row) for row in rows]
        places = ", ".join("?" * len(COLUMNS))
        query = f"INSERT INTO answers VALUES ({places}) ON CONFLICT (id) DO NOTHING"
        with explain_refusal(), self.store.writing() as db:
            return sum(db.execute(query, row).rowcount for row in made)

    def _stored(self, row: AnswerRow) -> tuple:
        until, texts = None, (None, None)
        if self.keep_texts is not None and (row.prompt is not None or row.answer is not None):
            until = row.time + self.keep_texts.total_seconds()
            texts = tuple(
                None if text is None else redact(text, lambda word: word == row.user)
                for text in (row.prompt, row.answer)
            )
        user = None if row.user is None else user_hash(self._key, row.user)
        return (
            row.id, row.time, user, row.version, row.arm, row.share, row.category,
            row.prompt_tokens, row.answer_tokens, row.latency, int(row.refused),
            int(row.truncated), *texts, until,
        )  # fmt: skip

    def feedback(
        self, answer_id: str, harm: bool, note: str = "", time: float | None = None
    ) -> bool:
        """What came of an answer, minutes or days after it.

        The first word on an answer counts and is never changed: a test that has counted it cannot
        take it back. To say the same again does nothing.

        Args:
            harm: whether the answer did harm.
            note: why; kept, redacted, as long as the answer's texts are, and only with them.
            time: seconds since 1970; now when left out.

        Returns:
            Whether it was the first word on this answer.

        Raises:
            UnknownAnswer: no answer has this id.
            Busy, NotStored: and then it is not stored.
        """
        query = (
            "INSERT INTO feedback (answer, time, harm, note) "
            "SELECT id, ?, ?, CASE WHEN texts_until IS NULL THEN NULL ELSE ? END "
            "FROM answers WHERE id = ? ON CONFLICT (answer) DO NOTHING"
        )
        when = self.clock() if time is None else time
        with explain_refusal(), self.store.writing() as db:
            row = db.execute("SELECT user FROM answers WHERE id = ?", (answer_id,)).fetchone()
            if row is None:
                raise UnknownAnswer(
                    f"There is no answer {answer_id!r}. It was never recorded, or its user has "
                    "been forgotten."
                )
            told = None
            if note and self.keep_texts is not None:
                told = redact(note, lambda word: user_hash(self._key, word) == row[0])
            return db.execute(query, (when, int(harm), told, answer_id)).rowcount == 1

    def answered_by(self, answer_id: str) -> tuple[str, str]:
        """The version and the arm of an answer.

        Raises:
            UnknownAnswer: no answer has this id.
        """
        for row in self.store.read("SELECT version, arm FROM answers WHERE id = ?", (answer_id,)):
            return row
        raise UnknownAnswer(f"There is no answer {answer_id!r}.")

    def answers(self) -> pandas.DataFrame:
        """One row an answer, in the order in which they were stored; `user` is a keyed hash."""
        rows = self.store.read(f"SELECT {', '.join(SHOWN)} FROM answers ORDER BY rowid")
        return _frame(rows, SHOWN, ("refused", "truncated"))

    def events(self, after: int = 0) -> pandas.DataFrame:
        """One row a word of feedback, in the order of arrival, with what is known of its answer.

        Args:
            after: only those with a larger `number`: what is new since the last look.

        Returns:
            `number` (counts up, with gaps where users were forgotten), `id` of the answer, `time`
            of the feedback, `answered` (the answer's own time), `user`, `version`, `arm`, `share`,
            `category`, `harm`, `note`.
        """
        rows = self.store.read(
            "SELECT number, id, said.time, answers.time, user, version, arm, share, category, "
            "harm, note FROM feedback AS said JOIN answers ON answers.id = said.answer "
            "WHERE number > ? ORDER BY number",
            (after,),
        )
        return _frame(rows, EVENTS, ("harm",))

    def export(self, path: str | Path) -> Path:
        """Write all answers, with their feedback in `harm` (empty where there is none), to Parquet.

        Raises:
            BadSetting: the file's name does not end in .parquet.
        """
        path = Path(path)
        if path.suffix != ".parquet":
            raise BadSetting(f"Answers are exported to a .parquet file, not to {path.name!r}.")
        harm = self.events().set_index("id")["harm"].astype("boolean")
        frame = self.answers()
        frame["harm"] = harm.reindex(frame["id"]).to_numpy()
        frame["harm"] = frame["harm"].astype("boolean")
        frame.to_parquet(path)
        return path

    def forget(self, user: str) -> int:
        """Delete every answer of a user, and all feedback on them.

        The rows are overwritten with zeros and the log is emptied, so that nothing can be read back
        from the file. Exports and copies made before are not reached.

        Returns:
            How many answers there were.

        Raises:
            Busy: a reader keeps the log from being emptied; see `Store.wipe`.
        """
        hashed = user_hash(self._key, user)
        with self.store.writing() as db:
            count = db.execute("DELETE FROM answers WHERE user = ?", (hashed,)).rowcount
        self.store.wipe()
        return count

    def expire(self, now: float | None = None) -> int:
        """Delete the texts whose time is over, and the notes with them; the numbers stay.

        How long a text is kept was settled when it was stored, whatever `keep_texts` is by now.

        Returns:
            How many answers lost their texts.
        """
        now = self.clock() if now is None else now
        over = "texts_until IS NOT NULL AND texts_until <= ?"
        with self.store.writing() as db:
            db.execute(
                "UPDATE feedback SET note = NULL WHERE note IS NOT NULL AND answer IN "
                f"(SELECT id FROM answers WHERE {over})",
                (now,),
            )
            count = db.execute(
                f"UPDATE answers SET prompt = NULL, answer = NULL, texts_until = NULL WHERE {over}",
                (now,),
            ).rowcount
        if count:
            self.store.wipe()
        return count


def _frame(rows: Iterable[tuple], columns: tuple[str, ...], flags: tuple[str, ...]):
    import pandas

    frame = pandas.DataFrame(list(rows), columns=list(columns))
    return frame.astype(dict.fromkeys(flags, bool))
