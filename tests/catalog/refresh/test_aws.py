from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from tests.catalog.refresh.cloud import Answer, Cloud, as_json, ec2_refusal, recorded, spot_history
from tests.catalog.refresh.machines import machine
from tradewind.catalog.price import Price
from tradewind.catalog.refresh import refresh
from tradewind.errors import AuthError, IntegrityError, NotFoundError, SpecError, StorageError
from tradewind.testing.servers import moto_available, start_moto

TODAY = date(2026, 11, 26)
P4D, CAPACITY_BLOCK = recorded("aws_p4d_us_east_1")
MACHINES = [machine("aws", name) for name in ("p4d.24xlarge", "g5.xlarge", "t3a.large")]
PRODUCTS, SPOT, REGIONS = "GetProducts", "DescribeSpotPriceHistory", "DescribeRegions"


def product(name: str, usd: str, *, region: str = "us-east-1", currency: str = "USD", published: str = "") -> Any:
    """The recorded one as another machine type, in another place, at another price."""
    record = copy.deepcopy(P4D)
    record["product"]["attributes"].update(instanceType=name, regionCode=region)
    (offer,) = record["terms"]["OnDemand"].values()
    (dimension,) = offer["priceDimensions"].values()
    dimension["pricePerUnit"] = {currency: usd}
    return {**record, "publicationDate": published or record["publicationDate"]}


def products(*records: Any, token: str | None = None) -> Answer:
    answer = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(record) for record in records]}
    return as_json({**answer, "NextToken": token} if token else answer)


def spot(name: str, zone: str, usd: str, at: str = "2026-11-26T08:00:00.000Z", **more: str) -> dict[str, str]:
    row = {"instanceType": name, "productDescription": "Linux/UNIX", "spotPrice": usd, "timestamp": at}
    return {**row, "availabilityZone": zone, **more}


def prices(*regions: str) -> list[Price]:
    return refresh("aws", instances=MACHINES, regions=regions or ("us-east-1",), today=TODAY)


def amounts(rows: Sequence[Price]) -> dict[str, tuple[float | None, float | None]]:
    return {
        "/".join(filter(None, (row.region, row.zone, row.instance))): (
            row.on_demand_usd_per_hour,
            row.spot_usd_per_hour,
        )
        for row in rows
    }


def test_a_recorded_product_and_its_spot_prices_by_zone(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D, CAPACITY_BLOCK))
    rows = [spot("p4d.24xlarge", "us-east-1a", "9.831"), spot("p4d.24xlarge", "us-east-1b", "12.0")]
    cloud.gives(SPOT, spot_history(rows))
    found = prices()
    assert amounts(found) == {
        "us-east-1/p4d.24xlarge": (32.7726, None),
        "us-east-1/us-east-1a/p4d.24xlarge": (32.7726, 9.831),
        "us-east-1/us-east-1b/p4d.24xlarge": (32.7726, 12.0),
    }
    assert {(row.cloud, row.as_of, row.currency) for row in found} == {("aws", TODAY, "USD")}
    assert found[0].source == "AWS Price List API, list of 2024-05-28"
    assert found[1].source == "AWS Price List API, list of 2024-05-28; EC2 spot price history"


def test_only_what_is_wanted_is_asked_for(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D))
    cloud.gives(SPOT, spot_history([]))
    prices()
    asked = json.loads(cloud.asked[0].body)
    assert asked["ServiceCode"] == "AmazonEC2"
    assert {one["Field"]: one["Value"] for one in asked["Filters"]} == {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "operation": "RunInstances",
        "regionCode": "us-east-1",
    }
    assert "ProductDescription.1=Linux%2FUNIX" in cloud.asked[1].body
    assert all(one.name in cloud.asked[1].body for one in MACHINES)


def test_pages_of_both_are_followed(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D, token="two"), products(product("g5.xlarge", "1.0060000000")))
    cloud.gives(SPOT, spot_history([spot("g5.xlarge", "us-east-1a", "0.4")], next_token="two"))
    cloud.gives(SPOT, spot_history([spot("g5.xlarge", "us-east-1b", "0.5")]))
    assert len(prices()) == 4
    assert json.loads(cloud.asked[1].body)["NextToken"] == "two"


