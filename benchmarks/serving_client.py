"""A closed loop of requests over raw connections: `serving_client.py PORT PATH MODEL CONCURRENCY COUNT stream|unary`.

Prints one line of JSON: rates, and milliseconds to the first event and to the end. Each connection sends its next
request when the last was answered. An answer is right when its status is 200 and it has all its tokens.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import cast

import uvloop

TOKENS = 16
PROMPT = "hello world this is a short prompt for the echo engine"


class Connection(asyncio.Protocol):
    """One client that keeps its connection. It looks for no more than where an answer ends."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loses = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        self._head, self._tail, self._events, self._first, self._left = b"", b"", 0, 0.0, -1
        self._began = time.perf_counter()
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        body = data
        if self._left == -1:
            self._head += data
            head, mark, body = self._head.partition(b"\r\n\r\n")
            if not mark:
                return
            self._read_head(head.lower())
        if body:
            self._events += body.count(b"data: ")
            if not self._first and (self._events or not self._run.streams):
                self._first = now
            self._last = now
        if self._left >= 0:
            self._left -= len(body)
            if self._left == 0:
                self._end(now)
        else:
            self._tail = body[-5:] if len(body) >= 5 else (self._tail + body)[-5:]
            if self._tail == b"0\r\n\r\n":
                self._end(now)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._run.lost()

    def _read_head(self, head: bytes) -> None:
        self._is_right = head.startswith(b"http/1.1 200")
        _, mark, rest = head.partition(b"content-length:")
        self._left = int(rest.partition(b"\r\n")[0]) if mark else -2

    def _end(self, now: float) -> None:
        is_whole = self._events == self._run.events if self._run.streams else True
        gap = (self._last - self._first) / max(1, self._events - 1)
        self._run.answered(self, self._is_right and is_whole, (self._first - self._began, now - self._began, gap))


class Run:
    def __init__(self, *, port: int, path: str, model: str, count: int, streams: bool, events: int) -> None:
        self.port, self.streams, self.events = port, streams, events
        body = {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": TOKENS,
            "temperature": 0,
            "stream": streams,
        }
        content = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
        self.request = "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content
        self._left, self._open = count, 0
        self._times: list[tuple[float, float, float]] = []
        self._wrong = 0
        self._over = asyncio.Event()

    async def measure(self, concurrency: int) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port) for _ in range(concurrency)
        ]
        began = time.perf_counter()
        for _, connection in made:
            self._next(connection)
        await self._over.wait()
        seconds = time.perf_counter() - began
        firsts, wholes, gaps = (sorted(column) for column in zip(*self._times, strict=True))
        return {
            "per_s": len(self._times) / seconds,
            "right": len(self._times),
            "wrong": self._wrong,
            "ttft_p50_ms": _at(firsts, 0.5),
            "ttft_p99_ms": _at(firsts, 0.99),
            "latency_p50_ms": _at(wholes, 0.5),
            "latency_p99_ms": _at(wholes, 0.99),
            "itl_p50_ms": _at(gaps, 0.5),
            "client_s": time.process_time(),
        }

    def answered(self, connection: Connection, is_right: bool, times: tuple[float, float, float]) -> None:
        self._open -= 1
        if is_right:
            self._times.append(times)
        else:
            self._wrong += 1
        self._next(connection)

    def lost(self) -> None:
        if not self._over.is_set():
            raise SystemExit("the server closed a connection")

    def _next(self, connection: Connection) -> None:
        if self._left:
            self._left -= 1
            self._open += 1
            connection.ask()
        elif not self._open:
            self._over.set()


def _at(values: list[float], share: float) -> float:
    return round(1000 * values[min(len(values) - 1, int(share * len(values)))], 3)


def main() -> None:
    port, path, model, concurrency, count, mode, events = sys.argv[1:]
    gc.disable()

    async def run() -> dict[str, float]:
        work = Run(
            port=int(port), path=path, model=model, count=int(count), streams=mode == "stream", events=int(events)
        )
        return await work.measure(int(concurrency))

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
