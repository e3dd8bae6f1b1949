from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.corpus.documents import DIGEST_BYTES, TextColumn, read_documents
from tradewind.datasets.corpus.sources import Part, Source
from tradewind.errors import SpecError

ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": "one\r\ntwo"},
    {"id": 2, "text": ""},
    {"id": 3, "text": "波止場 🌊"},
    {"id": 4, "text": None},
]
TEXTS = ["one\r\ntwo", "波止場 🌊"]


def source(path: Path) -> Source:
    return Source(path.name, str(path), path.stat().st_size, "")


def texts(path: Path, *, column: str = "text", start: int = 0, end: int | None = None) -> list[str]:
    return [document.text for document in read_documents(Part(source(path), start, end), content=TextColumn(column))]


def write(path: Path, data: bytes) -> Path:
    packed = {".gz": gzip.compress, ".zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True)}
    path.write_bytes(packed.get(path.suffix, lambda raw: raw)(data))
    return path


def lines(rows: list[Any], *, between: str = "\n") -> bytes:
    return between.join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def complaint(path: Path, *, column: str = "text", start: int = 0) -> SpecError:
    with pytest.raises(SpecError) as caught:
        texts(path, column=column, start=start)
    assert str(path) in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.md.zst"])
def test_plain_file_is_one_document_as_it_is(tmp_path: Path, name: str) -> None:
    text = "one\r\ntwo\rthree\n\ufeff\x00ünïcödé 波止場 🌊"
    assert texts(write(tmp_path / name, text.encode())) == [text]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.json.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n \n"])
def test_lines_of_json_are_documents_and_those_without_text_are_left_out(tmp_path: Path, name: str, end: str) -> None:
    assert texts(write(tmp_path / name, lines(ROWS) + end.encode())) == TEXTS


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_rows_of_parquet_are_documents(tmp_path: Path, kind: Any) -> None:
    column = pa.array([row["text"] for row in ROWS], type=pa.string()).cast(kind)
    nested = pa.array([{"deep": {"er": 1}}] * 4)
    pq.write_table(pa.table({"meta": nested, "body": column}), tmp_path / "a.parquet", row_group_size=1)
    assert texts(tmp_path / "a.parquet", column="body") == TEXTS
    assert texts(tmp_path / "a.parquet", column="body", start=1, end=3) == TEXTS[1:]


def test_document_knows_its_size_and_what_it_hashes_to(tmp_path: Path) -> None:
    (document,) = read_documents(Part(source(write(tmp_path / "a.txt", "ü".encode()))), content=TextColumn("text"))
    assert (document.num_bytes, document.digest) == (2, hashlib.sha256("ü".encode()).digest()[:DIGEST_BYTES])


@given(st.lists(st.text(max_size=20), min_size=1, max_size=12), st.integers(1, 60))
def test_parts_of_a_file_hold_each_line_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], step: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.jsonl"
    path.write_bytes(lines([{"text": row} for row in rows], between="\r\n"))
    size = path.stat().st_size
    parts = [texts(path, start=start, end=min(start + step, size)) for start in range(0, size, step)]
    assert [text for part in parts for text in part] == [row for row in rows if row]


def test_file_that_is_not_utf8_is_named_with_the_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "latin.txt", "plain h\u00e4fen".encode("latin-1"))
    assert complaint(path).message.endswith("latin.txt is not UTF-8 (byte 7)")


@pytest.mark.parametrize("start", [0, 5])
def test_line_that_is_not_utf8_is_named_with_the_byte_in_the_file(tmp_path: Path, start: int) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "a"}\n{"text": "\xe4"}\n')
    assert complaint(path, start=start).message.endswith("a.jsonl is not UTF-8 (byte 24)")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_line_without_the_column_is_named_with_those_it_has(tmp_path: Path, name: str) -> None:
    error = complaint(write(tmp_path / name, lines([{"text": "a"}, {"title": "b", "body": "c"}])))
    assert error.message.endswith(f"{name}, line 2 has no column 'text'")
    assert error.hint == "set text.column; the columns are: title, body"


def test_line_is_counted_from_the_start_of_the_file_in_each_part(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines([{"text": "a"}] * 7 + [{"body": "c"}]))
    assert "line 8 has no column" in complaint(path, start=50).message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a"', "line 2 is not JSON: Expecting ',' delimiter"),
        ("[" * 100_000, "line 2 is not JSON: maximum recursion depth"),
        ("[1]", "line 2 has no column 'text'"),
        ('"a"', "line 2 has no column 'text'"),
        ('{"text": 5}', "line 2: column 'text' holds int, not text"),
        ('{"text": ["a"]}', "line 2: column 'text' holds list, not text"),
        ('{"text": "\\ud800"}', "line 2 holds half of a character (surrogates not allowed)"),
    ],
)
def test_line_that_is_no_document_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "a"}\n' + line.encode())
    assert f"{path}, {problem}" in complaint(path).message


def test_parquet_without_the_column_is_named_with_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"title": ["a"], "size": [1]}), path)
    error = complaint(path)
    assert error.message.endswith("a.parquet, row 1 has no column 'text'")
    assert error.hint == "set text.column; the columns are: title, size"
    assert complaint(path, column="size").message.endswith("column 'size' holds int64, not text")


def damage(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0x5A for byte in data[middle : middle + 40]) + data[middle + 40 :]


def halve(data: bytes) -> bytes:
    return data[: len(data) // 2]


def replace(data: bytes) -> bytes:
    return b"no such file at all"


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *itertools.product(["a.jsonl.gz", "a.txt.gz", "a.parquet"], [damage, halve, replace]),
        *itertools.product(["a.jsonl.zst"], [halve, replace]),  # Zstandard need not have checksums
    ],
)
def test_damaged_file_is_named(tmp_path: Path, name: str, harm: Any) -> None:
    rows = [{"text": os.urandom(50).hex()} for _ in range(400)]
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path, write_page_checksum=True)
    else:
        write(path, lines(rows))
    path.write_bytes(harm(path.read_bytes()))
    assert "damaged" in complaint(path).message or "is not UTF-8" in complaint(path).message


def test_file_that_is_gone_when_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.txt"
    with pytest.raises(SpecError, match=r"gone\.txt cannot be read: No such file"):
        list(read_documents(Part(Source(path.name, str(path), 11, "")), content=TextColumn("text")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.txt", b"x")
    path.chmod(0)
    assert complaint(path).message.endswith("cannot be read: Permission denied")
