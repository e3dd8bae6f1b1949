from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from tests.catalog.refresh.cloud import Answer, Cloud, as_json, recorded
from tests.catalog.refresh.machines import machine
from tradewind.catalog.instance import Instance
from tradewind.catalog.price import Price
from tradewind.catalog.refresh import refresh
from tradewind.errors import IntegrityError, NotFoundError, StorageError, TradewindError

TODAY = date(2026, 11, 26)
PATH = "/api/retail/prices"
D2S, H100 = (machine("azure", name) for name in ("Standard_D2s_v3", "Standard_ND96isr_H100_v5"))
PAGE = recorded("azure_d2s_v3_eastus")
ON_DEMAND = next(item for item in PAGE["Items"] if item["retailPrice"] == 0.096)


def row(**changed: Any) -> dict[str, Any]:
    return {**ON_DEMAND, **changed}


def page(*items: dict[str, Any], link: str | None = None) -> Answer:
    return as_json({**PAGE, "Items": list(items), "NextPageLink": link, "Count": len(items)})


def prices(*instances: Instance, regions: Sequence[str] = ("eastus",)) -> list[Price]:
    return refresh("azure", instances=instances or (D2S,), regions=regions, today=TODAY)


def test_a_recorded_answer_is_one_machine_with_linux(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json(PAGE))
    (price,) = prices()
    assert (price.cloud, price.region, price.zone, price.instance) == ("azure", "eastus", "", "Standard_D2s_v3")
    assert price.on_demand_usd_per_hour == 0.096
    assert price.spot_usd_per_hour == 0.018816
    assert (price.as_of, price.currency) == (TODAY, "USD")
    assert "Retail Prices API" in price.source


def test_only_what_is_wanted_is_asked_for(cloud: Cloud) -> None:
    cloud.gives(PATH, page(ON_DEMAND, row(armSkuName=H100.name)))
    prices(D2S, H100)
    assert cloud.asked[0].query == {
        "api-version": "2023-01-01-preview",
        "currencyCode": "'USD'",
        "$filter": "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and "
        "(armSkuName eq 'Standard_D2s_v3' or armSkuName eq 'Standard_ND96isr_H100_v5') and armRegionName eq 'eastus'",
    }


def test_many_machine_types_are_asked_for_in_parts(cloud: Cloud) -> None:
    some = [machine("azure", f"Standard_ND{number:02}_v9") for number in range(40)]
    for start in (0, 15, 30):
        cloud.gives(PATH, page(*(row(armSkuName=one.name) for one in some[start : start + 15])))
    assert len(prices(*some)) == 40
    assert all(len(asked.query["$filter"]) < 1000 for asked in cloud.asked)


def test_pages_are_followed_at_the_same_server(cloud: Cloud) -> None:
    link = "https://prices.azure.com:443/api/retail/prices?$filter=armSkuName eq 'x'&$skip=2"
    cloud.gives(PATH, page(ON_DEMAND, link=link), page(row(armSkuName=H100.name, retailPrice=98.32)))
    assert [price.on_demand_usd_per_hour for price in prices(D2S, H100)] == [0.096, 98.32]
    assert cloud.asked[1].query["$skip"] == "2"
    assert cloud.asked[1].query["$filter"] == "armSkuName eq 'x'"


def test_a_full_page_without_a_link_is_not_the_last(cloud: Cloud) -> None:
    cloud.gives(PATH, page(*[ON_DEMAND] * 1000), page(row(armSkuName=H100.name)))
    assert len(prices(D2S, H100)) == 2
    assert cloud.asked[1].query["$skip"] == "1000"


def test_pages_that_go_in_circles_are_an_error(cloud: Cloud) -> None:
    cloud.gives(PATH, *[page(ON_DEMAND, link="https://prices.azure.com/?$skip=1")] * 3)
    with pytest.raises(IntegrityError, match=r"prices of eastus.*next page twice"):
        prices()


def test_every_region_comes_without_asking_for_one(cloud: Cloud) -> None:
    cloud.gives(PATH, page(ON_DEMAND, row(armRegionName="westeurope", retailPrice=0.12)))
    assert [price.region for price in prices(regions=())] == ["eastus", "westeurope"]
    assert "armRegionName" not in cloud.asked[0].query["$filter"]


