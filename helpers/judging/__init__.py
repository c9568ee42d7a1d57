"""Judges: models that say how good an answer is, and what has to be known before one may decide.

A scoring judge gives every answer a number, a pairwise judge says which of two is better. Both are
calibrated on answers of known worth, and nothing here uses one that has not passed.
"""

from .agreement import (
    CorrectedRate,
    JudgeBelowChance,
    Share,
    bias_corrected_win_rate,
    kappa,
    kappa_interval,
)
from .calibration import (
    Calibration,
    Requirements,
    UncalibratedJudge,
    best_threshold,
    calibrate,
    calibrate_pairs,
    require,
)
from .chat import ChatJudge
from .endpoint import EndpointError, EndpointJudge
from .judge import (
    BothOrders,
    ByScore,
    Judge,
    LengthJudge,
    PairwiseJudge,
    Preference,
    Swapped,
    Tally,
    swapped,
)
from .known import BadKnownAnswers, Known, Pair, read_known
from .pairs import BAD, HELD_OUT, SEEN, known_answers, preference_pairs
from .reward import RewardJudge, train_reward_model
from .verdicts import NoVerdict, judged

__all__ = [
    "BAD", "HELD_OUT", "SEEN", "BadKnownAnswers", "BothOrders", "ByScore", "Calibration",
    "ChatJudge", "CorrectedRate", "EndpointError", "EndpointJudge", "Judge", "JudgeBelowChance",
    "Known", "LengthJudge", "NoVerdict", "Pair", "PairwiseJudge", "Preference", "Requirements",
    "RewardJudge", "Share", "Swapped", "Tally", "UncalibratedJudge", "best_threshold",
    "bias_corrected_win_rate", "calibrate", "calibrate_pairs", "judged", "kappa", "kappa_interval",
    "known_answers", "preference_pairs", "read_known", "require", "swapped", "train_reward_model",
]  # fmt: skip