def test_machine_types_that_nobody_asked_for_are_left_out(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D, product("m5.large", "0.096"), product("g5.xlarge", "1.1", region="us-west-2")))
    cloud.gives(SPOT, spot_history([spot("m5.large", "us-east-1a", "0.03")]))
    assert amounts(prices()) == {"us-east-1/p4d.24xlarge": (32.7726, None)}


def test_of_two_prices_on_demand_the_dearer_counts(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(product("g5.xlarge", "1.2"), product("g5.xlarge", "1.006")))
    cloud.gives(SPOT, spot_history([]))
    assert amounts(prices()) == {"us-east-1/g5.xlarge": (1.2, None)}


@pytest.mark.parametrize("turned", [False, True])
def test_the_newest_spot_price_of_a_zone_counts(cloud: Cloud, turned: bool) -> None:
    cloud.gives(PRODUCTS, products(P4D))
    rows = [
        spot("p4d.24xlarge", "us-east-1a", "30", "2026-11-20T08:00:00.000Z"),
        spot("p4d.24xlarge", "us-east-1a", "10", "2026-11-26T08:00:00.000Z"),
    ]
    cloud.gives(SPOT, spot_history(reversed(rows) if turned else rows))
    assert amounts(prices())["us-east-1/us-east-1a/p4d.24xlarge"] == (32.7726, 10.0)


def test_zones_are_named_as_in_every_account_where_that_is_told(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D))
    cloud.gives(SPOT, spot_history([spot("p4d.24xlarge", "us-east-1a", "10", availabilityZoneId="use1-az4")]))
    assert prices()[1].zone == "use1-az4"


def test_other_systems_and_local_zones_have_other_prices(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D))
    rows = [
        spot("p4d.24xlarge", "us-east-1-bos-1a", "9"),
        spot("p4d.24xlarge", "us-east-1a", "20", productDescription="Windows"),
        spot("p4d.24xlarge", "us-east-1b", "0.000000"),
    ]
    cloud.gives(SPOT, spot_history(rows))
    assert len(prices()) == 1


def test_a_type_that_is_sold_on_the_spot_market_alone_has_a_row(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D))
    cloud.gives(SPOT, spot_history([spot("g5.xlarge", "us-east-1a", "0.4")]))
    row = prices()[1]
    assert (row.on_demand_usd_per_hour, row.spot_usd_per_hour, row.source) == (None, 0.4, "EC2 spot price history")


def test_china_is_priced_in_yuan_and_has_no_dollars(cloud: Cloud) -> None:
    """0.345 CNY is what the list of cn-northwest-1 has for t3a.large."""
    cloud.gives(PRODUCTS, products(product("t3a.large", "0.3450000000", region="cn-northwest-1", currency="CNY")))
    (row,) = prices("cn-northwest-1")
    assert (row.currency, row.native_on_demand_per_hour) == ("CNY", 0.345)
    assert (row.on_demand_usd_per_hour, row.spot_usd_per_hour) == (None, None)
    assert [asked.path for asked in cloud.asked] == ["/"]
    assert "cn-northwest-1" in cloud.asked[0].headers["Authorization"]


def test_without_regions_those_of_the_account_are_asked(cloud: Cloud) -> None:
    items = "".join(f"<item><regionName>{name}</regionName></item>" for name in ("us-west-2", "us-east-1"))
    text = f"<DescribeRegionsResponse><regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    cloud.gives(REGIONS, Answer(text.encode(), headers={"Content-Type": "text/xml"}))
    cloud.gives(PRODUCTS, products(P4D), products(product("p4d.24xlarge", "21.9", region="us-west-2")))
    cloud.gives(SPOT, spot_history([]), spot_history([]))
    said: list[str] = []
    found = refresh("aws", instances=MACHINES, today=TODAY, on_progress=said.append)
    assert [row.region for row in found] == ["us-east-1", "us-west-2"]
    assert said == ["us-east-1: 1 prices", "us-west-2: 1 prices"]


def test_nothing_is_kept_when_the_second_region_fails(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D), products(product("p4d.24xlarge", "21.9", region="us-west-2")))
    cloud.gives(SPOT, spot_history([]), ec2_refusal("AuthFailure", "not able to validate", status=401))
    with pytest.raises(AuthError, match="prices of us-west-2: AWS refused with AuthFailure"):
        prices("us-east-1", "us-west-2")


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"])
def test_refused_credentials_say_what_to_set(cloud: Cloud, code: str) -> None:
    cloud.gives(PRODUCTS, as_json({"__type": code, "Message": "no"}, status=400))
    with pytest.raises(AuthError, match=f"prices of us-east-1: AWS refused with {code}") as refused:
        prices()
    assert "AWS_ACCESS_KEY_ID" in str(refused.value.hint)
    assert "pricing:GetProducts" in str(refused.value.hint)


