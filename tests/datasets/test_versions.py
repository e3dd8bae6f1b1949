from __future__ import annotations

import multiprocessing
import os
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.corpus.packing import put_shard
from tradewind.datasets.shards import LISTED_IN_RECORD
from tradewind.errors import IntegrityError, NotFoundError, SpecError, StorageError
from tradewind.records import DatasetVersion, Shard, Split
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
    ends = np.flatnonzero(tokens == dataset.tokenizer().token_to_id(dataset.tokenizer_file.end_of_text))
    assert ends[-1] == len(tokens) - 1
    parts = np.split(tokens, ends + 1)[:-1]
    return [dataset.tokenizer().decode(part[:-1].tolist()) for part in parts]


def test_tokens_decode_to_the_documents_that_were_read(dataset: Dataset, tmp_path: Path) -> None:
    read = [path.read_bytes().decode() for path in (tmp_path / "text").iterdir()]
    assert Counter(texts(dataset, "train") + texts(dataset, "heldout")) == Counter(read)


def test_record_tells_what_was_written(dataset: Dataset, spec: DatasetSpec, tmp_path: Path) -> None:
    record = dataset.record
    assert (record.name, record.version, dataset.reference) == ("logbook", 1, "logbook@1")
    assert record.documents == 24
    assert record.text_bytes == sum(path.stat().st_size for path in (tmp_path / "text").iterdir())
    assert dataset.tokenizer_file.vocabulary == VOCABULARY
    assert dataset.dtype == np.uint16
    assert DatasetSpec.of(**record.spec) == spec
    for name, split in record.splits.items():
        assert [len(tokens) for tokens in dataset.shards(name)] == [shard.tokens for shard in split.shards]
        assert sum(shard.tokens for shard in split.shards) == split.tokens


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
    store.put(dataset.tokenizer_file.key, b"{}")
    for read in (dataset.verify, dataset.tokenizer):
        with pytest.raises(IntegrityError, match=f"dataset logbook@1.*{dataset.tokenizer_file.key}"):
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


def shard_of(store: Store, name: str, *tokens: int) -> Shard:
    return put_shard(store, name, np.array(tokens, dtype=np.uint16))


def commit(store: Store, *tokens: int, name: str = "tide", split: str = "train", at: datetime | None = None) -> Dataset:
    """A version of one shard."""
    shard = shard_of(store, name, *tokens)
    splits = {split: Split(shards=(shard,), tokens=len(tokens))}
    times = {"created_at": at} if at else {}
    return Datasets(store).commit(
        name,
        lambda version, writer: DatasetVersion(
            name=name, version=version, writer=writer, dtype="uint16", splits=splits, spec={}, **times
        ),
    )


def tokens_of(dataset: Dataset, split: str = "train") -> list[int]:
    return [token for shard in dataset.shards(split) for token in shard.tolist()]


