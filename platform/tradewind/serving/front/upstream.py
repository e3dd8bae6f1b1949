"""The replica's side of the front: one connection, one request at a time, the answer's bytes passed on unchanged."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools

from tradewind.serving.front import answers
from tradewind.serving.front.board import Seat
from tradewind.serving.front.exchange import Exchange
from tradewind.serving.front.targets import TAIL_BYTES

if TYPE_CHECKING:
    from tradewind.serving.front.relay import Relay

BODILESS = (204, 304)
HELD_BYTES = 64 << 10
"""An answer of known length is kept so far until it is whole, and asked again where its replica dies meanwhile."""
LOST = "the replica that was answering, {}, has gone; what it sent so far is all there is"


class ReplicaConnection(asyncio.Protocol):
    """A connection to a replica. The parser only finds where the answer begins and ends."""

    def __init__(self, relay: Relay, seat: Seat) -> None:
        self.relay = relay
        self.seat = seat
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self._parser: httptools.HttpResponseParser | None = None
        self._paused = False

    def send(self, exchange: Exchange) -> None:
        """Ask a request and pass its answer on."""
        self.exchange, exchange.upstream = exchange, self
        self._early = b""
        self._is_complete = False
        self._await_head()
        if exchange.is_old:
            self._parser = httptools.HttpResponseParser(_Plain(self, exchange))
        elif self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        self._tail = b""
        self.transport.write(exchange.message(self.seat.prefix))
        if exchange.client and exchange.client.paused_at is not None:
            self.pause()

    def drop(self) -> None:
        """Nobody wants the answer any more: the replica learns it from the closed connection."""
        self.exchange = None
        self.transport.abort()

    def fail(self) -> None:
        """The replica is lost, or speaks no HTTP: what it has not answered is asked elsewhere, or cut."""
        self._until_close = False
        self.transport.abort()

    @property
    def is_open(self) -> bool:
        return not self.transport.is_closing()

    @property
    def refuses(self) -> bool:
        """The replica takes no requests any more (503 and a closed connection): it drains."""
        return self.status == 503 and not self._keep

    def pause(self) -> None:
        if not self._paused and self.is_open:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.is_open:
            self._paused = False
            self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        exchange, parser = self.exchange, self._parser
        if exchange is None or parser is None:  # nothing was asked
            self.transport.abort()
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            exchange.began = exchange.began or (exchange.is_old and self._head_done)
            self.fail()
            return
        if exchange.began:
            self._ends_whole = data.endswith(b"\r\n")
            if not exchange.is_old and exchange.client:
                exchange.client.transport.write(data)
        elif self._is_due(exchange, data):
            self._begin(exchange, data)
        else:
            self._early += data
        if self.seat.is_target:
            self._tail = (self._tail + data)[-TAIL_BYTES:]
        if self._is_complete and self.exchange is exchange:
            self._end(exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.closed(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        exchange.upstream = None
        self.relay.leave_seat(exchange)
        if not exchange.began:
            self.relay.died(exchange, self.seat)
            return
        is_whole = self._until_close and exc is None
        if self.seat.is_target:
            self.relay.answered(exchange, self.seat, self._tail, self.status, whole=is_whole)
        if exchange.client is None:
            return
        if is_whole:
            exchange.client.finished(keep=False)
        else:
            self._cut(exchange)

    # httptools.HttpResponseParser

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            self._until_close = False
        elif size == 17 and name.lower() == b"transfer-encoding":
            self._is_chunked, self._until_close = True, False
        elif size == 12 and name.lower() == b"content-type":
            self._is_events = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        parser, exchange = self._parser, self.exchange
        if parser is None or exchange is None:
            return
        status = parser.get_status_code()
        if status < 200:
            return
        self._head_done, self.status = True, status
        self._keep = parser.should_keep_alive()
        if exchange.method == b"HEAD" or status in BODILESS:
            self._keep = self._keep or self._until_close  # the parser waits for a body that does not come
            self._until_close = False
            self._is_complete, self._parser = True, None

    def on_chunk_header(self) -> None:
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        self._in_chunk = False

    def on_message_complete(self) -> None:
        if self._head_done:
            self._is_complete = True
        else:  # 100 or 103: the answer is yet to come
            self._await_head()

    # The answer

    def _is_due(self, exchange: Exchange, data: bytes) -> bool:
        """The client gets what is here. No stream has a length that is known before its end."""
        if not self._head_done:
            return False
        is_stream = self._is_chunked or self._until_close
        is_long = len(self._early) + len(data) > HELD_BYTES
        return self._is_complete or self.refuses or is_stream or is_long or exchange.is_old

    def _begin(self, exchange: Exchange, data: bytes) -> None:
        """The first bytes go to the client, unless the replica refuses what another may take."""
        if self.refuses:
            self.drop()
            exchange.upstream = None
            self.relay.leave_seat(exchange)
            self.relay.refused(exchange, self.seat)
            return
        exchange.began = True
        self.relay.release(exchange)
        self.relay.saw_first_byte(exchange, self.status)
        self._ends_whole = data.endswith(b"\r\n")
        if not exchange.is_old and exchange.client:
            exchange.client.transport.write(self._early + data if self._early else data)

    def _end(self, exchange: Exchange) -> None:
        self.exchange = exchange.upstream = None
        if self.seat.is_target:
            self.relay.answered(exchange, self.seat, self._tail, self.status, whole=True)
        self.relay.leave_seat(exchange)
        self.resume()
        keep = self._keep
        if exchange.is_old:
            self._parser = None
        if keep:
            self.relay.put_back(self)
        else:
            self.transport.close()
        if exchange.client:
            exchange.client.finished(keep=keep)

    def _cut(self, exchange: Exchange) -> None:
        """The replica died in the middle. A stream of events ends with one that says so, between two chunks."""
        self.relay.metrics.lost_answers += 1
        client = exchange.client
        if client is None:
            return
        is_between = self._ends_whole and not self._in_chunk
        if self._is_events and self._is_chunked and is_between and not exchange.is_old:
            client.transport.write(answers.lost_event(LOST.format(self.seat.report.replica)))
            client.finished(keep=True)
        else:
            client.cut()

    def _await_head(self) -> None:
        self.status = 0
        self._head_done = False
        self._keep = False
        self._until_close = True
        """The answer ends where the connection does."""
        self._is_chunked = self._is_events = self._in_chunk = self._ends_whole = False


class _Plain:
    """What the parser tells of an answer to a client of HTTP/1.0: written anew, without chunks."""

    def __init__(self, connection: ReplicaConnection, exchange: Exchange) -> None:
        self._exchange = exchange
        self._connection = connection
        self._lines: list[bytes] = []
        self.on_message_complete = connection.on_message_complete
        self.on_chunk_header = connection.on_chunk_header
        self.on_chunk_complete = connection.on_chunk_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self._connection.on_header(name, value)
        if name.lower() not in (b"transfer-encoding", b"connection", b"keep-alive", b"trailer"):
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        self._connection.on_headers_complete()
        if (status := self._connection.status) and not self._connection.refuses:
            line = f"HTTP/1.0 {status} {_phrase(status)}\r\n".encode()
            self._write(b"".join((line, *self._lines, b"connection: close\r\n\r\n")))
        self._lines = []

    def on_body(self, part: bytes) -> None:
        if not self._connection.refuses:
            self._write(part)

    def _write(self, data: bytes) -> None:
        if self._exchange.client:
            self._exchange.client.transport.write(data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "-"
