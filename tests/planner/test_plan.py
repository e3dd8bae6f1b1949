from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.planner.offers import chip, offer, plain_offer, region
from tradewind.catalog import Offer
from tradewind.errors import NoPlanError, SpecError
from tradewind.families import known_model, shape_of
from tradewind.planner import Plan, ServingWork, TrainingWork, make_plan
from tradewind.planner.choice.question import Question
from tradewind.planner.spot import Hazard
from tradewind.planner.starts import Signal
from tradewind.records import Place
from tradewind.specs import WhereSpec
from tradewind.specs.train import ModelSpec

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SMALL = shape_of(
    ModelSpec(hidden=512, layers=8, heads=8, kv_heads=4, vocabulary=4096, tied=False), vocabulary=None, context=1024
)
WORK = TrainingWork(SMALL, steps=50_000, sequences=64, tokens_per_sequence=1024, checkpoint_every_s=600.0)
CHAT = ServingWork(
    known_model("llama-3.1-8b"), requests_per_s=4.0, peak_factor=2.0, tokens_in=500, tokens_out=100, hours=720.0
)


def plan(*offers: Offer, work: TrainingWork | ServingWork = WORK, **changes: Any) -> Plan:
    limits = WhereSpec(**changes.pop("limits", {}))
    return make_plan(Question(work, limits=limits, now=NOW, **changes), offers)


def test_cheapest_offer_comes_first() -> None:
    made = plan(offer(40.0, instance="dear"), offer(20.0, instance="cheap"))
    assert made.best.instance == "cheap"
    assert [one.cost_usd.value for one in made.candidates()] == sorted(one.cost_usd.value for one in made.candidates())


def test_axes_of_a_placement_multiply_to_its_chips() -> None:
    for one in plan(offer(), offer(5.0, chips=1, instance="one"), offer(15.0, chips=3, instance="three")).candidates():
        assert math.prod(one.layout.values()) == one.chips <= one.machines * 8


def test_dollars_are_the_sum_of_their_parts() -> None:
    for one in plan(offer(), offer(12.0, market="spot", instance="spot"), plain_offer()).candidates():
        assert one.cost.total_usd == pytest.approx(one.cost_usd.value)


def test_work_on_demand_costs_its_hours() -> None:
    best = plan(offer(40.0), limits={"max_machines": 1}).best
    started = best.hours.value - 300 / 3600
    assert best.cost.compute_usd + best.cost.rework_usd == pytest.approx(40.0 * started, rel=1e-6)
    assert best.cost.idle_usd == pytest.approx(40.0 * 300 / 3600)


def test_spot_at_half_the_price_is_better_and_at_nearly_the_price_is_not() -> None:
    half = plan(offer(40.0), offer(20.0, market="spot")).best
    nearly = plan(offer(40.0), offer(39.5, market="spot"), hazard=Hazard(100, 100)).best
    assert (half.market, nearly.market) == ("spot", "on_demand")
    assert half.cost.rework_usd > 0


def test_plan_without_accelerators_runs_on_processors() -> None:
    best = plan(plain_offer()).best
    assert (best.chip, best.precision, best.chips) == ("", "fp32", 1)


def test_chips_left_over_are_said_and_paid_for() -> None:
    made = plan(offer(chips=7, instance="seven"), limits={"max_machines": 1})
    assert made.best.chips < 7
    assert "stay idle" in made.best.why[0]
    assert made.best.cost.idle_usd > 0


def test_offer_without_room_is_rejected_with_the_inequality() -> None:
    tiny = chip("Tiny", memory_bytes=2**20)
    made = plan(offer(), offer(1.0, of=tiny, instance="tiny"))
    assert str(made.rejected[0]).startswith("aws/us-east-1/tiny/on_demand: memory of")
    assert made.rejected[0].reason.need > made.rejected[0].reason.have


