from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tradewind.datasets.reading import order as order_module
from tradewind.datasets.reading.order import Indices, Order, Permutation, Segments, Shuffle, Window, Words

MIB = 2**20
sizes = st.integers(1, 5000)
keys = st.integers(0, 2**63).map(str)
shards = st.lists(st.integers(0, 12), min_size=1, max_size=14).filter(any)
windows = st.integers(1, 5)
lanes = st.integers(1, 9)
seeds = st.integers(0, 2**31)


def permuted(size: int, *, key: str = "0") -> list[int]:
    return [int(value) for value in Permutation(size, key=key)(np.arange(size))]


def order(rows: list[int], *, seed: int = 0, window: int = 4, lanes: int = 1) -> Order:
    return Order(Segments.of(np.array(rows, dtype=np.int64)), seed=seed, window=window, lanes=lanes)


def drawn(made: Order, positions: Indices | range) -> list[int]:
    return [int(sample) for sample in made.draw(np.array(positions, dtype=np.int64)).sample]


@given(sizes, keys)
def test_each_value_comes_exactly_once(size: int, key: str) -> None:
    assert sorted(permuted(size, key=key)) == list(range(size))


@given(sizes, keys)
def test_inverse_leads_back(size: int, key: str) -> None:
    permutation, everything = Permutation(size, key=key), np.arange(size)
    assert (permutation.inverse(permutation(everything)) == everything).all()
    assert (permutation(permutation.inverse(everything)) == everything).all()


@given(st.integers(10**6, 2**62), keys, st.integers(0, 2**32))
@example(2**62, "0", 0)
def test_huge_permutations_stay_in_bounds_and_never_repeat(size: int, key: str, sample: int) -> None:
    positions = np.unique(np.random.default_rng(sample).integers(0, size, 2000))
    permutation = Permutation(size, key=key)
    values = permutation(positions)
    assert values.min() >= 0
    assert values.max() < size
    assert len(np.unique(values)) == len(positions)
    assert (permutation.inverse(values) == positions).all()


@given(sizes, keys, st.data())
def test_a_value_does_not_depend_on_what_else_is_asked(size: int, key: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, size - 1))
    assert Permutation(size, key=key)(np.array([position]))[0] == permuted(size, key=key)[position]


def test_keys_and_sizes_change_a_permutation() -> None:
    assert len({tuple(permuted(100, key=str(key))) for key in range(100)}) == 100
    assert permuted(100) != [value for value in permuted(101) if value < 100]


def test_values_are_spread_evenly() -> None:
    """Where the first tenth of the positions goes: each tenth of the values gets its share, over many keys."""
    counts = np.zeros(10)
    for key in range(50):
        counts += np.histogram(Permutation(1000, key=str(key))(np.arange(100)), bins=10, range=(0, 1000))[0]
    assert counts.sum() == 5000
    assert np.abs(counts - 500).max() < 100  # about 4.7 standard deviations


def test_asking_leaves_the_positions_as_they_were() -> None:
    positions = np.arange(50)
    Permutation(50, key="0")(positions)
    assert (positions == np.arange(50)).all()


def test_empty_question_has_an_empty_answer() -> None:
    nothing = np.array([], dtype=np.int64)
    assert len(Permutation(50, key="0")(nothing)) == 0
    assert [len(part) for part in order([5, 5]).draw(nothing)] == [0, 0, 0]
    assert order([5, 5]).windows(nothing) == order([5, 5]).windows_behind(nothing) == []


def test_nothing_cannot_be_permuted() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Permutation(0, key="0")


@given(shards)
def test_shards_start_where_the_ones_before_end(rows: list[int]) -> None:
    segments, edges = Segments.of(np.array(rows)), [0, *np.cumsum(rows).tolist()]
    assert segments.size == edges[-1]
    assert segments.start(np.arange(len(rows) + 1)).tolist() == edges
    places, within = segments.find(np.arange(segments.size))
    expected = [(place, row) for place, count in enumerate(rows) for row in range(count)]
    assert list(zip(places.tolist(), within.tolist(), strict=True)) == expected


