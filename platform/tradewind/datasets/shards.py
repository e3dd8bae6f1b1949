"""Which shards a split has: a table of four columns, whether it came from the record or from a listing of its own.

A shard is named by its SHA-256, so its key follows from it. A record lists up to a thousand shards itself; when there
are more, an Arrow file lists them, which opens without parsing: 100,000 shards are 5.6 MB. Shards that are appended
stand in the record again, behind those of the file, until they are a thousand.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.records import DatasetVersion, Shard, Split, StoredFile
from tradewind.storage import Store, open_content, put_content
from tradewind.storage.origin import Origin

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "datasets"
LISTED_IN_RECORD = 1000
SUFFIXES = {"tokens": ".tok", "table": ".parquet"}
COUNTS = ("num_bytes", "tokens", "rows")


def data_prefix(name: str) -> str:
    """Where the files of a dataset are."""
    return f"{FOLDER}/{name}/data"


@dataclass(frozen=True)
class ShardTable:
    """The shards of a split in their order. `sha256` is [shards, 32] bytes, the others [shards]."""

    prefix: str
    suffix: str
    sha256: NDArray[np.uint8]
    num_bytes: NDArray[np.int64]
    tokens: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.num_bytes)

    def __getitem__(self, index: int) -> Shard:
        digest = self.sha256[index].tobytes().hex()
        return Shard(
            key=f"{self.prefix}/{digest[:2]}/{digest}{self.suffix}",
            sha256=digest,
            num_bytes=int(self.num_bytes[index]),
            tokens=int(self.tokens[index]),
            rows=int(self.rows[index]),
        )

    def __iter__(self) -> Iterator[Shard]:
        return (self[index] for index in range(len(self)))


def open_shards(source: Store | Origin, record: DatasetVersion, split: Split) -> ShardTable:
    """The table of a split. Raises IntegrityError when its listing is damaged or lost."""
    columns = _columns(split.shards)
    if split.listing:
        listed = _listed(source, split.listing, what=f"dataset {record.name}@{record.version}")
        columns = listed if not split.shards else tuple(map(np.concatenate, zip(listed, columns, strict=True)))
    return ShardTable(data_prefix(record.name), SUFFIXES[record.format], *columns)


def list_shards(store: Store, name: str, shards: Sequence[Shard]) -> Split:
    """A split of these shards, in this order, with the listing written if one is needed."""
    return extend(store, name, Split(), shards)


def extend(store: Store, name: str, split: Split, shards: Sequence[Shard], *, documents: int = 0) -> Split:
    """A split with more shards at its end. Its listing is written anew once in a thousand shards."""
    tail, listing = (*split.shards, *shards), split.listing
    if len(tail) > LISTED_IN_RECORD:
        columns = _columns(tail)
        if listing:
            before = _listed(store, listing, what=f"dataset {name}")
            columns = tuple(map(np.concatenate, zip(before, columns, strict=True)))
        listing, tail = put_content(store, data_prefix(name), _to_arrow(columns), suffix=".arrow"), ()
    return Split(
        shards=tail,
        listing=listing,
        documents=split.documents + documents,
        tokens=split.tokens + sum(shard.tokens for shard in shards),
        rows=split.rows + sum(shard.rows for shard in shards),
    )


def _columns(shards: Sequence[Shard]) -> tuple[NDArray[Any], ...]:
    digests = b"".join(bytes.fromhex(shard.sha256) for shard in shards)
    counts = [(shard.num_bytes, shard.tokens, shard.rows) for shard in shards]
    numbers = np.array(counts, dtype=np.int64).reshape(-1, len(COUNTS))
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32), *numbers.T


def _listed(source: Store | Origin, listing: StoredFile, *, what: str) -> tuple[NDArray[Any], ...]:
    import pyarrow as pa

    with open_content(source, listing, what=what) as file:
        table: pa.Table = pa.ipc.open_file(pa.py_buffer(file.map())).read_all()
    raw = _raw(table["sha256"], np.dtype(np.uint8), 32).reshape(-1, 32)
    return raw, *(_raw(table[name], np.dtype(np.int64), 1) for name in COUNTS)


def _raw(column: pa.ChunkedArray, dtype: np.dtype[Any], width: int) -> NDArray[Any]:
    """The values of a column without a copy. Arrow's own `to_numpy` would import pandas, which takes half a second."""
    values = column.combine_chunks()
    start = values.offset * width
    return np.frombuffer(values.buffers()[1], dtype=dtype)[start : start + len(values) * width]


def _to_arrow(columns: tuple[NDArray[Any], ...]) -> bytes:
    import pyarrow as pa

    digests, *counts = columns
    raw = pa.py_buffer(np.ascontiguousarray(digests))
    sha256 = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digests), [None, raw])
    table = pa.table({"sha256": sha256, **dict(zip(COUNTS, map(np.ascontiguousarray, counts), strict=True))})
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as file:
        file.write_table(table)
    return buffer.getvalue()
