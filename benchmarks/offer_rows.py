"""Offers as plain rows, one per machine type and place, so that planners that cannot share a process share them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from tradewind.catalog import Offer

Row = dict[str, Any]


def rows(offers: Iterable[Offer]) -> list[Row]:
    """Prices on demand and as spot side by side, in dollars an hour; what is not known is None."""
    merged: dict[tuple[str, str, str, str], Row] = {}
    for offer in offers:
        row = merged.setdefault((*offer.place, offer.instance.name), _row(offer))
        if offer.market in ("on_demand", "spot"):
            row[offer.market] = offer.usd_per_hour
    return list(merged.values())


def _row(offer: Offer) -> Row:
    cloud, region, zone = offer.place
    instance, peak = offer.instance, offer.chip.flops.get("bf16") if offer.chip else None
    return {
        "cloud": cloud,
        "region": region,
        "zone": zone,
        "instance": instance.name,
        "accelerator": instance.chip,
        "count": instance.chips,
        "vcpus": instance.vcpus,
        "memory_gib": instance.memory_bytes / 2**30 if instance.memory_bytes else None,
        "on_demand": None,
        "spot": None,
        "bf16_tflops": peak / 1e12 if peak else None,
    }


def scaled(table: list[Row], factor: float) -> list[Row]:
    """The same machine types in more or fewer regions: every nth region of each cloud, or copies under new names."""
    if factor >= 1:
        return [_copy(row, number) for number in range(round(factor)) for row in table]
    kept: set[tuple[str, str]] = set()
    places = sorted({(row["cloud"], row["region"]) for row in table})
    for _, regions in itertools.groupby(places, lambda place: place[0]):
        kept.update(itertools.islice(regions, 0, None, round(1 / factor)))
    return [row for row in table if (row["cloud"], row["region"]) in kept]


def _copy(row: Row, number: int) -> Row:
    if not number:
        return row
    return {**row, **{name: row[name] and f"{row[name]}-{number}" for name in ("region", "zone")}}