@pytest.fixture(params=["folder", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}")


class TestAppend:
    def test_shards_stand_behind_those_of_the_newest_version_which_is_the_parent(self, store: Store) -> None:
        first = commit(store, 1, 2)
        second = Datasets(store).append(
            "tide", {"train": [shard_of(store, "tide", 3)]}, documents={"train": 2}, text_bytes=7
        )
        assert tokens_of(second) == [1, 2, 3]
        assert second.record.parents == (first.record.id,)
        assert (second.record.tokens, second.record.documents, second.record.text_bytes) == (3, 2, 7)
        assert second.record.created_at > first.record.created_at
        assert tokens_of(Datasets(store).get("tide@1")) == [1, 2]

    def test_a_split_may_be_new(self, store: Store) -> None:
        commit(store, 1)
        grown = Datasets(store).append("tide", {"heldout": [shard_of(store, "tide", 9)]})
        assert (tokens_of(grown), tokens_of(grown, "heldout")) == ([1], [9])

    def test_shards_stay_in_order_when_they_become_too_many_for_a_record(self, store: Store) -> None:
        commit(store, 0)
        datasets = Datasets(store)
        many = [shard_of(store, "tide", number) for number in range(1, LISTED_IN_RECORD)]
        full = datasets.append("tide", {"train": many}).record.splits["train"]
        assert (len(full.shards), full.listing) == (LISTED_IN_RECORD, None)
        over = datasets.append("tide", {"train": [shard_of(store, "tide", 1000)]}).record.splits["train"]
        assert (len(over.shards), over.listing is None) == (0, False)
        last = datasets.append("tide", {"train": [shard_of(store, "tide", 1001)]})
        assert (len(last.record.splits["train"].shards), last.record.tokens) == (1, 1002)
        assert last.record.splits["train"].listing == over.listing
        assert tokens_of(last) == list(range(1002))
        assert last.shard_table("train")[1001].tokens == 1
        last.verify()

    def test_what_is_not_there_cannot_be_appended_to(self, store: Store) -> None:
        commit(store, 1)
        with pytest.raises(NotFoundError, match=r"no version of tid to append to \(did you mean 'tide'\?\)"):
            Datasets(store).append("tid", {"train": [shard_of(store, "tid", 1)]})
        assert Datasets(store).names() == ["tide"]

    def test_refusal_of_the_check_leaves_no_version(self, store: Store) -> None:
        commit(store, 1)

        def refuse(base: DatasetVersion) -> None:
            raise SpecError(f"not to version {base.version}")

        with pytest.raises(SpecError, match="not to version 1"):
            Datasets(store).append("tide", {"train": [shard_of(store, "tide", 2)]}, check=refuse)
        assert [one.version for one in Datasets(store).list()] == [1]

    def test_shards_of_another_kind_are_refused(self, store: Store) -> None:
        commit(store, 1)
        large = put_shard(store, "tide", np.array([1, 2, 3], dtype=np.uint32))
        elsewhere = shard_of(store, "wave", 1)
        rows = shard_of(store, "tide", 5).model_copy(update={"key": "datasets/tide/data/a.parquet"})
        for wrong, complaint in (
            (large, "does not hold 3 tokens of uint16, as tide@1 does"),
            (elsewhere, "is no file of the tokens of tide@1"),
            (rows, "is no file of the tokens of tide@1"),
        ):
            with pytest.raises(SpecError, match=complaint) as caught:
                Datasets(store).append("tide", {"train": [wrong]})
            assert caught.value.hint
        assert [one.version for one in Datasets(store).list()] == [1]


def append_one(url: str, token: int) -> int:
    store = open_store(url)
    return Datasets(store).append("tide", {"train": [shard_of(store, "tide", token)]}).record.version


def commit_one(url: str, token: int) -> int:
    return commit(open_store(url), token).record.version


@pytest.mark.slow
@pytest.mark.parametrize("write", [append_one, commit_one])
def test_sixteen_processes_at_once_lose_no_version_and_no_shard(
    shared: Store, write: Callable[[str, int], int]
) -> None:
    commit(shared, 0)
    with ProcessPoolExecutor(16, mp_context=multiprocessing.get_context("spawn")) as pool:
        versions = list(pool.map(write, [shared.url] * 16, range(1, 17)))
    assert sorted(versions) == list(range(2, 18))
    datasets = Datasets(shared)
    assert [one.version for one in datasets.list()] == list(range(1, 18))
    held = {version: tokens_of(datasets.get(f"tide@{version}")) for version in range(1, 18)}
    if write is commit_one:
        assert sorted(token for tokens in held.values() for token in tokens) == list(range(17))
        return
    for version in range(2, 18):
        assert held[version][:-1] == held[version - 1]
        assert datasets.get(f"tide@{version}").record.parents == (f"dataset:tide@{version - 1}",)
    assert sorted(held[17]) == list(range(17))


class TestTags:
    def test_a_tag_moves_and_keeps_its_history(self, store: Store) -> None:
        datasets = Datasets(store)
        commit(store, 1)
        commit(store, 2)
        datasets.tag("tide@1", "golden")
        assert datasets.get("tide@golden").reference == "tide@1"
        move = datasets.tag("tide", "golden")
        assert (move.move, move.version, move.id) == (2, 2, "tag:tide@golden/2")
        assert datasets.get("tide@golden").reference == "tide@2"
        datasets.tag("tide@golden", "again")
        assert datasets.tags("tide") == {"again": 2, "golden": 2}
        assert [(one.version, one.tags) for one in datasets.entries()] == [(1, ()), (2, ("again", "golden"))]

    @pytest.mark.parametrize(
        ("reference", "complaint"),
        [
            ("tide@goldne", r"tide has no tag 'goldne' \(did you mean 'golden'\?\)"),
            ("wave@golden", "no dataset named 'wave'"),
        ],
    )
    def test_unknown_tag_is_not_found(self, store: Store, reference: str, complaint: str) -> None:
        commit(store, 1)
        Datasets(store).tag("tide", "golden")
        with pytest.raises(NotFoundError, match=complaint):
            Datasets(store).get(reference)

    @pytest.mark.parametrize("tag", ["3", "v3", "Golden", ""])
    def test_tag_must_be_a_word(self, store: Store, tag: str) -> None:
        commit(store, 1)
        with pytest.raises(SpecError):
            Datasets(store).tag("tide", tag)
        assert Datasets(store).tags("tide") == {}


class TestTimeTravel:
    NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def test_a_name_and_a_tag_mean_what_they_meant_then(self, store: Store) -> None:
        datasets = Datasets(store)
        for hour in range(5):
            commit(store, hour, at=self.NOON + timedelta(hours=hour))
        for hour in range(5):
            assert datasets.get("tide", at=self.NOON + timedelta(hours=hour, minutes=1)).record.version == hour + 1
        assert datasets.get("tide", at=self.NOON).record.version == 1
        datasets.tag("tide@2", "golden")
        between = datetime.now(UTC)
        datasets.tag("tide@4", "golden")
        assert datasets.get("tide@golden", at=between).record.version == 2
        assert datasets.get("tide@golden", at=datetime.now(UTC)).record.version == 4
        with pytest.raises(NotFoundError, match="there was no tide on 2026-03-01 at 11:59"):
            datasets.get("tide", at=self.NOON - timedelta(minutes=1))

    def test_time_needs_a_zone_and_a_version_none(self, store: Store) -> None:
        commit(store, 1)
        for reference, at in (("tide", datetime(2026, 1, 1)), ("tide@1", datetime.now(UTC))):
            with pytest.raises(SpecError, match=r"'tide.*' at 20") as caught:
                Datasets(store).get(reference, at=at)
            assert "give a name or a tag" in str(caught.value.hint)


class TestBrokenRecord:
    @pytest.fixture
    def broken(self, store: Store) -> Datasets:
        for name in ("quay", "tide"):
            for token in (1, 2, 3):
                commit(store, token, name=name)
        store.put("datasets/tide/versions/000000000002.json", b'{"name": "tide"')
        return Datasets(store)

    def test_the_others_are_listed_and_it_is_named(self, broken: Datasets, capsys: pytest.CaptureFixture[str]) -> None:
        assert [f"{one.name}@{one.version}" for one in broken.list()] == [
            "quay@1", "quay@2", "quay@3", "tide@1", "tide@3",
        ]  # fmt: skip
        assert "tide@2 is left out: " in capsys.readouterr().err
        (wrong,) = [entry for entry in broken.entries() if entry.problem]
        assert (wrong.reference, wrong.record) == ("tide@2", None)
        assert "is not a whole dataset record" in str(wrong.problem)

    def test_broken_tags_and_removals_are_named_and_the_rest_is_listed(
        self, store: Store, broken: Datasets, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken.tag("quay@1", "golden")
        broken.tag("quay@1", "silver")
        store.put("datasets/quay/tags/golden/000000000001.json", b"{")
        store.put("datasets/quay/removals/000000000003/000000000001.json", b"{")
        found = list(broken.entries("quay"))
        assert [(one.version, one.tags, one.problem is None) for one in found] == [
            (1, ("silver",), True), (2, (), True), (3, (), False),
        ]  # fmt: skip
        assert "quay@golden is left out: " in capsys.readouterr().err
        with pytest.raises(IntegrityError, match="is not a whole removal record"):
            broken.gc("quay", keep=1)

    def test_the_others_open_and_it_does_not(self, broken: Datasets) -> None:
        assert tokens_of(broken.get("tide@3")) == [3]
        with pytest.raises(IntegrityError, match=r"000000000002\.json is not a whole dataset record"):
            broken.get("tide@2")


def test_verify_names_every_damaged_file(store: Store, dataset: Dataset) -> None:
    shards = list(dataset.shard_table("train"))
    harms: tuple[Callable[[Path], None], ...] = (truncate, alter, Path.unlink)
    for shard, harm in zip(shards, harms, strict=False):
        path = store.local_path(shard.key)
        assert path
        harm(path)
    with pytest.raises(IntegrityError, match=r"dataset logbook@1: 3 of \d+ files are damaged") as caught:
        dataset.verify()
    for shard, problem in zip(shards, ("instead of", "has checksum", "lost its file"), strict=False):
        (line,) = [line for line in caught.value.message.splitlines() if shard.key in line]
        assert problem in line
    assert len(dataset.verification().damaged) == 3


def test_verify_tells_of_a_lost_listing_and_goes_on(store: Store) -> None:
    commit(store, 0, split="heldout")
    many = [shard_of(store, "tide", number) for number in range(LISTED_IN_RECORD + 1)]
    large = Datasets(store).append("tide", {"train": many})
    listing = large.record.splits["train"].listing
    assert listing
    store.put(many[0].key, b"")
    store.delete(listing.key)
    large = Datasets(store).get("tide")
    messages = [one.message for one in large.verification().damaged]
    assert any("shards of train cannot be listed" in message for message in messages)
    assert any(listing.key in message for message in messages)
