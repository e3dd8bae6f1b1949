"""Where work should run: does it fit, how is it split, how fast is it, what does it cost. Arithmetic alone."""

from tradewind.planner.inequality import Inequality
from tradewind.planner.layout import Layout, ServingSetup, TrainingSetup
from tradewind.planner.node import Node
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
