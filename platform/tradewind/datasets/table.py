"""Tables: rows with any columns, kept as Parquet files that are named by their checksum.

Rows come in as record batches and are never held all at once. A row group is what a reader fetches at a time; a file
is cut when it is large enough. The Arrow schema is kept in each file, so lists, structs, pictures as bytes and their
exact types come back as they were.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind import progress
from tradewind.datasets.shards import data_prefix
from tradewind.errors import NotFoundError, SpecError, did_you_mean
from tradewind.records import DatasetVersion, Shard
from tradewind.storage import Store, put_content
from tradewind.units import format_count

if TYPE_CHECKING:
    import pyarrow as pa

FILE_BYTES = 64 * 2**20
"""Of a Parquet file, compressed."""
ROW_GROUP_BYTES = 16 * 2**20
"""Of a row group, in Arrow's memory."""
ROWS_AT_ONCE = 16 * 1024
"""Of a batch that is read from files; fewer where a row group has fewer."""
READ_BYTES = 2**20
"""What is read at a time of a Parquet file that is added."""
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".arrow": "ipc",
    ".feather": "ipc",
}

_INSIDE_A_LIST = re.compile(r"\b((?:large_|fixed_size_)?list(?:_view)?)<[^:<>]*: ")

RecordBatches = Iterator["pa.RecordBatch"]


def open_rows(
    data: Any, *, split: str = "train", like: DatasetVersion | None = None
) -> tuple[pa.Schema, dict[str, RecordBatches]]:
    """The schema of rows, and the batches of each split. With `like` the columns must be those of that version.

    Raises SpecError for what is no table, NotFoundError for a pattern without files.
    """
    given = data if isinstance(data, Mapping) else {split: data}
    opened = {name: _open(one) for name, one in given.items()}
    if not opened:
        raise SpecError("there are no rows to add", hint="give a table, batches of one, or files")
    schema = next(iter(opened.values()))[0]
    _check_storable(schema)
    if like:
        check_columns(like, schema)
        schema = schema if list(like.columns) == schema.names else _reordered(schema, list(like.columns))
    for other, _ in opened.values():
        _check_same(columns_of(schema), columns_of(other), what="the other split")
    return schema, {name: _in_order(batches, schema) for name, (_, batches) in opened.items()}


def columns_of(schema: pa.Schema) -> dict[str, str]:
    """Each column with its Arrow type, as a record tells them.

    What the values of a list are called inside (`item`, or `element` as Parquet has it) is no part of a type.
    """
    types = {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in schema}
    return {name: _INSIDE_A_LIST.sub(r"\1<", kind) for name, kind in types.items()}


def check_columns(record: DatasetVersion, schema: pa.Schema) -> None:
    """Raises SpecError with the column and both types when rows do not go with a version. Their order is free."""
    if record.format != "table":
        raise SpecError(f"{record.name}@{record.version} holds tokens, not rows", hint="give the table another name")
    _check_same(record.columns, columns_of(schema), what=f"{record.name}@{record.version}")


def add_rows(
    store: Store,
    name: str,
    split: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    file_bytes: int = FILE_BYTES,
    row_group_bytes: int = ROW_GROUP_BYTES,
) -> list[Shard]:
    """Store rows as Parquet files, and give them in their order. The same rows in the same batches are stored once."""
    shards: list[Shard] = []
    with progress.track(f"{split} rows") as bar:
        for data, rows in _files(schema, _groups(batches, row_group_bytes), file_bytes):
            stored = put_content(store, data_prefix(name), data, suffix=".parquet")
            shards.append(Shard(**stored.model_dump(), rows=rows))
            bar.advance(0, note=f"{format_count(sum(shard.rows for shard in shards))} rows")
    if not shards:
        raise SpecError(f"there are no rows for {split} of {name}", hint="leave the split out")
    return shards


def read_rows(path: Path, columns: Sequence[str] | None, *, rows_at_once: int | None = None) -> RecordBatches:
    """The rows of a Parquet file, a row group at a time, or `rows_at_once`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = rows_at_once or file.metadata.row_group(group).num_rows
            yield from file.iter_batches(rows, row_groups=[group], columns=None if columns is None else list(columns))


def schema_of(path: Path, columns: Sequence[str] | None = None) -> pa.Schema:
    """The Arrow schema that a Parquet file was written with, or what `columns` are of it."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if columns is None:
            return file.schema_arrow
        return file.read_row_groups([], columns=list(columns)).schema


