"""One client of a trial: a connection of its own, on which it asks, and notes when each part of an answer came.

Raw HTTP/1.1, since a client that costs more than a token would be what is measured. Answers are read as bytes with
their times; what they say is read afterwards.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from tradewind.errors import RunError

PATH = "/v1/completions"
EVENT_END = b"\n\n"


@dataclass(eq=False)
class Answer:
    """A streamed answer. Times are of `time.perf_counter`."""

    asked: float
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    status: int = 0
    ended: float | None = None

    def events(self) -> list[tuple[float, dict[str, Any]]]:
        """When each event was whole, and what it says. Raises RunError when one tells of an error."""
        found: list[tuple[float, dict[str, Any]]] = []
        rest = b""
        for at, data in self.chunks:
            *whole, rest = (rest + data).split(EVENT_END)
            texts = (one.removeprefix(b"data: ") for one in whole)
            found += [(at, json.loads(text)) for text in texts if text.strip() and text != b"[DONE]"]
        for _, event in found:
            if "error" in event:
                raise RunError(f"an answer broke off: {event['error'].get('message')}")
        return found

    def usage(self) -> dict[str, int]:
        """The tokens of an answer that has ended. Raises RunError when it does not say them."""
        told: dict[str, int] | None = next((event["usage"] for _, event in self.events() if event.get("usage")), None)
        if told is None:
            raise RunError("an answer did not say its usage", hint="a server of OpenAI's API does: include_usage")
        return told


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._head = f"POST {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._answer = Answer(0.0)
        self._done: asyncio.Future[Answer] | None = None
        self._now = 0.0

    async def open(self) -> Connection:
        """Raises RunError when nothing listens there."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)
        except OSError as exc:
            raise RunError(f"nothing answers at {self._url}: {exc}") from exc
        return self

    def ask(self, body: bytes) -> tuple[Answer, asyncio.Future[Answer]]:
        """The answer as it comes, and when it has come. The future raises RunError for any status but 200."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer(time.perf_counter())
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return self._answer, self._done

    def close(self) -> None:
        self._done = None
        self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._now = time.perf_counter()
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done and not self._done.done():
            self._done.set_exception(RunError(f"the replica closed a connection: {exc or 'without a word'}"))

    # httptools.HttpResponseParser

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._answer.chunks.append((self._now, data))

    def on_message_complete(self) -> None:
        answer, done = self._answer, self._done
        answer.ended = self._now
        if done is None or done.done():
            return
        if answer.status == 200:
            done.set_result(answer)
        else:
            done.set_exception(RunError(f"the replica answered {answer.status}: {_complaint(answer)}"))


def _complaint(answer: Answer) -> str:
    text = b"".join(data for _, data in answer.chunks)
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace")
