from __future__ import annotations

import pytest

from tests.serving.autoscaling.samples import busy, replica, signals
from tradewind.serving.autoscaling import Decision, Limits, Signals
from tradewind.serving.autoscaling.policies.tokens import Tokens


def last(policy: Tokens, seen: list[Signals]) -> Decision:
    return [policy.decide(one) for one in seen][-1]


def steady(
    count: int, *, arrivals_per_s: float, running: int, seconds: int = 120, target: int | None = None
) -> list[Signals]:
    """Two minutes of the same load on each of `count` replicas."""
    return [
        signals(second, *[busy(running)] * count, arrivals_per_s=arrivals_per_s, target=target)
        for second in range(seconds)
    ]


def test_time_at_work_follows_from_what_comes_and_what_is_there() -> None:
    decision = last(Tokens(Limits()), steady(2, arrivals_per_s=4.0, running=5))
    assert decision.inputs["residence_s"] == pytest.approx(2.5, rel=0.1)
    assert decision.inputs["request_tokens"] == pytest.approx(256)


def test_replicas_are_those_for_the_tokens_at_work_and_room() -> None:
    policy = Tokens(Limits(forecast=False), room=1.0)
    decision = last(policy, steady(5, arrivals_per_s=16.0, running=5))
    assert decision.inputs["at_work"] == pytest.approx((25 + 25**0.5) / 8, rel=0.1)
    assert decision.target == 4


def test_planned_tokens_of_a_replica_are_used_without_room() -> None:
    policy = Tokens(Limits(target_tokens=1280, forecast=False))
    assert last(policy, steady(3, arrivals_per_s=4.0, running=5)).inputs["at_work"] == pytest.approx(3, rel=0.1)


def test_replicas_on_slower_chips_carry_less_than_was_planned_for_the_fastest() -> None:
    policy = Tokens(Limits(target_tokens=1280, forecast=False))
    mixed = [
        signals(second, busy(5, capacity=1280.0), busy(5, capacity=320.0), arrivals_per_s=4.0) for second in range(120)
    ]
    assert last(policy, mixed).inputs["capacity"] == pytest.approx((1280 + 320) / 2)
    assert policy.decide(signals(121, arrivals_per_s=4.0)).inputs["capacity"] > 0


def test_waiting_requests_ask_for_more() -> None:
    calm = last(Tokens(Limits()), steady(1, arrivals_per_s=2.0, running=5))
    policy = Tokens(Limits())
    last(policy, steady(1, arrivals_per_s=2.0, running=5))
    queue = policy.decide(signals(121, busy(8, waiting=120), arrivals_per_s=2.0))
    assert queue.target > calm.target
    assert "120 waiting requests" in queue.reason


def test_rising_demand_is_answered_before_it_is_there() -> None:
    rising = [
        signals(second, *[busy(second // 15)] * 2, arrivals_per_s=second / 15, target=2) for second in range(1, 90)
    ]
    ahead = last(Tokens(Limits(cold_start_s=30)), rising)
    behind = last(Tokens(Limits(cold_start_s=30, forecast=False)), rising)
    assert ahead.inputs["at_work"] > 1.1 * behind.inputs["at_work"]


def test_forecast_never_asks_for_less() -> None:
    falling = [
        signals(second, *[busy(8)] * 4, arrivals_per_s=max(0.0, 12 - second / 10), target=4) for second in range(60)
    ]
    ahead = last(Tokens(Limits(cold_start_s=60)), falling)
    behind = last(Tokens(Limits(cold_start_s=60, forecast=False)), falling)
    assert ahead.inputs["at_work"] == behind.inputs["at_work"]


def test_full_cache_asks_for_one_more_and_once() -> None:
    policy = Tokens(Limits())
    last(policy, steady(1, arrivals_per_s=0.5, running=1))
    full = busy(1, kv_use=0.95)
    asked = policy.decide(signals(121, full, arrivals_per_s=0.5))
    assert (asked.target, asked.reason) == (2, "a key/value cache is 95% full")
    again = policy.decide(signals(122, full, replica("starting"), arrivals_per_s=0.5))
    assert again.target == 2


def test_missed_goal_asks_for_one_more_under_load_and_not_without() -> None:
    for waiting, target in ((1, 2), (0, 1)):
        policy = Tokens(Limits(ttft_s=0.5), room=0.0)
        last(policy, steady(1, arrivals_per_s=2.0, running=5))
        late = busy(6, waiting=waiting, ttft_p95_s=0.9)
        assert policy.decide(signals(121, late, arrivals_per_s=2.0)).target == target


def test_request_wakes_an_endpoint_of_none() -> None:
    policy = Tokens(Limits(min=0))
    assert policy.decide(signals(0, target=0)).target == 0
    woken = policy.decide(signals(1, target=0, queued=1, arrivals_per_s=0.2))
    assert woken.target == 1
    assert woken.reason.endswith("a request wakes the endpoint")


def test_many_requests_at_an_endpoint_that_never_had_a_replica_ask_for_one() -> None:
    woken = Tokens(Limits(min=0)).decide(signals(1, target=0, queued=40, arrivals_per_s=8.0))
    assert woken.target == 1


def test_what_a_replica_carries_is_remembered_when_there_is_none() -> None:
    policy = Tokens(Limits(min=0, idle_to_zero_s=0, down_after_s=0, cool_down_s=0), room=0.0)
    policy.decide(signals(0, busy(1), target=1))
    assert policy.decide(signals(1, target=0, queued=16, arrivals_per_s=3.0)).target == 2


def test_idle_endpoint_goes_to_zero_after_its_time() -> None:
    policy = Tokens(Limits(min=0, idle_to_zero_s=60))
    idle = [policy.decide(signals(second, replica(), target=1)) for second in range(62)]
    assert [one.target for one in idle[-3:]] == [1, 0, 0]
    assert idle[-1].reason == "no requests"


def test_signals_that_do_not_change_in_time_change_nothing() -> None:
    policy = Tokens(Limits())
    first = [policy.decide(signals(5, busy(3), arrivals_per_s=1.0)) for _ in range(3)]
    assert first[0].target == first[1].target == first[2].target == 1


def test_replica_carries_what_it_is_seen_to_carry() -> None:
    """It reports eight requests' worth and has four slots."""
    policy = Tokens(Limits(forecast=False), room=0.0)
    saturated = steady(1, arrivals_per_s=2.0, running=4)
    for one in saturated[:60]:
        policy.decide(one)
    queue = [signals(60 + second, busy(4, waiting=4), arrivals_per_s=2.0) for second in range(20)]
    decision = last(policy, queue)
    assert decision.inputs["capacity"] == pytest.approx(4 * 256, rel=0.02)
    assert decision.target == 2
    more = policy.decide(signals(81, busy(6), arrivals_per_s=2.0))
    assert more.inputs["capacity"] == pytest.approx(6 * 256)


def test_replica_carries_no_more_than_the_slots_that_are_said() -> None:
    policy = Tokens(Limits(), room=0.0, slots=2)
    decision = policy.decide(signals(0, busy(2, waiting=4), arrivals_per_s=1.0))
    assert decision.inputs["capacity"] == 2 * 256
    assert decision.target > 1
