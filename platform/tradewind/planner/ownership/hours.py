"""Hours of chips and hours of machines, each with its own price, so that one can never be paid at the other's.

A machine of eight chips at $40 an hour and a chip at $5 an hour are the same offer; eight chips at $40 each are not.
mypy refuses the mixture, and so does the program: SpecError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from tradewind.errors import SpecError

Month = Literal["720h", "730h"]
"""Thirty days, as most bills and articles reckon, or a twelfth of 365 days. A year differs by 1.4 %."""

MONTH_HOURS: Mapping[Month, float] = {"720h": 720.0, "730h": 730.0}


@dataclass(frozen=True)
class GpuHours:
    """Hours of one chip each: ten chips for an hour are ten."""

    hours: float

    def __post_init__(self) -> None:
        _check(self, self.hours)

    def __add__(self, other: Self) -> GpuHours:
        return GpuHours(self.hours + _same(self, other).hours)


@dataclass(frozen=True)
class NodeHours:
    """Hours of one machine each, whatever is in it."""

    hours: float

    def __post_init__(self) -> None:
        _check(self, self.hours)

    def __add__(self, other: Self) -> NodeHours:
        return NodeHours(self.hours + _same(self, other).hours)

    def of_gpus(self, gpus_per_node: int) -> GpuHours:
        return GpuHours(self.hours * gpus_per_node)


@dataclass(frozen=True)
class GpuRate:
    """Dollars for an hour of one chip."""

    usd: float

    def __post_init__(self) -> None:
        _check(self, self.usd)

    def cost_usd(self, time: GpuHours) -> float:
        """Raises SpecError for hours of machines."""
        if not isinstance(time, GpuHours):
            raise SpecError(f"{time!r} cannot be paid by the hour of a chip", hint="NodeHours.of_gpus says how many")
        return self.usd * time.hours


@dataclass(frozen=True)
class NodeRate:
    """Dollars for an hour of one machine."""

    usd: float

    def __post_init__(self) -> None:
        _check(self, self.usd)

    def cost_usd(self, time: NodeHours) -> float:
        """Raises SpecError for hours of chips."""
        if not isinstance(time, NodeHours):
            raise SpecError(
                f"{time!r} cannot be paid by the hour of a machine", hint="NodeRate.of_gpus makes it a price of chips"
            )
        return self.usd * time.hours

    def of_gpus(self, gpus_per_node: int) -> GpuRate:
        """The same price for each chip of the machine."""
        if gpus_per_node < 1:
            raise SpecError(f"a machine with {gpus_per_node} chips has no price of a chip")
        return GpuRate(self.usd / gpus_per_node)


def month_hours(month: Month) -> float:
    """Hours of a month by that reckoning. Raises SpecError for another word."""
    try:
        return MONTH_HOURS[month]
    except KeyError:
        raise SpecError(f"{month!r} is no month", hint=f"use one of {', '.join(MONTH_HOURS)}") from None


def rent_usd(gpus: int, rate: GpuRate, *, month: Month, utilisation: float = 1.0) -> float:
    """Dollars of a month of so many chips, at that share of its hours."""
    return rate.cost_usd(GpuHours(gpus * month_hours(month) * utilisation))


def _check(quantity: Any, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise SpecError(f"{type(quantity).__name__} of {value}: a number ≥ 0 is needed")


def _same(one: Any, other: Any) -> Any:
    if type(one) is not type(other):
        raise SpecError(f"{one!r} and {other!r} cannot be added", hint="NodeHours.of_gpus makes hours of chips")
    return other
