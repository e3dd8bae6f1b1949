"""What o'clock it is where a region stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tradewind.catalog import Region

ZONES: Mapping[str, str] = {
    "AE": "Asia/Dubai",
    "AT": "Europe/Vienna",
    "BE": "Europe/Brussels",
    "BH": "Asia/Bahrain",
    "CH": "Europe/Zurich",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CZ": "Europe/Prague",
    "DE": "Europe/Berlin",
    "DK": "Europe/Copenhagen",
    "ES": "Europe/Madrid",
    "FI": "Europe/Helsinki",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "HK": "Asia/Hong_Kong",
    "HR": "Europe/Zagreb",
    "IE": "Europe/Dublin",
    "IL": "Asia/Jerusalem",
    "IN": "Asia/Kolkata",
    "IS": "Atlantic/Reykjavik",
    "IT": "Europe/Rome",
    "JP": "Asia/Tokyo",
    "KR": "Asia/Seoul",
    "MY": "Asia/Kuala_Lumpur",
    "NL": "Europe/Amsterdam",
    "NO": "Europe/Oslo",
    "NZ": "Pacific/Auckland",
    "PH": "Asia/Manila",
    "PL": "Europe/Warsaw",
    "QA": "Asia/Qatar",
    "RO": "Europe/Bucharest",
    "SA": "Asia/Riyadh",
    "SE": "Europe/Stockholm",
    "SG": "Asia/Singapore",
    "TH": "Asia/Bangkok",
    "TW": "Asia/Taipei",
    "ZA": "Africa/Johannesburg",
}
"""Of countries with one time zone, islands far away not counted (IANA time zone database, zone1970.tab)."""


@dataclass(frozen=True)
class Offset:
    hours: float
    """To be added to UTC."""
    source: str
    """The name of a time zone, or `longitude`."""


def utc_offset(region: Region, at: datetime) -> Offset | None:
    """The clock's offset where the country has one time zone, else the sun's by longitude; None without either.

    The sun may differ from the clock by an hour and more. A machine without a time zone database has the sun alone.
    """
    if zone := ZONES.get(region.country):
        try:
            offset = at.astimezone(ZoneInfo(zone)).utcoffset()
        except ZoneInfoNotFoundError:
            offset = None
        if offset is not None:
            return Offset(offset / timedelta(hours=1), zone)
    return None if region.longitude is None else Offset(round(region.longitude / 15, 2), "longitude")
