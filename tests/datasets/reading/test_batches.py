from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets.logbook import Pretended, batches, samples
from tradewind.datasets.reading.batches import Batches, Draws
from tradewind.datasets.reading.order import Order
from tradewind.errors import SpecError

rows = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)
several_rows = st.lists(rows, min_size=1, max_size=3)
FIELDS = ("position", "source", "within", "sample", "shard", "row")


def pretend(
    sources: Sequence[Sequence[int]],
    *,
    sequences: int = 4,
    seed: int = 0,
    window: int = 4,
    lanes: int = 1,
    weights: Sequence[float] | None = None,
) -> Batches:
    return Batches(
        [Pretended(rows) for rows in sources],
        sequences=sequences,
        seed=seed,
        window=window,
        lanes=lanes,
        weights=weights,
    )


def parts(made: Batches, steps: range, *, world: int) -> list[Draws]:
    return [made.draws(steps, rank=rank, world=world) for rank in range(world)]


def shards_of(draws: Draws) -> set[tuple[int, int]]:
    return set(zip(draws.source.ravel().tolist(), draws.shard.ravel().tolist(), strict=True))


def same(left: Draws, right: Draws) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in FIELDS)


@given(
    several_rows, st.integers(1, 70), st.integers(1, 64), st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5)
)
def test_parts_of_all_readers_are_the_global_batch(
    sources: list[list[int]], sequences: int, world: int, first: int, count: int, lanes: int
) -> None:
    made, steps = pretend(sources, sequences=sequences, lanes=lanes), range(first, first + count)
    whole, found = made.draws(steps), parts(made, steps, world=world)
    for name in FIELDS:
        assert np.array_equal(np.concatenate([getattr(part, name) for part in found], axis=1), getattr(whole, name))
    counts = [part.row.shape[1] for part in found]
    assert max(counts) - min(counts) <= 1
    assert counts == [len(made.rows(rank=rank, world=world)) for rank in range(world)]


@pytest.mark.parametrize("lanes", [1, 8])
def test_every_world_size_from_1_to_64_reads_the_same_global_batches(lanes: int) -> None:
    made = pretend([[40, 30, 50, 0, 7], [11, 12]], sequences=37, lanes=lanes, weights=[0.7, 0.3])
    whole = made.draws(range(5, 9))
    for world in range(1, 65):
        joined = np.concatenate([part.sample for part in parts(made, range(5, 9), world=world)], axis=1)
        assert np.array_equal(joined, whole.sample)


@given(several_rows, st.integers(1, 9), st.integers(1, 8), st.integers(1, 5), st.integers(0, 30))
def test_workers_that_take_every_other_step_read_what_one_reads(
    sources: list[list[int]], sequences: int, workers: int, lanes: int, first: int
) -> None:
    made = pretend(sources, sequences=sequences, lanes=lanes)
    whole = made.draws(range(first, first + 17), rank=1, world=3)
    for worker in range(workers):
        mine = range(worker, 17, workers)
        if not mine:
            continue
        found = made.draws(range(first + worker, first + 17, workers), rank=1, world=3)
        assert np.array_equal(found.sample, whole.sample[mine.start :: workers])
        assert np.array_equal(found.position, whole.position[mine.start :: workers])


