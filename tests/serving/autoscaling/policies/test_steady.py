from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tradewind.serving.autoscaling import Limits
from tradewind.serving.autoscaling.policies.steady import Steady


def settled(needs: list[int], limits: Limits, *, start: int = 1, every_s: float = 1.0) -> list[int]:
    """What is asked for after each need."""
    steady, current, found = Steady(limits), start, []
    for index, need in enumerate(needs):
        current, _ = steady.settle(index * every_s, current, need)
        found.append(current)
    return found


def test_more_is_asked_for_at_once() -> None:
    assert settled([3], Limits()) == [3]


def test_more_waits_for_its_time_where_one_is_set() -> None:
    assert settled([3, 3, 3, 3], Limits(up_after_s=2)) == [1, 1, 3, 3]
    assert settled([3, 3, 1, 3, 3, 3], Limits(up_after_s=2)) == [1, 1, 1, 1, 1, 3]


def test_less_is_asked_for_once_it_was_enough_for_the_whole_time() -> None:
    limits = Limits(down_after_s=5, cool_down_s=0)
    assert settled([3, 1, 1, 1, 1, 1, 1], limits, start=3) == [3, 3, 3, 3, 3, 3, 1]


def test_peak_inside_the_time_is_kept() -> None:
    limits = Limits(down_after_s=5, cool_down_s=0)
    assert settled([4, 1, 1, 2, 1, 1, 1, 1, 1, 1], limits, start=4) == [4, 4, 4, 4, 4, 4, 2, 2, 2, 1]


def test_way_back_waits_for_the_cool_down() -> None:
    limits = Limits(down_after_s=2, cool_down_s=10)
    down = settled([5, *[1] * 12], limits)
    assert down == [5] * 10 + [1] * 3
    up_again = settled([2, 1, 1, 1, 3, *[3] * 9], limits, start=2)
    assert up_again == [2, 2, 2, 1, *[1] * 9, 3]


def test_last_replica_goes_after_the_idle_time_and_comes_back_at_once() -> None:
    limits = Limits(min=0, down_after_s=1, cool_down_s=60, idle_to_zero_s=4)
    assert settled([1, 0, 0, 0, 0, 2], limits) == [1, 1, 1, 1, 0, 2]


def test_several_replicas_end_before_the_last_does() -> None:
    limits = Limits(min=0, down_after_s=1, cool_down_s=0, idle_to_zero_s=3)
    assert settled([3, 0, 0, 0, 0], limits, start=3) == [3, 3, 1, 0, 0]


def test_number_outside_the_bounds_is_brought_inside_at_once() -> None:
    assert settled([9], Limits(max=4), start=9) == [4]
    assert settled([0], Limits(min=2), start=1) == [2]


def test_patience_grows_while_demand_comes_in_bursts() -> None:
    limits = Limits(down_after_s=5, cool_down_s=0)
    wave = [3, *[1] * 7]
    waves = settled(wave * 6, limits)
    first, last = waves[:8], waves[-8:]
    assert first.count(1) == 2
    assert last.count(1) == 0


@given(
    needs=st.lists(st.integers(0, 20), max_size=120),
    low=st.integers(0, 3),
    more=st.integers(0, 6),
    cool_down_s=st.sampled_from([0.0, 3.0, 10.0]),
    down_after_s=st.sampled_from([0.0, 4.0, 15.0]),
)
def test_bounds_hold_and_no_way_back_is_taken_inside_the_cool_down(
    needs: list[int], low: int, more: int, cool_down_s: float, down_after_s: float
) -> None:
    limits = Limits(min=low, max=max(1, low + more), cool_down_s=cool_down_s, down_after_s=down_after_s)
    found = [limits.within(1), *settled(needs, limits, start=limits.within(1))]
    assert all(limits.min <= one <= limits.max for one in found)
    moves = [(time_s, after - before, before) for time_s, (before, after) in enumerate(pairwise(found))]
    moves = [move for move in moves if move[1]]
    for first, second in pairwise(moves):
        if first[1] * second[1] < 0 and second[2] > 0:
            assert second[0] - first[0] >= cool_down_s
