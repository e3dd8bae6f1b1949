from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.text import find_documents, read_text, split_heldout
from tradewind.datasets.versions import UINT16_VOCABULARY, _Writer
from tradewind.errors import IntegrityError, NotFoundError, SpecError, StorageError
from tradewind.specs import DatasetSpec
from tradewind.storage import Store, open_store
from tradewind.storage.object_store import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    return dataset_spec(write_text(tmp_path / "text"))


@pytest.fixture
def dataset(store: Store, spec: DatasetSpec) -> Dataset:
    return Datasets(store).add(spec)


def keys(store: Store) -> set[str]:
    return {item.key for item in store.list("datasets")}


def texts(dataset: Dataset, split: str) -> list[str]:
    """The documents of a split, decoded from its tokens."""
    tokens = np.concatenate(list(dataset.shards(split)))
    ends = np.flatnonzero(tokens == dataset.tokenizer().token_to_id(dataset.record.tokenizer.end_of_text))
    assert ends[-1] == len(tokens) - 1
    parts = np.split(tokens, ends + 1)[:-1]
    return [dataset.tokenizer().decode(part[:-1].tolist()) for part in parts]


def test_tokens_decode_to_the_documents_that_were_read(dataset: Dataset, spec: DatasetSpec) -> None:
    training, heldout = split_heldout(find_documents(spec.text), spec.heldout_fraction)
    assert texts(dataset, "train") == [read_text(document) for document in training]
    assert texts(dataset, "heldout") == [read_text(document) for document in heldout]


def test_record_tells_what_was_written(dataset: Dataset, spec: DatasetSpec) -> None:
    record = dataset.record
    assert (record.name, record.version, dataset.reference) == ("logbook", 1, "logbook@1")
    assert record.documents == 24
    assert record.splits["heldout"].documents == 4
    assert record.text_bytes == sum(document.num_bytes for document in find_documents(spec.text))
    assert record.tokenizer.vocabulary == VOCABULARY
    assert record.dtype == "uint16"
    assert DatasetSpec.of(**record.spec) == spec
    for name, split in record.splits.items():
        assert [len(tokens) for tokens in dataset.shards(name)] == [shard.tokens for shard in split.shards]
        assert sum(shard.tokens for shard in split.shards) == split.tokens


def test_shards_are_full_but_for_the_last(dataset: Dataset) -> None:
    sizes = [shard.num_bytes for shard in dataset.record.splits["train"].shards]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {4096}
    assert 0 < sizes[-1] <= 4096


def test_where_the_shards_are_cut_changes_no_token(store: Store, spec: DatasetSpec, dataset: Dataset) -> None:
    whole = Datasets(store).add(spec.with_values(name="whole", shard_bytes="1MiB"))
    (only,) = whole.shards("train")
    assert (np.concatenate(list(dataset.shards("train"))) == only).all()


def test_added_version_is_got_and_listed(store: Store, dataset: Dataset) -> None:
    datasets = Datasets(store)
    for reference in ("logbook", "logbook@1", "logbook@v1"):
        assert datasets.get(reference).record == dataset.record
    assert datasets.names() == ["logbook"]
    assert list(datasets.list()) == [dataset.record]


def test_empty_store_has_no_datasets(store: Store) -> None:
    assert Datasets(store).names() == []
    assert list(Datasets(store).list()) == []


def test_same_text_again_is_a_new_version_of_the_same_files(store: Store, spec: DatasetSpec, dataset: Dataset) -> None:
    before = keys(store)
    second = Datasets(store).add(spec)
    assert second.record.version == 2
    assert second.record.splits == dataset.record.splits
    assert second.record.tokenizer == dataset.record.tokenizer
    assert keys(store) - before == {"datasets/logbook/versions/000000000002.json"}
    assert Datasets(store).get("logbook").record.version == 2
    assert Datasets(store).get("logbook@1").record == dataset.record


def test_other_text_is_a_new_version_and_leaves_the_old_as_it_was(
    store: Store, spec: DatasetSpec, dataset: Dataset, tmp_path: Path
) -> None:
    before = texts(dataset, "train")
    write_text(tmp_path / "text", seed=1)
    assert texts(Datasets(store).add(spec), "train") != before
    assert texts(Datasets(store).get("logbook@1"), "train") == before


def test_datasets_are_listed_by_name_and_then_by_version(store: Store, spec: DatasetSpec) -> None:
    for name in ("quay", "anchor", "quay"):
        Datasets(store).add(spec.with_values(name=name))
    assert [(one.name, one.version) for one in Datasets(store).list()] == [("anchor", 1), ("quay", 1), ("quay", 2)]