@given(several_rows, st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_steps_one_by_one_are_the_same_as_many_at_once(
    sources: list[list[int]], sequences: int, lanes: int, seed: int
) -> None:
    made = pretend(sources, sequences=sequences, lanes=lanes, seed=seed)
    whole = made.draws(range(12))
    for step in range(12):
        alone = pretend(sources, sequences=sequences, lanes=lanes, seed=seed).draws(range(step, step + 1))
        assert np.array_equal(alone.sample[0], whole.sample[step])


@given(rows, st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31))
def test_each_epoch_holds_every_sample_exactly_once(
    rows: list[int], sequences: int, window: int, lanes: int, seed: int
) -> None:
    made = pretend([rows], sequences=sequences, window=window, lanes=lanes, seed=seed)
    draws = made.draws(range(-(-3 * made.size // sequences)))
    order = np.argsort(draws.position.ravel())
    assert draws.position.ravel()[order].tolist() == list(range(draws.position.size))
    seen = draws.sample.ravel()[order]
    for epoch in range(3):
        assert sorted(seen[epoch * made.size : (epoch + 1) * made.size].tolist()) == list(range(made.size))


@given(
    st.lists(rows, min_size=2, max_size=3),
    st.integers(1, 9),
    st.integers(1, 5),
    st.lists(st.sampled_from([1, 0.7, 0.3, 0.25, 2]), min_size=3, max_size=3),
)
def test_each_source_of_a_mixture_comes_exactly_once_in_each_epoch_of_its_own(
    sources: list[list[int]], sequences: int, lanes: int, weights: list[float]
) -> None:
    made = pretend(sources, sequences=sequences, lanes=lanes, weights=weights[: len(sources)])
    draws = made.draws(range(60))
    for number, source in enumerate(made.sources):
        here = draws.source.ravel() == number
        within, drawn = draws.within.ravel()[here], draws.sample.ravel()[here]
        assert sorted(within.tolist()) == list(range(len(within)))
        for epoch in range(len(within) // source.size):
            of_epoch = within // source.size == epoch
            assert sorted(drawn[of_epoch].tolist()) == list(range(source.size))


def test_seven_tenths_and_three_tenths_of_each_batch_come_from_their_sources() -> None:
    made = pretend([[100] * 5, [9, 9]], sequences=20, weights=[0.7, 0.3])
    draws = made.draws(range(100))
    assert [Counter(step) for step in draws.source.tolist()] == [Counter({0: 14, 1: 6})] * 100


def test_batch_may_be_larger_than_the_dataset() -> None:
    counts = Counter(pretend([[3]], sequences=10).draws(range(1)).sample.ravel().tolist())
    assert sorted(counts.values()) == [3, 3, 4]


def test_more_readers_than_rows_leave_some_without_any() -> None:
    made = pretend([[9, 9]], sequences=2)
    assert sorted(part.row.shape[1] for part in parts(made, range(3), world=5)) == [0, 0, 0, 1, 1]


def test_shorter_batch_is_the_first_rows_of_the_stream() -> None:
    made = pretend([[50]], sequences=10)
    short, whole = made.draws(range(3, 4), length=4), made.draws(range(3, 4))
    assert short.position.tolist() == [[30, 31, 32, 33]]
    assert short.sample.tolist() == whole.sample[:, :4].tolist()


@pytest.mark.parametrize("nodes", [2, 4, 8])
@pytest.mark.parametrize("rows_of_a_shard", [(64, 64), (41, 90)])
def test_each_node_touches_only_its_share_of_the_shards(nodes: int, rows_of_a_shard: tuple[int, int]) -> None:
    """Of N nodes each reads about 1/N of the shards in an epoch, and two share a window only where lanes meet."""
    count = 256
    counts = np.random.default_rng(1).integers(*rows_of_a_shard, count, endpoint=True).tolist()
    made = pretend([counts], sequences=32, lanes=8)
    steps = range(made.size // 32)
    touched = [shards_of(part) for part in parts(made, steps, world=nodes)]
    assert set.union(*touched) == {(0, shard) for shard in range(count)}
    assert max(map(len, touched)) <= count / nodes + 2 * made.orders[0].window
    assert sum(map(len, touched)) <= count + (nodes - 1) * made.orders[0].window


def test_readers_of_one_node_touch_their_own_lanes_only() -> None:
    made = pretend([[32] * 64], sequences=32, lanes=8)
    for rank, part in enumerate(parts(made, range(300), world=16)):
        assert set(made.orders[0].lane(part.within).ravel().tolist()) == {rank // 2}


@given(rows, st.integers(1, 9), st.integers(0, 40))
def test_lanes_do_not_change_with_the_number_of_readers(rows: list[int], lanes: int, step: int) -> None:
    made = pretend([rows], sequences=12, lanes=lanes)
    whole = made.draws(range(step, step + 2))
    for world in (2, 3, 4, 12):
        assert np.array_equal(
            np.concatenate([part.sample for part in parts(made, range(step, step + 2), world=world)], axis=1),
            whole.sample,
        )


@given(several_rows, st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(0, 30))
def test_shards_ahead_begin_with_those_of_the_draws(
    sources: list[list[int]], sequences: int, lanes: int, world: int, step: int
) -> None:
    made = pretend(sources, sequences=sequences, lanes=lanes, window=2)
    for part in parts(made, range(step, step + 2), world=world):
        ahead = made.ahead(part)
        assert len(set(ahead)) == len(ahead)
        here = {
            (number, shard)
            for number, one in made.windows(part)
            for shard in made.orders[number].shards(one).tolist()
            if made.sources[number].rows[shard]
        }
        assert shards_of(part) <= here == set(ahead[: len(here)])


def test_windows_behind_are_asked_for_before_they_are_read() -> None:
    """Whoever has `ahead` of the steps so far needs nothing new at the edge of a window."""
    made = pretend([[6] * 24], sequences=4, lanes=2, window=3)
    for rank, step in itertools.product(range(2), range(200)):
        now, following = (made.draws(range(at, at + 1), rank=rank, world=2) for at in (step, step + 1))
        assert shards_of(following) <= set(made.ahead(now))


def test_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(pretend([[20, 30]], seed=seed).draws(range(12)).sample.ravel().tolist()) for seed in range(20)}
    assert len(orders) == 20


def test_sources_of_one_dataset_have_orders_of_their_own() -> None:
    draws = pretend([[40], [40]], sequences=80).draws(range(1))
    first, second = (draws.sample[draws.source == number].tolist() for number in range(2))
    assert sorted(first) == sorted(second)
    assert first != second


def test_tokens_of_a_batch_are_those_that_the_samples_say() -> None:
    made = batches([30, 41, 7], sequences=5)
    draws = made.draws(range(2), rank=1, world=2)
    source = made.sources[0]
    start = np.concatenate([[0], np.cumsum([30, 41, 7])])[draws.shard] + 5 * draws.row
    assert source.read(draws.sample.ravel())[:, 0].tolist() == start.ravel().tolist()


CHANGES = {
    "seed": {"seed": 1},
    "sequences": {"sequences": 5},
    "window": {"window": 3},
    "lanes": {"lanes": 2},
    "sizes": {"sizes": [30, 40]},
    "width": {"width": 5},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprint_changes_with_whatever_decides_the_order(change: dict[str, object]) -> None:
    usual: dict[str, object] = {"sizes": [30, 41], "sequences": 4, "seed": 0}
    made: Batches = batches(**usual)  # type: ignore[arg-type]
    other: Batches = batches(**(usual | change))  # type: ignore[arg-type]
    assert made.fingerprint != other.fingerprint
    assert len(made.fingerprint) == 16
    assert made.fingerprint == batches(**usual).fingerprint  # type: ignore[arg-type]


def test_fingerprint_changes_with_weights_and_order_of_sources_but_not_with_their_unit() -> None:
    one, other = [30, 31], [40]
    prints = [
        pretend([one, other], weights=weights).fingerprint for weights in ([0.7, 0.3], [0.3, 0.7], [1, 1], [7, 3])
    ]
    assert len(set(prints)) == 3
    assert prints[0] == prints[3]
    assert pretend([other, one]).fingerprint != pretend([one, other]).fingerprint


def test_batches_travel_to_other_processes() -> None:
    made = pretend([[20, 30], [9]], lanes=2)
    before = made.draws(range(5))
    assert same(pickle.loads(pickle.dumps(made)).draws(range(5)), before)


def test_sources_of_other_lengths_are_refused() -> None:
    with pytest.raises(SpecError, match=r"samples of \[6, 7\] tokens"):
        Batches([samples([50]), samples([50], width=7)], sequences=2, seed=0)


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(SpecError, match="nothing to read"):
        Batches([], sequences=2, seed=0)


def test_weights_of_other_sources_are_refused() -> None:
    with pytest.raises(SpecError, match="1 sources cannot have 2 weights"):
        Batches(samples([50]), sequences=2, seed=0, weights=[0.5, 0.5])


@pytest.mark.parametrize("sequences", [0, -3])
def test_batches_of_nothing_are_refused(sequences: int) -> None:
    with pytest.raises(SpecError, match="at least 1"):
        batches([50], sequences=sequences)


@pytest.mark.parametrize("how", [{"window": 0}, {"lanes": 0}, {"lanes": -1}])
def test_orders_without_a_window_or_a_lane_are_refused(how: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="at least 1"):
        batches([50], **how)


def test_an_epoch_of_a_window_of_all_shards_is_shuffled_as_a_whole() -> None:
    made = Order(samples([50, 60, 70]).segments, seed=0, window=100)
    assert sorted(made.draw(np.arange(made.size)).sample.tolist()) == list(range(made.size))


def test_rows_of_a_lane_stand_in_the_order_of_the_stream() -> None:
    made = pretend([[400, 500]], sequences=600, lanes=2)
    (positions,) = made.draws(range(1)).position.tolist()
    assert positions == sorted(positions, key=lambda position: (position % made.size % 2, position))