def test_without_credentials_it_says_what_to_set(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(AuthError, match="Unable to locate credentials"):
        prices()


def test_a_throttled_call_is_tried_again(cloud: Cloud, pauses: list[float]) -> None:
    throttled = as_json({"__type": "ThrottlingException", "Message": "Rate exceeded"}, status=400)
    cloud.gives(PRODUCTS, throttled, Answer(b"", 503), products(P4D))
    cloud.gives(SPOT, spot_history([]))
    assert len(prices()) == 1
    assert len(pauses) == 2


def test_patience_ends(cloud: Cloud) -> None:
    throttled = as_json({"__type": "ThrottlingException", "Message": "Rate exceeded"}, status=400)
    cloud.gives(PRODUCTS, *[throttled] * 9)
    with pytest.raises(StorageError, match="prices of us-east-1: AWS answered with ThrottlingException: Rate exceeded"):
        prices()
    assert len(cloud.asked) == 5


@pytest.mark.parametrize("answer", [Answer(b'{"PriceList": ['), Answer(b'{"PriceList": [', cut=True)])
def test_half_a_list_of_products_is_an_error(cloud: Cloud, answer: Answer) -> None:
    """botocore takes what is no JSON for an answer without fields, and says nothing."""
    cloud.gives(PRODUCTS, products(P4D, token="two"), answer)
    with pytest.raises(IntegrityError, match=r"prices of us-east-1: .*'PriceList'"):
        prices()


def test_half_a_list_of_spot_prices_is_an_error(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products(P4D))
    whole = spot_history([spot("p4d.24xlarge", "us-east-1a", "10")])
    cloud.gives(SPOT, Answer(whole.body[:-40], headers=whole.headers))
    with pytest.raises(StorageError, match="prices of us-east-1"):
        prices()


def test_a_changed_answer_names_region_and_field(cloud: Cloud) -> None:
    changed = product("g5.xlarge", "1.0")
    del changed["publicationDate"]
    cloud.gives(PRODUCTS, products(changed))
    with pytest.raises(IntegrityError, match=r"prices of us-east-1: .*'publicationDate'"):
        prices()


def test_products_must_be_there(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, as_json({"FormatVersion": "aws_v2"}))
    with pytest.raises(IntegrityError, match="'PriceList'"):
        prices()


def test_an_unknown_region_is_told_before_it_is_asked(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products())
    with pytest.raises(NotFoundError, match=r"no region of aws named 'us-east1' \(did you mean 'us-east-1'"):
        prices("us-east1")


def test_a_region_without_these_machine_types_is_told(cloud: Cloud) -> None:
    cloud.gives(PRODUCTS, products())
    with pytest.raises(NotFoundError, match="no price of these machine types in region 'sa-east-1'"):
        prices("sa-east-1")


def test_an_address_that_is_none_is_a_wrong_wish(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", "not an address")
    with pytest.raises(SpecError, match="not an address"):
        prices()


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    with pytest.raises(SpecError, match="boto3") as missing:
        prices()
    assert missing.value.hint == "pip install 'tradewind[aws]'"


@pytest.mark.slow
@pytest.mark.skipif(not moto_available(), reason="needs moto")
def test_spot_prices_of_a_server_of_others(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto knows which zones have which types; its price of everything is $0.00001, of 2006."""
    monkeypatch.undo()
    for name, value in {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", cloud.endpoint)
    cloud.gives(PRODUCTS, products(P4D, product("g5.xlarge", "1.006")))
    with start_moto() as moto:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", moto.endpoint)
        found = prices()
    zonal = [row for row in found if row.zone]
    assert {row.instance for row in zonal} == {"p4d.24xlarge", "g5.xlarge", "t3a.large"}
    assert {row.spot_usd_per_hour for row in zonal} == {0.00001}
    assert {row.zone for row in zonal} <= {f"us-east-1{letter}" for letter in "abcdef"}
