"""An offer: one machine type, in one place, on one market, at a price. What the planner chooses from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from tradewind.catalog.chip import Chip
from tradewind.catalog.instance import Instance
from tradewind.catalog.region import Region

Market = Literal["on_demand", "spot", "reserved", "owned"]
"""`owned` machines are paid for anyway; `reserved` ones until their contract ends."""

STALE_DAYS = 30


@dataclass(frozen=True)
class Offer:
    instance: Instance
    chip: Chip | None
    region: Region
    zone: str
    """Empty for a price of the whole region."""
    market: Market
    usd_per_hour: float
    """Of one machine, after discounts of the user."""
    on_demand_usd_per_hour: float | None
    """Of the same machine in the same place on demand, to compare with; None where there is no such price."""
    as_of: date | None
    """The day of the price; None where its source gives none, and then it counts as old."""
    source: str
    note: str = ""
    limit: int | None = None
    """Most machines that can be had: a quota, a reservation, or what is owned. None: not known."""

    @property
    def id(self) -> str:
        """`cloud/region[/zone]/instance/market`."""
        return "/".join(part for part in (*self.place, self.instance.name, self.market) if part)

    @property
    def place(self) -> tuple[str, str, str]:
        return self.region.cloud, self.region.name, self.zone

    @property
    def chips(self) -> int:
        """Whole accelerators of one machine."""
        return self.instance.chips or 0

    @property
    def usd_per_chip_hour(self) -> float | None:
        return self.usd_per_hour / self.chips if self.chips else None

    def age_days(self, today: date) -> int | None:
        """How old the price is; None where nobody knows."""
        return (today - self.as_of).days if self.as_of else None

    def is_stale(self, today: date) -> bool:
        age = self.age_days(today)
        return age is None or age > STALE_DAYS
