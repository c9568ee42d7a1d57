"""The cost on paper: the arithmetic by hand, and the bytes against a store that grew by itself."""

from __future__ import annotations

import pytest

from helpers.rollout.cost import bytes_per_row, cost
from helpers.rollout.errors import BadSetting
from helpers.rollout.telemetry import AnswerRow, Telemetry


def test_a_day_by_hand():
    """A thousand requests of 100 and 10 tokens; a GPU that reads 1,000 and writes 100 a second."""
    found = cost(
        1000, 100, 10, read_per_second=1000, written_per_second=100, dollars_per_hour=2, peak=240,
        share=0.5, holdout=0.2, feedback=0.1, days=10, row=(200, 100),
    )  # fmt: skip
    # 0.1 s to read and 0.1 s to write each: 200 s in all. 240 times the average of 200/86,400 GPUs
    # is 0.56 of a GPU, so one is rented: 48 dollars.
    assert found.gpu_hours == pytest.approx(200 / 3600)
    assert (found.gpus, found.dollars) == (1, 48)
    assert found.candidate == pytest.approx(0.4) and found.holdout == 0.2
    assert found.telemetry == pytest.approx(1000 * 210) and found.kept == pytest.approx(2_100_000)
    text = repr(found)
    assert "40.00 %, 400 answers, 19.20 dollars" in text and "20.00 %, 200 answers" in text
    assert "<table>" in found._repr_html_()


def test_more_of_anything_costs_no_less():
    usual = cost(row=(200, 100))
    for change in ({"requests_per_day": 2e6}, {"answer_tokens": 500}, {"prompt_tokens": 900},
                   {"peak": 6}, {"dollars_per_hour": 9}, {"written_per_second": 500}):  # fmt: skip
        assert cost(**change, row=(200, 100)).dollars > usual.dollars
    assert cost(share=1, row=(200, 100)).dollars == usual.dollars  # who answers does not matter
    assert cost(0, row=(200, 100)).dollars == 0


def test_bytes_are_what_a_store_grows_by(tmp_path):
    answer, word = bytes_per_row()
    telemetry = Telemetry(tmp_path / "s.db", bytes(range(32)))
    sizes = []
    for start in (0, 10_000):
        telemetry.record(*(
            AnswerRow(f"chatcmpl-{n:024x}", 1.6e9 + n, f"u{n % 500}", "shop-1", "candidate", 0.25,
                      "reasoning", 80, 40, 0.9, True, False)
            for n in range(start, start + 10_000)
        ))  # fmt: skip
        telemetry.store.wipe()
        sizes.append((tmp_path / "s.db").stat().st_size)
    telemetry.close()
    assert (sizes[1] - sizes[0]) / 10_000 == pytest.approx(answer, rel=0.15)
    assert 30 < word < answer < 400
    texts, _ = bytes_per_row("w" * 200, "w" * 100)
    assert 300 <= texts - answer < 500


@pytest.mark.parametrize(
    "wrong",
    [{"requests_per_day": -1}, {"written_per_second": 0}, {"share": 2}, {"holdout": -0.1},
     {"peak": 0.5}, {"feedback": 1.1}],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(BadSetting):
        cost(**wrong, row=(200, 100))
