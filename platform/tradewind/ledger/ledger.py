"""The ledger: rows of usage, appended as Parquet files to the workspace and never changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from tradewind.errors import SpecError, did_you_mean
from tradewind.ledger.columns import schema
from tradewind.ledger.compaction import GRACE, Compacted, compact
from tradewind.ledger.files import damaged, days, read, source_key, to_parquet, together, whole
from tradewind.ledger.grouping import Axis, UsageTable, check_axes, grouped
from tradewind.ledger.reconciliation import Reconciliation, reconcile
from tradewind.ledger.usage import transfers
from tradewind.records import Machine, Usage
from tradewind.storage import Store
from tradewind.storage.transfer.meter import TransferMeter

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Ledger:
    store: Store

    def record(self, rows: Iterable[Usage], *, name: str | None = None) -> None:
        """Append rows as one object, all or none. Under a `name` they are there once, however often they come."""
        import pyarrow as pa

        rows = list(rows)
        if not rows:
            return
        plain = [row.model_dump() | {"parents": list(row.parents)} for row in rows]
        day = max(row.created_at for row in rows).astimezone(UTC).date().isoformat()
        data = to_parquet(pa.Table.from_pylist(plain, schema=schema()))
        self.store.put(source_key(day, f"{name or uuid.uuid4().hex}.parquet"), data)

    def record_transfers(
        self,
        meter: TransferMeter,
        *,
        subject: str,
        machine: Machine,
        team: str | None = None,
        dataset: str | None = None,
    ) -> list[Usage]:
        """Write down what a meter has counted since the last call: a row for each store and boundary.

        After an error the same call writes the same rows under the same name, so nothing is counted twice.
        """
        batch = meter.take()
        if batch is None:
            return []
        rows = transfers(batch, subject, machine, team=team, dataset=dataset)
        self.record(rows, name=f"transfer-{batch.name}")
        meter.done(batch)
        return rows

    def rows(self, *, since: datetime | None = None, until: datetime | None = None) -> list[Usage]:
        """All rows, oldest first; with `since` those of that moment or later, with `until` those of before.

        Raises IntegrityError that names the file. Each row is checked and made an object, which takes much longer than
        `table`.
        """
        columns = schema().names
        rows = [row for key, table in read(self.store, days(self.store, _day(since)), columns)
                for row in self._checked(key, table)]  # fmt: skip
        kept = (row for row in rows if _within(row.created_at, since, until))
        return sorted(kept, key=lambda row: row.created_at)

    def table(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """The same rows, in no particular order, as a `pyarrow.Table` with all columns or these.

        Raises SpecError for a column that there is not, IntegrityError for a damaged file.
        """
        columns = schema().names if columns is None else columns
        if unknown := [name for name in columns if name not in schema().names]:
            raise SpecError(f"the ledger has no column {unknown[0]!r}{did_you_mean(unknown[0], schema().names)}")
        wanted = list(dict.fromkeys([*columns, "created_at"]))
        return _between(together(self.store, days(self.store, _day(since)), wanted), since, until).select(list(columns))

    def by(
        self, axes: Sequence[Axis | str], *, since: datetime | None = None, until: datetime | None = None
    ) -> UsageTable:
        """What was used in all, and for each value of some axes: team, run, model, endpoint, day, and so on.

        The time of nodes is not in it; `reconcile` holds it against the rest. Raises SpecError for an unknown axis.
        """
        checked = check_axes(axes)
        return grouped(self.table(since=since, until=until, columns=UsageTable.columns_for(checked)), checked)

    def reconcile(self, *, since: datetime | None = None, until: datetime | None = None) -> Reconciliation:
        """Hold the time of nodes against what was used on them."""
        rows = self.rows(since=since, until=until)
        nodes = [row for row in rows if row.activity == "cluster"]
        return reconcile(nodes, [row for row in rows if row.activity != "cluster"])

    def compact(self, *, grace: timedelta = GRACE) -> Compacted:
        """Put the rows of each day that has many small files into one file, so that they are read faster."""
        return compact(self.store, grace=grace)

    def _checked(self, key: str, table: pa.Table) -> list[Usage]:
        rows = whole(self.store, key, table, schema().names).to_pylist()
        try:
            return [Usage.model_validate(row) for row in rows]
        except ValueError as exc:
            raise damaged(self.store, key) from exc


def _day(moment: datetime | None) -> date | None:
    return moment.astimezone(UTC).date() if moment else None


def _within(moment: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or moment >= since.astimezone(UTC)) and (until is None or moment < until.astimezone(UTC))


def _between(table: pa.Table, since: datetime | None, until: datetime | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = schema().field("created_at").type
    if since is not None:
        table = table.filter(pc.greater_equal(table["created_at"], pa.scalar(since.astimezone(UTC), kind)))
    if until is not None:
        table = table.filter(pc.less(table["created_at"], pa.scalar(until.astimezone(UTC), kind)))
    return table
