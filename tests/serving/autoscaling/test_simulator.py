from __future__ import annotations

import random

import pytest

from tradewind.serving.autoscaling import POLICIES, Decision, Limits, Signals, policy
from tradewind.serving.autoscaling.replica_model import Pace
from tradewind.serving.autoscaling.simulator import Outcome, World, simulate, violation_seconds
from tradewind.serving.autoscaling.traces import Arrival, Trace, bursts, five_shapes, trace


class Fixed:
    """As many as it is told, from when it is told."""

    def __init__(self, *plan: tuple[float, int]) -> None:
        self.plan = plan

    def decide(self, signals: Signals) -> Decision:
        told = [count for time_s, count in self.plan if time_s <= signals.time_s]
        return Decision(told[-1] if told else signals.target, "told")


ONE_SLOT = Pace(slots=1, first_s=0.5, each_s=0.1)


def requests(*times_s: float, tokens: int = 15) -> Trace:
    return Trace("given", 60.0, tuple(Arrival(time_s, 0, tokens) for time_s in times_s))


def test_requests_wait_for_a_slot_in_the_order_in_which_they_came() -> None:
    outcome = simulate(requests(0.0, 0.1, 0.2), Fixed(), World(pace=ONE_SLOT))
    assert outcome.ttft_max_s == pytest.approx(0.5 + 2 * 2.0 - 0.2)


def test_replica_is_paid_from_its_request_to_its_last_answer() -> None:
    world = World(pace=ONE_SLOT, cold_start_s=5, usd_per_replica_hour=7200)
    outcome = simulate(requests(20.0), Fixed((10.0, 2), (19.0, 1)), world)
    assert outcome.replica_s == pytest.approx(60 + 9)
    assert outcome.usd == pytest.approx(2 * 69)
    busy = simulate(requests(18.0, 18.0), Fixed((10.0, 2), (18.5, 0)), world)
    assert busy.replica_s == pytest.approx(20 + 10)


def test_replica_that_has_not_started_ends_first() -> None:
    world = World(pace=ONE_SLOT, cold_start_s=30, initial=1)
    outcome = simulate(requests(1.0), Fixed((2.0, 2), (4.0, 1)), world)
    assert outcome.replica_s == pytest.approx(60 + 2)


def test_request_at_an_endpoint_of_none_waits_for_the_cold_start() -> None:
    world = World(pace=ONE_SLOT, cold_start_s=4, initial=0)
    outcome = simulate(requests(10.2), policy("tokens", Limits(min=0, cold_start_s=4)), world)
    assert outcome.ttft_max_s == pytest.approx(10.5 + 4 + 0.5 - 10.2)


def test_requests_that_nobody_took_are_late() -> None:
    outcome = simulate(requests(1.0, 2.0), Fixed(), World(initial=0, cold_start_s=10, ttft_s=1))
    assert outcome.slo_violation_s == 2


def test_second_is_missed_when_more_than_a_twentieth_of_its_requests_are() -> None:
    assert violation_seconds([(1.1, 2.0)] + [(1.5, 0.1)] * 19, 1.0) == 0
    assert violation_seconds([(1.1, 2.0)] + [(1.5, 0.1)] * 18 + [(2.0, 9.9)], 1.0) == 2


def test_same_seed_gives_the_same_and_another_does_not() -> None:
    runs = [
        simulate(bursts(low=1, high=6, duration_s=120, seed=seed), policy("tokens", Limits()), World())
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_shapes_have_the_rates_that_they_are_named_for() -> None:
    shapes = five_shapes(low=2, high=8, duration_s=1200)
    assert [one.name for one in shapes] == ["step", "sawtooth", "diurnal", "flash crowd", "bursts"]
    step = shapes[0]
    counts = [sum(begin <= one.time_s < begin + 400 for one in step.arrivals) for begin in (0, 400, 800)]
    assert counts[0] == pytest.approx(800, rel=0.15)
    assert counts[1] == pytest.approx(3200, rel=0.1)
    assert all(0 <= one.time_s < 1200 for shape in shapes for one in shape.arrivals)


def test_one_step_up_is_answered_within_a_cold_start() -> None:
    calm_then_busy = trace("step", lambda now_s: 1.5 if now_s < 60 else 9, duration_s=240, seed=3)
    limits = Limits(cold_start_s=2, ttft_s=1, cool_down_s=5)
    outcome = simulate(calm_then_busy, policy("tokens", limits), World(cold_start_s=2))
    first = next(time_s for time_s, _, decision in outcome.changes if time_s >= 60 and decision.target >= 3)
    assert first <= 66
    assert outcome.slo_violation_s <= 8


@pytest.mark.parametrize("shape", range(5))
def test_tokens_miss_fewer_seconds_than_classic(shape: int) -> None:
    demand = five_shapes(duration_s=1200)[shape]
    limits = Limits(ttft_s=1)
    ours, classic = (simulate(demand, policy(name, limits), World()) for name in ("tokens", "classic"))
    assert ours.slo_violation_s < classic.slo_violation_s


def random_play(name: str, seed: int) -> tuple[Limits, Outcome]:
    """A random trace under random limits in a random world."""
    chance = random.Random(seed)
    low = chance.choice([0, 1, 1, 2])
    limits = Limits(
        min=low,
        max=low + chance.randint(1, 6),
        ttft_s=chance.choice([None, 0.5, 2.0]),
        up_after_s=chance.choice([0.0, 0.0, 3.0]),
        down_after_s=chance.choice([0.0, 5.0, 20.0]),
        cool_down_s=chance.choice([0.0, 10.0, 30.0]),
        idle_to_zero_s=chance.choice([5.0, 20.0]),
        cold_start_s=chance.choice([1.0, 5.0, 20.0]),
        forecast=chance.random() < 0.5,
    )
    rates = [chance.choice([0.0, 0.2, 1.0, 4.0]) for _ in range(6)]
    demand = trace("random", lambda now_s: rates[int(now_s // 15) % 6], duration_s=90, seed=seed, tokens_out=64)
    pace = Pace(slots=chance.randint(1, 4), each_s=0.03)
    world = World(pace=pace, capacity=pace.slots * 192.0, cold_start_s=limits.cold_start_s, initial=limits.min)
    return limits, simulate(demand, policy(name, limits), world)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tokens", "classic"])
def test_thousand_random_traces_stay_in_bounds_and_take_no_way_back_inside_the_cool_down(name: str) -> None:
    changes = 0
    for seed in range(1000):
        limits, outcome = random_play(name, seed)
        assert all(limits.min <= target <= limits.max for target in outcome.targets), seed
        assert outcome.reversals(within_s=limits.cool_down_s) == 0, seed
        changes += len(outcome.changes)
    assert changes > 1000


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policy_stays_in_its_bounds(name: str) -> None:
    for seed in range(20):
        limits, outcome = random_play(name, seed)
        assert all(limits.min <= target <= limits.max for target in outcome.targets)
