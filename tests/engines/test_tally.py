from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradewind.engines.tally import TTFT_BOUNDS_S, FirstTokens, Tally


def test_request_is_counted_from_its_arrival_to_its_end() -> None:
    tally = Tally()
    with tally.request(5) as one:
        load = tally.load(room=100)
        assert (load.running, load.waiting, load.tokens_in_flight, load.kv_use) == (0, 1, 5, 0)
        one.running = True
        tally.made(one, 1)
        tally.made(one, 2)
        load = tally.load(room=100)
        assert (load.running, load.waiting, load.tokens_in_flight, load.kv_use) == (1, 0, 8, 0.08)
        assert load.ttft_p95_s is not None
    load = tally.load()
    assert (load.running, load.waiting, load.tokens_in_flight, load.kv_use) == (0, 0, 0, None)
    assert (load.tokens_in, load.tokens_out) == (5, 3)


def test_without_first_tokens_there_is_no_percentile() -> None:
    assert Tally().load().ttft_p95_s is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_percentile_is_a_value_that_95_of_100_do_not_pass(values: list[float]) -> None:
    made = FirstTokens()
    for value in values:
        made.add(value)
    p95 = made.p95_s()
    assert p95 in values
    assert sum(value <= p95 for value in values) >= 0.95 * len(values)
    assert sum(value < p95 for value in values) < 0.95 * len(values)
    assert sum(made.buckets) == len(values)


def test_buckets_hold_values_up_to_their_bound() -> None:
    made = FirstTokens()
    for value in (0.01, 0.011, 1000.0):
        made.add(value)
    assert (made.buckets[0], made.buckets[1], made.buckets[-1]) == (1, 1, 1)
    assert len(made.buckets) == len(TTFT_BOUNDS_S) + 1
