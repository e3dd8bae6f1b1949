"""Many small files of a day become one, so that they are read in a fraction of the time.

The one file is written first, under its checksum, and then the record that says whose rows it holds: a compaction that
is cut short changes nothing. Of compactors that race, one writes the record, and the others leave it at that. What a
record has replaced is deleted only after a time in which whoever has listed it has surely read it.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import date, timedelta

from tradewind.errors import ConflictError
from tradewind.ledger.columns import schema
from tradewind.ledger.files import (
    DAYS,
    FOLDER,
    Day,
    compactions,
    damaged,
    days,
    name_of,
    source_key,
    to_parquet,
    together,
)
from tradewind.records import Compaction, StoredFile, now
from tradewind.storage import Store
from tradewind.storage.probe import require_exclusive_create
from tradewind.storage.removal import delete_all

FEWEST = 16
"""Files of a day that are worth a new one."""
GRACE = timedelta(days=7)


@dataclass(frozen=True)
class Compacted:
    """What one call has done."""

    days: int
    files: int
    """Small ones, whose rows stand in the file of their day now."""
    deleted: int
    """Small ones whose rows have stood there for longer than the grace period."""


def compact(store: Store, *, grace: timedelta = GRACE) -> Compacted:
    """Put the rows of each day that has many small files into one, and delete those of which that is long done.

    May be called at any time and by several at once. Raises IntegrityError for a damaged file; its day stays as it is.
    """
    require_exclusive_create(store)
    found = days(store)
    made = [one for day in found if len(day.loose) >= FEWEST and (one := _compact(store, day))]
    old = [key for day in found for key in _replaced(store, day, grace)]
    delete_all(store, old)
    return Compacted(len(made), sum(made), len(old))


def _compact(store: Store, day: Day) -> int:
    """How many files were taken in; 0 when another was faster."""
    table = together(store, [day], schema().names)
    data = to_parquet(table.combine_chunks())
    digest = hashlib.sha256(data).hexdigest()
    file = StoredFile(key=f"{DAYS}/{day.day}/{digest}.parquet", sha256=digest, num_bytes=len(data))
    store.put(file.key, data)
    earlier = day.compaction
    record = Compaction(
        number=earlier.number + 1 if earlier else 1,
        writer=uuid.uuid4().hex,
        day=date.fromisoformat(day.day),
        file=file,
        num_rows=table.num_rows,
        sources=tuple(sorted({*map(name_of, day.loose), *(earlier.sources if earlier else ())})),
    )
    try:
        store.create(compactions(store, day.day).key(record.number), record.to_json())
    except ConflictError:
        return 0
    return len(day.loose)


def _replaced(store: Store, day: Day, grace: timedelta) -> list[str]:
    """Files of which a record older than the grace period says that another, read once more, holds their rows."""
    newest = day.compaction
    if newest is None or now() - newest.created_at < grace:
        return []
    names = {source_key(day.day, name) for name in newest.sources}
    sources = sorted(item.key for item in store.list(f"{FOLDER}/date={day.day}") if item.key in names)
    if sources and hashlib.sha256(store.get(newest.file.key)).hexdigest() != newest.file.sha256:
        raise damaged(store, newest.file.key)
    # One that is young may be about to be named by a compactor that is at work now.
    other = (item for item in store.list(f"{DAYS}/{day.day}") if item.key != newest.file.key)
    return sources + sorted(one.key for one in other if one.modified_at and now() - one.modified_at >= grace)