def check_known(columns: Sequence[str] | None, known: Iterable[str], *, what: str) -> None:
    """Raises NotFoundError for a column that is not there, with the nearest one. `a.b` is a field of a struct."""
    for column in columns or ():
        if column not in known and column.split(".")[0] not in known:
            raise NotFoundError(f"{what} has no column {column!r}{did_you_mean(column, known)}")


def ragged(column: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A column of lists as all their values behind one another, and where each list begins: [rows + 1].

    Row `i` is `values[offsets[i] : offsets[i + 1]]`. A row without a list has no values.
    """
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    if pa.types.is_fixed_size_list(whole.type):
        whole = whole.cast(pa.list_(whole.type.value_type))
    if not (pa.types.is_list(whole.type) or pa.types.is_large_list(whole.type)):
        raise SpecError(f"a column of {whole.type} holds no lists", hint="name a list column")
    lengths = whole.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    return whole.flatten().to_numpy(zero_copy_only=False), offsets


def padded(column: Any, *, fill: float = 0) -> NDArray[Any]:
    """A column of lists as one array, [rows, longest list], with `fill` behind the shorter ones."""
    values, offsets = ragged(column)
    lengths = np.diff(offsets)
    places = np.arange(lengths.max(initial=0)) < lengths[:, None]
    found = np.full(places.shape, fill, dtype=values.dtype)
    found[places] = values
    return found


def _open(data: Any) -> tuple[pa.Schema, RecordBatches]:
    import pyarrow as pa

    if isinstance(data, str | Path) or _are_paths(data):
        return _open_files(data)
    if isinstance(data, pa.Table):
        return data.schema, _told(iter(data.to_batches()))
    if isinstance(data, pa.RecordBatch):
        return data.schema, iter([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.schema, _told(iter(data))
    if type(data).__module__.split(".")[0] == "pandas":
        with _translated():
            table = pa.Table.from_pandas(data, preserve_index=False)
        return table.schema, iter(table.to_batches())
    if hasattr(data, "__arrow_c_stream__"):
        return _open(pa.RecordBatchReader.from_stream(data))
    if not isinstance(data, Iterable):
        raise SpecError(
            f"{type(data).__name__} is no table", hint="give an Arrow table, batches of one, a pandas frame, or paths"
        )
    return _open_batches(data)


def _open_batches(data: Iterable[Any]) -> tuple[pa.Schema, RecordBatches]:
    """The first batch is taken at once, for its schema."""
    import pyarrow as pa

    pieces = iter(data)
    first = next(pieces, None)
    if first is None:
        raise SpecError("there are no rows to add", hint="give at least one batch")

    def batches() -> RecordBatches:
        for piece in chain([first], pieces):
            if isinstance(piece, pa.Table):
                yield from piece.to_batches()
            elif isinstance(piece, pa.RecordBatch):
                yield piece
            else:
                raise SpecError(
                    f"{type(piece).__name__} is no record batch",
                    hint="give an iterable of pyarrow.RecordBatch or Table",
                )

    if not hasattr(first, "schema"):
        return next(batches()).schema, batches()  # raises what is wrong with the first
    return first.schema, _told(batches())


def _open_files(data: Any) -> tuple[pa.Schema, RecordBatches]:
    import pyarrow.csv
    import pyarrow.dataset

    paths = _paths([data] if isinstance(data, str | Path) else list(data))
    formats = {_format_of(path) for path in paths}
    if len(formats) > 1:
        raise SpecError(f"files of {' and '.join(sorted(formats))} do not go together", hint="add them one by one")
    chosen = formats.pop()
    with _translated():
        if chosen == "parquet":
            return schema_of(Path(paths[0])), _told(batch for path in paths for batch in _read_parquet(path))
        if chosen == "csv":
            return pyarrow.csv.open_csv(paths[0]).schema, _told(batch for path in paths for batch in _read_csv(path))
        files = pyarrow.dataset.dataset(paths, format=chosen)
        found = files.scanner(batch_size=ROWS_AT_ONCE, batch_readahead=2, fragment_readahead=1)
        return files.schema, _told(iter(found.to_reader()))


def _read_csv(path: str) -> RecordBatches:
    """A scanner of Arrow reads on while nobody takes what it has."""
    import pyarrow.csv

    with pyarrow.csv.open_csv(path) as reader:
        yield from reader


def _read_parquet(path: str) -> RecordBatches:
    """In memory is one row group of the file: a scanner of Arrow holds those of several files."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BYTES) as file:
        for group in range(file.num_row_groups):
            metadata = file.metadata.row_group(group)
            row_bytes = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
            rows = min(ROWS_AT_ONCE, max(1, ROW_GROUP_BYTES // row_bytes))
            yield from file.iter_batches(rows, row_groups=[group])


def _are_paths(data: Any) -> bool:
    return isinstance(data, list | tuple) and bool(data) and all(isinstance(one, str | Path) for one in data)


def _paths(patterns: Sequence[str | Path]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        text = str(Path(pattern).expanduser())
        if Path(text).is_dir():
            text = f"{text}/**/*"
        files = [path for path in sorted(glob.glob(text, recursive=True)) if Path(path).is_file()]  # noqa: PTH207
        if not files:
            raise NotFoundError(f"no files match {pattern}", hint="** crosses folders: /data/**/*.parquet")
        found += files
    return found


def _format_of(path: str) -> str:
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in (".gz", ".zst", ".bz2")]
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix not in FORMATS:
        raise SpecError(f"{path}: no rows can be read from such files", hint=f"use one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _told(batches: RecordBatches) -> RecordBatches:
    """What Arrow finds wrong in the middle is the user's data, not a fault of ours."""
    with _translated():
        yield from batches


@contextmanager
def _translated() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        problem = str(exc).strip().partition("\n")[0] or type(exc).__name__
        raise SpecError(f"the rows cannot be read: {problem}", hint="correct them, or their types") from exc


def _check_storable(schema: pa.Schema) -> None:
    """Parquet cannot hold every type of Arrow; then the column is named before anything is written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice or not schema.names:
        raise SpecError(
            f"column {min(twice)!r} is there twice" if twice else "there are no columns",
            hint="each column needs a name",
        )
    for field in schema:
        try:
            pq.ParquetWriter(io.BytesIO(), pa.schema([field])).close()
        except pa.ArrowException as exc:
            raise SpecError(
                f"column {field.name!r}: Parquet cannot hold {field.type}", hint="cast it to another type"
            ) from exc


def _check_same(known: Mapping[str, str], given: Mapping[str, str], *, what: str) -> None:
    for name, kind in given.items():
        if name not in known:
            raise SpecError(
                f"column {name!r} ({kind}) is not in {what}{did_you_mean(name, known)}",
                hint="leave it out, or add a new version",
            )
        if known[name] != kind:
            raise SpecError(f"column {name!r} is {kind}, and {known[name]} in {what}", hint=f"cast it to {known[name]}")
    for name, kind in known.items():
        if name not in given:
            raise SpecError(f"column {name!r} ({kind}) of {what} is missing", hint="add it, with nulls if need be")


def _reordered(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in names], metadata=schema.metadata)


def _in_order(batches: RecordBatches, schema: pa.Schema) -> RecordBatches:
    """RecordBatches with exactly this schema. One of another is refused: pieces of one table must agree."""
    import pyarrow as pa

    known = columns_of(schema)
    for batch in batches:
        if not batch.schema.equals(schema):
            _check_same(known, columns_of(batch.schema), what="the first batch")
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


def _groups(batches: Iterable[pa.RecordBatch], row_group_bytes: int) -> Iterator[pa.Table]:
    """RecordBatches joined, and cut where they are large, to tables of about one row group."""
    import pyarrow as pa

    held: list[Any] = []
    size = 0
    for batch in batches:
        for piece in _pieces(batch, row_group_bytes):
            held.append(piece)
            size += piece.nbytes
            if size >= row_group_bytes * 3 // 4:  # a piece of a large batch is a little less than a row group
                yield pa.Table.from_batches(held)
                held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _pieces(batch: pa.RecordBatch, row_group_bytes: int) -> RecordBatches:
    if batch.num_rows == 0:
        return
    rows = max(1, int(batch.num_rows * row_group_bytes / max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _files(schema: pa.Schema, groups: Iterable[pa.Table], file_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Parquet files of row groups, each with its number of rows."""
    import pyarrow.parquet as pq

    writer, buffer, rows = None, io.BytesIO(), 0
    for group in groups:
        if writer is None:
            writer = pq.ParquetWriter(buffer, schema, compression="zstd", write_page_checksum=True)
        writer.write_table(group, row_group_size=group.num_rows)
        rows += group.num_rows
        if buffer.tell() >= file_bytes:
            writer.close()
            yield buffer.getvalue(), rows
            writer, buffer, rows = None, io.BytesIO(), 0
    if writer is not None:
        writer.close()
        yield buffer.getvalue(), rows
