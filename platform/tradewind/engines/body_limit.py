"""Bodies of requests that are too large are refused before they are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIMIT_BYTES = 32 * 1024 * 1024


class TooLargeError(Exception):
    """More of a body came than is read."""


class BodyLimit:
    """ASGI middleware: 413 for a body over the limit, by its stated length, or by what has come where none is stated.

    The connection is closed then, since the rest of the body still stands on it.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int = LIMIT_BYTES) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stated = _stated_length(scope) if scope["type"] == "http" else 0
        if stated is None:
            await self._counted(scope, receive, send)
        elif stated > self._limit:
            await self._refuse(send)
        else:  # the server takes no more than what is stated
            await self._app(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        came = 0
        has_answered = False

        async def counting() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._limit:
                raise TooLargeError
            return message

        async def watching(message: Message) -> None:
            nonlocal has_answered
            if came > self._limit and not has_answered:
                raise TooLargeError  # what the app makes of a body that was cut off is no answer
            has_answered = True
            await send(message)

        try:
            await self._app(scope, counting, watching)
        except TooLargeError:
            if has_answered:
                raise
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        message = f"the body is larger than {self._limit} bytes"
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "body_too_large"}
        body = json.dumps({"error": error}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _stated_length(scope: Scope) -> int | None:
    """0 for requests without a body, None for one in pieces."""
    stated = dict(scope["headers"])
    if b"transfer-encoding" in stated:
        return None
    length = stated.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
