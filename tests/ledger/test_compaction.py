from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tradewind.errors import IntegrityError, StorageError
from tradewind.ledger import Compacted, Ledger
from tradewind.ledger.compaction import FEWEST
from tradewind.ledger.files import days, to_parquet
from tradewind.records import Usage
from tradewind.storage import Store, open_store

NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)
AT_ONCE = timedelta(0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


def record(ledger: Ledger, count: int, *, first: int = 0, at: datetime = NOON) -> None:
    """Rows of 1, 2, 4, … of a currency that tells which are counted, and how often, each in a file of its own."""
    for number in range(first, first + count):
        row = Usage(
            created_at=at + timedelta(seconds=number), usage_id=f"u{number}", activity="training",
            subject=f"run:{number}", run=str(number), machine="quay", tokens_in=1 << number, seconds=1.0,
            cpu_seconds=1.0, energy_wh=0.0, usd=0.0,
        )  # fmt: skip
        ledger.record([row], name=f"row-{number}")


def counted(ledger: Ledger) -> int:
    return int(ledger.by([]).total["tokens_in"])


def keys(ledger: Ledger, folder: str) -> list[str]:
    return sorted(item.key for item in ledger.store.list(f"ledger/{folder}"))


def test_rows_are_the_same_before_and_after(ledger: Ledger) -> None:
    record(ledger, FEWEST + 4)
    before = ledger.rows()
    assert ledger.compact() == Compacted(days=1, files=FEWEST + 4, deleted=0)
    assert ledger.rows() == before
    assert [len(day.keys) for day in days(ledger.store)] == [1]
    assert len(keys(ledger, "usage")) == FEWEST + 4


def test_day_with_few_files_stays_as_it_is(ledger: Ledger) -> None:
    record(ledger, FEWEST - 1)
    assert ledger.compact() == Compacted(days=0, files=0, deleted=0)
    assert keys(ledger, "days") == []


def test_row_that_comes_late_is_read_beside_the_others_and_taken_in_with_more(ledger: Ledger) -> None:
    record(ledger, FEWEST)
    ledger.compact()
    record(ledger, 1, first=FEWEST)
    assert counted(ledger) == (1 << FEWEST + 1) - 1
    record(ledger, FEWEST, first=FEWEST + 1)
    assert ledger.compact().files == FEWEST + 1
    assert counted(ledger) == (1 << 2 * FEWEST + 1) - 1
    assert [len(day.keys) for day in days(ledger.store)] == [1]


def test_row_that_is_written_again_after_it_was_taken_in_counts_once(ledger: Ledger) -> None:
    """Whoever got no answer writes the same rows under the same name, also when the first are deleted already."""
    record(ledger, FEWEST)
    ledger.compact()
    record(ledger, FEWEST)
    ledger.compact(grace=AT_ONCE)
    record(ledger, 3)
    assert counted(ledger) == (1 << FEWEST) - 1


def test_nothing_is_deleted_within_the_grace_period(ledger: Ledger) -> None:
    record(ledger, FEWEST)
    ledger.compact()
    assert ledger.compact().deleted == 0
    assert len(keys(ledger, "usage")) == FEWEST
    assert ledger.compact(grace=AT_ONCE).deleted == FEWEST
    assert keys(ledger, "usage") == []
    assert counted(ledger) == (1 << FEWEST) - 1


def test_reader_that_has_listed_before_a_compaction_reads_after_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ledger, FEWEST)
    get, compacted = type(ledger.store).get, threading.Event()

    def late(self: Store, key: str) -> bytes:
        if not compacted.is_set():
            compacted.set()
            ledger.compact()
        return get(self, key)

    monkeypatch.setattr(type(ledger.store), "get", late)
    assert counted(ledger) == (1 << FEWEST) - 1


def test_compaction_that_is_torn_changes_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    record(ledger, FEWEST)

    def torn(self: Store, key: str, data: bytes) -> None:
        raise StorageError("the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(type(ledger.store), "create", torn)
        with pytest.raises(StorageError):
            ledger.compact()
    assert len(keys(ledger, "days")) == 1
    assert counted(ledger) == (1 << FEWEST) - 1
    assert ledger.compact().files == FEWEST
    assert counted(ledger) == (1 << FEWEST) - 1


def test_what_a_torn_compaction_left_is_deleted_and_what_is_named_is_kept(ledger: Ledger) -> None:
    record(ledger, FEWEST)
    ledger.store.put(f"ledger/days/2025-03-04/{'0' * 64}.parquet", b"left")
    ledger.compact()
    ledger.compact()
    assert len(keys(ledger, "days")) == 2
    ledger.compact(grace=AT_ONCE)
    (kept,) = keys(ledger, "days")
    assert "0" * 64 not in kept
    assert counted(ledger) == (1 << FEWEST) - 1


def test_of_racing_compactors_one_wins_and_all_rows_count_once(ledger: Ledger) -> None:
    record(ledger, FEWEST)
    barrier = threading.Barrier(4)

    def compact(_: int) -> Compacted:
        barrier.wait()
        return ledger.compact()

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(compact, range(4)))
    assert sum(one.files for one in done) == FEWEST
    assert counted(ledger) == (1 << FEWEST) - 1
    assert len(keys(ledger, "compactions")) == 1


def test_rows_are_counted_once_while_others_write_and_compact(ledger: Ledger) -> None:
    """A reader finds every row that was there when it began, and none twice."""
    written: list[str] = []

    def write() -> None:
        for number in range(60):
            record(ledger, 1, first=number)
            written.append(f"u{number}")

    with ThreadPoolExecutor(3) as pool:
        writing = pool.submit(write)
        compacting = pool.submit(lambda: [ledger.compact() for _ in range(8)])
        while not (writing.done() and compacting.done()):
            before = set(written)
            found = ledger.table(columns=["usage_id"])["usage_id"].to_pylist()
            assert len(found) == len(set(found))
            assert before <= set(found)
        writing.result()
        compacting.result()
    assert counted(ledger) == (1 << 60) - 1


def test_days_before_since_are_not_read_after_a_compaction_either(ledger: Ledger) -> None:
    record(ledger, FEWEST)
    record(ledger, FEWEST, first=FEWEST, at=NOON + timedelta(days=1))
    assert ledger.compact().days == 2
    old = next(key for key in keys(ledger, "days") if "2025-03-04" in key)
    ledger.store.put(old, b"damaged")
    assert len(ledger.rows(since=NOON + timedelta(days=1))) == FEWEST


def test_damaged_file_of_a_day_is_named_and_keeps_its_sources(ledger: Ledger) -> None:
    record(ledger, FEWEST)
    ledger.compact()
    (key,) = keys(ledger, "days")
    data = ledger.store.get(key)
    ledger.store.put(key, data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    for read in (ledger.rows, ledger.table, lambda: ledger.compact(grace=AT_ONCE)):
        with pytest.raises(IntegrityError, match=rf"{key} is not a whole Parquet file"):
            read()
    assert len(keys(ledger, "usage")) == FEWEST


@pytest.mark.parametrize("data", [b"PAR1", to_parquet(pa.table({"usage_id": ["u1"]}))], ids=["cut", "foreign"])
def test_damaged_small_file_is_named_and_its_day_stays(ledger: Ledger, data: bytes) -> None:
    record(ledger, FEWEST)
    ledger.store.put("ledger/usage/date=2025-03-04/row-3.parquet", data)
    with pytest.raises(IntegrityError, match=r"row-3\.parquet"):
        ledger.compact()
    assert keys(ledger, "compactions") == []
