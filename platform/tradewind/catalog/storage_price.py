"""What it costs to keep bytes: a class of storage for each tier of a cloud, from `storage.csv`.

List prices of one region, without requests, taxes and discounts. A price that has no source is None and stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from tradewind.catalog.sheet import read_sheet
from tradewind.catalog.tables import shipped_files

GB: Final = 2**30
"""What is billed as a GB: repost.aws/knowledge-center/s3-manage-data-retrieval counts 100 TB as 102,400 GB."""

DAYS_PER_MONTH: Final = 365.25 / 12

TIERS = ("hot", "warm", "cold", "archive")
COLUMNS = (
    "cloud", "tier", "name", "region", "usd_per_gb_month", "retrieval_usd_per_gb", "minimum_days", "minimum_bytes",
    "restore_hours", "as_of", "source", "note",
)  # fmt: skip


@dataclass(frozen=True)
class StoragePrice:
    cloud: str
    tier: str
    """`hot`, `warm`, `cold` or `archive`."""
    name: str
    """What the cloud calls the class."""
    region: str
    usd_per_gb_month: float | None
    retrieval_usd_per_gb: float | None
    minimum_days: int
    """What is removed earlier is billed as if it had stayed so long."""
    minimum_bytes: int
    """A smaller object is billed as if it were so large."""
    restore_hours: float | None
    """Set where an object cannot be read before it was restored."""
    as_of: str
    """A day; empty where the source states none."""
    source: str
    note: str

    def usd(self, num_bytes: int, *, days: float) -> float | None:
        """Dollars for one object that is kept so long; None where the price is not known."""
        if self.usd_per_gb_month is None:
            return None
        months = max(days, self.minimum_days) / DAYS_PER_MONTH
        return self.usd_per_gb_month * max(num_bytes, self.minimum_bytes) / GB * months

    def retrieval_usd(self, num_bytes: int) -> float | None:
        """Dollars for reading so many bytes; None where the price is not known."""
        return None if self.retrieval_usd_per_gb is None else self.retrieval_usd_per_gb * num_bytes / GB


@cache
def storage_prices() -> tuple[StoragePrice, ...]:
    """Of each cloud the class of each tier, the hottest first. Raises IntegrityError for a damaged table."""
    return tuple(price for where, data in shipped_files("storage") for price in read_storage_prices(data, where))


def read_storage_prices(data: bytes, where: str) -> Iterator[StoragePrice]:
    """Raises IntegrityError."""
    for row in read_sheet(data, where, COLUMNS):
        as_of = row.day("as_of")
        yield StoragePrice(
            cloud=row.word("cloud"),
            tier=row.one_of("tier", TIERS),
            name=row.word("name"),
            region=row.word("region"),
            usd_per_gb_month=row.number("usd_per_gb_month"),
            retrieval_usd_per_gb=row.number("retrieval_usd_per_gb"),
            minimum_days=row.whole("minimum_days") or 0,
            minimum_bytes=row.whole("minimum_bytes") or 0,
            restore_hours=row.number("restore_hours"),
            as_of=as_of.isoformat() if as_of else "",
            source=row.word("source"),
            note=row.text("note"),
        )
