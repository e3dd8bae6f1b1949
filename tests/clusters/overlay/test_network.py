from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.clusters.overlay import Overlay
from tradewind.errors import CapacityError, SpecError

OVERLAY = Overlay(subnet="10.99.0.0/24", endpoint="head.example.org")
SMALL = Overlay(subnet="10.99.0.0/28", endpoint="head.example.org")
ADDRESSES = [str(address) for address in SMALL.network.hosts()][1:]


def test_head_has_the_first_address_and_workers_the_others() -> None:
    assert OVERLAY.head_address == "10.99.0.1"
    assert OVERLAY.next_address(()) == "10.99.0.2"


@given(taken=st.sets(st.sampled_from(ADDRESSES), max_size=len(ADDRESSES) - 1), last=st.sampled_from([None, *ADDRESSES]))
def test_given_address_is_free_and_of_the_subnet(taken: set[str], last: str | None) -> None:
    given_one = SMALL.next_address(taken, after=last)
    assert given_one in {*ADDRESSES} - taken


@given(order=st.permutations(ADDRESSES))
def test_address_comes_back_after_all_others(order: list[str]) -> None:
    """Even when each node ends before the next one starts."""
    last, seen = None, []
    for _ in order:
        last = SMALL.next_address((), after=last)
        seen.append(last)
    assert sorted(seen, key=ipaddress.IPv4Address) == ADDRESSES


def test_full_subnet_is_said() -> None:
    with pytest.raises(CapacityError, match=r"all 13 addresses of the overlay 10\.99\.0\.0/28 are taken"):
        SMALL.next_address(ADDRESSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subnet": "10.99.0.1/24"}, "'10.99.0.1/24' is not a subnet"),
        ({"subnet": "harbour"}, "'harbour' is not a subnet"),
        ({"subnet": "10.99.0.0/31"}, "10.99.0.0/31 has no room"),
        ({"subnet": "fd00::/64"}, "'fd00::/64' is not a subnet"),
        ({"port": 0}, "0 is not a port"),
        ({"port": 65536}, "65536 is not a port"),
        ({"endpoint": ""}, "'' is not a host"),
        ({"endpoint": "https://head"}, "'https://head' is not a host"),
        ({"endpont": "head"}, r"unknown key 'endpont' \(did you mean 'endpoint'\?\)"),
    ],
)
def test_overlay_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Overlay.of({"subnet": "10.99.0.0/24", "endpoint": "head", "port": 51820, **changes})


@pytest.mark.parametrize("name", ["subnet", "endpoint"])
def test_missing_key_is_named(name: str) -> None:
    values = {"subnet": "10.99.0.0/24", "endpoint": "head"}
    with pytest.raises(SpecError, match=f"overlay: {name} is missing"):
        Overlay.of({key: value for key, value in values.items() if key != name})
