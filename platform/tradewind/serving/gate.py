"""What stands before an engine's app: it counts requests, refuses those that it has no room for, and times them.

Pure ASGI, since a wrapper that buffers or starts a task for each answer costs more than a token of a small model.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tradewind.serving.metering import Served

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY_AFTER_S = 1


class Gate:
    """`limit` bounds the requests that are open at a time; `report` is told of each that was taken on, at its end."""

    def __init__(self, app: ASGIApp, *, limit: int, timeout_s: float, report: Callable[[Served], None]) -> None:
        self._app = app
        self._limit = limit
        self._timeout_s = timeout_s
        self._report = report
        self.open = 0
        self.is_closed = False
        """New work is refused. What has begun goes on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        else:
            await self._decide(scope, receive, send)

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request counts before it looks: whoever closes the gate from another thread sees it, or it sees that."""
        self.open += 1
        try:
            if self.is_closed:
                await _refuse(send, 503, "this replica takes no more work", close=True)
            elif self.open > self._limit:
                others = self.open - 1
                await _refuse(send, 429, f"{others} requests are open here, and there is room for {self._limit}")
            else:
                await self._pass(scope, receive, send)
        finally:
            self.open -= 1

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = _Passage(receive, send)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._app(scope, passage.receive, passage.send)
        except TimeoutError:
            if passage.status is not None:
                raise  # the answer had begun; the connection breaks
            await _refuse(send, 504, f"no answer within {self._timeout_s:g} s")
        finally:
            if passage.status is None or passage.status < 400:
                self._report(passage.served())


class _Passage:
    """One request on its way: what was answered, and whether somebody stayed to hear it."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._began = time.monotonic()
        self._is_whole = False
        self._is_left = False
        self.status: int | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._is_whole:
            self._is_left = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """No coroutine of its own: it is called for each token."""
        if self.status is None:
            self.status = message["status"]
        elif not message.get("more_body"):
            self._is_whole = True
        return self._send(message)

    def served(self) -> Served:
        return Served(self._began, time.monotonic() - self._began, self._is_whole and not self._is_left)


async def _refuse(send: Send, status: int, why: str, *, close: bool = False) -> None:
    """An answer of OpenAI's shape that says when to come again."""
    error = {"message": why, "type": "overloaded_error", "param": None, "code": None}
    body = json.dumps({"error": error}).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_AFTER_S).encode()),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [*headers, (b"connection", b"close")] if close else headers})
    await send({"type": "http.response.body", "body": body})