def test_offer_of_unknown_figures_is_rejected_with_what_is_missing() -> None:
    made = plan(offer(), offer(1.0, of=chip("Dark", memory_bytes_per_s=None), instance="dark"))
    assert [str(one.reason) for one in made.rejected] == ["the catalogue has no memory bandwidth of Dark"]


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"deadline_s": 60}, "hours"),
        ({"budget_usd": 0.01}, "dollars"),
        ({"carbon_kg": 1e-6}, "carbon"),
        ({"residency": ("DE",)}, "residency: it is in US"),
        ({"clouds": ("gcp",)}, "not in one of the clouds that are asked for"),
        ({"chips": ("A100",)}, "without one of the chips that are asked for"),
        ({"markets": ("spot",)}, "not of one of the markets that are asked for"),
    ],
)
def test_limit_that_nothing_keeps_is_told_with_the_nearest_misses(limits: dict[str, Any], what: str) -> None:
    with pytest.raises(NoPlanError, match="none of 1 offers does this within its limits") as caught:
        plan(offer(), limits=limits)
    assert len(caught.value.misses) == 1
    assert what in caught.value.misses[0]


def test_nearest_misses_are_three_of_different_machines() -> None:
    offers = [offer(10.0 * n, instance=f"i{n // 2}", where=region(name=f"r{n}")) for n in range(1, 12)]
    with pytest.raises(NoPlanError) as caught:
        plan(*offers, limits={"budget_usd": 0.01})
    assert [miss.split("/")[2] for miss in caught.value.misses] == ["i0", "i1", "i2"]


def test_model_that_no_machine_holds_names_memory() -> None:
    work = TrainingWork(known_model("llama-3.1-405b"), steps=10, sequences=64, tokens_per_sequence=8192)
    with pytest.raises(NoPlanError) as caught:
        plan(offer(5.0, chips=1, instance="one"), work=work, limits={"max_machines": 1})
    assert "memory of" in caught.value.misses[0]


def test_machines_that_cannot_be_had_are_not_planned() -> None:
    made = plan(offer(40.0, market="owned", limit=2))
    assert max(one.machines for one in made.candidates()) == 2


def test_other_weights_give_another_order() -> None:
    clean = region(name="clean", carbon_g_per_kwh=10.0)
    made = plan(offer(30.0, instance="dirty"), offer(33.0, where=clean, instance="green"))
    assert made.best.instance == "dirty"
    assert made.rank(cost=1, carbon=5).best.instance == "green"
    assert made.rank(time=1).best.machines > made.best.machines


@pytest.mark.parametrize("weights", [{"price": 1.0}, {"cost": -1.0}, {"cost": float("nan")}, {"cost": 0.0}])
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        plan(offer()).rank(**weights)


def test_unknown_carbon_is_none_and_keeps_no_carbon_limit() -> None:
    dark = offer(where=region(carbon_g_per_kwh=None))
    assert plan(dark).best.carbon_kg is None
    with pytest.raises(NoPlanError):
        plan(dark, limits={"carbon_kg": 1e9})


def test_effort_of_moving_is_a_measure_and_a_limit() -> None:
    there = offer(20.0, where=region("gcp", "us-central1"), instance="there")
    made = plan(offer(40.0, instance="here"), there, effort_days={"gcp": 40.0})
    assert made.best.effort_days == 40.0
    assert made.rank(effort=1).best.instance == "here"
    assert plan(there, offer(40.0), effort_days={"gcp": 40.0}, limits={"effort_days": 5}).best.cloud == "aws"


def test_data_in_another_cloud_costs_its_transfer() -> None:
    far = TrainingWork(
        SMALL, steps=50_000, sequences=64, tokens_per_sequence=1024, dataset_bytes=10**13,
        dataset_place=Place.parse("aws/us-east-1"),
    )  # fmt: skip
    here, there = offer(40.0), offer(40.0, where=region("gcp", "us-central1"))
    made = plan(here, there, work=far, home=Place.parse("aws/us-east-1"))
    assert made.best.cloud == "aws"
    costs = {one.cloud: one.cost.transfer_usd for one in made.candidates() if one.machines == 1}
    assert costs["gcp"] - costs["aws"] > 10**13 / 1e9 * 0.05


def test_start_is_moved_to_where_the_grid_is_clean_and_the_deadline_is_kept() -> None:
    values = tuple(50.0 if 18 <= hour < 24 else 500.0 for hour in range(24))
    signals = {"aws/us-east-1": Signal(values, NOW.replace(hour=0))}
    limits = {"deadline_s": 86_400.0, "max_machines": 1}
    plain, moved = plan(offer(), limits=limits), plan(offer(), limits=limits, signals=signals)
    assert moved.best.starts_at is not None
    assert moved.best.starts_at >= NOW
    assert (moved.best.starts_at - NOW).total_seconds() / 3600 + moved.best.hours.high <= 24
    assert (moved.best.carbon_kg or 0.0) < (plain.best.carbon_kg or 0.0)
    assert plain.best.starts_at is None