@pytest.mark.parametrize(
    "other",
    [
        {"productName": "Virtual Machines DSv3 Series Windows"},
        {"productName": "DSv3 Series CloudServices"},
        {"productName": "DSv3 Series Cloud Services"},
        {"productName": "DSv3 Series DedicatedHost"},
        {"skuName": "D2s v3 Low Priority", "meterName": "D2s v3 Low Priority"},
        {"type": "DevTestConsumption"},
        {"type": "Reservation", "reservationTerm": "1 Year"},
        {"tierMinimumUnits": 100.0},
        {"effectiveStartDate": "2027-01-01T00:00:00Z"},
        {"effectiveStartDate": "2026-11-01T00:00:00Z", "effectiveEndDate": "2026-11-25T23:59:00Z"},
        {"armSkuName": "Standard_D2s_v4"},
        {"retailPrice": 0.0, "unitPrice": 0.0, "effectiveStartDate": "2026-11-01T00:00:00Z"},
        {"armRegionName": ""},
    ],
)
def test_rows_of_something_else_are_no_price(cloud: Cloud, other: dict[str, Any]) -> None:
    cloud.gives(PATH, page(ON_DEMAND, {**row(retailPrice=77.0), **other}))
    (price,) = prices()
    assert price.on_demand_usd_per_hour == 0.096


@pytest.mark.parametrize("turned", [False, True])
def test_the_newest_price_holds_and_of_two_on_one_day_the_dearer(cloud: Cloud, turned: bool) -> None:
    rows = [
        ON_DEMAND,
        row(retailPrice=0.11, effectiveStartDate="2026-11-01T00:00:00Z", effectiveEndDate="2026-11-26T23:59:00Z"),
        row(retailPrice=0.1, effectiveStartDate="2026-11-01T00:00:00Z"),
    ]
    cloud.gives(PATH, page(*(reversed(rows) if turned else rows)))
    assert prices()[0].on_demand_usd_per_hour == 0.11


def test_spot_alone_is_a_price(cloud: Cloud) -> None:
    cloud.gives(PATH, page(row(skuName="D2s v3 Spot", meterName="D2s v3 Spot", retailPrice=0.02)))
    (price,) = prices()
    assert (price.on_demand_usd_per_hour, price.spot_usd_per_hour) == (None, 0.02)


@pytest.mark.parametrize(("name", "value"), [("currencyCode", "EUR"), ("unitOfMeasure", "1 Month")])
def test_another_currency_or_unit_is_an_error(cloud: Cloud, name: str, value: str) -> None:
    cloud.gives(PATH, page(row(**{name: value})))
    with pytest.raises(IntegrityError, match=f"eastus.*{name}"):
        prices()


@pytest.mark.parametrize("name", sorted(set(ON_DEMAND) - {"location", "meterId", "productId", "skuId", "serviceId"}))
def test_a_field_that_has_gone_is_named_or_not_needed(cloud: Cloud, name: str) -> None:
    changed = copy.deepcopy(PAGE)
    for item in changed["Items"]:
        del item[name]
    cloud.gives(PATH, as_json(changed))
    if name in ("unitPrice", "serviceName", "serviceFamily", "isPrimaryMeterRegion"):
        assert len(prices()) == 1
        return
    with pytest.raises(IntegrityError, match=f"eastus.*'{name}'"):
        prices()


def test_items_must_be_there(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json({"Message": "moved"}))
    with pytest.raises(IntegrityError, match="'Items'"):
        prices()


def test_nothing_is_kept_when_the_second_region_fails(cloud: Cloud) -> None:
    cloud.gives(PATH, page(ON_DEMAND), Answer(b"no", 404))
    said: list[str] = []
    with pytest.raises(StorageError, match=r"prices of westeurope: .*404"):
        refresh("azure", instances=[D2S], regions=["eastus", "westeurope"], today=TODAY, on_progress=said.append)
    assert said == ["eastus: 1 prices"]


def test_a_region_without_prices_is_not_passed_over(cloud: Cloud) -> None:
    cloud.gives(PATH, page(ON_DEMAND), page())
    with pytest.raises(NotFoundError, match="region 'eastsu' \\(did you mean 'eastus'"):
        prices(regions=("eastus", "eastsu"))


def test_throttling_in_the_middle_of_pages_loses_nothing(cloud: Cloud, pauses: list[float]) -> None:
    busy = Answer(b"Too many requests", 429, {"Retry-After": "61"})
    cloud.gives(PATH, page(ON_DEMAND, link="https://x/?$skip=1"), busy, page(row(armSkuName=H100.name)))
    assert len(prices(D2S, H100)) == 2
    assert pauses == [61]


def test_no_prices_at_all_is_an_error(cloud: Cloud) -> None:
    cloud.gives(PATH, page())
    with pytest.raises(TradewindError, match="azure has no price"):
        prices(regions=())
