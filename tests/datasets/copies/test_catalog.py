from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.copies.catalog import copies_of, open_origin, record_copy
from tradewind.datasets.copies.replicas import Replicas
from tradewind.errors import IntegrityError, NotFoundError, QuotaError
from tradewind.records import Place, Usage
from tradewind.storage import Store, open_store
from tradewind.storage.origin import StoreOrigin
from tradewind.workspace import Workspace

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


def test_copy_without_a_place_stays_where_it_was_known_to_be(store: Store) -> None:
    first = record_copy(store, "tides", "s3://one", place=WEST, version=1)
    assert record_copy(store, "tides", "s3://one", version=1) == first
    assert record_copy(store, "tides", "s3://one", version=2).place == WEST


def test_writer_that_loses_a_race_builds_on_what_the_faster_one_wrote(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_copy(store, "tides", "s3://one", place=WEST, version=1)
    create = type(store).create

    def late(self: Store, key: str, data: bytes) -> None:
        monkeypatch.setattr(type(store), "create", create)
        record_copy(store, "tides", "s3://one", version=2)
        create(self, key, data)

    monkeypatch.setattr(type(store), "create", late)
    made = record_copy(store, "tides", "s3://one", version=3)
    assert (made.change, made.versions, made.place) == (3, (1, 2, 3), WEST)


def test_records_are_read_once_to_write_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in range(1, 6):
        record_copy(store, "tides", "s3://one", place=WEST, version=version)
    get, asked = type(store).get, list[str]()

    def counted(self: Store, key: str) -> bytes:
        asked.append(key)
        return get(self, key)

    monkeypatch.setattr(type(store), "get", counted)
    record_copy(store, "tides", "s3://one", version=6)
    assert len(asked) == len(set(asked)) == 5


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


class TestVerification:
    """Reads the bytes of home, whatever copies and the cache have; what that costs is limited and written down."""

    @pytest.fixture
    def bucket(self, moto_s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
        monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
        place = Workspace(f"{moto_s3}/{uuid.uuid4().hex}")
        spec = dataset_spec(write_text(tmp_path / "text"), name="tides")
        Datasets(place.store).add(spec, on="local")
        return place

    def transfers(self, place: Workspace) -> list[Usage]:
        return [row for row in place.usage() if row.activity == "transfer"]

    def test_is_in_the_ledger(self, bucket: Workspace) -> None:
        num_bytes = bucket.datasets.verify(bucket.datasets.get("tides"))
        (row,) = self.transfers(bucket)
        assert (row.num_bytes, row.boundary, row.subject) == (num_bytes, "unknown", "dataset:tides@1")
        assert row.usd > 0

    def test_sees_damage_that_cache_and_copies_hide(self, bucket: Workspace, tmp_path: Path) -> None:
        bucket.datasets.replicate("tides", str(tmp_path / "copy"))
        opened = bucket.datasets.get("tides")
        shard = opened.shard_table("train")[0]
        opened.open_file(shard).close()
        bucket.store.put(shard.key, b"x" * shard.num_bytes)
        opened.open_file(shard).close()
        with pytest.raises(IntegrityError, match="has checksum"):
            bucket.datasets.verify(opened)
        assert self.transfers(bucket)[-1].num_bytes > 0, "what was read for nothing is paid for too"

    def test_stops_where_the_budget_ends(self, bucket: Workspace) -> None:
        bucket.egress_budget.set_limit(0.0)
        with pytest.raises(QuotaError, match=r"reading dataset tides@1 from s3://.* would cost"):
            bucket.datasets.verify(bucket.datasets.get("tides"))
        assert self.transfers(bucket) == []

    def test_of_a_folder_writes_nothing(self, store: Store, tmp_path: Path) -> None:
        place = Workspace(str(tmp_path / "home"))
        Datasets(store).add(dataset_spec(write_text(tmp_path / "text"), name="tides"))
        before = {item.key for item in store.list("")}
        assert place.datasets.verify(place.datasets.get("tides")) > 0
        assert {item.key for item in store.list("")} == before


def test_opened_dataset_reads_from_its_copies(store: Store, tmp_path: Path) -> None:
    made = Datasets(store).add(dataset_spec(write_text(tmp_path / "text"), name="tides"))
    record_copy(store, "tides", (tmp_path / "copy").as_uri(), place=WEST, version=1)
    opened = Datasets(store).get("tides@1")
    assert isinstance(opened.origin, Replicas)
    assert opened.record == made.record
    travelled: Dataset = pickle.loads(pickle.dumps(opened))
    assert isinstance(travelled.origin, Replicas)
    assert travelled.origin.sources == opened.origin.sources
