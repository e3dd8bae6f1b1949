from __future__ import annotations

import pytest

from tradewind.catalog import load_catalog
from tradewind.planner.migration.machines import nearest, typical

CATALOG = load_catalog()


def test_typical_machine_has_the_most_chips() -> None:
    assert typical(CATALOG, "aws", "H100").name == "p5.48xlarge"


@pytest.mark.parametrize(
    ("cloud", "name", "target", "found"),
    [
        ("aws", "p5.48xlarge", "gcp", "a3-highgpu-8g"),
        ("aws", "p5.4xlarge", "gcp", "a3-highgpu-1g"),
        ("gcp", "a2-highgpu-8g", "aws", "p4d.24xlarge"),
        ("aws", "p5.48xlarge", "aws", "p5.48xlarge"),
    ],
)
def test_nearest_machine_has_the_same_chips_and_as_many(cloud: str, name: str, target: str, found: str) -> None:
    near = nearest(CATALOG, CATALOG.instance(cloud, name), target)
    assert near is not None
    assert near.name == found


def test_machine_without_accelerators_finds_one_without() -> None:
    near = nearest(CATALOG, CATALOG.instance("aws", "c7i.4xlarge"), "gcp")
    assert near is not None
    assert near.chip == ""
