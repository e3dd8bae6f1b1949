from __future__ import annotations

from tradewind.planner.ownership import Case, GpuRate, Input, Purchase, Renting, Terms, compare, tornado

CASE = Case(
    Purchase(nodes=1, gpus_per_node=8, node_usd=300_000, node_kw=10, usd_per_kwh=0.1),
    Renting(GpuRate(3.0)),
    Terms(utilisation=0.5, horizon_months=36),
)


def ranged(name: str, low: float, high: float) -> Input:
    return Input(name, "", (low + high) / 2, low, high, "assumption", "a test", "")


def test_widest_bar_comes_first_and_what_moves_nothing_is_left_out() -> None:
    ranges = [ranged("usd_per_kwh", 0.06, 0.12), ranged("utilisation", 0.1, 0.9), ranged("cooling_usd", 0, 0)]
    ranges.append(ranged("storage_usd", 5.0, 5.0))
    bars = tornado(CASE, {one.name: one for one in ranges})
    assert [bar.name for bar in bars] == ["utilisation", "usd_per_kwh"]
    assert bars[0].swing_usd > bars[1].swing_usd > 0


def test_bar_shows_what_one_input_alone_does() -> None:
    (bar,) = tornado(CASE, {"usd_per_gpu_hour": ranged("usd_per_gpu_hour", 1.0, 9.0)})
    assert bar.at_low == compare(CASE.with_value("usd_per_gpu_hour", 1.0))
    assert (bar.at_low.answer, bar.at_high.answer, bar.flips) == ("rent", "buy", True)
