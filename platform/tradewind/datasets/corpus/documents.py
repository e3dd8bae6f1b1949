"""The documents in files: a whole file of plain text, a line of JSON, a row of Parquet.

What the document of a row is, its `Content` says: the text of a column, or a conversation. Every mistake in a file is
told with its place: the byte that is no UTF-8, the line or row without the column. Documents without text are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from tradewind.datasets.corpus.sources import READ_BYTES, Part, Source
from tradewind.errors import SpecError

if TYPE_CHECKING:
    import pyarrow as pa

DIGEST_BYTES = 16
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Place:
    """Where a document begins: the byte of a line, or the row of a Parquet file, counted from 0."""

    source: Source
    at: int = 0

    def __str__(self) -> str:
        """For people. A line is counted only here, since parts begin anywhere."""
        if self.source.format == "plain":
            return self.source.location
        if self.source.format == "parquet":
            return f"{self.source.location}, row {self.at + 1}"
        return _line_number(self.source, self.at)


class Content(Protocol):
    """What the document of a row is."""

    @property
    def is_whole_file(self) -> bool:
        """Whether a file that has no rows is a document too."""

    def columns(self, schema: pa.Schema, source: Source) -> Sequence[str]:
        """The columns of a Parquet file that are read. Raises SpecError when they are not there, or of another type."""

    def text(self, row: Mapping[str, Any], place: Place) -> str:
        """The document of a row; none is an empty text. Raises SpecError for a row that has no such thing."""

    def prose(self, text: str) -> Iterable[str]:
        """What a tokenizer learns from a document."""


@dataclass(frozen=True)
class TextColumn:
    """The text in a column."""

    column: str
    is_whole_file = True

    def columns(self, schema: pa.Schema, source: Source) -> Sequence[str]:
        import pyarrow as pa

        if self.column not in schema.names:
            raise self._missing(Place(source), schema.names)
        kind = schema.field(self.column).type
        bare = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(bare) or pa.types.is_large_string(bare) or pa.types.is_null(bare)):
            raise self._no_text(source.location, str(kind))
        return [self.column]

    def text(self, row: Mapping[str, Any], place: Place) -> str:
        if self.column not in row:
            raise self._missing(place, row)
        value = row[self.column] or ""
        if not isinstance(value, str):
            raise self._no_text(str(place), type(value).__name__)
        return value

    def prose(self, text: str) -> Iterable[str]:
        return [text]

    def _missing(self, place: Place, known: Iterable[str]) -> SpecError:
        message = f"{place} has no column {self.column!r}"
        return SpecError(message, hint=f"set text.column; the columns are: {some_of(known)}")

    def _no_text(self, where: str, kind: str) -> SpecError:
        return SpecError(f"{where}: column {self.column!r} holds {kind}, not text", hint="name another text.column")


@dataclass(frozen=True)
class Document:
    """`digest` is the start of the SHA-256 of the text in UTF-8: equal digests, equal documents."""

    text: str
    num_bytes: int
    digest: bytes
    place: Place


def some_of(names: Iterable[str]) -> str:
    """The first of some names, for a message."""
    return ", ".join(list(names)[:20]) or "none"


def read_documents(part: Part, *, content: Content, opened: IO[bytes] | None = None) -> Iterator[Document]:
    """The documents of a part of a file, one at a time. Raises SpecError for what cannot be read as such."""
    readers = {"parquet": _rows, "lines": _lines, "plain": _file}
    with told(part.source), opened or part.source.open() as file:
        for text, data, place in readers[part.source.format](file, part, content):
            if data:
                yield Document(text, len(data), hashlib.sha256(data).digest()[:DIGEST_BYTES], place)


def open_table(file: IO[bytes], source: Source, content: Content) -> tuple[Any, Sequence[str]]:
    """A Parquet file, and which columns of it are read. Raises SpecError when it has none."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file, page_checksum_verification=True)
    return table, content.columns(table.schema_arrow, source)


_Found = Iterator[tuple[str, bytes, Place]]


def _file(file: IO[bytes], part: Part, content: Content) -> _Found:
    if not content.is_whole_file:
        raise SpecError(
            f"{part.source.location} is neither JSON lines nor Parquet",
            hint="name it .jsonl if each line is a conversation, or exclude it",
        )
    data = _unpacked(file, part.source).read()
    yield _decoded(data, part.source, first=0), data, Place(part.source)


def _lines(file: IO[bytes], part: Part, content: Content) -> _Found:
    """A line belongs to the part in which it begins."""
    file = _unpacked(file, part.source)
    at = part.start
    if at:
        file.seek(at - 1)
        at += len(file.readline()) - 1
    while part.end is None or at < part.end:
        line = file.readline()
        if not line:
            return
        if line.strip():
            yield _of_line(line, content, Place(part.source, at))
        at += len(line)


def _of_line(line: bytes, content: Content, place: Place) -> tuple[str, bytes, Place]:
    text = _decoded(line, place.source, first=place.at)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise SpecError(f"{place} is not JSON: {exc}", hint="mend or exclude the file") from exc
    value = content.text(row if isinstance(row, dict) else {}, place)
    try:
        return value, value.encode(), place
    except UnicodeEncodeError as exc:
        raise SpecError(f"{place} holds half of a character ({exc.reason})", hint="mend or exclude the file") from exc


def _rows(file: IO[bytes], part: Part, content: Content) -> _Found:
    table, columns = open_table(file, part.source, content)
    groups = range(table.num_row_groups)[part.start : part.end]
    at = sum(table.metadata.row_group(number).num_rows for number in range(part.start))
    for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=list(groups), columns=list(columns)):
        for row in batch.to_pylist():
            place = Place(part.source, at)
            text = content.text(row, place)
            yield text, text.encode(), place
            at += 1


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


def _line_number(source: Source, first: int) -> str:
    """The place of the line that begins at a byte."""
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
