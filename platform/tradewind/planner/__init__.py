"""Where work should run: does it fit, how is it split, how fast is it, what does it cost. Arithmetic alone.

Plans load numpy, so they are imported when they are first used: a command's help should not wait for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports
from tradewind.planner.inequality import Inequality
from tradewind.planner.layout import Layout, ServingSetup, TrainingSetup
from tradewind.planner.node import Node

if TYPE_CHECKING:
    from tradewind.planner.plan import Plan, Rejection, make_plan
    from tradewind.planner.plan_log import Plans
    from tradewind.planner.work import ServingWork, TrainingWork

__all__ = [
    "Inequality",
    "Layout",
    "Node",
    "Plan",
    "Plans",
    "Rejection",
    "ServingSetup",
    "ServingWork",
    "TrainingSetup",
    "TrainingWork",
    "make_plan",
]

__getattr__ = exports(
    __name__,
    {
        **dict.fromkeys(("Plan", "Rejection", "make_plan"), ".plan"),
        **dict.fromkeys(("ServingWork", "TrainingWork"), ".work"),
        "Plans": ".plan_log",
    },
)