def test_concurrent_adds_all_survive(store: Store, spec: DatasetSpec, tmp_path: Path) -> None:
    others = [dataset_spec(write_text(tmp_path / f"text-{number}", seed=number)) for number in range(3)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(Datasets(store).add, [spec, *others, spec, others[0]]))
    assert sorted(one.record.version for one in made) == [1, 2, 3, 4, 5, 6]
    assert {one.version: one for one in Datasets(store).list()} == {one.record.version: one.record for one in made}
    for one in made:
        Datasets(store).get(one.reference).verify()


@dataclass(frozen=True)
class FullStore(ObjectStore):
    """Takes everything but records of versions."""

    def create(self, key: str, data: bytes) -> None:
        raise StorageError(f"no room left to write {key}")


def test_add_that_is_cut_short_leaves_nothing_to_see(store: Store, spec: DatasetSpec) -> None:
    assert isinstance(store, ObjectStore)
    with pytest.raises(StorageError):
        Datasets(FullStore(store.url, store.open_native, store.folder)).add(spec)
    written = keys(store)
    assert written
    assert Datasets(store).names() == []
    assert list(Datasets(store).list()) == []
    with pytest.raises(NotFoundError):
        Datasets(store).get("logbook")
    assert Datasets(store).add(spec).record.version == 1
    assert keys(store) - written == {"datasets/logbook/versions/000000000001.json"}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\xee")


@pytest.mark.parametrize("harm", [truncate, alter, Path.unlink])
def test_damaged_shard_is_named_with_its_dataset(store: Store, dataset: Dataset, harm: Callable[[Path], None]) -> None:
    shard = dataset.record.splits["train"].shards[1]
    path = store.local_path(shard.key)
    assert path is not None
    harm(path)
    again = Datasets(store).get("logbook")
    for read in (again.verify, lambda: list(again.shards("train"))):
        with pytest.raises(IntegrityError, match=r"dataset logbook@1") as caught:
            read()
        assert shard.key in caught.value.message
    assert list(again.shards("heldout"))


def test_damaged_tokenizer_is_named_with_its_dataset(store: Store, dataset: Dataset) -> None:
    store.put(dataset.record.tokenizer.key, b"{}")
    for read in (dataset.verify, dataset.tokenizer):
        with pytest.raises(IntegrityError, match=f"dataset logbook@1.*{dataset.record.tokenizer.key}"):
            read()


def test_adding_the_same_text_again_mends_a_damaged_shard(store: Store, spec: DatasetSpec, dataset: Dataset) -> None:
    store.put(dataset.record.splits["train"].shards[0].key, b"")
    Datasets(store).add(spec)
    Datasets(store).get("logbook@1").verify()


def test_verify_reads_every_byte_and_says_how_many(store: Store, dataset: Dataset) -> None:
    data = sum(item.num_bytes for item in store.list("datasets") if "/data/" in item.key)
    assert dataset.verify() == data


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("logbok", r"no dataset named 'logbok' \(did you mean 'logbook'\?\)"),
        ("other@2", r"no dataset named 'other' \(known: logbook\)"),
        ("logbook@2", "logbook has no version 2"),
    ],
)
def test_what_is_not_there_is_not_found_and_the_nearest_is_named(
    store: Store, dataset: Dataset, reference: str, complaint: str
) -> None:
    with pytest.raises(NotFoundError, match=complaint):
        Datasets(store).get(reference)


def test_datasets_have_no_aliases(store: Store, dataset: Dataset) -> None:
    with pytest.raises(SpecError, match="datasets have versions and no aliases") as caught:
        Datasets(store).get("logbook@prod")
    assert caught.value.hint == "write logbook, or logbook@1"


class LargeTokenizer:
    """Only as much of a tokenizer as is asked before the first document: training one of 70,000 tokens takes long."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def get_vocab_size(self) -> int:
        return self.vocabulary

    def token_to_id(self, token: str) -> int:
        return self.vocabulary - 1


@pytest.mark.parametrize(
    ("vocabulary", "dtype"), [(257, "uint16"), (UINT16_VOCABULARY, "uint16"), (UINT16_VOCABULARY + 1, "uint32")]
)
def test_tokens_have_the_smallest_type_that_holds_them(
    store: Store, spec: DatasetSpec, vocabulary: int, dtype: str
) -> None:
    writer = _Writer(store, spec, LargeTokenizer(vocabulary))  # type: ignore[arg-type]
    assert writer.dtype == dtype
    tokens = np.array([0, vocabulary - 1], dtype=dtype)
    shard = writer._store_shard(tokens)
    assert shard.tokens == 2
    assert shard.num_bytes == 2 * np.dtype(dtype).itemsize
    assert np.frombuffer(store.get(shard.key), dtype=np.dtype(dtype).newbyteorder("<"))[1] == vocabulary - 1
