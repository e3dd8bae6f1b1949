from __future__ import annotations

import importlib
import io
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tradewind.errors import IntegrityError, StorageError
from tradewind.ledger import Ledger, effort, usage
from tradewind.records import Machine, Usage
from tradewind.storage import Store, open_store
from tradewind.storage.transfer.meter import TransferMeter
from tradewind.storage.transfer.tariffs import Tariff

MACHINE = Machine(host="quay", processor="Xeon", num_cpus=4, memory_bytes=16_000_000_000, usd_per_hour=0.36)
MODULE = importlib.import_module("tradewind.ledger.usage")  # `tradewind.ledger.usage` is the function
FAR = Tariff("internet", 0.09, "list", "2026")
NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


def row(subject: str = "run:first", *, at: datetime = NOON) -> Usage:
    made = usage("training", subject, MACHINE, effort(MACHINE, seconds=10, cpu_seconds=20), tokens_in=4096)
    return made.model_copy(update={"created_at": at})


def record_on(ledger: Ledger, *moments: datetime) -> list[Usage]:
    """Rows of some moments, each written by itself."""
    rows = [row(f"run:{number}", at=moment) for number, moment in enumerate(moments)]
    for one in rows:
        ledger.record([one])
    return rows


def keys(ledger: Ledger) -> list[str]:
    return [item.key for item in ledger.store.list("ledger")]


def test_row_holds_what_was_metered() -> None:
    made = row()
    assert (made.activity, made.subject, made.parents, made.machine) == (
        "training",
        "run:first",
        ("run:first",),
        "quay",
    )
    assert (made.tokens_in, made.tokens_out, made.requests) == (4096, 0, 0)
    assert effort(MACHINE, seconds=10, cpu_seconds=20).model_dump().items() <= made.model_dump().items()


def test_rows_come_back_with_every_field(ledger: Ledger) -> None:
    full = Usage(
        schema_version=3,
        created_at=NOON + timedelta(microseconds=123_456),
        parents=("run:first", "model:pilot@1"),
        usage_id="u1",
        activity="serving",
        subject="endpoint:ünïcödé",
        machine="quay",
        requests=3,
        tokens_in=2**40,
        tokens_out=5,
        seconds=1.5,
        cpu_seconds=0.1 + 0.2,
        energy_wh=1e-9,
        energy_basis="measured",
        usd=0.0,
        num_bytes=2**50,
        boundary="internet",
        store="s3://harbour/prefix",
    )
    assert set(full.model_dump(exclude_defaults=True)) | {"usd"} == set(Usage.model_fields)
    ledger.record([full])
    assert ledger.rows() == [full]


def test_rows_of_many_writes_come_oldest_first(ledger: Ledger) -> None:
    rows = [row(f"run:{number}", at=NOON + timedelta(minutes=number)) for number in range(6)]
    ledger.record([rows[4], rows[1]])
    ledger.record([rows[0]])
    ledger.record(iter([rows[5], rows[2], rows[3]]))
    assert ledger.rows() == rows
    assert len(keys(ledger)) == 3


def test_nothing_to_record_writes_nothing(ledger: Ledger) -> None:
    ledger.record([])
    assert keys(ledger) == []
    assert ledger.rows() == []


def test_since_gives_rows_of_that_moment_and_later(ledger: Ledger) -> None:
    days = [NOON + timedelta(days=day) for day in (0, 1, 2, 30, 365)]
    rows = record_on(ledger, *days)
    for first, moment in enumerate(days):
        assert ledger.rows(since=moment) == rows[first:]
        assert ledger.rows(since=moment + timedelta(microseconds=1)) == rows[first + 1 :]


def test_days_before_since_are_not_even_read(ledger: Ledger) -> None:
    rows = record_on(ledger, NOON, NOON + timedelta(days=1))
    old = next(key for key in keys(ledger) if "date=2025-03-04" in key)
    ledger.store.put(old, b"damaged")
    assert ledger.rows(since=NOON + timedelta(days=1)) == rows[1:]


@pytest.mark.parametrize("hours", [-11, -5, 9, 14])
def test_since_may_be_of_any_time_zone(ledger: Ledger, hours: int) -> None:
    moments = [NOON + timedelta(hours=hour) for hour in range(0, 48, 5)]
    rows = record_on(ledger, *moments)
    for first, moment in enumerate(moments):
        assert ledger.rows(since=moment.astimezone(timezone(timedelta(hours=hours)))) == rows[first:]


def test_since_without_a_time_zone_is_local_time(ledger: Ledger) -> None:
    rows = record_on(ledger, NOON, NOON + timedelta(hours=1))
    local = (NOON + timedelta(minutes=30)).astimezone().replace(tzinfo=None)
    assert ledger.rows(since=local) == rows[1:]


def test_row_is_found_by_its_own_time_whenever_it_is_written(ledger: Ledger) -> None:
    late = row(at=datetime(2025, 3, 4, 23, 59, 59, tzinfo=UTC))
    early = row(at=datetime(2025, 3, 5, 0, 0, 1, tzinfo=UTC))
    ledger.record([early, late])
    assert ledger.rows(since=late.created_at) == [late, early]
    assert ledger.rows(since=early.created_at) == [early]


