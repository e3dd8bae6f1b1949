from __future__ import annotations

from collections.abc import Callable

import pytest

from tradewind.engines.predict.batch_times import MEASURED, REMEMBERED, TRY_EVERY, BatchTimes


def settled(law: Callable[[int], float], times: BatchTimes | None = None, *, batches: int = 1) -> BatchTimes:
    """After full batches of a model that keeps a law, so many at the least and until no larger size is tried."""
    times = times or BatchTimes()
    for number in range(1000):
        if number >= batches and times.is_settled:
            return times
        times.add(times.limit, law(times.limit))
    raise AssertionError("never settled")


@pytest.mark.parametrize(
    ("fixed_ms", "each_ms", "limit"),
    [(0, 1, 1), (1, 1, 8), (10, 1, 64), (10, 0, 256), (100, 1, 256)],
    ids=["no gain", "little gain", "gain", "as fast for all", "as many as may be"],
)
def test_limit_is_where_twice_as_many_gain_less_than_a_tenth(fixed_ms: float, each_ms: float, limit: int) -> None:
    """Of a law a + b·n the rate of 2n is 2(a + bn)/(a + 2bn) that of n."""
    assert settled(lambda size: (fixed_ms + each_ms * size) / 1000).limit == limit


def test_greater_gain_is_asked_for_by_who_wants_smaller_batches() -> None:
    assert settled(lambda size: 0.010 + 0.001 * size, BatchTimes(gain=1.5)).limit == 8


def test_limit_stays_within_a_bound() -> None:
    assert settled(lambda _: 0.01, BatchTimes(most=6)).limit == 6


def test_larger_size_is_tried_again_after_a_while() -> None:
    times = settled(lambda size: 0.001 * size)
    assert times.limit == 1
    settled(lambda _: 0.001, times, batches=TRY_EVERY + 1)
    assert times.limit > 1


def test_unknown_model_is_taken_to_be_fast() -> None:
    assert BatchTimes().of(7) == 0.0


def test_unmeasured_size_is_as_slow_as_the_next_larger_or_in_proportion() -> None:
    times = BatchTimes()
    for size, seconds in ((2, 0.010), (8, 0.016)):
        times.add(size, seconds)
    assert times.upto(4) == [0.0, 0.010, 0.010, 0.016, 0.016]
    assert times.of(16) == pytest.approx(0.032)


def test_one_disturbance_is_not_believed_and_two_are_until_they_are_long_ago() -> None:
    times = BatchTimes(most=1)
    for _ in range(MEASURED + 1):
        times.add(1, 0.010)
    times.add(1, 0.500)
    assert times.of(1) == 0.010
    times.add(1, 0.030)
    assert times.of(1) == 0.030
    for _ in range(REMEMBERED):
        times.add(1, 0.010)
    assert times.of(1) == 0.010


def test_batch_takes_no_longer_than_a_larger_one() -> None:
    times = BatchTimes()
    for size, seconds in ((1, 0.500), (4, 0.020), (8, 0.030)):
        times.add(size, seconds)
    assert times.upto(5) == [0.0, 0.020, 0.020, 0.020, 0.020, 0.030]


def test_size_that_the_model_is_slow_at_does_not_stop_the_search() -> None:
    """As a product of matrices may be, for two rows, beside that of a matrix and a vector."""
    assert settled(lambda size: {1: 0.001, 2: 0.003}.get(size, 0.002 + 0.0001 * size)).limit > 2


def test_first_batch_of_a_size_is_forgotten_with_the_second() -> None:
    times = BatchTimes()
    times.add(1, 5.0)
    assert times.of(1) == 5.0
    times.add(1, 0.010)
    assert times.of(1) == 0.010
