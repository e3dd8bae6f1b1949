"""Where work should run: does it fit, how is it split, how fast is it, what does it cost. Arithmetic alone.

Plans load numpy, so they are imported when they are first used: a command's help should not wait for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    **dict.fromkeys(("Plan", "Rejection", "make_plan"), "tradewind.planner.plan"),
    **dict.fromkeys(("ServingWork", "TrainingWork"), "tradewind.planner.work"),
    "Plans": "tradewind.planner.plan_log",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tradewind.planner' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
