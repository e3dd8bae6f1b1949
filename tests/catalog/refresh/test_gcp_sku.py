from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.catalog.refresh.cloud import recorded
from tradewind.catalog.refresh.gcp_machine import things
from tradewind.catalog.refresh.gcp_sku import HOURS_A_MONTH, LOCAL_DISK, Rate, read_sku
from tradewind.errors import IntegrityError

A100, A2_RAM, A2_CORE = recorded("gcp_a2_americas")["skus"]
AMERICAS = ("us-central1", "us-east1", "us-west1")


def described(text: str, *, usage: str = "OnDemand", unit: str = "h") -> Any:
    sku = copy.deepcopy(A100)
    sku["description"], sku["category"]["usageType"] = text, usage
    sku["pricingInfo"][0]["pricingExpression"]["usageUnit"] = unit
    return sku


def read(sku: Any) -> Rate | None:
    return read_sku(sku, things())


def tiers(sku: Any) -> Any:
    return sku["pricingInfo"][0]["pricingExpression"]["tieredRates"]


@pytest.mark.parametrize(
    ("sku", "thing", "usd"),
    [
        (A100, "Nvidia Tesla A100 GPU", 2.933908),
        (A2_RAM, "A2 Instance Ram", 0.004237),
        (A2_CORE, "A2 Instance Core", 0.031611),
    ],
)
def test_recorded_skus_are_read(sku: Any, thing: str, usd: float) -> None:
    assert read(sku) == Rate(thing, False, AMERICAS, usd)


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("N1 Predefined Instance Core running in Americas", "N1 Predefined Instance Core"),
        ("A4 Nvidia B200 (1 gpu slice) running in Americas", "A4 Nvidia B200 (1 gpu slice)"),
        ("H200 141GB GPU running in Netherlands", "H200 141GB GPU"),
        ("SSD backed Local Storage", LOCAL_DISK),
        ("SSD backed Local Storage in Tokyo", LOCAL_DISK),
        ("SSD backed Local Storage running in Paris", LOCAL_DISK),
    ],
)
def test_what_a_sku_meters_stands_in_its_description(text: str, thing: str) -> None:
    rate = read(described(text))
    assert rate is not None
    assert (rate.thing, rate.is_spot) == (thing, False)


@pytest.mark.parametrize("usage", ["Preemptible", "OnDemand"])
@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("Spot Preemptible N1 Predefined Instance Core running in Berlin", "N1 Predefined Instance Core"),
        ("Preemptible N2D AMD Instance Ram running in Tokyo", "N2D AMD Instance Ram"),
        ("Nvidia L4 GPU attached to Spot Preemptible VMs running in Iowa", "Nvidia L4 GPU"),
        ("Spot Preemptible A4 Nvidia B200 (1 gpu slice) running in Iowa", "A4 Nvidia B200 (1 gpu slice)"),
        ("SSD backed Local Storage attached to Spot Preemptible VMs", LOCAL_DISK),
        ("SSD backed Local Storage attached to Spot Preemptible VMs in Paris", LOCAL_DISK),
    ],
)
def test_so_does_whether_it_is_spot_whatever_its_usage_type_says(text: str, thing: str, usage: str) -> None:
    rate = read(described(text, usage=usage))
    assert rate is not None
    assert (rate.thing, rate.is_spot) == (thing, True)


