from __future__ import annotations

import hashlib
import json
import pickle
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.filesystem import TradewindFileSystem
from tradewind.errors import IntegrityError, NotFoundError, SpecError, TradewindError
from tradewind.storage import open_store

ROWS = pa.table({"number": list(range(10)), "word": ["quay"] * 10})


@pytest.fixture(params=["folder", "s3"])
def datasets(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Datasets:
    """A table of two files, one of it from version 2 on; the workspace is that of the environment."""
    url = str(tmp_path / "ws")
    if request.param == "s3":
        url = f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}"
    monkeypatch.setenv("TRADEWIND_WORKSPACE", url)
    found = Datasets(open_store(url))
    found.add_table("harbour", ROWS)
    found.append_table("harbour", ROWS.slice(5))
    found.tag("harbour@1", "golden")
    return found


@pytest.fixture
def tokens(datasets: Datasets, tmp_path: Path) -> Dataset:
    return datasets.add(dataset_spec(write_text(tmp_path / "text")))


@pytest.fixture
def fs(datasets: Datasets) -> Any:
    return fsspec.filesystem("tradewind")


def from_duckdb(path: str) -> int:
    connection = pytest.importorskip("duckdb").connect()
    connection.register_filesystem(fsspec.filesystem("tradewind"))
    rows = connection.sql(f"select count(*) from read_parquet('tradewind://{path}/*.parquet')").fetchall()
    return int(rows[0][0])


READERS: dict[str, Callable[[str], int]] = {
    "pandas": lambda path: len(pd.read_parquet(f"tradewind://{path}")),
    "pyarrow by URL": lambda path: pq.read_table(f"fsspec+tradewind://{path}").num_rows,
    "pyarrow": lambda path: pq.read_table(path, filesystem=TradewindFileSystem()).num_rows,
    "pyarrow.dataset": lambda path: pa.dataset.dataset(path, filesystem=TradewindFileSystem()).count_rows(),
    "duckdb": from_duckdb,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("reference", "rows"), [("harbour", 15), ("harbour@1", 10), ("harbour@golden", 10)])
def test_others_read_tables_by_name_version_and_tag(datasets: Datasets, reader: str, reference: str, rows: int) -> None:
    assert READERS[reader](f"{reference}/train") == rows


@pytest.mark.parametrize("reader", READERS)
def test_a_new_version_is_seen_at_once(datasets: Datasets, reader: str) -> None:
    assert READERS[reader]("harbour/train") == 15
    datasets.append_table("harbour", ROWS)
    assert READERS[reader]("harbour/train") == 25
    datasets.tag("harbour@2", "golden")
    assert READERS[reader]("harbour@golden/train") == 15


def test_one_instance_sees_a_new_version_at_once(datasets: Datasets, fs: Any) -> None:
    assert len(fs.ls("tradewind://harbour/train")) == 2
    datasets.append_table("harbour", ROWS)
    assert len(fs.ls("tradewind://harbour/train")) == 3
    assert fs.exists("harbour/train/00002.parquet")
    assert not fs.exists("harbour@2/train/00002.parquet")


class Counted(Datasets):
    """A new version, whose only split has another name, comes in behind each look."""

    looks = 0

    def get(self, reference: str, *, at: datetime | None = None) -> Dataset:
        found = super().get(reference, at=at)
        self.looks += 1
        super().add_table("harbour", {f"split{self.looks}": ROWS})
        return found


def test_each_call_looks_for_its_version_once(datasets: Datasets, fs: Any) -> None:
    fs._datasets = counted = Counted(datasets.store)
    assert len(fs.open("harbour/train/00001.parquet").read()) > 0
    for number, look in enumerate((fs.ls, fs.info, fs.checksum, fs.modified), start=1):
        assert look(f"harbour/split{number}/00000.parquet")
    assert fs.ls("harbour/split5")
    assert counted.looks == 6


def test_checksum_is_that_of_the_bytes_and_the_same_in_each_process(datasets: Datasets, fs: Any) -> None:
    for path in ("harbour@1/manifest.json", "harbour@1/train/00000.parquet"):
        assert fs.checksum(path) == int(hashlib.sha256(fs.cat_file(path)).hexdigest(), 16)
    with pytest.raises(NotFoundError, match="it is a folder"):
        fs.checksum("harbour@1/train")


