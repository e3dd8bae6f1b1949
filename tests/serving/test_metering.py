from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tradewind.errors import StorageError
from tradewind.ledger import Ledger
from tradewind.serving.metering import Busy, Served, UsageMeter
from tradewind.storage import open_store

AGE_S = 100.0


class FullLedger(Ledger):
    """Writes nothing until there is room again."""

    room = False

    def record(self, rows: Any, *, name: str | None = None) -> None:
        if not self.room:
            raise StorageError("no room left")
        super().record(rows, name=name)


@dataclass
class Counter:
    """An engine's tokens since its start."""

    tokens_in: int = 0
    tokens_out: int = 0

    def add(self, tokens_in: int, tokens_out: int) -> None:
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def __call__(self) -> tuple[int, int]:
        return self.tokens_in, self.tokens_out


def ledger() -> Ledger:
    return Ledger(open_store(f"memory://{uuid.uuid4().hex}"))


def meter_of(ledger: Ledger, tokens: Counter | None = None) -> UsageMeter:
    """Of a replica that is up for 100 s."""
    began = time.monotonic() - AGE_S
    return UsageMeter(ledger, "endpoint:chat", model="pilot@1", tokens=tokens or Counter(), began=began)


def served(*, after_s: float, seconds: float, answered: bool = True) -> Served:
    """A request so long after the replica began."""
    return Served(time.monotonic() - AGE_S + after_s, seconds, answered)


def test_usage_that_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = FullLedger(open_store(f"memory://{uuid.uuid4().hex}"))
    tokens = Counter()
    meter = meter_of(ledger, tokens)
    tokens.add(3, 5)
    meter.add(served(after_s=0, seconds=1.0))
    meter.close_row()
    with pytest.raises(StorageError):
        meter.write()
    tokens.add(4, 6)
    meter.add(served(after_s=10, seconds=2.0))
    meter.close_row()
    monkeypatch.setattr(FullLedger, "room", True)
    meter.write()
    meter.write()
    rows = sorted(ledger.rows(), key=lambda row: row.tokens_in)
    assert [(row.requests, row.tokens_in, row.tokens_out) for row in rows] == [(1, 3, 5), (1, 4, 6)]
    assert rows[0].used_s == pytest.approx(1.0, abs=0.01)
    assert sum(row.seconds for row in rows) == pytest.approx(AGE_S, abs=5)
    assert rows[0].parents == ("endpoint:chat", "model:pilot@1")


def test_tokens_of_a_stream_count_while_it_runs() -> None:
    book, tokens = ledger(), Counter(100, 100)
    meter = meter_of(book, tokens)
    tokens.add(3, 5)
    meter.close_row()
    tokens.add(0, 7)
    meter.add(served(after_s=0, seconds=AGE_S))
    meter.close_row()
    meter.write()
    rows = sorted(book.rows(), key=lambda row: row.tokens_out)
    assert [(row.requests, row.tokens_in, row.tokens_out) for row in rows] == [(0, 3, 5), (1, 0, 7)]


def test_time_in_which_requests_overlap_counts_once() -> None:
    book = ledger()
    meter = meter_of(book)
    for after_s in (0, 1, 2, 5):
        meter.add(served(after_s=after_s, seconds=10))
    meter.close_row()
    meter.write()
    (row,) = book.rows()
    assert row.used_s == row.productive_s == pytest.approx(15, abs=0.1)
    assert row.allocated_s == row.seconds == pytest.approx(AGE_S, abs=5)


def test_seconds_that_an_earlier_row_has_do_not_come_again() -> None:
    busy = Busy(0.0)
    assert busy.seconds([Served(0, 10, True), Served(2, 10, True)]) == 12
    assert busy.seconds([Served(5, 10, True)]) == 3
    assert busy.seconds([Served(6, 1, True)]) == 0


def test_request_that_nobody_waited_for_is_used_and_not_productive() -> None:
    book = ledger()
    meter = meter_of(book)
    meter.add(served(after_s=10, seconds=5))
    meter.add(served(after_s=20, seconds=7, answered=False))
    meter.close_row()
    meter.write()
    (row,) = book.rows()
    assert (row.used_s, row.productive_s) == pytest.approx((12, 5), abs=0.1)


def test_time_without_requests_is_written_down_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    book = ledger()
    meter = meter_of(book)
    meter.close_row()
    meter.write()
    assert book.rows() == []
    monkeypatch.setattr("tradewind.serving.metering.HELD_EVERY_S", 60.0)
    for _ in range(2):
        meter.close_row()
        meter.write()
    (row,) = book.rows()
    assert (row.requests, row.used_s) == (0, 0)
    assert row.allocated_s == pytest.approx(AGE_S, abs=5)


def test_writing_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.serving.metering.WRITE_EVERY_S", 0.001)
    book = ledger()
    meter = meter_of(book)
    failures = iter([StorageError("no room left"), RuntimeError("anything")])
    written = threading.Event()
    record = Ledger.record

    def sometimes(self: Ledger, rows: Any, *, name: str | None = None) -> None:
        if failure := next(failures, None):
            raise failure
        record(self, rows, name=name)
        written.set()

    monkeypatch.setattr(Ledger, "record", sometimes)
    meter.add(served(after_s=0, seconds=1.0))
    meter.start()
    assert written.wait(10)
    meter.stop()
    assert sum(row.requests for row in book.rows()) == 1


def test_last_row_is_written_at_the_end() -> None:
    book = ledger()
    meter = meter_of(book)
    meter.start()
    meter.stop()
    (row,) = book.rows()
    assert row.requests == 0
    assert row.allocated_s == pytest.approx(AGE_S, abs=5)
