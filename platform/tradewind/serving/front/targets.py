"""Servers that are there already, like a `ray.serve.llm` app or `vllm serve`, as places that requests go to.

They report nothing by themselves. Each is asked for its health twice a second, gets requests while it is well, has in
flight what this front gave it, and its tokens are those that its answers say.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tradewind.serving.front.board import TOKENS_OF_A_REQUEST
from tradewind.serving.report import ReplicaReport

if TYPE_CHECKING:
    from tradewind.serving.front.board import Board

ASK_EVERY_S = 0.5
ANSWER_WITHIN_S = 2.0
MOST_BYTES = 1 << 20
"""Of a list of models."""
TAIL_BYTES = 4096
"""Of an answer: its usage stands at its end."""
USAGE = {name: re.compile(rb'"%s"\s*:\s*(\d+)' % name) for name in (b"prompt_tokens", b"completion_tokens")}
"""Within a text the quotes would be escaped, so that no answer can say these by accident."""


async def watch(board: Board, url: str, tell: Callable[[ReplicaReport], None]) -> None:
    """Report for a server for as long as it is well, until cancelled."""
    while True:
        if (models := await well(url)) is not None:
            seat = board.seats.get(url)
            running = seat.open if seat else 0
            tokens_in, tokens_out = seat.answered_tokens if seat else (0, 0)
            tokens = round(running * TOKENS_OF_A_REQUEST)
            tell(
                ReplicaReport(
                    url, url, "ready", capacity=1.0, running=running, tokens_in_flight=tokens, models=models,
                    tokens_in=tokens_in, tokens_out=tokens_out,
                )
            )  # fmt: skip
        await asyncio.sleep(ASK_EVERY_S)


def tokens_said(tail: bytes) -> tuple[int, int]:
    """Tokens in and out by the end of an answer; none where it does not say them."""
    found = (pattern.findall(tail) for pattern in USAGE.values())
    tokens_in, tokens_out = (int(numbers[-1]) if numbers else 0 for numbers in found)
    return tokens_in, tokens_out


async def well(url: str) -> tuple[str, ...] | None:
    """Names of its models; None where it is not well. `ray.serve.llm` knows no /health, but lists its models."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            status, _ = await _get(url, "/health")
            if status not in (200, 404):
                return None
            listed, body = await _get(url, "/v1/models")
    except (OSError, TimeoutError, ValueError):
        return None
    if listed != 200:
        return () if status == 200 else None
    return _names(body)


def _names(body: bytes) -> tuple[str, ...]:
    try:
        return tuple(str(model["id"]) for model in json.loads(body)["data"])
    except (ValueError, KeyError, TypeError):
        return ()  # whatever it is, it answers


async def _get(url: str, path: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    target = parts.path.rstrip("/") + path
    ask = f"GET {target} HTTP/1.0\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(ask)
        line = (await reader.readline()).split()
        rest = b""
        while len(rest) < MOST_BYTES and (more := await reader.read(MOST_BYTES)):
            rest += more
    finally:
        writer.close()
    return int(line[1]) if len(line) > 1 else 0, rest.partition(b"\r\n\r\n")[2]
