from __future__ import annotations

import io
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tradewind.errors import IntegrityError, SpecError, StorageError
from tradewind.ledger import Ledger, effort, usage
from tradewind.records import Machine, Usage
from tradewind.storage import Store, open_store
from tradewind.storage.transfer.meter import TransferMeter
from tradewind.storage.transfer.tariffs import Tariff

MACHINE = Machine(host="quay", processor="Xeon", num_cpus=4, memory_bytes=16_000_000_000, usd_per_hour=0.36)
FAR = Tariff("internet", 0.09, "list", "2026-06-02")
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


def test_rows_come_back_with_every_field(ledger: Ledger) -> None:
    full = Usage(
        schema_version=3,
        created_at=NOON + timedelta(microseconds=123_456),
        parents=("run:first", "model:pilot@1"),
        usage_id="u1",
        activity="serving",
        subject="endpoint:ünïcödé",
        team="pilots",
        run="first",
        model="pilot@1",
        endpoint="ünïcödé",
        dataset="tides@1+logs@2",
        machine="quay",
        cloud="aws",
        region="us-east-1",
        device="H100",
        devices=8,
        began_at=NOON,
        allocated_s=12.0,
        used_s=11.0,
        productive_s=10.5,
        usd_per_hour=98.32,
        price_as_of=date(2025, 3, 1),
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


def metered(*counts: tuple[str, int]) -> TransferMeter:
    meter = TransferMeter()
    for store, num_bytes in counts:
        meter.count(store, FAR, num_bytes)
    return meter


def test_transfers_become_a_row_for_each_store_with_bytes_and_dollars(ledger: Ledger) -> None:
    meter = metered(("s3://a", 10**9), ("gs://b", 5), ("s3://a", 10**9))
    rows = ledger.record_transfers(meter, subject="dataset:tides@1", machine=MACHINE)
    assert ledger.rows() == rows
    assert [(one.store, one.num_bytes, one.boundary) for one in rows] == [
        ("gs://b", 5, "internet"),
        ("s3://a", 2 * 10**9, "internet"),
    ]
    assert rows[1].usd == pytest.approx(0.18)
    assert (rows[1].activity, rows[1].subject, rows[1].machine) == ("transfer", "dataset:tides@1", "quay")
    assert (rows[1].dataset, rows[1].allocated_s, rows[1].price_as_of) == ("tides@1", 0, date(2026, 6, 2))
    assert ledger.record_transfers(meter, subject="dataset:tides@1", machine=MACHINE) == []
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
            ledger.record_transfers(meter, subject="dataset:tides@1", machine=MACHINE)
        meter.count("s3://a", FAR, 1)
    monkeypatch.setattr(type(ledger.store), "put", put)
    ledger.record_transfers(meter, subject="dataset:tides@1", machine=MACHINE)
    ledger.record_transfers(meter, subject="dataset:tides@1", machine=MACHINE)
    assert sorted(one.num_bytes for one in ledger.rows()) == [2, 7]


def test_rows_that_an_earlier_program_wrote_are_filled_up(ledger: Ledger) -> None:
    """With the columns of before there were teams, devices and names: names are in ids, and all time counts as used."""
    old = {
        "schema_version": 1, "created_at": NOON, "parents": ["endpoint:chat", "model:pilot@1"], "usage_id": "u1",
        "activity": "serving", "subject": "endpoint:chat", "machine": "quay", "requests": 3, "tokens_in": 5,
        "tokens_out": 7, "num_bytes": 0, "boundary": None, "store": None, "seconds": 1800.0, "cpu_seconds": 2.0,
        "energy_wh": 0.1, "energy_basis": "estimated", "usd": 0.5,
    }  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([old]), buffer)
    ledger.store.put("ledger/usage/date=2025-03-04/old.parquet", buffer.getvalue())
    ledger.record([row()])
    read = next(one for one in ledger.rows() if one.usage_id == "u1")
    assert (read.endpoint, read.model, read.run, read.dataset, read.team) == ("chat", "pilot@1", "", "", "")
    assert (read.device, read.devices, read.began_at, read.price_as_of) == ("cpu", 1, None, None)
    assert (read.allocated_s, read.used_s, read.productive_s, read.usd_per_hour) == (1800, 1800, 1800, 1.0)
    assert {one["endpoint"]: one["usd"] for one in ledger.by(["endpoint"])}["chat"] == 0.5


def test_price_of_the_moment_stays_whatever_it_is_later(ledger: Ledger) -> None:
    for usd in (0.36, 3.6):
        machine = MACHINE.model_copy(update={"usd_per_hour": usd, "price_as_of": date(2025, 3, 1)})
        ledger.record([usage("training", "run:first", machine, effort(machine, seconds=3600, cpu_seconds=1))])
    assert sorted((one.usd_per_hour, one.usd) for one in ledger.rows()) == [(0.36, 0.36), (3.6, 3.6)]


def test_table_holds_the_same_rows_with_the_columns_that_were_asked_for(ledger: Ledger) -> None:
    rows = record_on(ledger, *(NOON + timedelta(hours=hour) for hour in range(0, 60, 7)))
    since, until = NOON + timedelta(hours=10), NOON + timedelta(hours=40)
    assert sorted(ledger.table()["subject"].to_pylist()) == sorted(one.subject for one in rows)
    table = ledger.table(since=since, until=until, columns=["subject", "usd"])
    assert table.column_names == ["subject", "usd"]
    kept = [one for one in rows if since <= one.created_at < until]
    assert 0 < len(kept) < len(rows)
    assert sorted(table["subject"].to_pylist()) == sorted(one.subject for one in kept)
    assert ledger.rows(since=since, until=until) == kept
    assert ledger.table(since=NOON + timedelta(days=900)).num_rows == 0


def test_unknown_column_is_answered_with_the_nearest(ledger: Ledger) -> None:
    with pytest.raises(SpecError, match=r"no column 'alocated_s' \(did you mean 'allocated_s'\?\)"):
        ledger.table(columns=["alocated_s"])


def test_table_names_the_damaged_file(ledger: Ledger) -> None:
    ledger.record([row()], name="whole")
    buffer = io.BytesIO()
    pq.write_table(pa.table({"usage_id": ["u1"], "created_at": [NOON], "usd": ["much"]}), buffer)
    for name, data in (("cut", b"PAR1"), ("foreign", buffer.getvalue())):
        key = f"ledger/usage/date=2025-03-04/{name}.parquet"
        ledger.store.put(key, data)
        with pytest.raises(IntegrityError, match=rf"{name}\.parquet is not a whole Parquet file"):
            ledger.table(columns=["usage_id", "usd"])
        with pytest.raises(IntegrityError, match=rf"{name}\.parquet"):
            ledger.by(["team"])
        ledger.store.delete(key)


def test_readers_see_whole_writes_while_others_write(ledger: Ledger) -> None:
    """Each write is of four rows, so no sum is ever of a part of one."""

    def write(number: int) -> None:
        for one in range(10):
            ledger.record([row(f"run:{number}-{one}")] * 4)

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        seen = [ledger.by(["run"]) for _ in range(10)]
        for writer in writers:
            writer.result()
    assert all(one["rows"] == 4 for table in seen for one in table)
    assert ledger.by([]).total["rows"] == 160