def test_named_rows_are_there_once_however_late_they_come_again(ledger: Ledger) -> None:
    """Also on another day: the object's name follows from the rows alone."""
    rows = [row(at=NOON), row(at=NOON + timedelta(days=1))]
    for _ in range(3):
        ledger.record(rows, name="batch-1")
    assert ledger.rows() == rows


def test_concurrent_writers_lose_nothing(ledger: Ledger) -> None:
    rows = [row(f"run:{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: ledger.record([one]), rows))
    assert sorted(one.subject for one in ledger.rows()) == sorted(one.subject for one in rows)


def test_cut_file_is_named(ledger: Ledger) -> None:
    ledger.record([row(), row()])
    (key,) = keys(ledger)
    data = ledger.store.get(key)
    for length in {0, 1, 4, 100, len(data) // 2, len(data) - 9, len(data) - 1}:
        ledger.store.put(key, data[:length])
        with pytest.raises(IntegrityError, match=r"ledger/usage/date=.*\.parquet is not a whole Parquet file"):
            ledger.rows()


def test_altered_byte_is_an_integrity_error_or_does_no_harm(ledger: Ledger) -> None:
    """Parquet has checksums of its pages, and none of its own descriptions of them."""
    rows = [row(f"run:{uuid.uuid4().hex}") for _ in range(3)]
    ledger.record(rows)
    (key,) = keys(ledger)
    data = ledger.store.get(key)
    damaged = 0
    for at in range(0, len(data), 8):
        ledger.store.put(key, data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            assert len(ledger.rows()) == 3
        except IntegrityError:
            damaged += 1
    assert damaged > 0


def test_altered_data_is_seen(ledger: Ledger) -> None:
    ledger.record([row("run:harbour")])
    (key,) = keys(ledger)
    data = ledger.store.get(key)
    assert data.count(b"run:harbour") >= 1
    ledger.store.put(key, data.replace(b"run:harbour", b"run:harbous", 1))
    with pytest.raises(IntegrityError):
        ledger.rows()


def test_foreign_table_is_an_integrity_error(ledger: Ledger) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"usage_id": ["u1"]}), buffer)
    ledger.store.put("ledger/usage/date=2025-03-04/foreign.parquet", buffer.getvalue())
    with pytest.raises(IntegrityError, match=r"foreign\.parquet"):
        ledger.rows()


def test_column_that_an_older_program_did_not_write_has_its_default(ledger: Ledger) -> None:
    full = row()
    plain = {**full.model_dump(), "parents": list(full.parents)}
    del plain["energy_basis"]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([plain | {"of_a_newer_program": 1}]), buffer)
    ledger.store.put("ledger/usage/date=2025-03-04/other.parquet", buffer.getvalue())
    assert ledger.rows() == [full]


def test_rows_of_before_there_were_transfers_still_read(ledger: Ledger) -> None:
    full = row()
    plain = {**full.model_dump(), "parents": list(full.parents)}
    for name in ("num_bytes", "boundary", "store"):
        del plain[name]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([plain]), buffer)
    ledger.store.put("ledger/usage/date=2025-03-04/old.parquet", buffer.getvalue())
    (read,) = ledger.rows()
    assert read == full
    assert (read.num_bytes, read.boundary, read.store) == (0, None, None)


@pytest.mark.parametrize("annotation", [dict[str, str], bytes, int | str, list[str], object])
def test_field_without_a_column_type_is_refused(annotation: object) -> None:
    with pytest.raises(TypeError, match="no column type for the field cargo"):
        MODULE._column("cargo", annotation)


def metered(*counts: tuple[str, int]) -> TransferMeter:
    meter = TransferMeter()
    for store, num_bytes in counts:
        meter.count(store, FAR, num_bytes)
    return meter


def test_transfers_become_a_row_for_each_store_with_bytes_and_dollars(ledger: Ledger) -> None:
    meter = metered(("s3://a", 10**9), ("gs://b", 5), ("s3://a", 10**9))
    rows = ledger.record_transfers(meter, subject="dataset:tides@1", machine="quay")
    assert ledger.rows() == rows
    assert [(one.store, one.num_bytes, one.boundary) for one in rows] == [
        ("gs://b", 5, "internet"),
        ("s3://a", 2 * 10**9, "internet"),
    ]
    assert rows[1].usd == pytest.approx(0.18)
    assert (rows[1].activity, rows[1].subject, rows[1].machine) == ("transfer", "dataset:tides@1", "quay")
    assert ledger.record_transfers(meter, subject="dataset:tides@1", machine="quay") == []
    assert len(ledger.rows()) == 2


def test_transfers_are_counted_once_when_a_write_fails_before_or_after_it_was_done(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = metered(("s3://a", 7))
    put = type(ledger.store).put
    for does_it in (False, True):

        def failing(self: Store, key: str, data: bytes | Path, does_it: bool = does_it) -> None:
            if does_it:
                put(self, key, data)
            raise StorageError("the line is cut")

        monkeypatch.setattr(type(ledger.store), "put", failing)
        with pytest.raises(StorageError):
            ledger.record_transfers(meter, subject="dataset:tides@1", machine="quay")
        meter.count("s3://a", FAR, 1)
    monkeypatch.setattr(type(ledger.store), "put", put)
    ledger.record_transfers(meter, subject="dataset:tides@1", machine="quay")
    ledger.record_transfers(meter, subject="dataset:tides@1", machine="quay")
    assert sorted(one.num_bytes for one in ledger.rows()) == [2, 7]
