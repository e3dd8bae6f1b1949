"""The record of a plan: what was asked, what was found, and what was refused. Also what a run was predicted to take."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar, Literal

from tradewind.records.base import Fact, Record

Basis = Literal["measured", "interpolated", "estimated"]
"""On what a prediction rests: the same hardware and kind of work, something near, or arithmetic alone."""


class Interval(Fact):
    """A prediction that is between `low` and `high` nine times out of ten."""

    low: float
    value: float
    high: float

    def times(self, factor: float) -> Interval:
        return Interval(low=self.low * factor, value=self.value * factor, high=self.high * factor)


class Cost(Fact):
    """Dollars, by what they are paid for. Work that is lost to interruptions is `rework_usd`."""

    compute_usd: float
    rework_usd: float
    idle_usd: float
    """Machines that start, and chips or capacity that nothing is done with."""
    transfer_usd: float
    storage_usd: float

    @property
    def total_usd(self) -> float:
        return self.compute_usd + self.rework_usd + self.idle_usd + self.transfer_usd + self.storage_usd


class Placement(Fact):
    """Work on one offer: how many machines, how the model lies on them, and what that is predicted to take."""

    offer: str
    """`cloud/region[/zone]/instance/market`."""
    cloud: str
    region: str
    zone: str
    instance: str
    market: str
    chip: str
    """Empty where processors do the work."""
    machines: int
    chips: int
    """That work, of all machines."""
    layout: dict[str, int]
    micro_batch: int = 0
    """Training: sequences in one pass of one group of chips."""
    micro_batches: int = 0
    recompute: str = "none"
    sequences: int = 0
    """Serving: in flight in one replica."""
    replicas: int = 0
    precision: str
    tokens_per_s: Interval
    estimated_tokens_per_s: float
    """Before measurements corrected it."""
    hours: Interval
    usd_per_machine_hour: float
    price_as_of: date | None
    price_is_old: bool
    cost: Cost
    cost_usd: Interval
    usd_per_million_tokens: float
    energy_kwh: float | None
    carbon_kg: float | None
    effort_days: float
    memory_bytes: int
    """Largest use of one chip's memory."""
    basis: Basis
    ttft_s: float | None = None
    itl_s: float | None = None
    starts_at: datetime | None = None
    """When to start within the slack; None for at once."""
    why: tuple[str, ...] = ()


class PlanRecord(Record):
    kind: ClassVar[str] = "plan"

    plan: str
    spec: dict[str, Any]
    spec_kind: str
    placements: tuple[Placement, ...]
    """The best by the weights first, then the rest of the front."""
    num_candidates: int
    num_rejected: int
    rejected: dict[str, int]
    """What was lacking → of how many offers that was the nearest."""
    assumptions: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.plan}"


class Prediction(Fact):
    """What a run was expected to take when it began, to compare with what it took."""

    seconds: Interval
    tokens: float
    usd: Interval
    energy_wh: float | None
    tokens_per_s: Interval
    estimated_tokens_per_s: float
    """Before measurements corrected it."""
    basis: Basis
    chip: str
    """What computes; of processors their name and number."""
    chips_per_node: int
    nodes: int
    layout: dict[str, int]
    precision: str
    recompute: str
    plan: str | None = None
    offer: str | None = None
