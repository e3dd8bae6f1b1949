from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.blocks import Tokens
from tradewind.datasets.corpus import imports
from tradewind.datasets.tokenizer import END_OF_TEXT, train_tokenizer
from tradewind.errors import NotFoundError, SpecError
from tradewind.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(train_tokenizer(["sail and sail and sail"], vocabulary=258).to_str())
    return path


def ids(dataset: Dataset, split: str = "train") -> list[int]:
    return [int(token) for shard in dataset.shards(split) for token in shard]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=6), st.sampled_from(["uint16", "uint32", ">u2"]))
def test_arrays_are_joined_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], name: str
) -> None:
    store = open_store(str(tmp_path_factory.getbasetemp() / "joined"))
    total = sum(lengths)
    arrays = np.split(np.arange(total).astype(name), np.cumsum(lengths)[:-1])
    if not total:
        with pytest.raises(SpecError, match="there are no tokens in train"):
            Datasets(store).add_tokens("ids", {"train": arrays})
        return
    dataset = Datasets(store).add_tokens("ids", {"train": iter(arrays)}, shard_bytes=4096)
    assert ids(dataset) == list(range(total))
    assert dataset.record.dtype == np.dtype(name).name
    assert dataset.record.splits["train"].tokens == total


def test_splits_have_names_of_their_own_and_a_version_each_time(store: Store) -> None:
    first = Datasets(store).add_tokens(
        "ids", {"train": [np.arange(9, dtype=np.uint16)], "heldout": np.arange(3, dtype=np.uint16)}
    )
    second = Datasets(store).add_tokens("ids", {"train": [np.arange(4, dtype=np.uint16)]}, parents=(first.record.id,))
    assert (ids(first), ids(first, "heldout"), ids(second)) == (list(range(9)), [0, 1, 2], [0, 1, 2, 3])
    assert (second.reference, second.record.parents) == ("ids@2", ("dataset:ids@1",))
    assert second.verify()


def test_array_larger_than_what_is_dealt_with_at_once_is_read_in_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "AT_ONCE", 1000)
    dataset = Datasets(store).add_tokens("ids", {"train": [np.arange(4321, dtype=np.uint16)]}, shard_bytes=4096)
    assert ids(dataset) == list(range(4321))
    assert [shard.tokens for shard in dataset.record.splits["train"].shards] == [2048, 2048, 225]


def test_one_array_may_be_used_again_for_the_next(store: Store) -> None:
    def arrays() -> Iterator[Tokens]:
        buffer = np.empty(10, dtype=np.uint16)
        for number in range(3):
            buffer[:] = number
            yield buffer

    assert ids(Datasets(store).add_tokens("ids", {"train": arrays()})) == [0] * 10 + [1] * 10 + [2] * 10


def test_tokenizer_comes_with_the_ids_and_chooses_their_type(store: Store, tokenizer: Path) -> None:
    arrays: list[Tokens] = [np.array([1, 257], dtype=np.uint32), np.array([2], dtype=np.uint16)]
    dataset = Datasets(store).add_tokens("ids", {"train": arrays}, tokenizer=tokenizer)
    assert (ids(dataset), dataset.record.dtype) == ([1, 257, 2], "uint16")
    assert (dataset.tokenizer_file.vocabulary, dataset.tokenizer_file.end_of_text) == (258, END_OF_TEXT)
    assert dataset.tokenizer_json() == tokenizer.read_bytes()


def test_id_that_the_tokenizer_does_not_have_is_refused(store: Store, tokenizer: Path) -> None:
    with pytest.raises(SpecError, match="array 0 of 'train' holds the id 258, and the tokenizer has 258 tokens"):
        Datasets(store).add_tokens("ids", {"train": np.array([257, 258], np.uint32)}, tokenizer=tokenizer)
    with pytest.raises(NotFoundError, match="there is no file"):
        Datasets(store).add_tokens("ids", {"train": np.empty(0, np.uint16)}, tokenizer="nowhere.json")
    assert Datasets(store).names() == []


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ({"train": [[1, 2]]}, "array 0 of 'train' is list"),
        ({"train": [np.zeros(3, dtype=np.int64)]}, r"array 0 of 'train' is int64 of shape \(3,\)"),
        ({"train": [np.zeros((2, 2), dtype=np.uint16)]}, r"array 0 of 'train' is uint16 of shape \(2, 2\)"),
        (
            {"train": [np.zeros(2, dtype=np.uint16)], "heldout": [np.zeros(2, dtype=np.uint32)]},
            "array 0 of 'heldout' is uint32, the ones before are uint16",
        ),
        ({}, "there are no splits"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(store: Store, splits: Any, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        Datasets(store).add_tokens("ids", splits)
    assert Datasets(store).names() == []


@pytest.mark.parametrize("size", [0, 4095, 4098])
def test_shard_size_that_cannot_be_is_refused(store: Store, size: int) -> None:
    with pytest.raises(SpecError, match=f"shard_bytes is {size}"):
        Datasets(store).add_tokens("ids", {"train": [np.zeros(2, dtype=np.uint16)]}, shard_bytes=size)