@given(shards, keys)
def test_permuted_shards_lie_in_the_order_of_the_permutation(rows: list[int], key: str) -> None:
    permutation = Permutation(len(rows), key=key)
    layout = Segments.of(np.array(rows)).permuted(permutation)
    ordered = [rows[shard] for shard in permuted(len(rows), key=key)]
    assert layout.start(np.arange(len(rows) + 1)).tolist() == [0, *np.cumsum(ordered).tolist()]


@given(st.integers(1, 50), st.integers(1, 50))
def test_uniform_shards_are_laid_out_like_any_others(count: int, rows: int) -> None:
    uniform, listed = Segments.uniform(count, rows), Segments.of(np.full(count, rows))
    everything = np.arange(count * rows)
    assert uniform.size == listed.size == count * rows
    assert np.array_equal(uniform.find(everything), listed.find(everything))


@given(shards, windows, lanes, seeds, st.integers(0, 3))
def test_each_epoch_holds_every_sample_exactly_once(
    rows: list[int], window: int, lanes: int, seed: int, epoch: int
) -> None:
    made = order(rows, seed=seed, window=window, lanes=lanes)
    found = drawn(made, range(epoch * made.size, (epoch + 1) * made.size))
    assert sorted(found) == list(range(sum(rows)))


@given(shards, windows, lanes, seeds)
def test_sample_and_row_of_a_shard_are_the_same_thing(rows: list[int], window: int, lanes: int, seed: int) -> None:
    made = order(rows, seed=seed, window=window, lanes=lanes)
    found = made.draw(np.arange(2 * made.size))
    starts = np.cumsum([0, *rows])
    assert (found.row < np.array(rows)[found.shard]).all()
    assert (starts[found.shard] + found.row == found.sample).all()


@given(shards, windows, lanes, seeds, st.randoms(use_true_random=False))
def test_random_access_is_the_same_as_reading_in_sequence(
    rows: list[int], window: int, lanes: int, seed: int, dice: st.DataObject
) -> None:
    sequence = drawn(order(rows, seed=seed, window=window, lanes=lanes), range(3 * sum(rows)))
    positions = list(range(len(sequence)))
    dice.shuffle(positions)  # type: ignore[attr-defined]
    made = order(rows, seed=seed, window=window, lanes=lanes)
    assert drawn(made, np.array(positions)) == [sequence[position] for position in positions]
    assert [drawn(made, range(position, position + 1))[0] for position in positions[:20]] == [
        sequence[position] for position in positions[:20]
    ]


