from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tradewind.datasets import Batches, Dataset
from tradewind.errors import NotFoundError, SpecError
from tradewind.records import DatasetVersion, Shard, Split, TokenizerFile
from tradewind.storage import open_store, put_content

shard_sizes = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def dataset(sizes: Sequence[int], *, dtype: str = "uint16") -> Dataset:
    """Shards of some sizes that together hold 0, 1, 2, …, so that a token tells where it stands."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    ends = np.cumsum([0, *sizes])
    shards = []
    for start, end in pairwise(ends):
        stored = put_content(store, "data", np.arange(start, end).astype(np.dtype(dtype).newbyteorder("<")).tobytes())
        shards.append(Shard(**stored.model_dump(), tokens=end - start))
    record = DatasetVersion(
        name="logbook",
        version=1,
        writer="w",
        dtype=dtype,
        splits={"train": Split(shards=tuple(shards), documents=1, tokens=sum(sizes))},
        tokenizer=TokenizerFile(
            key="data/t", sha256=hashlib.sha256().hexdigest(), num_bytes=0, vocabulary=300, end_of_text="<|endoftext|>"
        ),
        text_bytes=0,
        spec={},
    )
    return Dataset(store, record)


def batches(sizes: Sequence[int], *, sequences: int = 4, length: int = 5, seed: int = 0) -> Batches:
    return Batches(dataset(sizes), "train", sequences=sequences, tokens_per_sequence=length, seed=seed)


def starts(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[int]:
    return [int(row[0]) for row in rows]


@given(shard_sizes, st.integers(1, 12))
def test_samples_are_the_streams_of_the_shards_cut_in_pieces(sizes: list[int], length: int) -> None:
    expected = [
        list(range(first + start, first + start + length + 1))
        for first, size in zip(np.cumsum([0, *sizes]), sizes, strict=False)
        for start in range(0, size - length, length)
    ]
    assume(expected)
    made = batches(sizes, length=length)
    assert made.size == len(expected)
    assert made.samples(np.arange(made.size)).tolist() == expected


def test_inputs_and_targets_meet_at_the_edge_of_two_samples() -> None:
    made = batches([21], length=5)
    assert made.samples(np.arange(4)).tolist() == [list(range(start, start + 6)) for start in (0, 5, 10, 15)]


def test_no_sample_crosses_from_one_shard_to_the_next() -> None:
    made = batches([7, 3, 11], length=5)
    assert made.samples(np.arange(made.size)).tolist() == [
        [0, 1, 2, 3, 4, 5],
        [10, 11, 12, 13, 14, 15],
        [15, 16, 17, 18, 19, 20],
    ]


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6), st.integers(0, 5))
def test_parts_of_all_readers_are_the_global_batch(sequences: int, world: int, step: int, seed: int) -> None:
    made = batches([43, 18], sequences=sequences, seed=seed)
    parts = [made.at(step, rank=rank, world=world) for rank in range(world)]
    whole = made.at(step)
    assert whole.shape == (sequences, 6)
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
def test_each_epoch_holds_every_sample_exactly_once(size: int, sequences: int, seed: int) -> None:
    made = batches([size * 5 + 1], sequences=sequences, seed=seed)
    assert made.size == size
    epochs = 3
    steps = -(-epochs * size // sequences)
    seen = [start for step in range(steps) for start in starts(made.at(step))][: epochs * size]
    for epoch in range(epochs):
        assert sorted(seen[epoch * size : (epoch + 1) * size]) == [5 * number for number in range(size)]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    made, other = batches([501], sequences=100), batches([501], sequences=100, seed=1)
    orders = [tuple(starts(made.at(0))), tuple(starts(made.at(1))), tuple(starts(other.at(0)))]
    assert len(set(orders)) == 3
    assert [Counter(order) for order in orders] == [Counter(orders[0])] * 3


def test_batch_may_be_larger_than_the_dataset() -> None:
    counts = Counter(starts(batches([16], sequences=10).at(0)))
    assert set(counts) == {0, 5, 10}
    assert sorted(counts.values()) == [3, 3, 4]


def test_large_tokens_are_read_as_they_were_written() -> None:
    made = Batches(dataset([70_000], dtype="uint32"), "train", sequences=1, tokens_per_sequence=69_999, seed=0)
    assert made.at(0)[0].tolist() == list(range(70_000))


@pytest.mark.parametrize("sizes", [[5], [5, 5, 5], [1]])
def test_text_that_is_too_short_for_one_sample_is_refused(sizes: list[int]) -> None:
    with pytest.raises(SpecError, match=r"no shard of logbook@1 \(train\) holds 6 tokens") as caught:
        batches(sizes, length=5)
    assert caught.value.hint == "choose a smaller tokens_per_sequence, or more text"


def test_shortest_text_that_is_enough_is_one_sample() -> None:
    assert batches([6], length=5).size == 1


def test_unknown_split_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"logbook@1 has no split 'trian' \(did you mean 'train'\?\)"):
        Batches(dataset([50]), "trian", sequences=1, tokens_per_sequence=5, seed=0)
