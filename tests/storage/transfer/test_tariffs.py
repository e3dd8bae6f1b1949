from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog.transfer import transfer_lines
from tradewind.records import Place
from tradewind.storage.transfer.tariffs import Tariff, tariff

DEAREST = max(line.tariff.first_usd_per_gb for line in transfer_lines())


def price(source: str, target: str) -> float:
    return tariff(Place.parse(source), Place.parse(target)).usd_per_gb


@pytest.mark.parametrize(
    ("source", "target", "usd_per_gb"),
    [
        ("aws/us-east-1", "aws/us-east-1/us-east-1a", 0.0),
        ("aws/us-east-1/us-east-1a", "aws/us-east-1/us-east-1a", 0.0),
        ("aws/us-east-1/us-east-1b", "aws/us-east-1/us-east-1a", 0.02),
        ("aws/us-east-1", "aws/us-east-2", 0.01),
        ("aws/us-east-1", "aws/us-west-2", 0.02),
        ("aws/af-south-1", "aws/us-west-2", 0.147),
        ("aws/us-east-1", "gcp/us-east1", 0.09),
        ("aws/sa-east-1", "onprem/here", 0.15),
        ("gcp/us-east1", "gcp/us-west1", 0.01),
        ("gcp/europe-west4", "gcp/us-east1", 0.08),
        ("gcp/europe-west4", "gcp/australia-southeast1", 0.15),
        ("gcp/europe-west4", "aws/eu-west-1", 0.12),
        ("azure/eastus", "azure/westus2", 0.02),
        ("azure/eastus", "azure/westeurope", 0.05),
        ("azure/brazilsouth", "aws/sa-east-1", 0.181),
        ("onprem/here", "aws/us-east-1", 0.0),
        ("local", "aws/us-east-1", 0.0),
    ],
)
def test_prices_are_those_of_the_lists(source: str, target: str, usd_per_gb: float) -> None:
    assert price(source, target) == usd_per_gb


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("", "aws/us-east-1"),
        ("aws/us-east-1", ""),
        ("", ""),
        ("unheard/of", "aws/us-east-1"),
        ("aws/mars-1", "gcp/us-east1"),
    ],
)
def test_what_is_not_known_costs_as_much_as_the_dearest(source: str, target: str) -> None:
    found = tariff(Place.parse(source), Place.parse(target))
    assert found.usd_per_gb == DEAREST > 0
    assert found.source.startswith("not known")


@given(num_bytes=st.integers(0, 10**15), usd_per_gb=st.sampled_from([0.0, 0.01, 0.0875, 0.181]))
def test_price_is_never_less_than_the_exact_one(num_bytes: int, usd_per_gb: float) -> None:
    nusd = Tariff("internet", usd_per_gb, "", "").nusd(num_bytes)
    exact = num_bytes * round(usd_per_gb * 10**9)
    assert 0 <= nusd * 10**9 - exact < 10**9


def test_dollar_of_a_gigabyte() -> None:
    assert Tariff("internet", 0.09, "", "").nusd(10**9) == 90_000_000
