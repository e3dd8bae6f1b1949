from __future__ import annotations

import pytest

from tradewind.catalog import load_catalog
from tradewind.planner.migration.clouds import cloud_fact, fabric

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("cloud", "name", "network"),
    [
        ("aws", "p5.48xlarge", "efa"),
        ("gcp", "a3-highgpu-8g", "tcpx"),
        ("gcp", "a3-megagpu-8g", "tcpxo"),
        ("gcp", "a3-ultragpu-8g", "roce"),
        ("gcp", "a2-ultragpu-8g", "tcp"),
        ("gcp", "a3-edgegpu-8g", ""),
        ("azure", "Standard_ND96isr_H100_v5", "ib"),
        ("azure", "Standard_NC40ads_H100_v5", "tcp"),
    ],
)
def test_fabric_follows_from_the_machine_type(cloud: str, name: str, network: str) -> None:
    assert fabric(CATALOG.instance(cloud, name)) == network


@pytest.mark.parametrize(("cloud", "seconds"), [("aws", "120"), ("gcp", "30"), ("azure", "30")])
def test_notice_before_a_spot_machine_is_taken_has_a_source(cloud: str, seconds: str) -> None:
    fact = cloud_fact(cloud, "spot_notice_s")
    assert fact is not None
    assert fact.value == seconds
    assert fact.source


def test_what_nobody_wrote_down_is_none() -> None:
    assert cloud_fact("alibaba", "spot_notice_s") is None
