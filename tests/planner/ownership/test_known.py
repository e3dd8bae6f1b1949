from __future__ import annotations

import pytest

from tradewind.catalog import load_catalog
from tradewind.planner.ownership.known import excess_power, known, rented

CATALOG = load_catalog()


def test_machine_of_eight_h100_is_known_by_pages_that_name_its_price_and_power() -> None:
    found = known(CATALOG, CATALOG.chip("H100-SXM"), gpus_per_node=8, pays="used")
    assert (found["node_usd"].low, found["node_usd"].high) == (300_000, 400_000)
    assert found["node_kw"].high == 10.2
    assert (found["residual_share"].low, found["residual_share"].high) == pytest.approx((0.25, 0.35))
    assert all(one.source for one in found.values())


def test_other_machines_follow_from_their_chips_and_say_so() -> None:
    found = known(CATALOG, CATALOG.chip("MI300X"), gpus_per_node=8, pays="used")
    assert found["node_usd"].low == pytest.approx(8 * 15_000 / 0.8)
    assert found["node_usd"].source.startswith("estimated: ")
    assert found["node_kw"].low == pytest.approx(8 * 0.75 * 1.75)


def test_what_nobody_knows_is_missing() -> None:
    found = known(CATALOG, CATALOG.chip("GH200"), gpus_per_node=8, pays="used")
    assert "node_usd" not in found
    assert "node_kw" not in found


def test_rent_is_the_cheapest_and_ranges_over_the_clouds() -> None:
    chip = CATALOG.chip("H100-SXM")
    found = rented(CATALOG, chip, gpus_per_node=8, market="on_demand")
    assert found is not None
    cheapest = CATALOG.offers(gpu="H100-SXM", market="on_demand", min_chips=8)[0]
    assert found.value == found.low == cheapest.usd_per_chip_hour
    assert found.low < found.high
    assert cheapest.id in found.source
    assert known(CATALOG, chip, gpus_per_node=8, pays="always")["usd_per_gpu_hour"] == found
    assert rented(CATALOG, chip, gpus_per_node=8, market="reserved") is None


def test_power_that_is_twice_what_the_chips_draw_is_seen() -> None:
    chip = CATALOG.chip("A100-SXM-80GB")
    assert excess_power(chip, gpus_per_node=8, node_kw=15) == pytest.approx(2.3, abs=0.05)
    assert excess_power(chip, gpus_per_node=8, node_kw=6.5) is None
