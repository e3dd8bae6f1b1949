"""Prices of Azure from its Retail Prices API, which needs no account.

Fields and filters: learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices. Machines with
Windows differ from those with Linux only in `productName`; "Low Priority" is the older spot market of Azure Batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tradewind.catalog.instance import Instance
from tradewind.catalog.price import Price
from tradewind.catalog.refresh.answer import get_json
from tradewind.catalog.refresh.shape import amount, expect, field
from tradewind.errors import IntegrityError, TradewindError

URL = "https://prices.azure.com/api/retail/prices"
URL_VARIABLE = "TRADEWIND_AZURE_PRICES_URL"
WHAT = "the Retail Prices API of Azure"
VERSION = "2023-01-01-preview"

OTHER_PRODUCTS = ("Windows", "CloudServices", "Cloud Services", "Dedicated")
"""What the `productName` of a row has that is no Linux machine on shared hardware, under the same `armSkuName`."""

PAGE_ROWS = 1000
TYPES_A_QUERY = 15
"""Keeps an address well under the 2048 characters that some proxies allow."""


@dataclass(frozen=True)
class _Meter:
    """A price since a day. What holds is the newest one; of two on one day, the dearer."""

    since: str
    usd_per_hour: float
    is_spot: bool
    region: str
    instance: str


def azure_prices(
    instances: Sequence[Instance], *, regions: Sequence[str], today: date, say: Callable[[str], None]
) -> list[Price]:
    """Prices for whole regions: Azure has none for zones. `TRADEWIND_AZURE_PRICES_URL` names another server."""
    rows: dict[tuple[str, str], Price] = {}
    for region in regions or ("",):
        meters = _newest(_meters([one.name for one in instances], region, today))
        for meter in meters:
            key = meter.region, meter.instance
            rows[key] = _with_meter(rows.get(key) or _unpriced(meter, today), meter)
        say(f"{region or 'all regions'}: {len(meters)} prices")
    return list(rows.values())


def _unpriced(meter: _Meter, today: date) -> Price:
    return Price("azure", meter.region, "", meter.instance, None, None, today, f"Azure Retail Prices API {VERSION}")


def _with_meter(price: Price, meter: _Meter) -> Price:
    if meter.is_spot:
        return replace(price, spot_usd_per_hour=meter.usd_per_hour)
    return replace(price, on_demand_usd_per_hour=meter.usd_per_hour)


def _newest(meters: Iterator[_Meter]) -> list[_Meter]:
    found: dict[tuple[str, str, bool], _Meter] = {}
    for meter in meters:
        key = meter.region, meter.instance, meter.is_spot
        old = found.get(key)
        if old is None or (meter.since, meter.usd_per_hour) > (old.since, old.usd_per_hour):
            found[key] = meter
    return list(found.values())


def _meters(names: Sequence[str], region: str, today: date) -> Iterator[_Meter]:
    for start in range(0, len(names), TYPES_A_QUERY):
        some = names[start : start + TYPES_A_QUERY]
        try:
            for item in _items(some, region):
                if (meter := _meter(item, today)) and meter.instance in some:
                    yield meter
        except TradewindError as exc:
            raise type(exc)(f"prices of {region or 'all regions'}: {exc.message}", hint=exc.hint) from exc


def _items(names: Sequence[str], region: str) -> Iterator[Any]:
    """The rows of all pages. Of the link to the next page only the query is read, so that the server stays the same."""
    url = os.environ.get(URL_VARIABLE) or URL
    first = {"api-version": VERSION, "currencyCode": "'USD'", "$filter": _filter(names, region)}
    query, seen, count = first, set[str](), 0
    while True:
        page = get_json(url, query, what=WHAT)
        items = field(page, "Items", list, of=WHAT)
        yield from items
        count += len(items)
        link = page.get("NextPageLink")
        if not link and len(items) < PAGE_ROWS:
            return
        # a full page without a link: learn.microsoft.com/answers/questions/1188465
        query = dict(parse_qsl(urlsplit(str(link)).query)) if link else {**first, "$skip": str(count)}
        if str(query) in seen:
            raise IntegrityError(f"{WHAT} names the same next page twice: {link}", hint="try again later")
        seen.add(str(query))


def _filter(names: Sequence[str], region: str) -> str:
    types = " or ".join(f"armSkuName eq '{name}'" for name in names)
    clauses = ["serviceName eq 'Virtual Machines'", "priceType eq 'Consumption'", f"({types})"]
    return " and ".join([*clauses, f"armRegionName eq '{region}'"] if region else clauses)


def _meter(item: Any, today: date) -> _Meter | None:
    """A row as a price of a Linux machine that holds today; None for every other row."""
    since = field(item, "effectiveStartDate", str, of=WHAT)[:10]
    until = str(item.get("effectiveEndDate") or "9999")
    usd_per_hour = amount(item, "retailPrice", of=WHAT)
    if not (_is_linux_machine(item) and since <= today.isoformat() <= until and usd_per_hour):
        return None
    expect(item, "currencyCode", "USD", of=WHAT)
    expect(item, "unitOfMeasure", "1 Hour", of=WHAT)
    region, instance = (field(item, name, str, of=WHAT) for name in ("armRegionName", "armSkuName"))
    is_spot = any(field(item, name, str, of=WHAT).endswith(" Spot") for name in ("skuName", "meterName"))
    return _Meter(since, usd_per_hour, is_spot, region, instance) if region else None


def _is_linux_machine(item: Any) -> bool:
    kind, product, sku, meter = (
        field(item, name, str, of=WHAT) for name in ("type", "productName", "skuName", "meterName")
    )
    is_other = any(other in product for other in OTHER_PRODUCTS)
    is_batch = "Low Priority" in sku or "Low Priority" in meter
    is_first_tier = amount(item, "tierMinimumUnits", of=WHAT) == 0
    return kind == "Consumption" and is_first_tier and not (is_other or is_batch)
