"""Machines of one's own against rented ones."""

from tradewind.planner.ownership.answer import Answer, Question, buy_or_rent
from tradewind.planner.ownership.case import (
    Case,
    Pays,
    Purchase,
    Renting,
    Terms,
    cost_ratio_of_use,
    energy_usd,
    opportunity_usd,
)
from tradewind.planner.ownership.comparison import Comparison, Threshold, break_even_months, compare, curves
from tradewind.planner.ownership.hours import (
    MONTH_HOURS,
    GpuHours,
    GpuRate,
    Month,
    NodeHours,
    NodeRate,
    rent_usd,
)
from tradewind.planner.ownership.inputs import Input, Known, inputs
from tradewind.planner.ownership.sensitivity import Bar, tornado

__all__ = [
    "MONTH_HOURS",
    "Answer",
    "Bar",
    "Case",
    "Comparison",
    "GpuHours",
    "GpuRate",
    "Input",
    "Known",
    "Month",
    "NodeHours",
    "NodeRate",
    "Pays",
    "Purchase",
    "Question",
    "Renting",
    "Terms",
    "Threshold",
    "break_even_months",
    "buy_or_rent",
    "compare",
    "cost_ratio_of_use",
    "curves",
    "energy_usd",
    "inputs",
    "opportunity_usd",
    "rent_usd",
    "tornado",
]
