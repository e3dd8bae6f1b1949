from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.planner.ownership import (
    Case,
    GpuRate,
    Purchase,
    Renting,
    Terms,
    break_even_months,
    compare,
    cost_ratio_of_use,
    curves,
    energy_usd,
    opportunity_usd,
    rent_usd,
)
from tradewind.planner.ownership.comparison import at_use

YEAR = 12


def node(*, usd_per_gpu_hour: float, utilisation: float = 1.0, wacc: float = 0.0, **purchase: Any) -> Case:
    """Eight A100 for $280 k that draw 15 kW at $0.10, as an article has them."""
    bought: dict[str, Any] = {"nodes": 1, "gpus_per_node": 8, "node_usd": 280_000, "node_kw": 15, "usd_per_kwh": 0.10}
    return Case(
        Purchase(**{**bought, "idle_share": 1.0, **purchase}),
        Renting(GpuRate(usd_per_gpu_hour)),
        Terms(utilisation=utilisation, horizon_months=60, month="730h", wacc=wacc),
    )


@pytest.mark.parametrize(("usd_per_gpu_hour", "years"), [(5.0, 0.8), (1.5, 3.0)])
def test_node_pays_back_at_full_use(usd_per_gpu_hour: float, years: float) -> None:
    found = compare(node(usd_per_gpu_hour=usd_per_gpu_hour))
    assert found.break_even_months is not None
    assert found.break_even_months / YEAR == pytest.approx(years, abs=0.05)
    assert found.pays_back
    assert found.answer == "buy"


def test_node_at_a_third_of_its_time_does_not_pay_back_while_it_lives() -> None:
    found = compare(node(usd_per_gpu_hour=1.5, utilisation=0.35))
    assert found.break_even_months is not None
    assert found.break_even_months / YEAR == pytest.approx(11.8, abs=0.05)
    assert not found.pays_back
    assert found.answer == "rent"


def test_and_with_interest_of_nine_percent_never() -> None:
    assert compare(node(usd_per_gpu_hour=1.5, utilisation=0.35, wacc=0.08)).break_even_months is not None
    assert compare(node(usd_per_gpu_hour=1.5, utilisation=0.35, wacc=0.09)).break_even_months is None


def test_million_pays_back_in_a_quarter_at_the_right_rent_and_in_years_at_the_wrong_one() -> None:
    right = rent_usd(100, GpuRate(4.5), month="720h")
    assert break_even_months(1e6, right - 10_000) == pytest.approx(3.2, abs=0.05)
    assert break_even_months(1e6, right - 20_000) == pytest.approx(3.3, abs=0.05)
    wrong = right / 10
    assert break_even_months(1e6, wrong - 10_000) == pytest.approx(45, abs=0.5)
    assert break_even_months(1e6, wrong - 20_000) == pytest.approx(81, abs=0.5)


def test_what_saves_nothing_never_pays_back() -> None:
    assert break_even_months(1e6, 0.0) is None
    assert break_even_months(1e6, -5.0) is None
    assert break_even_months(0.0, -5.0) == 0.0


@given(capital=st.floats(1, 1e8), saving=st.floats(1, 1e7), wacc=st.floats(0.001, 0.3))
def test_interest_never_brings_break_even_forward(capital: float, saving: float, wacc: float) -> None:
    plain, dear = break_even_months(capital, saving), break_even_months(capital, saving, wacc=wacc)
    assert plain is not None
    assert dear is None or dear >= plain * (1 - 1e-9)


@pytest.mark.parametrize(("kw", "days", "usd"), [(6.5, 90, 1_404), (6.5, 365, 5_694), (15, 365, 13_140)])
def test_electricity(kw: float, days: float, usd: float) -> None:
    assert energy_usd(kw=kw, days=days, usd_per_kwh=0.10) == pytest.approx(usd)
    assert energy_usd(kw=kw, days=days, usd_per_kwh=0.10, pue=1.5) == pytest.approx(1.5 * usd)


def test_cost_of_work_falls_with_use() -> None:
    assert cost_ratio_of_use(0.35, 0.82) == pytest.approx(0.427, abs=5e-4)
    with pytest.raises(SpecError, match="utilisation before is 35"):
        cost_ratio_of_use(35, 82)


def test_effective_price_is_what_use_makes_of_it() -> None:
    busy, lazy = (
        compare(node(usd_per_gpu_hour=5.0, utilisation=share, idle_share=1.0)).buy_usd_per_gpu_hour
        for share in (0.82, 0.35)
    )
    assert busy is not None
    assert lazy is not None
    assert busy / lazy == pytest.approx(cost_ratio_of_use(0.35, 0.82))


def test_chips_that_never_work_have_no_price_of_an_hour() -> None:
    found = compare(node(usd_per_gpu_hour=5.0, utilisation=0.0))
    assert found.buy_usd_per_gpu_hour is None
    assert found.rent_usd == 0
    assert found.answer == "rent"


