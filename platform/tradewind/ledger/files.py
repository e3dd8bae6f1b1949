"""The objects that hold the ledger's rows, and which of them are read.

Each call of a writer makes one object, `ledger/usage/date=DAY/NAME.parquet`. Many of them become one object,
`ledger/days/DAY/SHA256.parquet`, and a record, written last, that names them. Who reads takes the newest record of a
day, its one object, and whatever else is there: so each row is read once, however far a compaction has come.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from tradewind.errors import IntegrityError
from tradewind.ledger.columns import conformed, needed, schema
from tradewind.records import Compaction
from tradewind.storage import RecordLog, Store

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "ledger/usage"
DAYS = "ledger/days"
COMPACTIONS = "ledger/compactions"
READERS = 8
"""At once, to hide a store's delay."""
AHEAD = 64
LARGE = 2**20
"""Bytes, from which on it is worth decoding columns in several threads."""


@dataclass(frozen=True)
class Day:
    """The files of a day: those that stand for themselves, and the newest compaction of the others."""

    day: str
    loose: tuple[str, ...]
    """Keys, sorted."""
    compaction: Compaction | None

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.loose, self.compaction.file.key) if self.compaction else self.loose


def days(store: Store, since: date | None = None) -> list[Day]:
    """The days that have rows of `since` or later, oldest first: a file is in the day of its newest row."""
    first = since.isoformat() if since else ""
    loose, newest = _loose(store, first), _compactions(store, first)
    every = sorted({*loose, *newest})
    return [_day(day, loose.get(day, []), newest.get(day)) for day in every]


def compactions(store: Store, day: str) -> RecordLog[Compaction]:
    return RecordLog(store, f"{COMPACTIONS}/{day}", Compaction)


def name_of(key: str) -> str:
    """What a compaction calls a file."""
    return key.rpartition("/")[2]


def source_key(day: str, name: str) -> str:
    return f"{FOLDER}/date={day}/{name}"


def to_parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()


def read(store: Store, found: Sequence[Day], columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of some days file by file, with their keys, as they were written. An IntegrityError names the file."""
    digests = {day.compaction.file.key: day.compaction.file.sha256 for day in found if day.compaction}
    wanted = needed(columns)
    for key, data in _fetched(store, [key for day in found for key in day.keys]):
        if key in digests and hashlib.sha256(data).hexdigest() != digests[key]:
            raise damaged(store, key)
        yield key, _table(store, key, data, wanted)


def together(store: Store, found: Sequence[Day], columns: Sequence[str]) -> pa.Table:
    """The same rows as one table with these columns. Raises IntegrityError that names a file.

    Files of one program are put together before anything else is done to them: there may be thousands.
    """
    import pyarrow as pa

    alike: dict[tuple[object, ...], list[tuple[str, pa.Table]]] = {}
    for key, table in read(store, found, columns):
        alike.setdefault(tuple(zip(table.column_names, table.schema.types, strict=True)), []).append((key, table))
    empty = pa.schema([schema().field(name) for name in columns]).empty_table()
    return pa.concat_tables([empty, *(_joined(store, some, columns) for some in alike.values())])


def whole(store: Store, key: str, table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns of one file's rows. Raises IntegrityError when it is no file of usage."""
    import pyarrow as pa

    try:
        return conformed(table, columns)
    except (pa.ArrowException, KeyError) as exc:
        raise damaged(store, key) from exc


def damaged(store: Store, key: str) -> IntegrityError:
    return IntegrityError(f"{store.url}/{key} is not a whole Parquet file of usage", hint="restore or delete it")


def _joined(store: Store, some: Sequence[tuple[str, pa.Table]], columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    try:
        joined = pa.concat_tables([table.replace_schema_metadata() for _, table in some]).combine_chunks()
        return conformed(joined, columns)
    except (pa.ArrowException, KeyError):
        for key, table in some:  # which one is it?
            whole(store, key, table, columns)
        raise


def _loose(store: Store, first: str) -> dict[str, list[str]]:
    """Keys by day. Listing begins right before the first day that counts."""
    found: dict[str, list[str]] = {}
    for item in store.list(FOLDER, after=f"{FOLDER}/date={first}" if first else None):
        day, _, name = item.key.removeprefix(f"{FOLDER}/date=").partition("/")
        if name.endswith(".parquet"):
            found.setdefault(day, []).append(item.key)
    return found


def _compactions(store: Store, first: str) -> dict[str, Compaction]:
    """The newest of each day, found in one listing."""
    newest: dict[str, int] = {}
    for item in store.list(COMPACTIONS, after=f"{COMPACTIONS}/{first}" if first else None):
        day, _, name = item.key.removeprefix(f"{COMPACTIONS}/").partition("/")
        if re.fullmatch(r"[0-9]{12}\.json", name):
            newest[day] = max(newest.get(day, 0), int(name.removesuffix(".json")))
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(newest, pool.map(lambda day: compactions(store, day).read(newest[day]), newest), strict=True))


def _day(day: str, keys: list[str], compaction: Compaction | None) -> Day:
    held = set(compaction.sources) if compaction else set()
    return Day(day, tuple(sorted(key for key in keys if name_of(key) not in held)), compaction)


def _fetched(store: Store, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Several at once, and no more than some in memory. Threads would not decode small files any faster."""
    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(keys), AHEAD):
            some = keys[first : first + AHEAD]
            yield from zip(some, pool.map(store.get, some), strict=True)


def _table(store: Store, key: str, data: bytes, columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        there = set(file.schema_arrow.names)
        return file.read(columns=[name for name in columns if name in there], use_threads=len(data) > LARGE)
    except (pa.ArrowException, OSError, ValueError) as exc:  # pyarrow says OSError where a part cannot be decoded
        raise damaged(store, key) from exc
