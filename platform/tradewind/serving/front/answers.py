"""What the front answers by itself, as bytes ready to send, in the shapes of OpenAI's API."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

KINDS = {413: "invalid_request_error", 429: "rate_limit_error"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer(
    status: int, body: bytes, *, kind: str = "application/json", close: bool = False, retry_after_s: int | None = None
) -> bytes:
    """A whole answer of HTTP/1.1."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        *([f"retry-after: {retry_after_s}"] if retry_after_s is not None else []),
        *(["connection: close"] if close else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def data(content: Any) -> bytes:
    """Plain data as an answer."""
    return answer(200, json.dumps(content).encode())


def refusal(status: int, message: str, *, code: str, close: bool = False, retry_after_s: int | None = None) -> bytes:
    """An error as OpenAI's clients read it."""
    body = json.dumps(_error(status, message, code)).encode()
    return answer(status, body, close=close, retry_after_s=retry_after_s)


def lost_event(message: str) -> bytes:
    """The chunks that end a stream of events whose replica is gone: one event with the error, and the end."""
    event = b"data: " + json.dumps(_error(502, message, "replica_lost")).encode() + b"\n\n"
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event)


def without_body(whole: bytes) -> bytes:
    """The answer to a HEAD request that stands for an answer to GET."""
    return whole[: whole.index(b"\r\n\r\n") + 4]


def _error(status: int, message: str, code: str) -> dict[str, Any]:
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
