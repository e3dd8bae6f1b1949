from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.catalog.refresh.cloud import recorded
from tradewind.catalog.refresh.aws_product import FILTERS, Product, read_product
from tradewind.errors import IntegrityError

P4D, CAPACITY_BLOCK = recorded("aws_p4d_us_east_1")
OFFER, RATE = "H7NGEAC6UEHNTKSJ.JRTCKXETXF", "H7NGEAC6UEHNTKSJ.JRTCKXETXF.6YS6EN2CT7"
PATHS = ("product", "product.attributes", "terms", f"terms.OnDemand.{OFFER}.priceDimensions", "publicationDate")


def read(record: Any, currency: str = "USD") -> Product | None:
    return read_product(json.dumps(record), currency)


def changed(**attributes: str) -> Any:
    record = copy.deepcopy(P4D)
    record["product"]["attributes"].update(attributes)
    return record


def dimension(record: Any) -> Any:
    return record["terms"]["OnDemand"][OFFER]["priceDimensions"][RATE]


def test_a_recorded_product_is_read() -> None:
    assert read(P4D) == Product("p4d.24xlarge", "us-east-1", 32.7726, "2024-05-28")


def test_a_capacity_block_is_not_free_on_demand() -> None:
    assert read(CAPACITY_BLOCK) is None


def test_nothing_that_costs_nothing_is_a_price() -> None:
    record = copy.deepcopy(P4D)
    dimension(record)["pricePerUnit"] = {"USD": "0.0000000000"}
    assert read(record) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operatingSystem", "Windows"),
        ("tenancy", "Dedicated"),
        ("preInstalledSw", "SQL Web"),
        ("capacitystatus", "UnusedCapacityReservation"),
        ("operation", "RunInstances:0202"),
        ("marketoption", "CapacityBlock"),
    ],
)
def test_only_plain_linux_on_shared_hardware_is_a_price(name: str, value: str) -> None:
    assert name in FILTERS or name == "marketoption"
    assert read(changed(**{name: value})) is None


def test_products_of_before_there_were_capacity_blocks_say_no_market() -> None:
    record = copy.deepcopy(P4D)
    del record["product"]["attributes"]["marketoption"]
    assert read(record) is not None


def test_what_is_only_reserved_is_no_price() -> None:
    assert read({**P4D, "terms": {"Reserved": {}}}) is None


@pytest.mark.parametrize("path", PATHS)
def test_a_field_that_has_gone_is_named(path: str) -> None:
    record: Any = copy.deepcopy(P4D)
    *parents, last = path.replace(OFFER, "@").split(".")
    holder = record
    for name in parents:
        holder = holder[OFFER if name == "@" else name]
    del holder[last]
    with pytest.raises(IntegrityError, match=f"GetProducts.*'{last}'"):
        read(record)


@pytest.mark.parametrize("name", ["instanceType", "regionCode"])
def test_an_attribute_that_has_gone_is_named(name: str) -> None:
    record = copy.deepcopy(P4D)
    del record["product"]["attributes"][name]
    with pytest.raises(IntegrityError, match=f"'{name}'"):
        read(record)


def test_seconds_are_never_taken_for_hours() -> None:
    record = copy.deepcopy(P4D)
    dimension(record)["unit"] = "Second"
    with pytest.raises(IntegrityError, match="'unit' is 'Second'"):
        read(record)


def test_yuan_are_never_taken_for_dollars() -> None:
    record = copy.deepcopy(P4D)
    dimension(record)["pricePerUnit"] = {"CNY": "0.3450000000"}
    with pytest.raises(IntegrityError, match="'pricePerUnit' has no field 'USD'"):
        read(record)
    assert read(record, "CNY") == Product("p4d.24xlarge", "us-east-1", 0.345, "2024-05-28")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"text"', "{}"])
def test_what_is_no_product_is_an_error(text: str) -> None:
    with pytest.raises(IntegrityError):
        read_product(text, "USD")
