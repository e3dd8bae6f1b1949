"""Which region of a cloud, where nobody named one."""

from __future__ import annotations

import math

from tradewind.catalog import Catalog, Region


def main_region(catalog: Catalog, cloud: str) -> Region:
    """The one with the most offers, of equals the first by name."""
    counts: dict[str, int] = {}
    for offer in catalog.offers(cloud=cloud):
        counts[offer.region.name] = counts.get(offer.region.name, 0) + 1
    known = sorted(name for of, name in catalog.regions if of == cloud)
    return catalog.region(cloud, max(known, key=lambda name: counts.get(name, 0)))


def nearest_region(catalog: Catalog, region: Region, cloud: str, among: set[str]) -> Region:
    """The nearest region of a cloud, among these if there are any; of unknown distances the first by name."""
    regions = [one for one in catalog.regions.values() if one.cloud == cloud and (not among or one.name in among)]
    return min(regions, key=lambda one: (_distance(region, one), one.name))


def _distance(one: Region, other: Region) -> float:
    """Of the angle between two places as seen from the centre of the earth, in radians."""
    if None in (one.latitude, one.longitude, other.latitude, other.longitude):
        return math.inf
    here, there = ((math.radians(at.latitude or 0), math.radians(at.longitude or 0)) for at in (one, other))
    cosine = math.sin(here[0]) * math.sin(there[0]) + math.cos(here[0]) * math.cos(there[0]) * math.cos(
        here[1] - there[1]
    )
    return math.acos(max(-1.0, min(1.0, cosine)))