def test_folders_and_files_are_those_of_the_version(datasets: Datasets, fs: Any, tokens: Dataset) -> None:
    assert fs.ls("", detail=False) == ["harbour", "logbook"]
    assert fs.ls("tradewind://harbour", detail=False) == ["harbour/manifest.json", "harbour/train"]
    assert sorted(fs.ls("logbook@1", detail=False)) == [
        f"logbook@1/{name}" for name in ("heldout", "manifest.json", "tokenizer.json", "train")
    ]
    assert fs.glob("harbour@2/*/*.parquet") == ["harbour@2/train/00000.parquet", "harbour@2/train/00001.parquet"]
    assert fs.isdir("harbour@golden/train")
    assert fs.isfile("harbour@golden/train/00000.parquet")
    assert fs.modified("harbour@1/manifest.json") == datasets.get("harbour@1").record.created_at


def test_sizes_are_what_is_read(fs: Any, tokens: Dataset) -> None:
    for path in fs.find(""):
        assert len(fs.cat_file(path)) == fs.size(path), path
        with fs.open(path) as file:
            assert file.seek(0, 2) == fs.size(path)
            assert file.read() == b""
            file.seek(-3, 2)
            assert file.read(100) == fs.cat_file(path)[-3:]


def test_tokens_are_their_ids_alone(fs: Any, tokens: Dataset) -> None:
    for number, shard in enumerate(tokens.shards("train")):
        data = fs.cat_file(f"logbook/train/{number:05d}.tok")
        assert np.frombuffer(data, tokens.dtype).tolist() == shard.tolist()
    assert fs.cat_file("logbook/tokenizer.json") == tokens.tokenizer_json()
    assert json.loads(fs.cat_file("logbook/manifest.json"))["name"] == "logbook"
    assert fs.read_bytes("logbook/train/00000.tok", start=2, end=6) == fs.cat_file("logbook/train/00000.tok")[2:6]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("harbuor/train/00000.parquet", "no dataset named 'harbuor' .did you mean 'harbour'"),
        ("harbour@9/train", "harbour has no version 9"),
        ("harbour@gold/train", "harbour has no tag 'gold'"),
        ("harbour/trian/00000.parquet", "harbour@2 has the splits train"),
        ("harbour/train/00002.parquet", r"the last one is 00001\.parquet"),
        ("harbour/train/1.parquet", r"the last one is 00001\.parquet"),
        ("harbour/tokenizer.json", "harbour@2 is a table"),
    ],
)
def test_what_is_not_there_is_missing_for_fsspec_and_for_us(
    datasets: Datasets, fs: Any, path: str, complaint: str
) -> None:
    for error in (FileNotFoundError, NotFoundError):
        with pytest.raises(error, match=f"there is no tradewind://.*{complaint}") as caught:
            fs.open(path)
        assert isinstance(caught.value, TradewindError)
        assert caught.value.hint
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert not fs.exists(path)


def test_nothing_can_be_written(fs: Any) -> None:
    for error in (PermissionError, SpecError):
        with pytest.raises(error, match="cannot be written"):
            fs.open("harbour/train/00000.parquet", "wb")
    with pytest.raises(NotFoundError, match="it is a folder"):
        fs.open("harbour/train")


def test_damaged_file_is_not_read(datasets: Datasets, fs: Any) -> None:
    key = datasets.append_table("harbour", ROWS.slice(3)).shard_table("train")[2].key
    datasets.store.put(key, datasets.store.get(key)[:-1] + b"\0")
    with pytest.raises(IntegrityError, match=r"dataset harbour@3: the file .* checksum"):
        fs.cat_file("harbour/train/00002.parquet")


def test_workspace_is_chosen_by_option_and_travels(
    datasets: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = datasets.store.url
    monkeypatch.setenv("TRADEWIND_WORKSPACE", str(tmp_path / "other"))
    assert fsspec.filesystem("tradewind").ls("") == []
    assert len(pd.read_parquet("tradewind://harbour/train", storage_options={"workspace": url})) == 15
    there = pickle.loads(pickle.dumps(fsspec.filesystem("tradewind", workspace=url)))
    assert there.ls("", detail=False) == ["harbour"]
