"""Sentences from articles, whose own figures do not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.planner.claims import check_rent, check_scaling, relative_change
from tradewind.planner.ownership import GpuRate


@pytest.mark.parametrize(("usd", "claimed", "fits"), [(5.0, 36_000, 10.0), (4.5, 32_400, 10.0)])
def test_bill_that_is_ten_times_too_low_fits_ten_chips(usd: float, claimed: float, fits: float) -> None:
    found = check_rent(claimed, gpus=100, rate=GpuRate(usd), month="720h")
    assert not found.holds
    assert found.ratio == pytest.approx(0.1)
    assert found.gpus_that_fit == pytest.approx(fits)
    assert "fits 10 chips" in str(found)


def test_third_line_of_the_same_table_fits_another_price_as_well() -> None:
    found = check_rent(34_560, gpus=10, rate=GpuRate(4.7), month="720h")
    assert not found.holds
    assert found.rate_that_fits.usd == pytest.approx(4.8)
    assert check_rent(34_560, gpus=10, rate=GpuRate(4.8), month="720h").holds


def test_right_bill_holds() -> None:
    found = check_rent(338_400, gpus=100, rate=GpuRate(4.7), month="720h")
    assert found.holds
    assert str(found) == "$338,400 a month is right"


def test_nothing_cannot_be_compared_with() -> None:
    with pytest.raises(SpecError, match="cost nothing"):
        check_rent(1.0, gpus=0, rate=GpuRate(5.0), month="720h")


def test_three_weeks_to_two_days_at_sixty_percent_less_is_super_linear() -> None:
    found = check_scaling(before_hours=21 * 24, after_hours=48, after_gpus=128, cost_change=-0.6)
    assert found.speedup == pytest.approx(10.5)
    assert found.before_gpus == pytest.approx(30.5, abs=0.05)
    assert found.efficiency == pytest.approx(2.5)
    assert not found.holds
    assert "parallelism alone cannot do that" in str(found)


def test_stated_chips_leave_the_price_to_explain_the_cost() -> None:
    found = check_scaling(before_hours=504, after_hours=48, after_gpus=128, cost_change=-0.6, before_gpus=8)
    assert found.parallelism == 16
    assert found.efficiency == pytest.approx(10.5 / 16)
    assert found.price_ratio == pytest.approx(0.4 * 10.5 / 16)
    assert found.holds
    assert "from 8" in str(found)


@given(before=st.floats(1, 1e4), after=st.floats(1, 1e4), gpus=st.integers(1, 10_000), change=st.floats(-0.99, 10))
def test_parts_of_a_claim_multiply_to_it(before: float, after: float, gpus: int, change: float) -> None:
    found = check_scaling(before_hours=before, after_hours=after, after_gpus=gpus, cost_change=change)
    assert found.parallelism * found.efficiency == pytest.approx(found.speedup)
    assert found.price_ratio == pytest.approx(1.0)
    bills = gpus * after / (found.before_gpus * before)
    assert bills == pytest.approx(1 + change)


@pytest.mark.parametrize("wrong", [{"after_hours": 0}, {"after_gpus": 0}, {"cost_change": -1.0}, {"before_gpus": 0}])
def test_claims_about_nothing_are_refused(wrong: dict[str, float]) -> None:
    claim = {"before_hours": 504.0, "after_hours": 48.0, "after_gpus": 128.0, "cost_change": -0.6, **wrong}
    with pytest.raises(SpecError, match="cannot be taken apart"):
        check_scaling(**claim)


@pytest.mark.parametrize(
    ("before", "after", "change"), [(21, 7, -0.667), (1.2e6, 0.38e6, -0.683), (45, 28, -0.378), (2, 3, 0.5)]
)
def test_changes_are_shares_of_what_was_before(before: float, after: float, change: float) -> None:
    assert relative_change(before, after) == pytest.approx(change, abs=5e-4)


def test_change_from_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="no share of anything"):
        relative_change(0, 5)