@given(
    usd=st.floats(0.5, 10),
    wacc=st.sampled_from([0.0, 0.08]),
    idle=st.floats(0, 1),
    residual=st.floats(0, 0.5),
)
def test_answer_flips_at_the_threshold_and_nowhere_else(usd: float, wacc: float, idle: float, residual: float) -> None:
    case = node(usd_per_gpu_hour=usd, wacc=wacc, idle_share=idle, residual_share=residual)
    found = compare(case)
    if found.threshold is None:
        assert compare(at_use(case, 0.001)).answer == compare(at_use(case, 1.0)).answer == "rent"
        return
    at = found.threshold.utilisation
    assert found.threshold.above == "buy"
    assert compare(at_use(case, at * 0.999)).answer == "rent"
    assert compare(at_use(case, min(1.0, at * 1.001 + 1e-9))).answer == "buy"
    assert compare(at_use(case, at)).saving_usd == pytest.approx(0, abs=1e-3)


def test_reservation_that_is_paid_always_does_not_depend_on_use() -> None:
    case = node(usd_per_gpu_hour=2.0)
    reserved = replace(case, renting=replace(case.renting, pays="always"))
    assert compare(at_use(reserved, 0.1)).rent_usd == compare(at_use(reserved, 0.9)).rent_usd
    assert compare(reserved).threshold is None


def test_curves_meet_where_the_break_even_is() -> None:
    case = node(usd_per_gpu_hour=1.5, wacc=0.05)
    at = compare(case).break_even_months
    assert at is not None
    points = curves(case)
    assert points[0] == (0, 280_000, 0)
    assert len(points) == 61
    assert all((buy <= rent) == (month >= at) for month, buy, rent in points)


def test_sale_at_the_end_is_worth_less_the_later_it_is() -> None:
    kept = Purchase(nodes=2, gpus_per_node=8, node_usd=100_000, residual_share=0.25)
    assert kept.residual_usd(36) == pytest.approx(50_000)
    assert kept.residual_usd(72) == pytest.approx(12_500)
    assert Purchase(nodes=2, gpus_per_node=8, node_usd=100_000).residual_usd(36) == 0


def test_all_parts_of_a_purchase_count() -> None:
    bought = Purchase(
        nodes=2,
        gpus_per_node=8,
        node_usd=100_000,
        network_share=0.1,
        storage_usd=50_000,
        cooling_usd=30_000,
        spares_share=0.05,
        node_kw=10,
        idle_share=0.5,
        pue=1.5,
        usd_per_kwh=0.1,
        space_usd_per_kw_month=200,
        staff_fte_per_node=0.1,
        usd_per_fte_year=120_000,
        maintenance_share_per_year=0.06,
        other_usd_per_month=7,
    )
    assert bought.gpus == 16
    assert bought.capital_usd == pytest.approx(200_000 * 1.15 + 80_000)
    assert bought.standing_usd_per_month == pytest.approx(4_000 + 2_000 + 1_000 + 7)
    assert bought.power_usd_per_month(1.0, "720h") == pytest.approx(20 * 1.5 * 720 * 0.1)
    assert bought.power_usd_per_month(0.0, "720h") == pytest.approx(10 * 1.5 * 720 * 0.1)


def test_opportunity_counts_only_where_it_is_stated_and_gives_any_ratio_then() -> None:
    """`7.2 times the cloud` is an answer to which delay, at which value of a month?"""
    case = replace(node(usd_per_gpu_hour=5.0), terms=Terms(utilisation=0.2, horizon_months=36))
    plain = compare(case)
    assert plain.buy_usd / plain.rent_usd == pytest.approx(1.5, abs=0.05)
    lost = opportunity_usd(delay_months=3, usd_per_month=(7.2 * plain.rent_usd - plain.buy_usd) / 3)
    counted = compare(case.with_value("opportunity_usd", lost))
    assert counted.buy_usd / counted.rent_usd == pytest.approx(7.2)
    assert opportunity_usd(setup_person_months=6, usd_per_fte_year=120_000) == 60_000


@pytest.mark.parametrize(
    ("name", "value"),
    [("utilisation", 1.2), ("utilisation", -0.1), ("pue", 0.9), ("node_usd", float("nan")), ("horizon_months", 0)],
)
def test_impossible_inputs_are_named(name: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"{name} is {value}"):
        node(usd_per_gpu_hour=5.0).with_value(name, value)


def test_unknown_input_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"no input named 'utilization' \(did you mean 'utilisation'\?\)"):
        node(usd_per_gpu_hour=5.0).with_value("utilization", 0.5)


@given(
    utilisation=st.floats(0, 1),
    usd=st.floats(0, 20),
    wacc=st.floats(0, 0.5),
    horizon=st.floats(1, 120),
    node_usd=st.floats(0, 1e7),
)
def test_costs_are_never_negative_and_always_numbers(
    utilisation: float, usd: float, wacc: float, horizon: float, node_usd: float
) -> None:
    case = Case(
        Purchase(nodes=1, gpus_per_node=8, node_usd=node_usd, node_kw=10, usd_per_kwh=0.1, residual_share=0.3),
        Renting(GpuRate(usd)),
        Terms(utilisation=utilisation, horizon_months=horizon, wacc=wacc),
    )
    found = compare(case)
    for figure in (found.buy_usd, found.rent_usd, found.buy_usd_per_month, found.rent_usd_per_month):
        assert figure >= 0
