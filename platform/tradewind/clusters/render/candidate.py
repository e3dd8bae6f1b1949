"""One way to get a machine: where it is, on which market, what it offers, and what an hour of it costs in the end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from tradewind.clusters.render.resources import Resources
from tradewind.units import format_usd

OWNED = "owned"


@dataclass(frozen=True)
class Candidate:
    cloud: str
    region: str
    zone: str
    """Empty where the cloud may choose."""
    machine: str
    market: str
    """`on_demand`, `spot`, or `owned` for machines of a site."""
    resources: Resources
    usd_per_hour: float
    """The price; of a spot machine whose price no list has, the most that is bid."""
    on_demand_usd_per_hour: float
    effective_usd_per_hour: float
    """With the work that interruptions lose."""
    max_usd_per_hour: float
    """The most that may be paid: of spot machines, what is bid."""
    as_of: date | None
    listed: bool
    """Whether a price list has the price."""

    @property
    def name(self) -> str:
        """What tells it from the others, in letters that labels of every cloud allow."""
        parts = (self.cloud, self.zone or self.region, self.machine, self.market.replace("_", "-"))
        return label("-".join(part for part in parts if part))

    @property
    def is_spot(self) -> bool:
        return self.market == "spot"

    @property
    def place(self) -> str:
        return "/".join(part for part in (self.cloud, self.region, self.zone) if part)

    def price_words(self) -> str:
        """What it costs and from when that is known, for a comment."""
        if self.market == OWNED:
            return f"{format_usd(self.usd_per_hour)}/h, as the site says"
        day = f"price of {self.as_of}" if self.as_of else "price of no known day"
        if not self.listed:
            return f"at most {format_usd(self.usd_per_hour)}/h, no spot price is listed; on demand {day}"
        words = f"{format_usd(self.usd_per_hour)}/h, {day}"
        if not self.is_spot:
            return words
        return f"{words}; {format_usd(self.effective_usd_per_hour)}/h with lost work, estimated"


def label(text: str) -> str:
    """What labels of GCP can hold: lower case, digits, `_` and `-`, 63 at most."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
