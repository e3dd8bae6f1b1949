"""One product of the Price List API of AWS: which machine type it is, and what an hour costs on demand.

The API gives each product as text that is JSON again. Its attributes and terms are described at
docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tradewind.catalog.refresh.shape import amount, expect, field
from tradewind.errors import IntegrityError

WHAT = "GetProducts of the AWS Price List API"

FILTERS: Mapping[str, str] = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "operation": "RunInstances",
}
"""What a product must say of itself. `RunInstances` alone is plain Linux; `RunInstances:CB` is a capacity block, which
is listed as on demand for $0.00."""


@dataclass(frozen=True)
class Product:
    instance: str
    region: str
    per_hour: float
    """In the currency that was asked for."""
    published: str
    """Day of the price list, as ISO 8601."""


def read_product(text: str, currency: str) -> Product | None:
    """A product of `PriceList`; None for one that is no plain Linux machine or is not sold on demand for money.

    Raises IntegrityError that names the field where it has another shape, unit or currency.
    """
    record = _parse(text)
    attributes = field(field(record, "product", dict, of=WHAT), "attributes", dict, of=WHAT)
    if any(attributes.get(name) != value for name, value in FILTERS.items()):
        return None
    if attributes.get("marketoption", "OnDemand") != "OnDemand":
        return None
    prices = [price for price in _hourly(field(record, "terms", dict, of=WHAT), currency) if price > 0]
    if not prices:
        return None
    return Product(
        field(attributes, "instanceType", str, of=WHAT),
        field(attributes, "regionCode", str, of=WHAT),
        max(prices),
        field(record, "publicationDate", str, of=WHAT)[:10],
    )


def _parse(text: object) -> Any:
    try:
        return json.loads(str(text))
    except ValueError as exc:
        raise IntegrityError(f"{WHAT}: 'PriceList' holds what is not JSON: {exc}", hint="try again later") from exc


def _hourly(terms: Mapping[str, Any], currency: str) -> Iterator[float]:
    """Prices of an hour in the terms on demand; there are none in a product that is only sold in reserve."""
    for offer in terms.get("OnDemand", {}).values():
        for dimension in field(offer, "priceDimensions", dict, of=WHAT).values():
            expect(dimension, "unit", "Hrs", of=WHAT)
            yield amount(field(dimension, "pricePerUnit", dict, of=WHAT), currency, of=f"{WHAT}, 'pricePerUnit'")
