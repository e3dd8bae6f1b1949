from __future__ import annotations

import datetime
import tracemalloc
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from tradewind.datasets import Dataset, Datasets
from tradewind.datasets.table import add_rows, open_rows, padded, ragged
from tradewind.errors import IntegrityError, NotFoundError, SpecError
from tradewind.storage import Store, open_store

UNION = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
ROWS = pa.table(
    {
        "caption": pa.array(["a quay", "ünïcödé 波止場", None]),
        "picture": pa.array([b"\x89PNG\0", b"", None], pa.binary()),
        "large": pa.array([b"x", b"y", b"z"], pa.large_binary()),
        "words": pa.array([["a", "quay"], [], None], pa.list_(pa.string())),
        "boxes": pa.array([[[0, 1], [2, 3]], [], [[4, 5]]], pa.list_(pa.list_(pa.int16(), 2))),
        "place": pa.array([{"lat": 1.5, "names": ["x"]}, {"lat": None, "names": []}, None]),
        "colour": pa.array(["red", "blue", "red"]).dictionary_encode(),
        "at": pa.array([datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)] * 3, pa.timestamp("us", "UTC")),
        "price": pa.array([Decimal("1.25"), None, Decimal("-3.00")], pa.decimal128(9, 2)),
        "half": pa.array(np.array([1, 2, 3], np.float16)),
        "count": pa.array([1, 2, 2**63 - 1], pa.int64()),
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


def numbers(start: int, end: int, **changes: Any) -> pa.Table:
    return pa.table({"number": pa.array(range(start, end), pa.int64()), "word": [f"w{n}" for n in range(start, end)]})


def all_numbers(dataset: Dataset, split: str = "train") -> list[int]:
    return [number for batch in dataset.rows(split, columns=["number"]) for number in batch["number"].to_pylist()]


def test_rows_of_any_column_come_back_as_they_were_with_their_exact_types(datasets: Datasets) -> None:
    dataset = datasets.add_table("harbour", ROWS)
    assert dataset.arrow_schema().equals(ROWS.schema)
    assert dataset.to_arrow().equals(ROWS)
    assert dataset.record.columns["boxes"] == "list<fixed_size_list<int16>[2]>"
    assert dataset.record.columns["place"] == "struct<lat: double, names: list<string>>"
    assert dataset.record.columns["at"] == "timestamp[us, tz=UTC]"
    assert (dataset.record.format, dataset.record.rows, dataset.record.dtype) == ("table", 3, None)
    assert dataset.to_pandas()["picture"][0] == b"\x89PNG\0"
    dataset.verify()


def test_rows_come_from_everything_that_holds_rows(datasets: Datasets, tmp_path: Path) -> None:
    table = numbers(0, 100)
    pq.write_table(table, tmp_path / "a.parquet")
    pa.csv.write_csv(table, tmp_path / "a.csv")
    (tmp_path / "a.jsonl").write_text(table.to_pandas().to_json(orient="records", lines=True))
    (tmp_path / "some").mkdir()
    for start in (0, 50):
        pq.write_table(table.slice(start, 50), tmp_path / "some" / f"{start:03d}.parquet")
    sources: list[Any] = [
        table,
        table.to_reader(),
        table.to_pandas(),
        iter(table.to_batches(7)),
        (numbers(start, start + 10) for start in range(0, 100, 10)),
        tmp_path / "a.parquet",
        str(tmp_path / "a.csv"),
        [tmp_path / "a.jsonl"],
        str(tmp_path / "some" / "*.parquet"),
        tmp_path / "some",
    ]
    for source in sources:
        dataset = datasets.add_table("harbour", source)
        assert all_numbers(dataset) == list(range(100))
        assert list(dataset.record.columns) == ["number", "word"]
    assert dataset.record.version == len(sources)


def test_a_mapping_gives_several_splits(datasets: Datasets) -> None:
    dataset = datasets.add_table("harbour", {"train": numbers(0, 8), "test": numbers(8, 10)})
    assert all_numbers(dataset, "test") == [8, 9]
    assert {name: split.rows for name, split in dataset.record.splits.items()} == {"train": 8, "test": 2}


def test_files_are_cut_by_size_and_read_by_row_group(store: Store, datasets: Datasets) -> None:
    table = pa.table({"noise": pa.array([np.random.default_rng(n).bytes(1000) for n in range(400)])})
    schema, sources = open_rows(table)
    shards = add_rows(store, "harbour", "train", schema, sources["train"], file_bytes=100_000, row_group_bytes=20_000)
    assert 3 <= len(shards) <= 5
    assert all(100_000 <= shard.num_bytes < 130_000 for shard in shards[:-1])
    path = store.local_path(shards[0].key)
    assert path
    groups = pq.ParquetFile(path).metadata
    assert 4 <= groups.num_row_groups <= 7
    assert groups.row_group(0).column(0).compression == "ZSTD"
    assert sum(shard.rows for shard in shards) == 400


def test_the_same_rows_again_are_the_same_files(store: Store, datasets: Datasets) -> None:
    first = datasets.add_table("harbour", numbers(0, 1000))
    second = datasets.add_table("harbour", numbers(0, 1000))
    assert second.record.splits == first.record.splits


def test_rows_that_are_many_are_never_held_at_once(datasets: Datasets) -> None:
    """300 MB of batches pass while Arrow holds a tenth of that."""
    noise = np.random.default_rng(0).bytes(2**20)

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(300):
            yield pa.record_batch({"number": [number], "noise": [noise[number:] + noise[:number]]})

    pa.default_memory_pool().release_unused()
    tracemalloc.start()
    dataset = datasets.add_table("harbour", batches())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dataset.record.rows == 300
    assert peak < 150 * 2**20
    assert sum(batch.num_rows for batch in dataset.rows()) == 300
    assert pa.default_memory_pool().bytes_allocated() < 100 * 2**20


class TestAppend:
    def test_rows_stand_behind_those_of_the_newest_version(self, datasets: Datasets) -> None:
        datasets.add_table("harbour", numbers(0, 5))
        second = datasets.append_table("harbour", numbers(5, 9))
        third = datasets.append_table("harbour", numbers(0, 2), split="test")
        assert all_numbers(second) == list(range(9))
        assert (all_numbers(third), all_numbers(third, "test")) == (list(range(9)), [0, 1])
        assert third.record.parents == (second.record.id,)

    def test_order_of_columns_is_free(self, datasets: Datasets) -> None:
        datasets.add_table("harbour", numbers(0, 2))
        grown = datasets.append_table("harbour", numbers(2, 4).select(["word", "number"]))
        assert grown.to_arrow().column_names == ["number", "word"]
        assert all_numbers(grown) == [0, 1, 2, 3]

    def test_rows_that_were_read_go_behind_those_they_came_from(self, datasets: Datasets) -> None:
        """Parquet calls the values of lists otherwise than Arrow does."""
        first = datasets.add_table("harbour", ROWS)
        assert datasets.append_table("harbour", first.to_arrow()).record.rows == 6
        grown = datasets.append_table("harbour", ROWS)
        assert grown.to_arrow().slice(6).equals(ROWS)

    @pytest.mark.parametrize(
        ("columns", "complaint"),
        [
            ({"number": pa.array([1], pa.int32()), "word": ["a"]}, "column 'number' is int32, and int64 in harbour@1"),
            ({"number": [1]}, r"column 'word' \(string\) of harbour@1 is missing"),
            ({"number": [1], "wrod": ["a"], "word": ["b"]}, r"column 'wrod' \(string\) is not in harbour@1 .*'word'"),
        ],
    )
    def test_another_schema_is_refused_with_the_column_and_both_types(
        self, datasets: Datasets, columns: dict[str, Any], complaint: str
    ) -> None:
        datasets.add_table("harbour", numbers(0, 2))
        with pytest.raises(SpecError, match=complaint) as caught:
            datasets.append_table("harbour", pa.table(columns))
        assert caught.value.hint
        assert [one.version for one in datasets.list()] == [1]

    def test_rows_do_not_go_behind_tokens(self, store: Store, datasets: Datasets) -> None:
        from tests.datasets.test_versions import commit

        commit(store, 1)
        with pytest.raises(SpecError, match="tide@1 holds tokens, not rows"):
            datasets.append_table("tide", numbers(0, 2))
        with pytest.raises(SpecError, match="tide@1 holds tokens, not rows"):
            list(datasets.get("tide").rows())


class TestReading:
    def test_columns_are_chosen_also_within_a_struct(self, datasets: Datasets) -> None:
        dataset = datasets.add_table("harbour", ROWS)
        (batch,) = dataset.rows(columns=["caption", "place.lat"])
        assert batch.schema.names == ["caption", "place"]
        assert dataset.to_arrow(columns=["count"]).equals(ROWS.select(["count"]))
        assert [batch.num_rows for batch in dataset.rows(rows_at_once=2)] == [2, 1]

    def test_unknown_column_or_split_is_named(self, datasets: Datasets) -> None:
        dataset = datasets.add_table("harbour", ROWS)
        with pytest.raises(NotFoundError, match=r"harbour@1 has no column 'captoin' \(did you mean 'caption'\?\)"):
            list(dataset.rows(columns=["captoin"]))
        with pytest.raises(NotFoundError, match=r"harbour@1 has no split 'tran' \(did you mean 'train'\?\)"):
            list(dataset.rows("tran"))

    def test_damaged_file_gives_no_rows(self, store: Store, datasets: Datasets) -> None:
        dataset = datasets.add_table("harbour", numbers(0, 10))
        key = dataset.shard_table("train")[0].key
        store.put(key, store.get(key)[:-1] + b"\0")
        with pytest.raises(IntegrityError, match="dataset harbour@1: the file"):
            list(datasets.get("harbour").rows())

    def test_reading_may_stop_anywhere(self, moto_s3: str) -> None:
        datasets = Datasets(open_store(f"{moto_s3}/{uuid.uuid4().hex}"))
        dataset = datasets.add_table("harbour", numbers(0, 10))
        for start in range(10, 50, 10):
            dataset = datasets.append_table("harbour", numbers(start, start + 10))
        rows = dataset.rows()
        assert next(rows).num_rows == 10
        rows.close()  # type: ignore[attr-defined]
        assert all_numbers(dataset) == list(range(50))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (42, "int is no table"),
        ([], "there are no rows to add"),
        ([1, 2], "int is no record batch"),
        ({}, "there are no rows to add"),
        (pa.table({"a": pa.array([], pa.int8())}), "there are no rows for train of harbour"),
        (pa.table([[1], [2]], names=["a", "a"]), "column 'a' is there twice"),
        (pa.table({}), "there are no columns"),
        (
            pa.table({"u": UNION}),
            "column 'u': Parquet cannot hold dense_union",
        ),
        ({"train": numbers(0, 1), "test": pa.table({"number": [1]})}, "column 'word'"),
        ([numbers(0, 1), pa.table({"number": ["x"], "word": ["a"]})], "column 'number' is string, and int64"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(datasets: Datasets, data: Any, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint) as caught:
        datasets.add_table("harbour", data)
    assert caught.value.hint
    assert datasets.names() == []


def test_files_that_hold_no_rows_are_refused(datasets: Datasets, tmp_path: Path) -> None:
    for name, text, complaint in (
        ("a.txt", "x", r"a\.txt: no rows can be read from such files"),
        ("a.jsonl", "{", "the rows cannot be read: "),
        ("a.csv", "a,b\n1\n", "the rows cannot be read: "),
        ("a.parquet", "PAR1", "the rows cannot be read: "),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(SpecError, match=complaint):
            datasets.add_table("harbour", tmp_path / name)
    with pytest.raises(NotFoundError, match=r"no files match .*/\*\.feather"):
        datasets.add_table("harbour", tmp_path / "*.feather")
    with pytest.raises(SpecError, match="do not go together"):
        datasets.add_table("harbour", [tmp_path / "a.csv", tmp_path / "a.jsonl"])


def test_error_of_arrow_without_words_is_named_by_its_kind(datasets: Datasets) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from numbers(0, 1).to_batches()
        raise pa.ArrowInvalid("")

    with pytest.raises(SpecError, match="the rows cannot be read: ArrowInvalid"):
        datasets.add_table("harbour", pa.RecordBatchReader.from_batches(numbers(0, 1).schema, broken()))


@pytest.mark.parametrize("kind", [pa.list_(pa.int16()), pa.large_list(pa.int16())])
def test_lists_become_values_and_offsets_or_one_padded_array(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([[1, 2, 3], []], kind), pa.array([None, [4]], kind)])
    values, offsets = ragged(column)
    assert (values.tolist(), offsets.tolist()) == ([1, 2, 3, 4], [0, 3, 3, 3, 4])
    assert padded(column, fill=-1).tolist() == [[1, 2, 3], [-1, -1, -1], [-1, -1, -1], [4, -1, -1]]
    assert ragged(column.slice(1, 3))[0].tolist() == [4]


def test_lists_of_one_length_are_lists_too_and_numbers_are_not() -> None:
    assert padded(pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2))).tolist() == [[1, 2], [3, 4]]
    assert padded(pa.array([], pa.list_(pa.int8()))).shape == (0, 0)
    with pytest.raises(SpecError, match="a column of int64 holds no lists"):
        ragged(pa.array([1]))


def test_frames_keep_their_words(datasets: Datasets) -> None:
    frame = pd.DataFrame({"word": ["a", None], "number": [1.5, 2.5]}, index=[7, 8])
    assert datasets.add_table("harbour", frame).to_pandas().equals(frame.reset_index(drop=True))
