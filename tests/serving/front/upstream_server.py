"""A server to put behind the front: uvicorn, and answers of known shape. `python … PORT`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
STATE = {"gone": 0, "asked": 0, "draining": False}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """`/echo` says what was asked; `/stream` events; `/long` many bytes; `/state` what was seen."""
    if scope["type"] != "http":
        return
    STATE["asked"] += 1
    path = scope["path"]
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    if path == "/health":
        await _json(send, {"status": "ok"})
    elif path == "/state":
        await _json(send, {**STATE, "port": scope["server"][1]})
    elif path == "/drain":
        STATE["draining"] = True
        await _json(send, {})
    elif STATE["draining"]:
        headers = [(b"connection", b"close"), (b"retry-after", b"1"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
    elif path == "/stream":
        await _stream(receive, send, int(query.get("n", 5)), float(query.get("each_s", 0.01)))
    elif path == "/long":
        await _long(send, int(query["bytes"]))
    elif path == "/wait":
        await asyncio.sleep(float(query["s"]))
        await _json(send, {"port": scope["server"][1]})
    elif path == "/status":
        await send({"type": "http.response.start", "status": int(query["code"]), "headers": []})
        await send({"type": "http.response.body", "body": b""})
    else:
        await _echo(scope, receive, send)


async def _echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    size, body, more = 0, b"", True
    while more:
        message = await receive()
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        body = (body + part)[:4096]
    await _json(
        send,
        {
            "method": scope["method"],
            "target": scope["raw_path"].decode()
            + ("?" + scope["query_string"].decode() if scope["query_string"] else ""),
            "headers": {key.decode(): value.decode("latin-1") for key, value in scope["headers"]},
            "size": size,
            "body": body.decode("latin-1"),
            "port": scope["server"][1],
        },
    )


async def _stream(receive: Receive, send: Send, count: int, each_s: float) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.create_task(_until_gone(receive))
    for number in range(count):
        if gone.done():
            STATE["gone"] += 1
            return
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(each_s)
    gone.cancel()
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _long(send: Send, count: int) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    while count > 0:
        await send({"type": "http.response.body", "body": b"x" * min(count, 65536), "more_body": True})
        count -= 65536
    await send({"type": "http.response.body", "body": b""})


async def _json(send: Send, content: Any) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off", ws="none")