def test_endpoint_has_machines_for_its_busiest_hour() -> None:
    usual = plan(offer(), work=CHAT).best
    rush = plan(offer(), work=ServingWork(**{**vars(CHAT), "peak_factor": 2000.0})).best
    assert rush.machines > usual.machines >= 1
    assert usual.replicas >= 1
    assert usual.hours.value == pytest.approx(720, rel=0.01)


def test_endpoint_keeps_its_bounds_or_is_no_candidate() -> None:
    made = plan(offer(), work=ServingWork(**{**vars(CHAT), "itl_s": 0.02, "ttft_s": 1.0}))
    assert all(one.itl_s and one.itl_s <= 0.02 and one.ttft_s and one.ttft_s <= 1.0 for one in made.candidates())
    with pytest.raises(NoPlanError, match="time between tokens"):
        plan(offer(), work=ServingWork(**{**vars(CHAT), "itl_s": 1e-5}))


def test_weights_in_a_format_that_a_chip_lacks_are_no_candidate() -> None:
    old = chip("A100-SXM-80GB", flops={"bf16": 312e12}, memory_bytes_per_s=2.04e12)
    with pytest.raises(NoPlanError) as caught:
        plan(offer(of=old), work=ServingWork(**{**vars(CHAT), "weights": "fp8"}))
    assert "no products in fp8" in caught.value.misses[0]


def test_frame_and_page_show_the_candidates() -> None:
    made = plan(offer(), offer(20.0, market="spot"))
    frame = made.to_pandas()
    assert len(frame) == made.count
    assert {"cost_usd_high", "cost_rework_usd", "hours", "layout"} <= set(frame.columns)
    assert made.best.instance in made.to_html()
    assert "<svg" in made._repr_html_()


OFFERS = st.builds(
    lambda usd, chips, memory, market: offer(
        usd, chips=chips, market=market, of=chip(memory_bytes=memory * 2**30), instance=f"m{chips}x{memory}"
    ),
    st.floats(0.1, 100.0),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.sampled_from([8, 24, 80, 141]),
    st.sampled_from(["on_demand", "spot"]),
)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(st.lists(OFFERS, min_size=1, max_size=6))
def test_figures_are_never_negative_and_always_numbers(offers: list[Offer]) -> None:
    for one in plan(*offers, limits={"max_machines": 8}).candidates():
        parts = [*one.cost.model_dump().values(), one.hours.low, one.tokens_per_s.low, one.usd_per_million_tokens]
        assert all(math.isfinite(part) and part >= 0 for part in parts)
        assert one.cost_usd.low <= one.cost_usd.value <= one.cost_usd.high
        assert one.hours.low <= one.hours.value <= one.hours.high


@FEW
@given(st.lists(OFFERS, min_size=1, max_size=6))
def test_no_candidate_beats_one_of_the_front(offers: list[Offer]) -> None:
    made = plan(*offers, limits={"max_machines": 8})
    rows = [(one.cost_usd.value, one.hours.value, one.carbon_kg or 0.0) for one in made.candidates()]
    for one in made.front:
        mine = (one.cost_usd.value, one.hours.value, one.carbon_kg or 0.0)
        assert not any(all(a <= b for a, b in zip(row, mine, strict=True)) and row != mine for row in rows)


@FEW
@given(OFFERS, st.floats(10.0, 10_000.0), st.floats(1.0, 3.0))
def test_more_money_or_time_never_refuses_what_was_accepted(one: Offer, budget: float, more: float) -> None:
    def accepts(**limits: float) -> bool:
        try:
            plan(one, limits={"max_machines": 4, **limits})
        except NoPlanError:
            return False
        return True

    assert accepts(budget_usd=budget * more) or not accepts(budget_usd=budget)
    assert accepts(deadline_s=budget * 60 * more) or not accepts(deadline_s=budget * 60)


@FEW
@given(OFFERS, st.sampled_from([1, 2, 4]))
def test_more_machines_never_refuse_what_was_accepted(one: Offer, most: int) -> None:
    fewer = plan(one, limits={"max_machines": most})
    assert plan(one, limits={"max_machines": 2 * most}).count >= fewer.count
