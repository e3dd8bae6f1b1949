from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.datasets.test_versions import commit, shard_of, tokens_of
from tradewind.datasets import Datasets, retention
from tradewind.datasets.shards import LISTED_IN_RECORD
from tradewind.errors import ConflictError, IntegrityError, NotFoundError, SpecError
from tradewind.records import DatasetVersion, Split
from tradewind.storage import Store, open_store, put_content
from tradewind.storage.object_store import ObjectStore

NO_GRACE = timedelta(0)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the sweeps that these tests kill."""
    monkeypatch.setattr(retention, "LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(retention, "POLL_S", 0.01)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}")


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def datasets(store: Store) -> Datasets:
    """Five versions of one shard each."""
    for token in range(1, 6):
        commit(store, token)
    return Datasets(store)


def versions(datasets: Datasets) -> list[int]:
    return [one.version for one in datasets.list()]


def objects(store: Store) -> int:
    return sum(1 for _ in store.list("datasets/tide/data"))


def age(store: Store, by: timedelta = 2 * DAY) -> None:
    """Make all files older."""
    for item in store.list("datasets/tide/data"):
        path = store.local_path(item.key)
        assert path
        then = time.time() - by.total_seconds()
        os.utime(path, (then, then))


def assert_whole(datasets: Datasets) -> None:
    for record in datasets.list():
        datasets.get(f"{record.name}@{record.version}").verify()


class TestGc:
    def test_newest_tagged_and_used_versions_are_kept(self, datasets: Datasets) -> None:
        datasets.tag("tide@1", "golden")
        done = datasets.gc("tide", keep=1, grace=NO_GRACE, in_use=lambda: ["dataset:tide@3", "dataset:wave@4", "run:x"])
        assert done.removed == (2, 4)
        assert done.kept == {1: "tagged golden", 3: "in use", 5: "among the newest 1"}
        assert (done.num_files, objects(datasets.store)) == (2, 3)
        assert versions(datasets) == [1, 3, 5]
        assert_whole(datasets)

    def test_dry_run_says_the_same_and_changes_nothing(self, datasets: Datasets) -> None:
        before = sorted(item.key for item in datasets.store.list(""))
        told = datasets.gc("tide", keep=2, grace=NO_GRACE, dry_run=True)
        assert sorted(item.key for item in datasets.store.list("")) == before
        done = datasets.gc("tide", keep=2, grace=NO_GRACE)
        assert (told.removed, told.kept, told.num_files, told.num_bytes) == (
            done.removed, done.kept, done.num_files, done.num_bytes,
        )  # fmt: skip
        assert (done.removed, done.num_files) == ((1, 2, 3), 3)

    def test_removed_version_says_when_it_went_and_how_it_comes_back(self, datasets: Datasets) -> None:
        datasets.gc("tide", keep=1)
        with pytest.raises(NotFoundError, match=r"tide@2 was removed on 20\d\d-\d\d-\d\d at \d\d:\d\d UTC") as caught:
            datasets.get("tide@2")
        assert "tw datasets restore tide@2" in str(caught.value.hint)
        assert [(one.version, one.removed_at is None) for one in datasets.entries("tide", removed=True)] == [
            (1, False), (2, False), (3, False), (4, False), (5, True),
        ]  # fmt: skip

    def test_files_of_a_removed_version_stay_for_the_grace_period(self, folder: Store) -> None:
        datasets = Datasets(folder)
        for token in range(1, 4):
            commit(folder, token)
        age(folder)
        done = datasets.gc("tide", keep=1, grace=DAY)
        assert (done.removed, done.num_files, done.waiting_files) == ((1, 2), 0, 0)
        assert tokens_of(datasets.restore("tide@2")) == [2]
        assert versions(datasets) == [2, 3]

    def test_unused_files_wait_for_the_grace_period(self, folder: Store) -> None:
        commit(folder, 1)
        shard_of(folder, "tide", 7)
        datasets = Datasets(folder)
        done = datasets.gc("tide", keep=1, grace=DAY)
        assert (done.num_files, done.waiting_files, done.waiting_bytes > 0) == (0, 1, True)
        age(folder)
        assert datasets.gc("tide", keep=1, grace=DAY).num_files == 1
        assert_whole(datasets)

    def test_files_that_another_version_names_stay(self, datasets: Datasets) -> None:
        store = datasets.store
        datasets.append("tide", {"train": [shard_of(store, "tide", 6)]})
        done = datasets.gc("tide", keep=1, grace=NO_GRACE)
        assert done.removed == (1, 2, 3, 4, 5)
        assert done.num_files == 4
        assert tokens_of(datasets.get("tide")) == [5, 6]
        assert_whole(datasets)

    def test_shards_of_a_listing_stay_and_old_listings_go(self, folder: Store) -> None:
        commit(folder, 0)
        datasets = Datasets(folder)
        many = [shard_of(folder, "tide", number) for number in range(LISTED_IN_RECORD + 1)]
        datasets.append("tide", {"train": many})
        datasets.append("tide", {"train": [shard_of(folder, "tide", 2000 + n) for n in range(LISTED_IN_RECORD + 1)]})
        assert datasets.gc("tide", keep=1, grace=NO_GRACE).num_files == 1
        assert datasets.get("tide").record.tokens == 2 * LISTED_IN_RECORD + 3
        assert_whole(datasets)

    def test_foreign_files_are_not_touched(self, datasets: Datasets) -> None:
        datasets.store.put("datasets/tide/data/notes.txt", b"mine")
        datasets.store.put("datasets/tide/data/ab/short.tok", b"mine")
        datasets.gc("tide", keep=5, grace=NO_GRACE)
        assert objects(datasets.store) == 7

    def test_version_that_cannot_be_read_stops_it_before_anything_is_deleted(self, datasets: Datasets) -> None:
        datasets.store.put("datasets/tide/versions/000000000004.json", b"{")
        with pytest.raises(IntegrityError, match=r"000000000004\.json is not a whole dataset record"):
            datasets.gc("tide", keep=2, grace=NO_GRACE)
        assert objects(datasets.store) == 5

    @pytest.mark.parametrize(("keep", "grace"), [(0, DAY), (-1, DAY), (1, -DAY)])
    def test_limits_that_make_no_sense_are_refused(self, datasets: Datasets, keep: int, grace: timedelta) -> None:
        with pytest.raises(SpecError) as caught:
            datasets.gc("tide", keep=keep, grace=grace)
        assert caught.value.hint
        assert versions(datasets) == [1, 2, 3, 4, 5]

    def test_unknown_dataset_is_not_found(self, datasets: Datasets) -> None:
        with pytest.raises(NotFoundError, match=r"no dataset named 'tid' \(did you mean 'tide'"):
            datasets.gc("tid", keep=1)

    def test_twice_is_as_once(self, datasets: Datasets) -> None:
        datasets.gc("tide", keep=2, grace=NO_GRACE)
        again = datasets.gc("tide", keep=2, grace=NO_GRACE)
        assert (again.removed, again.num_files) == ((), 0)
        assert versions(datasets) == [4, 5]


class TestRestore:
    def test_version_comes_back_and_may_go_again(self, datasets: Datasets) -> None:
        datasets.gc("tide", keep=1)
        assert tokens_of(datasets.restore("tide@2")) == [2]
        assert versions(datasets) == [2, 5]
        assert datasets.restore("tide@2").reference == "tide@2"
        assert datasets.gc("tide", keep=1).removed == (2,)
        assert tokens_of(datasets.restore("tide@2")) == [2]

    def test_lost_files_are_named_and_it_stays_away(self, datasets: Datasets) -> None:
        key = datasets.get("tide@2").shard_table("train")[0].key
        datasets.gc("tide", keep=1, grace=NO_GRACE)
        with pytest.raises(IntegrityError, match=f"tide@2 cannot be taken back: 1 of its files are gone: {key}"):
            datasets.restore("tide@2")
        assert versions(datasets) == [5]

    @pytest.mark.parametrize(("reference", "error"), [("tide", SpecError), ("tide@9", NotFoundError)])
    def test_a_version_is_named(self, datasets: Datasets, reference: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            datasets.restore(reference)

    def test_tag_that_raced_with_a_removal_takes_the_version_back(
        self, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The version goes between the look of `tag` at it and its move."""
        get = Datasets.get

        def get_then_lose(self: Datasets, reference: str, **options: Any) -> Any:
            found = get(self, reference, **options)
            retention.remove(self.store, "tide", 2)
            return found

        monkeypatch.setattr(Datasets, "get", get_then_lose)
        datasets.tag("tide@2", "golden")
        monkeypatch.undo()
        assert datasets.get("tide@golden").reference == "tide@2"

    def test_version_that_was_tagged_while_it_was_removed_comes_back(
        self, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remove = retention.remove

        def tag_then_remove(store: Store, name: str, version: int) -> Any:
            if version == 2:
                datasets.tag("tide@2", "golden")
            return remove(store, name, version)

        monkeypatch.setattr(retention, "remove", tag_then_remove)
        assert datasets.gc("tide", keep=1, grace=NO_GRACE).removed == (1, 3, 4)
        assert tokens_of(datasets.get("tide@golden")) == [2]


class Killed(BaseException):
    pass


@dataclass(frozen=True)
class Mortal(ObjectStore):
    """A store whose user dies before its n-th change."""

    changes: list[int] = field(default_factory=list)
    last: int = 10**9
    meanwhile: Callable[[int], None] | None = None

    def _change(self) -> None:
        self.changes.append(len(self.changes))
        if self.meanwhile:
            self.meanwhile(len(self.changes))
        if len(self.changes) > self.last:
            raise Killed

    def put(self, key: str, data: bytes | Path) -> None:
        self._change()
        super().put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self._change()
        super().create(key, data)

    def delete(self, key: str) -> None:
        self._change()
        super().delete(key)


def mortal(store: Store, **options: Any) -> Mortal:
    assert isinstance(store, ObjectStore)
    return Mortal(store.url, store.open_native, store.folder, **options)


def fill(store: Store) -> Datasets:
    """Six versions: some grow from the one before, some stand alone."""
    for token in (1, 2, 3):
        commit(store, token, token + 100)
        Datasets(store).append("tide", {"train": [shard_of(store, "tide", token + 10)]})
    shard_of(store, "tide", 99)
    return Datasets(store)


def test_gc_that_is_killed_anywhere_leaves_every_version_whole_and_the_next_one_ends_it(tmp_path: Path) -> None:
    expected = fill(open_store(str(tmp_path / "whole")))
    expected.gc("tide", keep=2, grace=NO_GRACE)
    left = objects(expected.store)
    for last in itertools.count():
        store = open_store(str(tmp_path / str(last)))
        datasets = fill(store)
        dying = mortal(store, last=last)
        try:
            Datasets(dying).gc("tide", keep=2, grace=NO_GRACE)
        except Killed:
            assert_whole(datasets)
            for version in range(1, 7):
                retention.removal(store, "tide", version) or datasets.get(f"tide@{version}").verify()
            datasets.gc("tide", keep=2, grace=NO_GRACE)
            assert (versions(datasets), objects(store)) == ([5, 6], left)
            assert_whole(datasets)
        else:
            break
    assert last > 10


@pytest.mark.parametrize("renewed", [True, False])
def test_commit_in_the_midst_of_a_sweep_is_whole_or_refused(folder: Store, renewed: bool) -> None:
    """At each change of a gc another writer makes a version of an unused shard that the sweep would delete."""
    results = []
    for at in range(1, 14):
        store = open_store(f"{folder.local_path('')}/{at}")
        datasets = fill(store)
        age(store)
        writers: list[Thread] = []

        def write(count: int, at: int = at, store: Store = store, writers: list[Thread] = writers) -> None:
            if count != at:
                return

            def work() -> None:
                try:
                    commit(store, 99) if renewed else commit_as_it_is(store)
                    results.append("made")
                except ConflictError:
                    results.append("refused")

            writers.append(Thread(target=work))
            writers[0].start()
            writers[0].join(0.05)

        Datasets(mortal(store, meanwhile=write)).gc("tide", keep=2, grace=DAY if renewed else NO_GRACE)
        for writer in writers:
            writer.join()
        assert_whole(datasets)
    if renewed:  # refused only between the last look of the sweep at the file and its deletion
        assert results.count("refused") <= 1
        assert results.count("made") > 5
    else:
        assert set(results) == {"made", "refused"}


def commit_as_it_is(store: Store) -> None:
    """A version of the unused shard by a writer that has stored it before the sweep began, and does not look again."""
    shard = shard_of(open_store(f"memory://{uuid.uuid4().hex}"), "tide", 99)
    splits = {"train": Split(shards=(shard,), tokens=1)}
    Datasets(store).commit(
        "tide",
        lambda version, writer: DatasetVersion(
            name="tide", version=version, writer=writer, dtype="uint16", splits=splits, spec={}
        ),
    )


def test_commit_of_files_that_a_sweep_took_is_refused_and_leaves_no_version(folder: Store) -> None:
    commit(folder, 1)
    lost = shard_of(folder, "tide", 2)
    Datasets(folder).gc("tide", keep=1, grace=NO_GRACE)
    splits = {"train": Split(shards=(lost,), tokens=1)}
    with pytest.raises(ConflictError, match="1 files of tide@2 were deleted as unused while it was made") as caught:
        Datasets(folder).commit(
            "tide",
            lambda version, writer: DatasetVersion(
                name="tide", version=version, writer=writer, dtype="uint16", splits=splits, spec={}
            ),
        )
    assert "--grace" in str(caught.value.hint)
    assert versions(Datasets(folder)) == [1]
    assert commit(folder, 2).reference == "tide@3"
    assert_whole(Datasets(folder))


def test_writer_that_needs_an_old_file_makes_it_young_again(folder: Store) -> None:
    commit(folder, 1)
    file = put_content(folder, "datasets/tide/data", b"old")
    age(folder, 30 * DAY)
    assert put_content(folder, "datasets/tide/data", b"old") == file
    done = Datasets(folder).gc("tide", keep=1, grace=7 * DAY)
    assert (done.num_files, done.waiting_files) == (0, 1)
