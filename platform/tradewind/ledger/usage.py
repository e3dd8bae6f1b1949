"""The ledger: rows of usage, appended as Parquet files to the workspace and never changed."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from tradewind.errors import IntegrityError
from tradewind.records import Activity, Effort, Machine, Usage
from tradewind.storage import Store
from tradewind.storage.transfer.meter import Batch, TransferMeter
from tradewind.storage.transfer.tariffs import NUSD

FOLDER = "ledger/usage"


@dataclass(frozen=True)
class Ledger:
    store: Store

    def record(self, rows: Iterable[Usage], *, name: str | None = None) -> None:
        """Append rows as one object, all or none. Under a `name` they are there once, however often they come."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = list(rows)
        if not rows:
            return
        plain = [row.model_dump() | {"parents": list(row.parents)} for row in rows]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(plain, schema=_schema()), buffer, write_page_checksum=True)
        day = max(row.created_at for row in rows).astimezone(UTC).date().isoformat()
        self.store.put(f"{FOLDER}/date={day}/{name or uuid.uuid4().hex}.parquet", buffer.getvalue())

    def record_transfers(self, meter: TransferMeter, *, subject: str, machine: str) -> list[Usage]:
        """Write down what a meter has counted since the last call: a row for each store and boundary.

        After an error the same call writes the same rows under the same name, so nothing is counted twice.
        """
        batch = meter.take()
        if batch is None:
            return []
        rows = _transfers(batch, subject, machine)
        self.record(rows, name=f"transfer-{batch.name}")
        meter.done(batch)
        return rows

    def rows(self, *, since: datetime | None = None) -> list[Usage]:
        """All rows, oldest first; with `since` only those of that moment or later. Raises IntegrityError."""
        since = since.astimezone(UTC) if since else None
        rows = (row for key in self._keys(since) for row in self._read(key))
        return sorted((row for row in rows if since is None or row.created_at >= since), key=lambda row: row.created_at)

    def _keys(self, since: datetime | None) -> Iterator[str]:
        first = f"{FOLDER}/date={since.date().isoformat()}" if since else ""
        return (item.key for item in self.store.list(FOLDER) if item.key >= first)

    def _read(self, key: str) -> list[Usage]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        data = self.store.get(key)
        try:
            table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
            return [Usage.model_validate(row) for row in table.to_pylist()]
        except (pa.ArrowException, OSError, ValueError) as exc:  # pyarrow says OSError where a part cannot be decoded
            raise IntegrityError(
                f"{self.store.url}/{key} is not a whole Parquet file of usage", hint="restore or delete it"
            ) from exc


def usage(
    activity: Activity,
    subject: str,
    machine: Machine,
    effort: Effort,
    *,
    tokens_in: int = 0,
    tokens_out: int = 0,
    requests: int = 0,
    parents: tuple[str, ...] = (),
) -> Usage:
    """A row of the ledger for work that has been metered. `parents` are what was used for it, beside the subject."""
    return Usage(
        usage_id=uuid.uuid4().hex,
        activity=activity,
        subject=subject,
        parents=(subject, *parents),
        machine=machine.host,
        requests=requests,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        **effort.model_dump(),
    )


def _transfers(batch: Batch, subject: str, machine: str) -> list[Usage]:
    nothing = Effort(seconds=0, cpu_seconds=0, energy_wh=0, usd=0)
    return [
        Usage(
            usage_id=f"{batch.name}-{number}",
            created_at=batch.at,
            activity="transfer",
            subject=subject,
            parents=(subject,),
            machine=machine,
            num_bytes=moved.num_bytes,
            boundary=moved.boundary,
            store=moved.store,
            **nothing.model_dump() | {"usd": moved.nusd / NUSD},
        )
        for number, moved in enumerate(batch.moved)
    ]


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([(name, _column(name, field.annotation)) for name, field in Usage.model_fields.items()])


def _column(name: str, annotation: Any) -> Any:
    """The Arrow type of a field. Raises TypeError for one that has none here."""
    import pyarrow as pa

    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us", tz="UTC"),
        tuple[str, ...]: pa.list_(pa.string()),
    }
    given = [kind for kind in get_args(annotation) if kind is not type(None)]
    kind = given[0] if get_origin(annotation) in (Union, UnionType) and len(given) == 1 else annotation
    if get_origin(kind) is Literal and all(isinstance(word, str) for word in get_args(kind)):
        kind = str
    if kind not in types:
        raise TypeError(f"no column type for the field {name} of usage: {annotation}")
    return types[kind]
