"""One row of a price list: a machine type in a place, on demand and on the spot market."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Price:
    cloud: str
    region: str
    zone: str
    """Empty for a price of the whole region."""
    instance: str
    on_demand_usd_per_hour: float | None
    spot_usd_per_hour: float | None
    as_of: date | None
    """The day that the source states; None where it states none that can be read as one."""
    source: str
    currency: str = "USD"
    """Of the list. Rows in another one have no dollars, and are never compared."""
    native_on_demand_per_hour: float | None = None
    """In `currency`, where that is not the dollar: what an exchange rate of the user makes a price of."""
    note: str = ""
