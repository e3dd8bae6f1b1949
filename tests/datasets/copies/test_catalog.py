from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.copies.catalog import copies_of, open_origin, record_copy
from tradewind.datasets.copies.replicas import Replicas
from tradewind.errors import NotFoundError
from tradewind.records import Place
from tradewind.storage import Store, open_store
from tradewind.storage.origin import StoreOrigin

WEST, EAST = Place.parse("aws/us-west-2"), Place.parse("aws/us-east-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "home"))


def test_copies_are_listed_in_the_order_in_which_they_were_made(store: Store) -> None:
    record_copy(store, "tides", "s3://one", place=WEST, version=1)
    record_copy(store, "tides", "s3://two", place=EAST, version=1)
    record_copy(store, "tides", "s3://one", place=WEST, version=2)
    assert [(copy.url, copy.versions, copy.place) for copy in copies_of(store, "tides")] == [
        ("s3://one", (1, 2), WEST),
        ("s3://two", (1,), EAST),
    ]
    assert copies_of(store, "charts") == []


def test_same_copy_again_writes_nothing(store: Store) -> None:
    first = record_copy(store, "tides", "s3://one", place=WEST, version=1)
    assert record_copy(store, "tides", "s3://one", place=WEST, version=1) == first
    assert len(list(store.list("datasets/tides/copies"))) == 1


def test_place_of_a_copy_can_be_corrected(store: Store) -> None:
    record_copy(store, "tides", "s3://one", place=WEST, version=1)
    record_copy(store, "tides", "s3://one", place=EAST, version=1)
    assert [copy.place for copy in copies_of(store, "tides")] == [EAST]


def test_dropped_copy_is_none_and_can_come_back_empty(store: Store) -> None:
    record_copy(store, "tides", "s3://one", place=WEST, version=1)
    assert record_copy(store, "tides", "s3://one").state == "dropped"
    assert copies_of(store, "tides") == []
    with pytest.raises(NotFoundError, match="tides has no copy at s3://one"):
        record_copy(store, "tides", "s3://one")
    record_copy(store, "tides", "s3://one", place=WEST, version=2)
    assert [copy.versions for copy in copies_of(store, "tides")] == [(2,)]


def test_copy_that_is_not_there_is_named_with_those_that_are(store: Store) -> None:
    record_copy(store, "tides", "s3://harbour/one", place=WEST, version=1)
    with pytest.raises(NotFoundError, match="did you mean 's3://harbour/one'"):
        record_copy(store, "tides", "s3://harbour/on")


def test_folder_without_copies_is_read_as_it_is(store: Store) -> None:
    assert open_origin(store, "tides", 1) == StoreOrigin(store)


def test_bucket_is_metered_even_without_copies() -> None:
    bucket = open_store("s3://harbour/prefix")
    origin = open_origin_of_listed(bucket, [])
    assert isinstance(origin, Replicas)


def open_origin_of_listed(store: Store, urls: list[str]) -> object:
    """Of a store that is not asked for its copies, because there is no server behind it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradewind.datasets.copies.catalog.copies_of", lambda *_: urls)
        return open_origin(store, "tides", 1)


def test_only_copies_that_hold_the_version_are_read(store: Store) -> None:
    record_copy(store, "tides", "s3://one", place=WEST, version=1)
    record_copy(store, "tides", "s3://two", place=WEST, version=2)
    origin = open_origin(store, "tides", 2)
    assert isinstance(origin, Replicas)
    assert [source.store.url for source in origin.sources] == [store.url, "s3://two"]


def test_copy_of_a_kind_that_is_not_installed_is_left_out_and_named(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    record_copy(store, "tides", "nowhere://one", place=WEST, version=1)
    assert open_origin(store, "tides", 1) == StoreOrigin(store)
    assert "the copy of tides at nowhere://one is not read: no store for nowhere:// URLs" in capsys.readouterr().err


def test_opened_dataset_reads_from_its_copies(store: Store, tmp_path: Path) -> None:
    made = Datasets(store).add(dataset_spec(write_text(tmp_path / "text"), name="tides"))
    record_copy(store, "tides", (tmp_path / "copy").as_uri(), place=WEST, version=1)
    opened = Datasets(store).get("tides@1")
    assert isinstance(opened.origin, Replicas)
    assert opened.record == made.record
    travelled: Dataset = pickle.loads(pickle.dumps(opened))
    assert isinstance(travelled.origin, Replicas)
    assert travelled.origin.sources == opened.origin.sources