@pytest.mark.parametrize(
    "text",
    [
        "A2 Custom Instance Core running in Americas",
        "Commitment v1: A2 Cpu in Americas for 1 Year",
        "Commitment v1: Nvidia Tesla A100 GPU running in Americas for 3 Years",
        "DWS Defined Duration A3 Core running in Americas",
        "N2 Sole Tenancy Instance Core running in Americas",
        "Network Vpn Internet Egress from Americas to Africa",
        "Nvidia H100 Mega 80GB GPU attached to DWS Defined Duration VMs running in Americas",
        "Nvidia L4 Virtual Workstation GPU running in Netherlands",
        "Nvidia Tesla T4 GPU attached to Sole Tenancy VMs running in Americas",
        "Reserved A2 Ram in Netherlands",
        "Reserved Nvidia H100 80GB Mega GPU in Americas in Calendar Mode",
        "SSD backed PD Capacity in Tokyo",
        "Sole Tenancy Premium for N4A Sole Tenancy Instance Core running in Iowa",
        "",
    ],
)
def test_other_ways_to_pay_are_never_taken_for_it(text: str) -> None:
    assert read(described(text)) is None


@pytest.mark.parametrize("usage", ["Commit1Yr", "Commit3Yr", "Commit"])
def test_commitments_are_no_rate(usage: str) -> None:
    assert read(described(A100["description"], usage=usage)) is None


def test_of_tiers_the_first_that_is_not_free_counts() -> None:
    sku = copy.deepcopy(A100)
    free, paid, cheaper = (copy.deepcopy(tiers(sku)[0]) for _ in range(3))
    free["unitPrice"].update(units="0", nanos=0)
    cheaper["unitPrice"].update(units="1", nanos=0)
    sku["pricingInfo"][0]["pricingExpression"]["tieredRates"] = [free, paid, cheaper]
    rate = read(sku)
    assert rate is not None
    assert rate.usd_per_hour == pytest.approx(2.933908)


def test_of_a_timeline_the_last_price_counts() -> None:
    sku = copy.deepcopy(A100)
    newer = copy.deepcopy(sku["pricingInfo"][0])
    newer["pricingExpression"]["tieredRates"][0]["unitPrice"].update(units="3", nanos=0)
    rate = read({**sku, "pricingInfo": [*sku["pricingInfo"], newer]})
    assert rate is not None
    assert rate.usd_per_hour == 3


def test_what_is_free_is_no_rate() -> None:
    sku = copy.deepcopy(A100)
    tiers(sku)[0]["unitPrice"].update(units="0", nanos=0)
    assert read(sku) is None
    assert read({**A100, "pricingInfo": []}) is None


def test_google_leaves_out_what_is_zero() -> None:
    sku = copy.deepcopy(A100)
    del tiers(sku)[0]["unitPrice"]["nanos"]
    rate = read(sku)
    assert rate is not None
    assert rate.usd_per_hour == 2


def test_a_month_of_disk_is_reckoned_in_hours() -> None:
    monthly, hourly = (read(described(LOCAL_DISK, unit=unit)) for unit in ("GiBy.mo", "GiBy.h"))
    assert monthly is not None
    assert hourly is not None
    assert monthly.usd_per_hour * HOURS_A_MONTH == pytest.approx(hourly.usd_per_hour)


def test_another_unit_is_an_error() -> None:
    with pytest.raises(IntegrityError, match="SKU 039F-D0DA-4055: 'usageUnit' is 'mo'"):
        read(described(A100["description"], unit="mo"))


def test_another_currency_is_an_error() -> None:
    core, _ = recorded("gcp_e2_rupiah")["skus"]
    with pytest.raises(IntegrityError, match="'currencyCode' is 'IDR'"):
        read(core)


@pytest.mark.parametrize("name", ["description", "skuId", "category", "serviceRegions", "pricingInfo"])
def test_a_field_that_has_gone_is_named(name: str) -> None:
    with pytest.raises(IntegrityError, match=f"'{name}'"):
        read({key: value for key, value in A100.items() if key != name})


@pytest.mark.parametrize("name", ["usageUnit", "tieredRates"])
def test_a_field_of_the_price_that_has_gone_is_named(name: str) -> None:
    sku = copy.deepcopy(A100)
    del sku["pricingInfo"][0]["pricingExpression"][name]
    with pytest.raises(IntegrityError, match=f"039F-D0DA-4055.*'{name}'"):
        read(sku)
