from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tradewind.engines.own_loop import InOwnLoop, OwnLoop


@pytest.fixture
def own() -> Iterator[OwnLoop]:
    made = OwnLoop()
    yield made
    made.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says its loop's thread, and each message again, until the client is gone."""
    await send({"thread": threading.get_ident()})
    while (message := await receive())["type"] != "http.disconnect":
        await send(message)


async def call(app: Any) -> list[Any]:
    incoming = iter([{"type": "a"}, {"type": "b"}, {"type": "http.disconnect"}])
    outgoing: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        outgoing.append(message)

    await app({}, receive, send)
    return outgoing


def test_call_from_its_own_loop_stays_there(own: OwnLoop) -> None:
    async def both() -> tuple[int, list[Any]]:
        return threading.get_ident(), await call(InOwnLoop(echo, own))

    here, (first, *rest) = own.call(both())
    assert first["thread"] == here
    assert rest == [{"type": "a"}, {"type": "b"}]


def test_call_from_another_loop_is_carried_over(own: OwnLoop) -> None:
    first, *rest = asyncio.run(call(InOwnLoop(echo, own)))
    assert first["thread"] != threading.get_ident()
    assert rest == [{"type": "a"}, {"type": "b"}]


def test_error_comes_back(own: OwnLoop) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the mast broke")

    with pytest.raises(RuntimeError, match="the mast broke"):
        asyncio.run(call(InOwnLoop(broken, own)))


def test_caller_that_gives_up_ends_the_work(own: OwnLoop) -> None:
    ended = threading.Event()

    async def endless(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(InOwnLoop(endless, own)), 0.05)

    asyncio.run(give_up())
    assert ended.wait(10)
