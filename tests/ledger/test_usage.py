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

from tradewind.errors import IntegrityError
from tradewind.ledger import Ledger, effort, usage
from tradewind.records import Machine, Usage
from tradewind.storage import open_store

MACHINE = Machine(host="quay", processor="Xeon", num_cpus=4, memory_bytes=16_000_000_000, usd_per_hour=0.36)
MODULE = importlib.import_module("tradewind.ledger.usage")  # `tradewind.ledger.usage` is the function
NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


def row(subject: str = "run:first", *, at: datetime = NOON) -> Usage:
    made = usage("training", subject, MACHINE, effort(MACHINE, seconds=10, cpu_seconds=20), tokens_in=4096)
    return made.model_copy(update={"created_at": at})


def record_on(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *moments: datetime) -> list[Usage]:
    """Rows of some moments, each written at its moment."""
    rows = [row(f"run:{number}", at=moment) for number, moment in enumerate(moments)]
    for one in rows:
        with monkeypatch.context() as patch:
            patch.setattr(MODULE, "now", lambda one=one: one.created_at)
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


def test_since_gives_rows_of_that_moment_and_later(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [NOON + timedelta(days=day) for day in (0, 1, 2, 30, 365)]
    rows = record_on(ledger, monkeypatch, *days)
    for first, moment in enumerate(days):
        assert ledger.rows(since=moment) == rows[first:]
        assert ledger.rows(since=moment + timedelta(microseconds=1)) == rows[first + 1 :]


def test_days_before_since_are_not_even_read(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = record_on(ledger, monkeypatch, NOON, NOON + timedelta(days=1))
    old = next(key for key in keys(ledger) if "date=2025-03-04" in key)
    ledger.store.put(old, b"damaged")
    assert ledger.rows(since=NOON + timedelta(days=1)) == rows[1:]


@pytest.mark.parametrize("hours", [-11, -5, 9, 14])
def test_since_may_be_of_any_time_zone(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    moments = [NOON + timedelta(hours=hour) for hour in range(0, 48, 5)]
    rows = record_on(ledger, monkeypatch, *moments)
    for first, moment in enumerate(moments):
        assert ledger.rows(since=moment.astimezone(timezone(timedelta(hours=hours)))) == rows[first:]


def test_since_without_a_time_zone_is_local_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = record_on(ledger, monkeypatch, NOON, NOON + timedelta(hours=1))
    local = (NOON + timedelta(minutes=30)).astimezone().replace(tzinfo=None)
    assert ledger.rows(since=local) == rows[1:]


def test_row_that_is_written_after_midnight_is_found_by_its_own_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = row(at=datetime(2025, 3, 4, 23, 59, 59, tzinfo=UTC))
    monkeypatch.setattr(MODULE, "now", lambda: datetime(2025, 3, 5, tzinfo=UTC))
    ledger.record([late])
    assert ledger.rows(since=late.created_at) == [late]


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
