"""Which input matters: each at its low and its high end alone, and what that does to the saving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradewind.planner.ownership.case import Case
from tradewind.planner.ownership.comparison import Comparison, compare
from tradewind.planner.ownership.inputs import Input


@dataclass(frozen=True)
class Bar:
    """One input of a tornado. Savings are those of buying, in present dollars over the horizon."""

    name: str
    low: float
    high: float
    at_low: Comparison
    at_high: Comparison

    @property
    def swing_usd(self) -> float:
        return abs(self.at_high.saving_usd - self.at_low.saving_usd)

    @property
    def flips(self) -> bool:
        """Whether this input alone can change the answer."""
        return self.at_low.answer != self.at_high.answer


def tornado(case: Case, inputs: Mapping[str, Input]) -> list[Bar]:
    """The inputs that have a range and move anything, the widest first."""
    bars = [_bar(case, name, one) for name, one in inputs.items() if one.low < one.high]
    return sorted((bar for bar in bars if bar.swing_usd > 0), key=lambda bar: (-bar.swing_usd, bar.name))


def _bar(case: Case, name: str, one: Input) -> Bar:
    at_low, at_high = (compare(case.with_value(name, value)) for value in (one.low, one.high))
    return Bar(name, one.low, one.high, at_low, at_high)
