from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog import Chip, Instance, Offer, Region
from tradewind.planner.energy import DEFAULT_PUE, energy_kwh, power_w, pue, unknown_power

HERE = Region("aws", "us-east-1", "N. Virginia", "US", 38.9, -77.4, 379.0, "2023", "eGRID", 1.2, "stated", "test")
H100 = Chip(
    name="H100-SXM",
    vendor="nvidia",
    kind="gpu",
    memory_bytes=80 * 2**30,
    flops={"bf16": 989e12},
    memory_bytes_per_s=3.35e12,
    link="NVLink4",
    link_bytes_per_s=450e9,
    power_w=700.0,
    runtime="cuda",
    supports=frozenset({"bf16"}),
    price_usd=None,
    source="test",
)
EIGHT = Instance("aws", "p5.48xlarge", "H100-SXM", 8, 192.0, 2048 * 2**30, None, 400e9, "efa:32", "test")
PLAIN = Instance("aws", "c7i.large", "", 0, 2.0, 4 * 2**30, None, None, "no", "test")


def offer(instance: Instance = EIGHT, chip: Chip | None = H100, region: Region = HERE) -> Offer:
    return Offer(instance, chip, region, "", "on_demand", 10.0, 10.0, None, "test")


def plain() -> Offer:
    return offer(PLAIN, None)


def watts(of: Offer, busy: float) -> float:
    found = power_w(of, busy=busy)
    assert found is not None
    return found


def test_busy_machine_of_eight_h100_draws_what_was_measured_in_training() -> None:
    assert watts(offer(), 1.0) == pytest.approx(0.76 * 10_200, rel=0.01)


def test_machine_without_accelerators_draws_for_processors_and_memory() -> None:
    assert watts(plain(), 0.0) == pytest.approx(2 * 0.74 + 4.294967296 * 0.392)
    assert watts(plain(), 1.0) == pytest.approx(2 * 3.5 + 4.294967296 * 0.392)


def test_processors_that_are_listed_as_a_chip_are_counted_once() -> None:
    listed = offer(
        replace(PLAIN, chip="processors", chips=1), replace(H100, name="processors", kind="cpu", power_w=7.0)
    )
    assert watts(listed, 1.0) == watts(plain(), 1.0)


@given(busy=st.floats(0, 1))
def test_power_is_between_that_of_nothing_and_of_full_work(busy: float) -> None:
    assert 0 < watts(offer(), 0.0) <= watts(offer(), busy) <= watts(offer(), 1.0)


def test_shares_may_be_an_array() -> None:
    busy = np.array([0.0, 0.5, 1.0])
    found = power_w(offer(), busy=busy)
    assert found is not None
    assert found.tolist() == pytest.approx([watts(offer(), share) for share in busy.tolist()])


@pytest.mark.parametrize(
    ("instance", "chip", "missing"),
    [
        ({}, replace(H100, power_w=None), "thermal design power of H100-SXM"),
        ({}, None, "figures of H100-SXM"),
        ({"vcpus": None}, H100, "number of processors of p5.48xlarge"),
        ({"memory_bytes": None}, H100, "memory of p5.48xlarge"),
        ({"chips": None}, H100, "number of whole H100-SXM of p5.48xlarge"),
    ],
)
def test_missing_figure_is_named_and_no_power_is_guessed(
    instance: dict[str, Any], chip: Chip | None, missing: str
) -> None:
    lacking = offer(replace(EIGHT, **instance), chip)
    assert power_w(lacking, busy=1.0) is None
    assert unknown_power(lacking) == missing


def test_nothing_is_missing_where_power_is_known() -> None:
    assert unknown_power(offer()) is None
    assert unknown_power(plain()) is None


def test_losses_of_a_building_are_its_own_where_they_are_known() -> None:
    assert (pue(HERE).value, pue(HERE).assumed) == (1.2, False)
    unknown = pue(replace(HERE, pue=None, pue_source=""))
    assert (unknown.value, unknown.assumed) == (DEFAULT_PUE, True)
    assert "Uptime" in unknown.source


@pytest.mark.parametrize(("days", "usd"), [(90, 1404.0), (365, 5694.0)])
def test_a_node_of_6500_w_costs_thousands_and_not_tens_of_thousands_in_electricity(days: int, usd: float) -> None:
    assert energy_kwh(6500.0, seconds=days * 86400) * 0.10 == pytest.approx(usd)
