"""The ASGI app of a replica, without Ray."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tradewind.errors import IntegrityError, StorageError
from tradewind.ledger import Ledger
from tradewind.registry import Models
from tradewind.serving.openai_api import Served
from tradewind.serving.replica import Replica, UsageMeter
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
    return Replica(spec=spec, store=store, model="pilot@1", subject="endpoint:chat")


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
    assert row.seconds > 0


def test_app_that_served_nothing_writes_nothing(store: Store) -> None:
    asyncio.run(ask(replica(store)))
    assert Ledger(store).rows() == []


def test_damaged_model_does_not_start(store: Store) -> None:
    key = Models(store).get("pilot").record.files["model.safetensors"].key
    store.put(key, b"")
    with pytest.raises(IntegrityError, match=f"model pilot@1.*{key}"):
        asyncio.run(ask(replica(store), BODY))


class FullLedger(Ledger):
    """Writes nothing until there is room again."""

    room = False

    def record(self, rows: Any) -> None:
        if not self.room:
            raise StorageError("no room left")
        super().record(rows)


def test_usage_that_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = FullLedger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = UsageMeter(ledger, "endpoint:chat")
    meter.add(Served(tokens_in=3, tokens_out=5, seconds=1.0))
    with pytest.raises(StorageError):
        meter.flush()
    meter.add(Served(tokens_in=4, tokens_out=6, seconds=2.0))
    monkeypatch.setattr(FullLedger, "room", True)
    meter.flush()
    meter.flush()
    (row,) = ledger.rows()
    assert (row.requests, row.tokens_in, row.tokens_out, row.seconds) == (2, 7, 11, 3.0)


def test_flushing_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.serving.replica.FLUSH_EVERY_S", 0.001)
    ledger = Ledger(open_store(f"memory://{uuid.uuid4().hex}"))
    meter = UsageMeter(ledger, "endpoint:chat")
    failures = iter([StorageError("no room left")] * 2)
    record = Ledger.record

    def sometimes(self: Ledger, rows: Any) -> None:
        if failure := next(failures, None):
            raise failure
        record(self, rows)

    monkeypatch.setattr(Ledger, "record", sometimes)
    meter.add(Served(tokens_in=3, tokens_out=5, seconds=1.0))

    async def flush() -> None:
        flushing = asyncio.create_task(meter.flush_forever())
        while not ledger.rows():
            assert not flushing.done()
            await asyncio.sleep(0.001)
        flushing.cancel()

    asyncio.run(asyncio.wait_for(flush(), timeout=10))
    assert [row.tokens_in for row in ledger.rows()] == [3]
