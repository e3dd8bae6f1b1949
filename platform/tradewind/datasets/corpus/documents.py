"""The documents in files: a whole file of plain text, a line of JSON, a row of Parquet.

Every mistake in a file is told with its place: the byte that is no UTF-8, the line or row without the column. Documents
without text are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from tradewind.datasets.corpus.sources import READ_BYTES, Part, Source
from tradewind.errors import SpecError

DIGEST_BYTES = 16
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Document:
    """`digest` is the start of the SHA-256 of the text in UTF-8: equal digests, equal documents."""

    text: str
    num_bytes: int
    digest: bytes


def read_documents(part: Part, *, column: str, opened: IO[bytes] | None = None) -> Iterator[Document]:
    """The documents of a part of a file, one at a time. Raises SpecError for what cannot be read as such."""
    readers = {"parquet": _rows, "lines": _lines, "plain": _file}
    with told(part.source), opened or part.source.open() as file:
        for text, data in readers[part.source.format](file, part, column):
            if data:
                yield Document(text, len(data), hashlib.sha256(data).digest()[:DIGEST_BYTES])


def open_table(file: IO[bytes], source: Source, column: str) -> Any:
    """A Parquet file. Raises SpecError when it has no such column of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file, page_checksum_verification=True)
    schema = table.schema_arrow
    if column not in schema.names:
        raise _no_column(f"{source.location}, row 1", column, schema.names)
    kind = schema.field(column).type
    bare = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(bare) or pa.types.is_large_string(bare) or pa.types.is_null(bare)):
        raise SpecError(f"{source.location}: column {column!r} holds {kind}, not text", hint="name another text.column")
    return table


def _file(file: IO[bytes], part: Part, _column: str) -> Iterator[tuple[str, bytes]]:
    data = _unpacked(file, part.source).read()
    yield _decoded(data, part.source, first=0), data


def _lines(file: IO[bytes], part: Part, column: str) -> Iterator[tuple[str, bytes]]:
    """A line belongs to the part in which it begins."""
    file = _unpacked(file, part.source)
    place = part.start
    if place:
        file.seek(place - 1)
        place += len(file.readline()) - 1
    while part.end is None or place < part.end:
        line = file.readline()
        if not line:
            return
        if line.strip():
            yield _of_line(line, part, column, place)
        place += len(line)


def _of_line(line: bytes, part: Part, column: str, first: int) -> tuple[str, bytes]:
    text = _decoded(line, part.source, first=first)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as exc:
        where = _line_number(part.source, first)
        raise SpecError(f"{where} is not JSON: {exc}", hint="mend or exclude the file") from exc
    if not isinstance(row, dict) or column not in row:
        raise _no_column(_line_number(part.source, first), column, list(row) if isinstance(row, dict) else [])
    value = row[column] or ""
    if not isinstance(value, str):
        kind, where = type(value).__name__, _line_number(part.source, first)
        raise SpecError(f"{where}: column {column!r} holds {kind}, not text", hint="name another text.column")
    try:
        return value, value.encode()
    except UnicodeEncodeError as exc:
        where = _line_number(part.source, first)
        raise SpecError(f"{where} holds half of a character ({exc.reason})", hint="mend or exclude the file") from exc


def _rows(file: IO[bytes], part: Part, column: str) -> Iterator[tuple[str, bytes]]:
    table = open_table(file, part.source, column)
    groups = range(table.num_row_groups)[part.start : part.end]
    for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=list(groups), columns=[column]):
        for text in batch.column(0).to_pylist():
            yield text or "", (text or "").encode()


def _unpacked(file: IO[bytes], source: Source) -> IO[bytes]:
    if source.compression == "gzip":
        return cast(IO[bytes], gzip.open(file))
    if source.compression == "zstd":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"), READ_BYTES)
    return file


def _decoded(data: bytes, source: Source, *, first: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        message = f"{source.location} is not UTF-8 (byte {first + exc.start})"
        raise SpecError(message, hint="convert it, or exclude it") from exc


def _no_column(where: str, column: str, known: list[str]) -> SpecError:
    there = ", ".join(known[:20]) or "none"
    return SpecError(f"{where} has no column {column!r}", hint=f"set text.column; the columns are: {there}")


def _line_number(source: Source, first: int) -> str:
    """The place of the line that begins at a byte. Counted only for a message, since parts begin anywhere."""
    number, left = 1, first
    with source.open() as stored:
        file = _unpacked(stored, source)
        while left and (data := file.read(min(left, READ_BYTES))):
            number, left = number + data.count(b"\n"), left - len(data)
    return f"{source.location}, line {number}"


@contextmanager
def told(source: Source) -> Iterator[None]:
    """Name the file in what goes wrong below."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
        raise SpecError(f"{source.location} is damaged: {exc}", hint="fetch it again, or exclude it") from exc
    except OSError as exc:
        packed = source.format == "parquet" or source.compression
        if packed and exc.strerror is None:
            raise SpecError(f"{source.location} is damaged: {exc}", hint="fetch it again, or exclude it") from exc
        raise SpecError(
            f"{source.location} cannot be read: {exc.strerror or exc}", hint="fix its rights, or exclude it"
        ) from exc
    except ValueError as exc:  # what pyarrow raises is one
        if not type(exc).__module__.startswith("pyarrow"):
            raise
        raise SpecError(f"{source.location} is damaged: {exc}", hint="fetch it again, or exclude it") from exc
