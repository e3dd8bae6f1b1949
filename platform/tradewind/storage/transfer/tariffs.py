"""What the ledger counts for bytes that move: the price of the first gigabyte of a month, in whole nano-dollars.

The prices are those of `tradewind.catalog.transfer`. A ledger does not know how much of a month's volume other programs
have used up, so larger volumes are not counted cheaper here, and an amount is at most too high.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tradewind.catalog.transfer import GIGABYTE, NUSD, transfer_tariff
from tradewind.records import Boundary, Place


@dataclass(frozen=True)
class Tariff:
    boundary: Boundary
    usd_per_gb: float
    source: str
    as_of: str

    def nusd(self, num_bytes: int) -> int:
        """The price of so many bytes, rounded up."""
        return -(-num_bytes * self._nusd_per_gb // GIGABYTE)

    @property
    def _nusd_per_gb(self) -> int:
        return round(self.usd_per_gb * NUSD)


@cache
def tariff(source: Place, target: Place) -> Tariff:
    """What the owner of `source` pays for bytes that leave it for `target`."""
    found = transfer_tariff(source, target)
    return Tariff(found.boundary, found.first_usd_per_gb, found.source, found.as_of)
