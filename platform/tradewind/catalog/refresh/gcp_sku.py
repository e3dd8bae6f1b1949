"""One SKU of Google's Cloud Billing Catalog: what it meters, and what an hour of one of it costs.

Fields: cloud.google.com/billing/v1/how-tos/catalog-api. What is metered stands in `description` alone, before the
place: `A2 Instance Core running in Americas`. Its first words are compared as a whole, so that sole tenancy, custom
types, commitments, calendar reservations and flexible starts, which have more words, are never taken for it. The
description also says what is spot: some SKUs of spot machines have `OnDemand` as their usage type. `pricingInfo` is a
timeline, of which the last entry holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tradewind.catalog.refresh.shape import amount, expect, field

WHAT = "the Cloud Billing Catalog API of Google"

LOCAL_DISK = "SSD backed Local Storage"

HOURS_A_MONTH = 730
"""What Google reckons a month of local disk with: cloud.google.com/compute/disks-image-pricing."""

_DESCRIPTION = re.compile(r"(?P<thing>.+?)(?: running)?(?: in .+)?")
_SPOT = re.compile(r"(?:Spot )?Preemptible (?P<core>.+)|(?P<part>.+) attached to Spot Preemptible VMs?")
_UNITS = {"h": 1.0, "GiBy.h": 1.0, "GiBy.mo": 1.0 / HOURS_A_MONTH}


@dataclass(frozen=True)
class Rate:
    thing: str
    """`A2 Instance Core`, `Nvidia L4 GPU`: the description without place and market."""
    is_spot: bool
    regions: tuple[str, ...]
    usd_per_hour: float
    """Of one core, GiB or accelerator."""


def read_sku(sku: Any, things: frozenset[str]) -> Rate | None:
    """The rate of a SKU that meters one of `things`; None for others and for what is free.

    Raises IntegrityError that names the field where it has another shape, unit or currency.
    """
    thing, is_spot = _named(field(sku, "description", str, of=WHAT))
    if thing not in things:
        return None
    of = f"{WHAT}, SKU {field(sku, 'skuId', str, of=WHAT)}"
    usage = field(field(sku, "category", dict, of=of), "usageType", str, of=of)
    prices = field(sku, "pricingInfo", list, of=of)
    if usage not in ("OnDemand", "Preemptible") or not prices:
        return None
    usd_per_hour = _usd_per_hour(field(prices[-1], "pricingExpression", dict, of=of), of)
    regions = tuple(field(sku, "serviceRegions", list, of=of))
    return Rate(thing, is_spot or usage == "Preemptible", regions, usd_per_hour) if usd_per_hour else None


def _named(description: str) -> tuple[str, bool]:
    match = _DESCRIPTION.fullmatch(description)
    thing = match["thing"] if match else description
    spot = _SPOT.fullmatch(thing)
    return (spot["core"] or spot["part"], True) if spot else (thing, False)


def _usd_per_hour(expression: Any, of: str) -> float:
    """Of the first tier that is not free; 0 where all are."""
    unit = field(expression, "usageUnit", str, of=of)
    if unit not in _UNITS:
        expect(expression, "usageUnit", " or ".join(_UNITS), of=of)
    paid = _tiers(field(expression, "tieredRates", list, of=of), of)
    return next((usd for usd in paid if usd > 0), 0.0) * _UNITS[unit]


def _tiers(rates: list[Any], of: str) -> Iterator[float]:
    """`units` is a whole number written as text, `nanos` billionths; Google leaves out what is zero."""
    for rate in rates:
        price = field(rate, "unitPrice", dict, of=of)
        expect(price, "currencyCode", "USD", of=of)
        units, nanos = (amount(price, name, of=of) if name in price else 0.0 for name in ("units", "nanos"))
        yield (units * 1e9 + nanos) / 1e9
