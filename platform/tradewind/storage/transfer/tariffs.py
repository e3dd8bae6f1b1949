"""What it costs to move bytes between places: list prices of the first paid tier, in `tariffs.csv`.

Each row says what it was taken from and when; the first row that fits counts. Monthly free amounts and discounts are
not in it. A gigabyte is 10⁹ bytes here, which is at most what is billed. What has no row costs as much as the dearest
row of all, never nothing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

from tradewind.records import Boundary, Place, boundary

NUSD = 10**9
"""Billionths of a dollar: money is counted in whole ones, so that sums are exact."""

GIGABYTE = 10**9


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


@dataclass(frozen=True)
class _Row:
    cloud: str
    boundary: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    usd_per_gb: float
    source: str
    as_of: str

    def fits(self, crossed: Boundary, source: Place, target: Place) -> bool:
        return (
            (self.cloud, self.boundary) == (source.cloud, crossed)
            and _matches(source, self.sources)
            and _matches(target, self.targets)
        )


@cache
def tariff(source: Place, target: Place) -> Tariff:
    """What the owner of `source` pays for bytes that leave it for `target`."""
    crossed = boundary(source, target)
    if crossed == "none":
        return Tariff(crossed, 0.0, "a folder of this machine", "")
    for row in _rows():
        if row.fits(crossed, source, target):
            return Tariff(crossed, row.usd_per_gb, row.source, row.as_of)
    dearest = max(_rows(), key=lambda row: row.usd_per_gb)
    return Tariff(crossed, dearest.usd_per_gb, f"not known; the dearest: {dearest.source}", dearest.as_of)


@cache
def _rows() -> tuple[_Row, ...]:
    text = resources.files("tradewind.storage.transfer").joinpath("tariffs.csv").read_text(encoding="utf-8")
    return tuple(
        _Row(
            line["cloud"],
            line["boundary"],
            tuple(line["source_region"].split()),
            tuple(line["target_region"].split()),
            float(line["usd_per_gb"]),
            line["source"],
            line["as_of"],
        )
        for line in csv.DictReader(text.splitlines())
    )


def _matches(place: Place, patterns: tuple[str, ...]) -> bool:
    """Patterns are of a region, or of `region/zone` where it takes a zone to have the price."""
    names = (place.region, f"{place.region}/{place.zone}") if place.zone else (place.region,)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
