"""The ASGI app of a replica, without Ray."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tradewind.errors import IntegrityError, StorageError
from tradewind.ledger import Ledger
from tradewind.registry import Models
from tradewind.serving.openai_api import Served
from tradewind.serving.replica import Busy, Replica, UsageMeter
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store

BODY = {"model": "pilot@prod", "prompt": "the quay", "max_tokens": 5, "temperature": 0}


@pytest.fixture
def store(tiny_model: Path, tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    Models(store).add("pilot", files, parents=(), family="llama", parameters=1, context=64, heldout_loss=None, card={})
    return store


def replica(store: Store) -> Replica:
    spec = ServeSpec.of(name="chat", model="pilot@prod")
    return Replica(spec=spec, store=store, model="pilot@1", subject="endpoint:chat", team="pilots")


async def ask(made: Replica, *bodies: dict[str, Any]) -> list[httpx.Response]:
    app = made.app()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://replica") as client,
    ):
        return [await client.post("/v1/completions", json=body) for body in bodies]


def test_app_answers_for_the_model_by_version_alias_and_name(store: Store) -> None:
    answers = asyncio.run(ask(replica(store), BODY, BODY | {"model": "pilot@1"}, BODY | {"model": "pilot"}))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.json()["model"] for answer in answers} == {"pilot@1"}


def test_what_was_served_is_in_the_ledger_when_the_app_ends(store: Store) -> None:
    answers = asyncio.run(ask(replica(store), BODY, BODY, BODY | {"model": "other"}))
    usage = [answer.json()["usage"] for answer in answers[:2]]
    (row,) = Ledger(store).rows()
    assert (row.activity, row.subject, row.requests) == ("serving", "endpoint:chat", 2)
    assert row.tokens_in == sum(one["prompt_tokens"] for one in usage)
    assert row.tokens_out == sum(one["completion_tokens"] for one in usage)
    assert (row.endpoint, row.model, row.team) == ("chat", "pilot@1", "pilots")
    assert 0 < row.productive_s == row.used_s < row.allocated_s == row.seconds


def test_app_that_served_nothing_has_held_its_machine_all_the_same(store: Store) -> None:
    asyncio.run(ask(replica(store)))
    (row,) = Ledger(store).rows()
    assert (row.requests, row.used_s, row.productive_s) == (0, 0, 0)
    assert row.allocated_s > 0


def test_damaged_model_does_not_start(store: Store) -> None:
    key = Models(store).get("pilot").record.files["model.safetensors"].key
    store.put(key, b"")
    with pytest.raises(IntegrityError, match=f"model pilot@1.*{key}"):
        asyncio.run(ask(replica(store), BODY))


class FullLedger(Ledger):
    """Writes nothing until there is room again."""

    room = False

    def record(self, rows: Any, *, name: str | None = None) -> None:
        if not self.room:
            raise StorageError("no room left")
        super().record(rows, name=name)


AGE_S = 100.0


def meter_of(ledger: Ledger) -> UsageMeter:
    """Of a replica that is up for 100 s."""
    return UsageMeter(ledger, "endpoint:chat", model="pilot@1", began=time.monotonic() - AGE_S)


def served(tokens_in: int, tokens_out: int, *, after_s: float, seconds: float, answered: bool = True) -> Served:
    """A request so long after the replica began."""
    return Served(tokens_in, tokens_out, time.monotonic() - AGE_S + after_s, seconds, answered)


def test_usage_that_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = FullLedger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = meter_of(ledger)
    meter.add(served(3, 5, after_s=0, seconds=1.0))
    meter.close_row()
    with pytest.raises(StorageError):
        meter.write()
    meter.add(served(4, 6, after_s=10, seconds=2.0))
    meter.close_row()
    monkeypatch.setattr(FullLedger, "room", True)
    meter.write()
    meter.write()
    rows = sorted(ledger.rows(), key=lambda row: row.tokens_in)
    assert [(row.requests, row.tokens_in, row.tokens_out) for row in rows] == [(1, 3, 5), (1, 4, 6)]
    assert rows[0].used_s == pytest.approx(1.0, abs=0.01)
    assert sum(row.seconds for row in rows) == pytest.approx(AGE_S, abs=5)
    assert rows[0].parents == ("endpoint:chat", "model:pilot@1")


def test_time_in_which_requests_overlap_counts_once() -> None:
    ledger = Ledger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = meter_of(ledger)
    for after_s in (0, 1, 2):
        meter.add(served(1, 1, after_s=after_s, seconds=10))
    meter.add(served(1, 1, after_s=5, seconds=10))
    meter.close_row()
    meter.write()
    (row,) = ledger.rows()
    assert row.used_s == row.productive_s == pytest.approx(15, abs=0.1)
    assert row.allocated_s == row.seconds == pytest.approx(AGE_S, abs=5)


def test_seconds_that_an_earlier_row_has_do_not_come_again() -> None:
    busy = Busy(0.0)
    assert busy.seconds([Served(began=0, seconds=10), Served(began=2, seconds=10)]) == 12
    assert busy.seconds([Served(began=5, seconds=10)]) == 3
    assert busy.seconds([Served(began=6, seconds=1)]) == 0


def test_request_that_nobody_waited_for_is_used_and_not_productive() -> None:
    ledger = Ledger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = meter_of(ledger)
    meter.add(served(1, 1, after_s=10, seconds=5))
    meter.add(served(1, 1, after_s=20, seconds=7, answered=False))
    meter.close_row()
    meter.write()
    (row,) = ledger.rows()
    assert (row.used_s, row.productive_s) == pytest.approx((12, 5), abs=0.1)


def test_time_without_requests_is_written_down_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = meter_of(ledger)
    meter.close_row()
    meter.write()
    assert ledger.rows() == []
    monkeypatch.setattr("tradewind.serving.replica.HELD_EVERY_S", 60.0)
    for _ in range(2):
        meter.close_row()
        meter.write()
    (row,) = ledger.rows()
    assert (row.requests, row.used_s) == (0, 0)
    assert row.allocated_s == pytest.approx(AGE_S, abs=5)


def test_writing_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.serving.replica.WRITE_EVERY_S", 0.001)
    ledger = Ledger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = meter_of(ledger)
    failures = iter([StorageError("no room left"), RuntimeError("anything")])
    record = Ledger.record

    def sometimes(self: Ledger, rows: Any, *, name: str | None = None) -> None:
        if failure := next(failures, None):
            raise failure
        record(self, rows, name=name)

    monkeypatch.setattr(Ledger, "record", sometimes)
    meter.add(served(3, 5, after_s=0, seconds=1.0))

    async def write() -> None:
        writing = asyncio.create_task(meter.write_forever())
        while not ledger.rows():
            assert not writing.done()
            await asyncio.sleep(0.001)
        writing.cancel()

    asyncio.run(asyncio.wait_for(write(), timeout=10))
    assert [row.tokens_in for row in ledger.rows()] == [3]