@given(shards, windows, seeds)
def test_samples_of_a_window_come_before_those_of_the_next(rows: list[int], window: int, seed: int) -> None:
    made = order(rows, seed=seed, window=window)
    found = made.draw(np.arange(made.size)).shard
    at = 0
    for number in range(-(-len(rows) // window)):
        members = made.shards(Window(0, number)).tolist()
        count = sum(rows[shard] for shard in members)
        assert Counter(found[at : at + count].tolist()) == Counter(
            {shard: rows[shard] for shard in members if rows[shard]}
        )
        at += count
    assert at == made.size


@given(shards, windows, lanes, seeds, st.data())
def test_windows_hold_what_is_drawn_and_nothing_else(
    rows: list[int], window: int, lanes: int, seed: int, data: st.DataObject
) -> None:
    made = order(rows, seed=seed, window=window, lanes=lanes)
    positions = np.array(data.draw(st.lists(st.integers(0, 3 * made.size), min_size=1, max_size=8)))
    found = made.windows(np.sort(positions))
    held = {shard for one in found for shard in made.shards(one).tolist()}
    assert set(made.draw(positions).shard.tolist()) <= held
    assert {one for at in positions for one in made.windows(np.array([at]))} == set(found)


@given(shards, windows, lanes, seeds, st.data())
def test_windows_behind_are_those_that_each_lane_comes_to_next(
    rows: list[int], window: int, lanes: int, seed: int, data: st.DataObject
) -> None:
    made = order(rows, seed=seed, window=window, lanes=lanes)
    start = data.draw(st.integers(0, 2 * made.size))
    positions = np.arange(start, start + data.draw(st.integers(1, 6)))
    expected = set()
    for lane in set(made.lane(positions).tolist()):
        at = int(positions[made.lane(positions) == lane].max())
        following = np.arange(at, at + 2 * made.size + 1)
        seen = [made.windows(np.array([p]))[0] for p in following[made.lane(following) == lane]]
        expected.add(next(one for one in seen if one != seen[0]))
    assert set(made.windows_behind(positions)) == expected


@given(shards, lanes, seeds)
def test_lanes_are_equal_parts_of_the_shuffled_epoch(rows: list[int], lanes: int, seed: int) -> None:
    made, whole = order(rows, seed=seed, lanes=lanes), order(rows, seed=seed)
    everything = np.arange(made.size)
    counts = Counter(made.lane(everything).tolist())
    assert len(counts) == made.lanes == min(lanes, made.size)
    assert max(counts.values()) - min(counts.values()) <= 1
    by_lane = [
        sample for lane in range(made.lanes) for sample in drawn(made, everything[made.lane(everything) == lane])
    ]
    assert by_lane == drawn(whole, everything)


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    orders = [
        tuple(drawn(made, range(epoch * 60, (epoch + 1) * 60)))
        for made in (order([7, 9, 11, 13, 20], seed=seed) for seed in range(8))
        for epoch in range(8)
    ]
    assert len(set(orders)) == 64


def test_order_is_the_same_in_every_release() -> None:
    """A run that resumes under a newer program must go on where it was. Otherwise `ALGORITHM` counts up."""
    assert drawn(order([3, 5, 4, 2], seed=7, window=2), range(14)) == GOLDEN
    assert drawn(order([3, 5, 4, 2], seed=7, window=2, lanes=3), range(14, 28)) == GOLDEN_LANES


GOLDEN = [6, 3, 8, 10, 5, 11, 4, 9, 7, 13, 0, 2, 1, 12]
GOLDEN_LANES = [0, 9, 5, 1, 2, 7, 10, 12, 3, 11, 13, 6, 8, 4]


def test_a_position_among_10_to_the_12_samples_costs_only_its_window() -> None:
    made = Order(Segments.uniform(10**8, 10**4), seed=3)
    positions = np.random.default_rng(0).integers(0, 3 * 10**12, 40)
    made.draw(positions[:1])
    tracemalloc.start()
    try:
        found = made.draw(positions)
        made.windows_behind(np.sort(positions))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.size == 10**12
    assert len(np.unique(found.sample)) == 40
    assert (found.sample == found.shard * 10**4 + found.row).all()
    assert found.sample.max() < 10**12
    assert peak < 8 * MIB


def test_a_window_of_10_to_the_12_samples_is_read_to_its_last_sample() -> None:
    made = Order(Segments.uniform(10**8, 10**4), seed=3, lanes=64)
    step = np.arange(5 * 10**12 + 64 * 17, 5 * 10**12 + 64 * 40_017)
    lane = step[made.lane(step) == 5]
    assert len(np.unique(made.draw(lane).sample)) == len(lane) == 40_000
    assert len(made.windows(lane)) == 2


def test_a_million_ragged_shards_are_read_in_bounded_memory_and_time() -> None:
    rows = np.random.default_rng(1).integers(0, 1000, 10**6)
    tracemalloc.start()
    try:
        began = time.process_time()
        made = Order(Segments.of(rows), seed=5)
        made.draw(np.arange(1000))
        first_s = time.process_time() - began
        found = made.draw(
            np.concatenate([np.arange(size := made.size - 500, size + 1000), np.arange(10**8, 10**8 + 99)])
        )
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (np.concatenate([[0], np.cumsum(rows)])[found.shard] + found.row == found.sample).all()
    assert first_s < 5
    assert held < 128 * MIB
    assert peak < 192 * MIB


def test_a_draw_of_a_million_ragged_shards_costs_no_more_than_one_of_few() -> None:
    """The sum over all shards is made once in an epoch, never for a draw."""
    made = order(np.random.default_rng(1).integers(1, 1000, 10**5).tolist())
    made.draw(np.arange(1000))
    tracemalloc.start()
    try:
        for at in range(2000, 300_000, 1000):
            made.draw(np.arange(at, at + 100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB / 2


def test_orders_that_were_used_for_many_epochs_hold_no_more_than_fresh_ones() -> None:
    made = order([40, 50, 60] * 20, lanes=4)
    for position in range(0, 200 * made.size, 997):
        made.draw(np.array([position]))
    assert len(made._epochs) <= 3
    assert len(made._shuffles) <= 2 * made.lanes + 2


def test_a_window_is_shuffled_once_in_an_epoch_for_each_lane_that_has_a_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, shuffled, words = order([40, 50, 60] * 20, lanes=4), list[str](), order_module._words

    def count(key: str) -> Words:
        shuffled.append(key)
        return words(key)

    monkeypatch.setattr(order_module, "_words", count)
    for start in range(0, made.size, 8):
        made.draw(np.arange(start, min(start + 8, made.size)))
    numbers = [key for key in shuffled if key.startswith("window:")]
    assert len(set(numbers)) == 15
    assert len(numbers) <= 15 + 3


def test_shards_are_spread_over_the_epoch() -> None:
    """Over many seeds, each shard is in each quarter of the epoch equally often."""
    counts = np.zeros((64, 4))
    for seed in range(200):
        made = order([1] * 64, seed=seed, window=1)
        found = made.draw(np.arange(64)).shard
        counts[found, np.arange(64) // 16] += 1
    assert counts.sum() == 200 * 64
    assert np.abs(counts - 50).max() < 5 * np.sqrt(200 * 0.25 * 0.75)


def test_samples_are_spread_within_their_window() -> None:
    """Neighbours of the order come from different shards and are no neighbours in the data, and there is no drift."""
    changes, correlations, jumps = [], [], 0
    for seed in range(20):
        made = order([250] * 64, seed=seed)
        found = made.draw(np.arange(1000))
        changes.append(float((np.diff(found.shard) != 0).mean()))
        jumps += int((np.abs(np.diff(found.sample)) == 1).sum())
        correlations.append(float(np.corrcoef(np.arange(1000), found.row)[0, 1]))
    assert np.mean(changes) == pytest.approx(0.75, abs=0.02)
    assert jumps < 70  # 2 are expected of 1000 neighbours
    assert abs(np.mean(correlations)) < 5 / np.sqrt(20 * 1000)
    assert max(map(abs, correlations)) < 5 / np.sqrt(1000)


def test_first_quarter_of_a_window_takes_a_quarter_of_each_shard() -> None:
    found = order([1000] * 8, seed=1).draw(np.arange(1000)).shard
    counts = Counter(found.tolist())
    assert len(counts) == 4
    assert all(abs(count - 250) < 5 * np.sqrt(1000 * 0.25 * 0.75) for count in counts.values())


def test_threads_share_an_order() -> None:
    """Two readers of one `Batches` ask at once, at places far from each other."""
    rows = np.random.default_rng(2).integers(0, 20, 200).tolist()
    made, fresh = order(rows), order(rows)
    size, failures = made.size, []
    expected = {epoch: drawn(fresh, range(epoch * size, epoch * size + 40)) for epoch in range(40)}

    def ask(first: int) -> None:
        try:
            for turn in range(200):
                epoch = (first * 7 + turn) % 40
                assert drawn(made, range(epoch * size, epoch * size + 40)) == expected[epoch]
        except BaseException as exc:  # noqa: BLE001
            failures.append(exc)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


@given(shards, lanes, seeds)
@settings(max_examples=30)
def test_a_lane_goes_through_its_windows_one_after_the_other(rows: list[int], lanes: int, seed: int) -> None:
    """So a window is fetched once in an epoch for each lane that has a part of it."""
    made = order(rows, seed=seed, window=2, lanes=lanes)
    assume(made.lanes > 1)
    everything = np.arange(made.size)
    for lane in range(made.lanes):
        numbers = [made.windows(np.array([at]))[0].number for at in everything[made.lane(everything) == lane]]
        assert all(before <= after for before, after in pairwise(numbers))


@given(st.integers(1, 500), st.text(max_size=5))
def test_shuffle_is_a_bijection_with_its_inverse(size: int, key: str) -> None:
    shuffle, everything = Shuffle(size, key=key), np.arange(size)
    assert sorted(shuffle(everything).tolist()) == everything.tolist()
    assert (shuffle.inverse(shuffle(everything)) == everything).all()


def test_every_order_of_a_few_values_is_about_as_likely() -> None:
    counts = Counter(tuple(Shuffle(4, key=str(key))(np.arange(4)).tolist()) for key in range(4800))
    assert len(counts) == 24
    assert 120 < min(counts.values()) <= max(counts.values()) < 290
