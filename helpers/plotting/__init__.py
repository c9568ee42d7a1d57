"""Every figure of the course: `from helpers import plotting as plot`."""

from .board import ranking, roads
from .curves import Curve, law, lines, paths, points, scatter, spread
from .doors import doors
from .rollout import confidence_path, false_alarms, harm_by_category
from .scores import capability_bars, learning_and_forgetting, two_measures
from .style import Picture

__all__ = [
    "Curve", "Picture", "capability_bars", "confidence_path", "doors", "false_alarms",
    "harm_by_category", "law", "learning_and_forgetting", "lines", "paths", "points", "ranking",
    "roads", "scatter", "spread", "two_measures",
]  # fmt: skip
