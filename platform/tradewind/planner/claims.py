"""Does a sentence about costs or speed hold together? It is taken apart into what it needs to be true.

Arithmetic on what was said and nothing else: these say what a claim implies, not whether anybody measured it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tradewind.errors import SpecError
from tradewind.planner.ownership.hours import GpuRate, Month, rent_usd

ROUNDING = 0.02
"""A claimed figure this near to the right one was rounded, not mistaken."""

SUPER_LINEAR = 1.05
"""Efficiencies above it are more than noise: a job on n times the chips ran more than n times as fast."""


@dataclass(frozen=True)
class RentCheck:
    """A claimed bill against chips × hours × price."""

    claimed_usd: float
    right_usd: float
    gpus_that_fit: float
    """So many chips would cost what is claimed, at the stated price."""
    rate_that_fits: GpuRate
    """At this price the stated chips would."""

    @property
    def ratio(self) -> float:
        return self.claimed_usd / self.right_usd

    @property
    def holds(self) -> bool:
        return abs(self.ratio - 1) <= ROUNDING

    def __str__(self) -> str:
        if self.holds:
            return f"${self.claimed_usd:,.0f} a month is right"
        return (
            f"${self.claimed_usd:,.0f} a month is {self.ratio:.3g} times the right ${self.right_usd:,.0f}; "
            f"it fits {self.gpus_that_fit:.3g} chips, or ${self.rate_that_fits.usd:.3g} a chip and hour"
        )


@dataclass(frozen=True)
class ScalingCheck:
    """A claimed speed-up, taken apart: speed-up = parallelism × efficiency, cost ratio = price ratio / efficiency."""

    speedup: float
    cost_ratio: float
    before_gpus: float
    """As stated, or what the cost implies at equal prices."""
    parallelism: float
    """How many times as many chips."""
    efficiency: float
    """Speed-up over parallelism; above 1 it is super-linear."""
    price_ratio: float
    """Price of a chip and hour, after over before; 1 where it was not to be found out."""

    @property
    def holds(self) -> bool:
        """Whether more chips and another price alone explain it."""
        return self.efficiency <= SUPER_LINEAR

    def __str__(self) -> str:
        said = (
            f"{self.speedup:.3g} times as fast on {self.parallelism:.3g} times the chips "
            f"(from {self.before_gpus:.3g}): efficiency {self.efficiency:.3g}, price × {self.price_ratio:.3g}"
        )
        if self.holds:
            return said
        return f"{said}. More than linear: parallelism alone cannot do that; other chips, software or work must differ"


def check_rent(claimed_usd: float, *, gpus: int, rate: GpuRate, month: Month) -> RentCheck:
    """What a claimed bill of a month would have to mean. Raises SpecError where there is nothing to pay."""
    right = rent_usd(gpus, rate, month=month)
    if right <= 0:
        raise SpecError(f"{gpus} chips at ${rate.usd} cost nothing, so no claim can be compared with them")
    ratio = claimed_usd / right
    return RentCheck(claimed_usd, right, gpus * ratio, GpuRate(rate.usd * ratio))


def check_scaling(
    *, before_hours: float, after_hours: float, after_gpus: float, cost_change: float, before_gpus: float | None = None
) -> ScalingCheck:
    """Split `before_hours → after_hours` at a cost change like -0.6 into parallelism, efficiency and price.

    Without `before_gpus` prices are taken as equal, and the cost says how many chips there were before.
    """
    if min(before_hours, after_hours, after_gpus, 1 + cost_change) <= 0 or (
        before_gpus is not None and before_gpus <= 0
    ):
        raise SpecError(
            f"{before_hours} h → {after_hours} h on {after_gpus} chips at {cost_change:+.0%} cannot be taken apart",
            hint="hours and chips are above 0, and a cost falls by less than all of it",
        )
    speedup, cost_ratio = before_hours / after_hours, 1 + cost_change
    before = after_gpus / (speedup * cost_ratio) if before_gpus is None else before_gpus
    parallelism = after_gpus / before
    efficiency = speedup / parallelism
    return ScalingCheck(speedup, cost_ratio, before, parallelism, efficiency, cost_ratio * efficiency)


def relative_change(before: float, after: float) -> float:
    """`21 → 7` is -0.667. Raises SpecError from nothing."""
    if before <= 0 or not math.isfinite(after / before):
        raise SpecError(f"a change from {before} to {after} is no share of anything")
    return after / before - 1
