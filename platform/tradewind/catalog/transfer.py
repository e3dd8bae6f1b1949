"""What it costs to move bytes between places: marginal prices by monthly volume, from `transfer.csv`.

The amount is the integral of the marginal price over the volume, so it is continuous, grows with the volume, and two
transfers of a month cost as much as one of both. The first rows that fit a pair of places count; what has no row costs
as much as the dearest row of all, never nothing. What an account may move for free each month is not in it, nor are
discounts. What the receiver pays is not in it either: no cloud here charges for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import groupby
from typing import Final, get_args

from tradewind.catalog.sheet import Row, read_sheet
from tradewind.catalog.tables import shipped_files
from tradewind.records import Boundary, Place, boundary

GIGABYTE: Final = 10**9
"""Bytes. At most what is billed: for AWS a GB is 2³⁰ (repost.aws/knowledge-center/s3-manage-data-retrieval counts
100 TB as 102,400 GB), and Google's billing counts GiB. So an amount is up to 7 % more than the bill, never less."""

NUSD: Final = 10**9
"""Billionths of a dollar. Sums are of whole ones, so that they are exact."""

COLUMNS = (
    "cloud", "boundary", "source_region", "target_region", "from_gb", "to_gb", "usd_per_gb", "as_of", "source", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Tier:
    """What each gigabyte costs from a monthly volume on."""

    from_bytes: int
    usd_per_gb: float

    @property
    def nusd_per_gb(self) -> int:
        return round(self.usd_per_gb * NUSD)


@dataclass(frozen=True)
class TransferTariff:
    boundary: Boundary
    tiers: tuple[Tier, ...]
    """The first from 0 on."""
    source: str
    as_of: str
    """A day; empty where the source states none."""
    note: str = ""
    is_known: bool = True
    """False where there is no price, and that of the dearest pair of places stands in for it."""

    @property
    def first_usd_per_gb(self) -> float:
        """What the first gigabyte of a month costs."""
        return self.tiers[0].usd_per_gb

    def usd(self, num_bytes: int, *, already_bytes: int = 0) -> float:
        """Dollars for so many bytes more, after those that were moved this month already."""
        return (self._cost(already_bytes + num_bytes) - self._cost(already_bytes)) / (NUSD * GIGABYTE)

    def _cost(self, num_bytes: int) -> int:
        """Of the first bytes of a month, in 10⁻¹⁸ dollars."""
        ends = (*(tier.from_bytes for tier in self.tiers[1:]), num_bytes)
        return sum(
            tier.nusd_per_gb * max(0, min(end, num_bytes) - tier.from_bytes)
            for tier, end in zip(self.tiers, ends, strict=True)
        )


@cache
def transfer_tariff(source: Place, target: Place) -> TransferTariff:
    """What the owner of `source` pays for bytes that leave it for `target`."""
    crossed = boundary(source, target)
    if crossed == "none":
        return TransferTariff(crossed, (Tier(0, 0.0),), "a folder of this machine", "")
    for line in transfer_lines():
        if line.fits(crossed, source, target):
            return line.tariff
    dearest = max((line.tariff for line in transfer_lines()), key=lambda tariff: tariff.first_usd_per_gb)
    first = (Tier(0, dearest.first_usd_per_gb),)
    return TransferTariff(crossed, first, f"not known; the dearest: {dearest.source}", dearest.as_of, is_known=False)


@dataclass(frozen=True)
class TransferLine:
    """The tariff between the places that fit patterns, which are of a region, or of `region/zone`."""

    cloud: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    tariff: TransferTariff

    def fits(self, crossed: Boundary, source: Place, target: Place) -> bool:
        return (
            (self.cloud, self.tariff.boundary) == (source.cloud, crossed)
            and _matches(source, self.sources)
            and _matches(target, self.targets)
        )


@cache
def transfer_lines() -> tuple[TransferLine, ...]:
    """All of them; the first that fits counts. Raises IntegrityError for a damaged table."""
    return tuple(line for where, data in shipped_files("transfer") for line in read_transfer(data, where))


def read_transfer(data: bytes, where: str) -> Iterator[TransferLine]:
    """Rows of one line stand together, one for each tier, and leave no gap. Raises IntegrityError."""
    rows = read_sheet(data, where, COLUMNS)
    for (cloud, crossed, sources, targets), some in groupby(rows, key=_places):
        first, *rest = some
        tiers = tuple(_tiers([first, *rest]))
        boundary_ = next((one for one in get_args(Boundary) if one == crossed), None)
        if boundary_ is None:
            raise first.wrong("boundary", f"{crossed!r} is not one of {', '.join(get_args(Boundary))}")
        as_of = first.day("as_of")
        tariff = TransferTariff(
            boundary_, tiers, first.word("source"), as_of.isoformat() if as_of else "", first.text("note")
        )
        yield TransferLine(cloud, tuple(sources.split()), tuple(targets.split()), tariff)


def _places(row: Row) -> tuple[str, str, str, str]:
    return row.word("cloud"), row.word("boundary"), row.word("source_region"), row.word("target_region")


def _tiers(rows: list[Row]) -> Iterator[Tier]:
    end: int | None = 0
    for row in rows:
        begin, price = row.whole("from_gb", GIGABYTE), row.number("usd_per_gb")
        if price is None:
            raise row.wrong("usd_per_gb", "is empty")
        if end is None or begin != end:
            raise row.wrong("from_gb", "does not begin where the tier before it ends")
        end = row.whole("to_gb", GIGABYTE)
        if end is not None and end <= begin:
            raise row.wrong("to_gb", "is not more than from_gb")
        yield Tier(begin, price)
    if end is not None:
        raise rows[-1].wrong("to_gb", "the last tier of a line has no end")


def _matches(place: Place, patterns: tuple[str, ...]) -> bool:
    names = (place.region, f"{place.region}/{place.zone}") if place.zone else (place.region,)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
