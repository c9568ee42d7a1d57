"""What a rollout costs on paper: tokens, GPU hours and money a day, and bytes of telemetry.

Only the bytes are measured, in a store that is made for it. The rest is arithmetic over assumptions
that are arguments, and that you replace by what you have measured and pay.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..tables import Table
from .errors import BadSetting
from .telemetry import AnswerRow, Telemetry

#: Bytes; what a store begins with is not counted.
Bytes = float


def bytes_per_row(
    prompt: str | None = None, answer: str | None = None, rows: int = 4000
) -> tuple[Bytes, Bytes]:
    """Bytes on the disk for an answer and for a word of feedback, measured in a store of its own.

    Args:
        prompt, answer: typical texts where texts are kept; None where they are not.
        rows: how many are written. Pages are filled better the more there are.

    Returns:
        Per answer, indices included, and per word of feedback on top of that.
    """
    keep = None if prompt is None and answer is None else timedelta(days=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cost.db"
        telemetry = Telemetry(path, bytes(32), keep)

        def size() -> int:
            telemetry.store.wipe()  # what is still in the log goes into the file
            return path.stat().st_size

        empty = size()
        ids = [f"chatcmpl-{number * 0x9E3779B97F4A7C15 % 2**96:024x}" for number in range(rows)]
        telemetry.record(
            *(
                AnswerRow(
                    id, 1.7e9 + number / 12, f"user-{number % 997}", "shop-2", "control", 0.05,
                    "support", 120, 60, 1.2345, False, False, prompt, answer,
                )
                for number, id in enumerate(ids)
            )
        )  # fmt: skip
        answered = size()
        for id in ids[: rows // 10]:
            telemetry.feedback(id, True)
        told = size()
        telemetry.close()
    return (answered - empty) / rows, (told - answered) / (rows // 10)


@dataclass(frozen=True, repr=False)
class Cost:
    """A day's cost.

    Attributes:
        gpu_hours: that the tokens take on GPUs that are always busy.
        gpus: to be rented around the clock, so that the busiest hour is served.
        dollars: for these GPUs.
        candidate, holdout: the share of the answers, 0 to 1, that the candidate gives, and that go
            to users who are held out. They are part of the cost and not on top of it.
        telemetry: bytes.
        kept: bytes on the disk once rows have been kept for as long as they are.
    """

    requests: float
    gpu_hours: float
    gpus: int
    dollars: float
    candidate: float
    holdout: float
    telemetry: Bytes
    kept: Bytes

    @property
    def _rows(self) -> tuple[tuple[str, str], ...]:
        def part(share: float) -> str:
            return f"{100 * share:.2f} %, {share * self.requests:,.0f} answers, " + (
                f"{share * self.dollars:,.2f} dollars"
            )

        return (
            ("requests", f"{self.requests:,.0f}"),
            ("GPU hours, always busy", f"{self.gpu_hours:,.1f}"),
            ("GPUs for the busiest hour", str(self.gpus)),
            ("GPUs around the clock", f"{self.dollars:,.2f} dollars"),
            ("of it the candidate", part(self.candidate)),
            ("of it the holdout", part(self.holdout)),
            ("telemetry", f"{self.telemetry / 1e6:,.0f} MB a day, {self.kept / 1e9:,.1f} GB kept"),
        )

    def __repr__(self) -> str:
        return repr(Table(("a day", ""), self._rows))

    def _repr_html_(self) -> str:
        return Table(("a day", ""), self._rows)._repr_html_()


def cost(
    requests_per_day: float = 1e6,
    prompt_tokens: float = 300,
    answer_tokens: float = 120,
    read_per_second: float = 20_000,
    written_per_second: float = 2_000,
    dollars_per_hour: float = 2.5,
    peak: float = 3.0,
    share: float = 0.05,
    holdout: float = 0.05,
    feedback: float = 0.02,
    days: float = 30,
    row: tuple[Bytes, Bytes] | None = None,
) -> Cost:
    """A day's cost of serving, with a candidate at a share of the users.

    The defaults are assumptions, for an 8B model on one large GPU with many requests in a batch;
    measure yours.

    Args:
        read_per_second, written_per_second: tokens of prompts, and of answers, by one GPU that
            does only that, over all requests of a batch.
        dollars_per_hour: for one GPU.
        peak: the busiest hour's requests over an average hour's.
        share: of the users who are not held out, that get the candidate.
        holdout: of all users.
        feedback: share of the answers that somebody speaks of.
        days: that telemetry is kept.
        row: bytes of an answer and of a word of feedback; `bytes_per_row()` when left out.

    Raises:
        BadSetting: a number is not of the kind it must be.
    """
    positive = (read_per_second, written_per_second)
    numbers = (requests_per_day, prompt_tokens, answer_tokens, dollars_per_hour, days)
    if min(positive) <= 0 or min(numbers) < 0 or peak < 1:
        raise BadSetting("Nothing can be below 0, no speed 0, and no peak below 1.")
    if not all(0 <= part <= 1 for part in (share, holdout, feedback)):
        raise BadSetting("share, holdout and feedback are shares from 0 to 1.")
    seconds = prompt_tokens / read_per_second + answer_tokens / written_per_second
    gpu_hours = requests_per_day * seconds / 3600
    gpus = math.ceil(gpu_hours / 24 * peak)
    answer, word = bytes_per_row() if row is None else row
    telemetry = requests_per_day * (answer + feedback * word)
    return Cost(
        requests=requests_per_day,
        gpu_hours=gpu_hours,
        gpus=gpus,
        dollars=gpus * 24 * dollars_per_hour,
        candidate=(1 - holdout) * share,
        holdout=holdout,
        telemetry=telemetry,
        kept=telemetry * days,
    )
