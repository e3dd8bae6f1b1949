"""Where a region is, how clean its electricity is, and what its buildings add."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    cloud: str
    name: str
    title: str
    country: str
    """ISO 3166 code of two letters; empty where that is not known."""
    latitude: float | None
    longitude: float | None
    carbon_g_per_kwh: float | None
    """Of the grid, as a yearly average: `carbon_year`, `carbon_source`."""
    carbon_year: str
    carbon_source: str
    pue: float | None
    """Power usage effectiveness: energy of the building over energy of its machines."""
    pue_source: str
    source: str
