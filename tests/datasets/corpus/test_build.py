from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tradewind.clusters import connect
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.corpus import pipeline, scratch, tokenizer_choice
from tradewind.datasets.corpus.documents import TextColumn
from tradewind.datasets.corpus.encoding import Wanted
from tradewind.datasets.corpus.groups import SHARDS, Group, group_sources
from tradewind.datasets.corpus.pipeline import OnRay
from tradewind.datasets.corpus.recipe import recipe
from tradewind.datasets.corpus.scanning import Scanning
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.datasets.corpus.sources import find_sources
from tradewind.errors import ConflictError, NotFoundError, RunError, SpecError, StorageError
from tradewind.specs import DatasetSpec
from tradewind.storage import Store, open_store
from tradewind.storage.object_store import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Text for several groups of small shards, in a few files of each kind."""
    folder = write_text(tmp_path / "text", documents=40, words=400)
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())]
    for number, text in enumerate(texts[10:]):
        kind = number % 3
        if kind:
            (folder / f"log-{number + 10:03d}.txt").unlink()
            with (folder / f"more-{kind}.jsonl").open("a") as file:
                file.write(json.dumps({"text": text, "number": number}) + "\n")
    table = pa.table({"text": [f"{text} once more" for text in texts]})
    pq.write_table(table, folder / "rows.parquet", row_group_size=2)
    return folder


def all_files(folder: Path, **changes: Any) -> DatasetSpec:
    spec = dataset_spec(folder, **changes)
    return spec.with_values(text__files=[f"{folder}/**/*"])


def texts(dataset: Dataset, split: str) -> list[str]:
    tokens = np.concatenate(list(dataset.shards(split)))
    end = dataset.tokenizer().token_to_id(dataset.tokenizer_file.end_of_text)
    parts = np.split(tokens, np.flatnonzero(tokens == end) + 1)
    return [dataset.tokenizer().decode(part[:-1].tolist()) for part in parts[:-1]]


def made(dataset: Dataset) -> dict[str, Any]:
    """The record without who wrote it, and when."""
    return dataset.record.model_dump(exclude={"writer", "created_at", "version"})


def keys(store: Store) -> set[str]:
    return {item.key for item in store.list("datasets")}


def building(store: Store) -> list[str]:
    return [item.key for item in store.list("datasets") if "/building/" in item.key]


def test_shards_are_full_but_for_the_last_of_each_group(store: Store, folder: Path) -> None:
    spec = all_files(folder)
    groups = group_sources(find_sources(recipe(spec).wish), shard_bytes=spec.shard_bytes, content=TextColumn("text"))
    assert len(groups) > 3
    record = Datasets(store).add(spec).record
    for split in record.splits.values():
        assert sum(shard.tokens < 2048 for shard in split.shards) <= len(groups)
        assert max(shard.tokens for shard in split.shards) <= 2048
    assert building(store) == []


def test_equal_documents_are_kept_once_and_counted(store: Store, folder: Path) -> None:
    first = Datasets(store).add(all_files(folder))
    assert first.record.duplicates == 0
    shutil.copytree(folder, folder / "again")
    second = Datasets(store).add(all_files(folder))
    assert (second.record.duplicates, second.record.documents) == (80, 80)
    assert second.record.text_bytes == first.record.text_bytes
    assert sorted(texts(first, "train")) == sorted(texts(second, "train"))
    every = Datasets(store).add(all_files(folder).with_values(text__deduplicate="none"))
    assert (every.record.duplicates, every.record.documents) == (0, 160)
    assert sorted(texts(every, "heldout")) == sorted(2 * texts(first, "heldout"))


def test_who_is_held_out_does_not_depend_on_files(store: Store, folder: Path, tmp_path: Path) -> None:
    first = Datasets(store).add(all_files(folder))
    everything = [text for split in ("train", "heldout") for text in texts(first, split)]
    other = tmp_path / "other"
    other.mkdir()
    (other / "all.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in sorted(everything)))
    spec = dataset_spec(other, name="other").with_values(text__files=[f"{other}/*"], text__column="body")
    second = Datasets(store).add(spec)
    assert 1 < len(texts(second, "heldout")) < 40
    assert sorted(texts(second, "heldout")) == sorted(texts(first, "heldout"))


@pytest.mark.parametrize("fraction", [1e-6, 0.499])
def test_two_documents_are_one_on_each_side(store: Store, tmp_path: Path, fraction: float) -> None:
    spec = dataset_spec(write_text(tmp_path / "text", documents=2), heldout_fraction=fraction)
    record = Datasets(store).add(spec).record
    assert {name: split.documents for name, split in record.splits.items()} == {"train": 1, "heldout": 1}


def test_copies_of_one_document_cannot_be_split(store: Store, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("the same text")
    with pytest.raises(SpecError, match="one document cannot be split"):
        Datasets(store).add(dataset_spec(tmp_path))


@pytest.mark.parametrize("limit", [20_000, 60_000, 10**9])
def test_max_bytes_is_never_passed_and_ends_at_a_document(store: Store, folder: Path, limit: int) -> None:
    spec = all_files(folder, name="all")
    everything = [
        document
        for group in group_sources(find_sources(recipe(spec).wish), shard_bytes=4096, content=TextColumn("text"))
        for document in _documents(store, group)
    ]
    ends = np.cumsum([document.num_bytes for document in everything])
    fitting = int((ends <= limit).sum())
    record = Datasets(store).add(spec.with_values(text__max_bytes=limit)).record
    assert record.documents == fitting
    assert record.text_bytes == ends[fitting - 1]


def _documents(store: Store, group: Any) -> list[Any]:
    scan = Scanning(Scratch(store, "x"), TextColumn("text"), None)(group, lambda _: None)
    return list(Wanted(group, scan, b"").read(content=TextColumn("text")))


def test_limit_that_no_document_fits_is_named(store: Store, folder: Path) -> None:
    with pytest.raises(SpecError, match=r"max_bytes of 5 B leaves no document, the first has") as caught:
        Datasets(store).add(dataset_spec(folder).with_values(text__max_bytes=5))
    assert caught.value.hint == "raise text.max_bytes"


def test_files_whose_documents_are_all_empty_are_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": null}\n')
    with pytest.raises(NotFoundError, match=r"no text in .*/a\.jsonl"):
        Datasets(store).add(DatasetSpec.of(name="a", text={"files": [f"{tmp_path}/a.jsonl"]}))


def test_file_that_changes_between_the_passes_is_a_conflict(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    spec = DatasetSpec.of(name="a", text={"files": [f"{tmp_path}/a.txt"]})
    (group,) = group_sources(find_sources(recipe(spec).wish), shard_bytes=4096, content=TextColumn("text"))
    scan = Scanning(Scratch(store, "x"), TextColumn("text"), None)(group, lambda _: None)
    (tmp_path / "a.txt").write_text("two")
    with pytest.raises(ConflictError, match=r"a\.txt changed while it was read"):
        list(Wanted(group, scan, b"").read(content=TextColumn("text")))


def test_tokenizer_of_another_dataset_is_taken_and_named_as_a_parent(store: Store, folder: Path) -> None:
    first = Datasets(store).add(all_files(folder))
    second = Datasets(store).add(all_files(folder, name="second", tokenizer={"from": "logbook"}))
    assert second.tokenizer_json() == first.tokenizer_json()
    assert second.record.parents == ("dataset:logbook@1",)
    assert second.record.splits["train"].tokens == first.record.splits["train"].tokens
    with pytest.raises(NotFoundError, match="no dataset named 'nobody'"):
        Datasets(store).add(all_files(folder, tokenizer={"from": "nobody@1"}))


def test_tokenizer_of_a_file_is_taken(store: Store, folder: Path, tmp_path: Path) -> None:
    first = Datasets(store).add(all_files(folder))
    path = tmp_path / "tokenizer.json"
    path.write_bytes(first.tokenizer_json())
    for place in (str(path), path.as_uri()):
        second = Datasets(store).add(all_files(folder, name="second", tokenizer={"file": place}))
        assert second.tokenizer_file.vocabulary == VOCABULARY
        assert [shard.sha256 for shard in second.record.splits["train"].shards] == [
            shard.sha256 for shard in first.record.splits["train"].shards
        ]


def test_word_that_ends_a_text_can_be_chosen_and_must_be_there(store: Store, folder: Path, tmp_path: Path) -> None:
    text = Datasets(store).add(all_files(folder)).tokenizer_json().decode().replace("<|endoftext|>", "<|over|>")
    (tmp_path / "tokenizer.json").write_text(text)
    given = {"file": str(tmp_path / "tokenizer.json")}
    made = Datasets(store).add(all_files(folder, tokenizer={**given, "end_of_text": "<|over|>"}))
    assert made.tokenizer_file.end_of_text == "<|over|>"
    assert len(texts(made, "heldout")) == made.record.splits["heldout"].documents
    for chosen, problem in ({}, "has none of the usual tokens"), ({"end_of_text": "<|end|>"}, "has no token '<|end|>'"):
        with pytest.raises(SpecError, match=r"tokenizer\.json " + problem.replace("|", r"\|")) as caught:
            Datasets(store).add(all_files(folder, tokenizer={**given, **chosen}))
        assert caught.value.hint == "set tokenizer.end_of_text; its special tokens are: <|over|>"


def test_file_that_is_no_tokenizer_is_named(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SpecError, match=r"tokenizer of .*/tokenizer\.json cannot be read"):
        Datasets(store).add(all_files(folder, tokenizer={"file": str(tmp_path / "tokenizer.json")}))


def test_tokenizer_is_trained_on_a_sample_of_all_groups(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    train = tokenizer_choice.__dict__["sample"]

    def sample(*arguments: Any, **named: Any) -> Iterator[str]:
        for text in train(*arguments, **named):
            seen.append(text)
            yield text

    monkeypatch.setattr("tradewind.datasets.corpus.build.sample", sample)
    whole = Datasets(store).add(all_files(folder))
    assert seen == texts(whole, "train")
    seen.clear()
    monkeypatch.setattr(tokenizer_choice, "SAMPLE_BYTES", whole.record.text_bytes // 2)
    Datasets(store).add(all_files(folder))
    size = sum(len(text.encode()) for text in seen)
    assert whole.record.text_bytes / 5 < size <= whole.record.text_bytes / 2
    assert {text.endswith("once more") for text in seen} == {True, False}


@dataclass(frozen=True)
class BreakingStore(ObjectStore):
    """Takes a few records of finished groups, and then no more."""

    left: int = 2

    def create(self, key: str, data: bytes) -> None:
        if "/groups/" in key and len(building_groups(self)) == self.left:
            raise StorageError(f"no room left to write {key}")
        super().create(key, data)


def building_groups(store: Store) -> list[str]:
    return sorted(key for key in building(store) if "/groups/" in key)


def test_build_that_breaks_goes_on_where_it_was(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "LOCAL_BYTES", 0)
    whole = Datasets(open_store(str(tmp_path / "undisturbed"))).add(all_files(folder), on="local")
    assert isinstance(store, ObjectStore)
    with pytest.raises(StorageError):
        Datasets(BreakingStore(store.url, store.open_native, store.folder)).add(all_files(folder), on="local")
    assert len(building_groups(store)) == 2
    assert Datasets(store).names() == []
    capfd.readouterr()
    again = Datasets(store).add(all_files(folder), on="local")
    said = capfd.readouterr().err
    count = len(
        group_sources(find_sources(recipe(all_files(folder)).wish), shard_bytes=4096, content=TextColumn("text"))
    )
    assert f"read: {count} of {count} groups were done before" in said
    assert f"shards: 2 of {count} groups were done before" in said
    assert "tokenizer:" not in said
    assert made(again) == made(whole)
    assert building(store) == []


def test_changed_file_begins_anew_and_what_is_abandoned_goes_after_a_while(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "LOCAL_BYTES", 0)
    assert isinstance(store, ObjectStore)
    for change in (0, 1):
        (folder / "log-000.txt").write_text(f"another text {change}")
        with pytest.raises(StorageError):
            Datasets(BreakingStore(store.url, store.open_native, store.folder, left=2 + 2 * change)).add(
                all_files(folder), on="local"
            )
    assert len({key.split("/")[3] for key in building(store)}) == 2
    Datasets(store).add(all_files(folder), on="local")
    assert len({key.split("/")[3] for key in building(store)}) == 1
    monkeypatch.setattr(scratch, "ABANDONED_AFTER", timedelta(0))
    Datasets(store).add(all_files(folder), on="local")
    assert building(store) == []


def test_large_corpus_is_read_as_a_ray_job_and_never_silently_here(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipeline.choose(None, pipeline.LOCAL_BYTES) == "local"
    assert pipeline.choose(None, pipeline.LOCAL_BYTES + 1) == "ray"
    assert pipeline.choose("local", pipeline.LOCAL_BYTES + 1) == "local"
    monkeypatch.setattr(pipeline, "LOCAL_BYTES", 0)
    with pytest.raises(SpecError, match="not connected to Ray"):
        Datasets(store).add(all_files(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match="ray is not installed") as caught:
        Datasets(store).add(all_files(folder))
    assert caught.value.hint is not None
    assert "--on local" in caught.value.hint


@pytest.fixture(scope="module")
def ray(moto_s3: str) -> Iterator[None]:
    """A Ray that was started when the environment with the bucket was there."""
    with closing(connect(workers=4)):
        yield


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_ray_job_writes_the_same_as_this_process(
    store: Store, folder: Path, tmp_path: Path, ray: None, tasks: int
) -> None:
    shutil.copy(folder / "log-000.txt", folder / "copy.txt")
    here = Datasets(open_store(str(tmp_path / "here"))).add(all_files(folder), on="local")
    there = Datasets(store).add(all_files(folder), on="ray", tasks=tasks)
    assert here.record.duplicates == 1
    assert made(there) == made(here)
    assert sorted(item.key for item in store.list("datasets")) == sorted(
        item.key for item in here.store.list("datasets")
    )
    there.verify()


def test_mistake_that_a_task_finds_arrives_as_it_was_raised(store: Store, folder: Path, ray: None) -> None:
    (folder / "zz.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    with pytest.raises(SpecError, match=r"zz\.jsonl, line 2 has no column 'text'") as caught:
        Datasets(store).add(all_files(folder), on="ray")
    assert caught.value.hint == "set text.column; the columns are: body"


@dataclass(frozen=True)
class Broken:
    folder = "broken"

    def record_file(self, task: Group) -> str:
        return f"broken/{task.number}"

    def __call__(self, task: Group, advance: Any) -> int:
        raise ZeroDivisionError(f"group {task.number}")


def test_bug_in_a_task_is_told_with_its_cause(ray: None) -> None:
    with pytest.raises(RunError, match="a task of the Ray job failed: ZeroDivisionError: group 7"):
        list(OnRay().run(Broken(), [Group(7, (), 1)], lambda _: None))


def test_files_and_dataset_may_be_in_a_bucket(moto_s3: str, folder: Path, ray: None) -> None:
    raw = open_store(f"{moto_s3}/raw/corpus")
    for path in folder.iterdir():
        raw.put(path.name, path)
    spec = all_files(folder).with_values(text__files=[f"{moto_s3}/raw/corpus/*"])
    here = Datasets(open_store(f"{moto_s3}/here")).add(spec, on="local")
    there = Datasets(open_store(f"{moto_s3}/there")).add(spec, on="ray")
    from_folder = Datasets(open_store(f"{moto_s3}/folder")).add(all_files(folder), on="local")
    assert made(here) == made(there)
    assert made(here)["splits"] == made(from_folder)["splits"]
    assert here.record.text_bytes > SHARDS * 4096


def test_spec_of_a_table_makes_a_table(store: Store, folder: Path) -> None:
    spec = DatasetSpec.of(name="rows", table={"splits": {"train": [f"{folder}/*.parquet"]}})
    record = Datasets(store).add(spec).record
    assert (record.format, record.rows, record.tokenizer) == ("table", 40, None)
    assert DatasetSpec.of(**record.spec) == spec
    with pytest.raises(SpecError, match="the spec of rows holds no text"):
        recipe(spec)
