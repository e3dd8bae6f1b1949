from __future__ import annotations

from typing import Any

import pytest

from tradewind.errors import SpecError
from tradewind.planner.ownership import GpuHours, GpuRate, NodeHours, NodeRate, rent_usd
from tradewind.planner.ownership.hours import Month, month_hours


@pytest.mark.parametrize(("usd", "of_a_month"), [(5.0, 360_000), (4.5, 324_000), (4.7, 338_400)])
def test_hundred_chips_for_thirty_days(usd: float, of_a_month: float) -> None:
    assert rent_usd(100, GpuRate(usd), month="720h") == pytest.approx(of_a_month)


def test_month_is_a_choice_that_changes_the_bill() -> None:
    assert rent_usd(100, GpuRate(5.0), month="730h") == pytest.approx(365_000)
    assert 12 * month_hours("730h") == 8760


def test_other_months_are_refused() -> None:
    month: Any = "31d"
    with pytest.raises(SpecError, match="'31d' is no month"):
        month_hours(month)


@pytest.mark.parametrize("month", ["720h", "730h"])
def test_node_price_and_chip_price_of_one_offer_give_one_bill(month: Month) -> None:
    time = NodeHours(month_hours(month))
    assert NodeRate(40.0).cost_usd(time) == NodeRate(40.0).of_gpus(8).cost_usd(time.of_gpus(8))


def test_hours_of_machines_are_not_paid_by_the_chip() -> None:
    hours: Any = NodeHours(720)
    with pytest.raises(SpecError, match=r"NodeHours\(hours=720\) cannot be paid by the hour of a chip"):
        GpuRate(5.0).cost_usd(hours)


def test_hours_of_chips_are_not_paid_by_the_machine() -> None:
    hours: Any = GpuHours(720)
    with pytest.raises(SpecError, match="cannot be paid by the hour of a machine"):
        NodeRate(40.0).cost_usd(hours)


def test_plain_number_is_not_paid_at_all() -> None:
    hours: Any = 720.0
    with pytest.raises(SpecError, match=r"720\.0 cannot be paid"):
        GpuRate(5.0).cost_usd(hours)


def test_hours_of_chips_and_of_machines_do_not_add() -> None:
    chips: Any = GpuHours(8)
    with pytest.raises(SpecError, match="cannot be added"):
        NodeHours(1) + chips
    assert GpuHours(8) + GpuHours(8) == GpuHours(16)
    assert NodeHours(8) + NodeHours(8) == NodeHours(16)


@pytest.mark.parametrize("kind", [GpuHours, NodeHours, GpuRate, NodeRate])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_quantities_are_finite_and_not_negative(kind: Any, value: float) -> None:
    with pytest.raises(SpecError, match="a number ≥ 0 is needed"):
        kind(value)


def test_machine_without_chips_has_no_price_of_a_chip() -> None:
    with pytest.raises(SpecError, match="0 chips"):
        NodeRate(40.0).of_gpus(0)
