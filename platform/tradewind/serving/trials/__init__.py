"""Which settings of an endpoint keep its goals: trials under load, their front, its knee, and the one to take."""

from tradewind.serving.trials.goals import Goals, Point
from tradewind.serving.trials.tune import Found, tune

__all__ = ["Found", "Goals", "Point", "tune"]
