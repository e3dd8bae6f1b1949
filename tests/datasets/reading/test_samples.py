from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.datasets.logbook import cut, dataset, rows_of, samples
from tradewind.datasets import shards
from tradewind.datasets.reading.samples import Samples, boundaries
from tradewind.errors import IntegrityError, NotFoundError, SpecError
from tradewind.storage import open_store
from tradewind.storage.cache import Cache

sizes = st.lists(st.integers(0, 60), min_size=1, max_size=6)


@given(sizes, st.integers(1, 12), st.data())
def test_samples_are_the_shards_cut_in_pieces(sizes: list[int], width: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, width - 1))
    expected = cut(sizes, width=width, overlap=overlap)
    assume(expected)
    made = samples(sizes, width=width, overlap=overlap)
    assert made.size == len(expected)
    assert made.rows.sum() == len(expected)
    assert rows_of(made.read(range(made.size))) == expected


@given(sizes.filter(lambda sizes: max(sizes) >= 6), st.data())
def test_samples_are_read_in_any_order_and_repeatedly(sizes: list[int], data: st.DataObject) -> None:
    made, expected = samples(sizes), cut(sizes)
    wanted = data.draw(st.lists(st.integers(0, made.size - 1), max_size=12))
    found = made.read(wanted)
    assert found.shape == (len(wanted), 6)
    assert rows_of(found) == [expected[index] for index in wanted]


def test_inputs_and_targets_meet_at_the_edge_of_two_samples() -> None:
    assert rows_of(samples([21]).read(range(4))) == [list(range(start, start + 6)) for start in (0, 5, 10, 15)]


def test_no_sample_crosses_from_one_shard_to_the_next() -> None:
    assert rows_of(samples([7, 3, 11]).read(range(3))) == [
        [0, 1, 2, 3, 4, 5],
        [10, 11, 12, 13, 14, 15],
        [15, 16, 17, 18, 19, 20],
    ]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_tokens_come_in_the_type_that_they_were_written_in(dtype: str) -> None:
    made = samples([50], dtype=dtype, first=65_400)
    tokens = made.read([0, 5])
    assert tokens.dtype == made.dtype == np.dtype(dtype)
    assert tokens.tolist() == np.arange(65_400, 65_431).astype(dtype)[[range(6), range(25, 31)]].tolist()


def test_samples_of_many_shards_are_found_by_their_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LISTED_IN_RECORD", 3)
    sizes = [7, 0, 30, 6, 11, 5, 19]
    made = samples(sizes)
    assert made.dataset.split("train").listing is not None
    assert rows_of(made.read(range(made.size))) == cut(sizes)


@pytest.mark.parametrize("sizes", [[5], [5, 5, 5], [1], [0]])
def test_text_that_is_too_short_for_one_sample_is_refused(sizes: list[int]) -> None:
    with pytest.raises(SpecError, match=r"no shard of logbook@1 \(train\) holds 6 tokens") as caught:
        samples(sizes)
    assert caught.value.hint == "choose a smaller tokens_per_sequence, or more text"


def test_shortest_text_that_is_enough_is_one_sample() -> None:
    assert samples([6]).size == 1


def test_unknown_split_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"logbook@1 has no split 'trian' \(did you mean 'train'\?\)"):
        Samples(dataset([50]), "trian", width=6)


@pytest.mark.parametrize(("width", "overlap"), [(4, 4), (4, 5), (4, -1), (0, 0)])
def test_samples_that_would_not_advance_are_refused(width: int, overlap: int) -> None:
    with pytest.raises(SpecError, match=f"samples of {width} tokens cannot share {overlap}"):
        samples([50], width=width, overlap=overlap)


def test_damaged_shard_is_refused_by_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**9)
    made = samples([50, 60])
    shard = made.table[1]
    made.dataset.store.put(shard.key, b"x" * shard.num_bytes)
    assert rows_of(made.read([0], cache=cache)) == [[0, 1, 2, 3, 4, 5]]
    with pytest.raises(IntegrityError, match=f"dataset logbook@1: the file {shard.key} has checksum"):
        made.read([0, made.size - 1], cache=cache)


@pytest.mark.parametrize(
    "other",
    [
        lambda: samples([50, 61]),
        lambda: samples([60, 50]),
        lambda: samples([110]),
        lambda: samples([50, 60], width=7),
        lambda: samples([50, 60], overlap=2),
        lambda: samples([50, 60], dtype="uint16"),
        lambda: samples([50, 60], first=1),
    ],
    ids=["size", "order", "cut", "width", "overlap", "dtype", "tokens"],
)
def test_fingerprint_changes_with_the_samples(other: Callable[[], Samples]) -> None:
    assert other().fingerprint != samples([50, 60]).fingerprint


def test_fingerprint_stays_whatever_the_dataset_is_called_and_wherever_it_is(tmp_path: Path) -> None:
    elsewhere = samples([50, 60], name="diary", store=open_store(str(tmp_path)))
    assert elsewhere.fingerprint == samples([50, 60]).fingerprint


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=5), st.integers(0, 3))
def test_boundaries_number_the_documents_of_each_row(rows: list[list[int]], end: int) -> None:
    expected = []
    for row in rows:
        numbers, number = [], 0
        for token in row:
            numbers.append(number)
            number += token == end
        expected.append(numbers)
    found = boundaries(np.array(rows, dtype=np.uint16), end_of_text=end)
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_boundaries_of_no_rows_are_none() -> None:
    assert boundaries(np.empty((0, 5), dtype=np.uint16), end_of_text=0).shape == (0, 5)
