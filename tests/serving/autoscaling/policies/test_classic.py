from __future__ import annotations

import pytest

from tests.serving.autoscaling.samples import replica, signals
from tradewind.serving.autoscaling import Limits
from tradewind.serving.autoscaling.policies.classic import Classic


def targets(load: float, *, seconds: int, start: int = 2, limits: Limits | None = None) -> list[int]:
    """What is asked for in each second under a load that stays the same."""
    policy, current, found = Classic(limits or Limits(cool_down_s=30)), start, []
    for second in range(seconds):
        there = [replica(tokens_in_flight=round(load * 1000), capacity=1000)] * current
        current = policy.decide(signals(second, *there, target=current)).target
        found.append(current)
    return found


@pytest.mark.parametrize(("load", "after"), [(0.81, 3), (0.79, 2), (0.5, 2), (0.31, 2), (0.29, 1)])
def test_thresholds_are_80_and_30_percent_of_the_mean(load: float, after: int) -> None:
    assert targets(load, seconds=31)[-1] == after


def test_it_decides_every_30_seconds_and_by_one() -> None:
    found = targets(0.9, seconds=95)
    assert [found.index(count) for count in (3, 4, 5)] == [30, 60, 90]


def test_nothing_seen_decides_nothing() -> None:
    policy = Classic(Limits(min=1))
    assert [policy.decide(signals(second, target=1)).target for second in (0, 30, 60)] == [1, 1, 1]


def test_bounds_are_1_and_10() -> None:
    assert targets(0.9, seconds=600)[-1] == 10
    assert targets(0.0, seconds=600)[-1] == 1


def test_load_from_before_a_change_is_not_answered_again() -> None:
    policy, current = Classic(Limits()), 2
    for second in range(31):
        current = policy.decide(signals(second, *[replica(tokens_in_flight=0)] * current, target=current)).target
    assert current == 1
    busy = policy.decide(signals(33, replica(tokens_in_flight=2000), target=1))
    assert busy.inputs["samples"] == 1
    assert busy.inputs["load"] == pytest.approx(2000 / 2048)


def test_replicas_that_are_starting_count() -> None:
    policy = Classic(Limits())
    there = [replica(tokens_in_flight=1800), replica("starting")]
    found = [policy.decide(signals(second, *there, target=2)).target for second in range(61)]
    assert set(found) == {2}


def test_request_wakes_an_endpoint_of_none() -> None:
    assert Classic(Limits(min=0)).decide(signals(0, target=0, queued=1)).target == 1
