"""What stands before an engine's app, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tradewind.serving.gate import Gate
from tradewind.serving.metering import Served

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

Ask = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


class Engine:
    """An app that answers when it is told to, with a status, in two pieces."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.set()
        if scope["method"] == "POST":
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})


def behind(engine: Any, test: Ask, *, limit: int = 2, timeout_s: float = 60) -> tuple[Gate, list[Served]]:
    """Run a test with a client of a gate; gives the gate and what it reported."""
    reports: list[Served] = []
    gate = Gate(engine, limit=limit, timeout_s=timeout_s, report=reports.append)

    async def run() -> None:
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            await test(client)

    asyncio.run(run())
    return gate, reports


def test_request_is_passed_and_reported_at_its_end() -> None:
    engine = Engine()

    async def test(client: httpx.AsyncClient) -> None:
        asking = asyncio.create_task(client.post("/v1/completions"))
        await engine.began.wait()
        engine.go_on.set()
        assert (await asking).text == "ab"

    gate, (report,) = behind(engine, test)
    assert report.answered
    assert gate.open == 0


def test_more_than_the_limit_is_refused_and_says_when_to_come_again() -> None:
    engine = Engine()

    async def test(client: httpx.AsyncClient) -> None:
        asking = [asyncio.create_task(client.post("/v1/completions")) for _ in range(2)]
        await engine.began.wait()
        await asyncio.sleep(0)
        refused = await client.post("/v1/completions")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["message"] == "2 requests are open here, and there is room for 2"
        engine.go_on.set()
        assert [(await one).status_code for one in asking] == [200, 200]
        assert (await client.post("/v1/completions")).status_code == 200

    _, reports = behind(engine, test)
    assert len(reports) == 3


def test_closed_gate_refuses_new_work_and_lets_the_open_end() -> None:
    engine = Engine()
    closed: list[httpx.Response] = []

    async def test(client: httpx.AsyncClient) -> None:
        asking = asyncio.create_task(client.post("/v1/completions"))
        await engine.began.wait()
        gate.is_closed = True
        closed.append(await client.post("/v1/completions"))
        assert (await client.get("/health")).status_code == 200
        engine.go_on.set()
        assert (await asking).text == "ab"

    reports: list[Served] = []
    gate = Gate(engine, limit=2, timeout_s=60, report=reports.append)

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://r") as client:
            await test(client)

    asyncio.run(run())
    assert (closed[0].status_code, closed[0].headers["retry-after"], closed[0].headers["connection"]) == (
        503,
        "1",
        "close",
    )
    assert len(reports) == 1


def test_looking_is_never_refused_and_never_reported() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).text == "ab"

    _, reports = behind(Engine(), test, limit=0)
    assert reports == []


def test_request_that_was_wrong_is_not_reported() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/completions")).status_code == 404

    engine = Engine(404)
    engine.go_on.set()
    gate, reports = behind(engine, test)
    assert (gate.open, reports) == (0, [])


def test_answer_that_does_not_come_in_time_is_given_up() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        late = await client.post("/v1/completions")
        assert (late.status_code, late.json()["error"]["message"]) == (504, "no answer within 0.01 s")

    gate, (report,) = behind(Engine(), test, timeout_s=0.01)
    assert not report.answered
    assert gate.open == 0


def test_failure_of_the_app_is_not_swallowed_and_counted_as_ended() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the engine is broken")

    async def test(client: httpx.AsyncClient) -> None:
        with pytest.raises(RuntimeError, match="the engine is broken"):
            await client.post("/v1/completions")

    gate, (report,) = behind(failing, test)
    assert not report.answered
    assert gate.open == 0


def test_somebody_who_went_away_was_not_answered() -> None:
    reports: list[Served] = []

    async def leaving() -> Message:
        return {"type": "http.disconnect"}

    async def deaf(_: Message) -> None: ...

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"

    gate = Gate(app, limit=1, timeout_s=60, report=reports.append)
    asyncio.run(gate({"type": "http", "method": "POST"}, leaving, deaf))
    assert [report.answered for report in reports] == [False]


def test_request_is_counted_before_it_looks_whether_the_gate_is_closed() -> None:
    """Whoever closes the gate from another thread and then counts misses no request that found it open."""
    counted: list[int] = []

    class Watched(Gate):
        def __getattribute__(self, name: str) -> Any:
            if name == "is_closed":
                counted.append(self.open)
            return super().__getattribute__(name)

    async def run() -> None:
        engine = Engine()
        engine.go_on.set()
        gate = Watched(engine, limit=2, timeout_s=60, report=lambda _: None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://r") as client:
            await client.post("/v1/completions")
        assert gate.open == 0

    asyncio.run(run())
    assert counted == [1]
