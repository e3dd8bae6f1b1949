"""The client's side of the front: HTTP/1.1 requests read from one connection, answered in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from tradewind.serving.front import answers
from tradewind.serving.front.exchange import Exchange

if TYPE_CHECKING:
    from tradewind.serving.front.relay import Relay

OF_THE_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings")
)
"""Headers that end here (RFC 9110, section 7.6.1); the body's framing is handled by itself."""
LINGER_S = 5.0
"""How long the rest of a refused request is read and thrown away, so that the client gets to read the answer."""


class ClientConnection(asyncio.Protocol):
    """One client. Requests that come before the last was answered wait, and no more is read meanwhile."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.current: Exchange | None = None
        self.heard_at = 0.0
        self.paused_at: float | None = None
        """Since when the client reads too slowly for what is written to it."""
        self._queue: deque[Exchange] = deque()
        self._incoming: Exchange | None = None
        self._ending = False
        """Nothing more is read from here."""
        self._reading = True
        self._advancing = False
        self._hosts = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.heard_at = self.relay.now()
        self.relay.clients.add(self)
        self._parser = httptools.HttpRequestParser(self)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.relay.now()
        if self._ending:
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._break(exc)
        if not self._head_done and self._head_bytes > self.relay.settings.max_head_bytes:
            self._refuse(431, "the request's headers are too long", "headers_too_long")
        if self._queue and self._reading and not self._ending:
            self._reading = False
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Close the connection: who sends no more is taken for gone, as its answer may take minutes."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._ending = True
        self.relay.clients.discard(self)
        for exchange in (self.current, *self._queue, self._incoming):
            if exchange is not None:
                self.relay.abandon(exchange)
        self.current = self._incoming = None
        self._queue.clear()

    def pause_writing(self) -> None:
        self.paused_at = self.relay.now()
        if self.current and self.current.upstream:
            self.current.upstream.pause()

    def resume_writing(self) -> None:
        self.paused_at = None
        if self.current and self.current.upstream:
            self.current.upstream.resume()

    # httptools.HttpRequestParser

    def on_message_begin(self) -> None:
        self._await_head()
        self._incoming = Exchange(self)

    def on_url(self, url: bytes) -> None:
        if self._incoming:
            self._incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._incoming
        if exchange is None or self._head_done:  # trailers are not passed on
            return
        low = name.lower()
        if low == b"content-length":
            exchange.says_length, self._length = True, int(value)
        elif low == b"transfer-encoding":
            exchange.says_length = True
            if value.strip().lower() != b"chunked":
                self._refuse(501, "the front reads no transfer encoding but chunked", "unknown_encoding")
        elif low == b"expect":
            self._expects = value.strip().lower()
        elif low in OF_THE_CONNECTION:
            if low == b"connection":
                self._connection += (part.strip().lower() for part in value.split(b","))
            elif low == b"upgrade":
                self._upgrade = value.strip().lower()
        else:
            self._hosts += low == b"host"
            exchange.headers.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        exchange, parser = self._incoming, self._parser
        self._head_done = True
        if exchange is None:
            return
        exchange.method = parser.get_method()
        exchange.is_old = parser.get_http_version() == "1.0"
        exchange.keep_alive = parser.should_keep_alive() and not exchange.is_old
        if exchange.target.startswith((b"http://", b"https://")):  # as proxies are asked
            exchange.target = b"/" + exchange.target.split(b"://", 1)[1].partition(b"/")[2]
        if named := set(self._connection) - {b"close", b"keep-alive", b"upgrade"}:
            exchange.headers = [line for line in exchange.headers if line.partition(b":")[0].lower() not in named]
        if self._hosts > 1 or (self._hosts == 0 and not exchange.is_old):
            self._refuse(400, "a request names its host once", "bad_host")
        elif exchange.method == b"CONNECT":
            self._refuse(405, "the front is no tunnel", "no_tunnel")
        elif parser.should_upgrade() and self._upgrade != b"h2c":
            self._refuse(501, "connections are not upgraded here", "no_upgrade")
        elif self._length > self.relay.settings.max_body_bytes:
            self._refuse_long_body()
        elif self._expects:
            self._meet_expectation(exchange)

    def on_body(self, part: bytes) -> None:
        exchange = self._incoming
        if exchange is None:
            return
        exchange.body.append(part)
        exchange.size += len(part)
        self.relay.bodies_bytes += len(part)
        if exchange.size > self.relay.settings.max_body_bytes:
            self._refuse_long_body()
        elif self.relay.bodies_bytes > self.relay.settings.max_bodies_bytes:
            self._refuse(503, "too many long requests are being answered", "busy", retry_after_s=1)

    def on_message_complete(self) -> None:
        exchange = self._incoming
        if exchange is None or self._parser.should_upgrade():  # the body of an upgrade is yet to come
            return
        self._incoming = None
        self._head_done, self._head_bytes = False, 0
        exchange.arrived_at = self.heard_at
        if not exchange.keep_alive:
            self._ending = True
        self._queue.append(exchange)
        self._advance()

    # The answers

    def finished(self, *, keep: bool) -> None:
        """The answer to the current request was given; `keep` is whether its bytes let the connection go on."""
        exchange, self.current = self.current, None
        if exchange is None:
            return
        if not keep or not exchange.keep_alive or self.relay.stopping:
            self._close(linger=exchange.answer is not None)
        else:
            self._advance()

    def cut(self) -> None:
        """End an answer that cannot be completed: the client sees a connection that closed too early."""
        self._ending, self.current = True, None
        self.transport.close()

    @property
    def is_idle(self) -> bool:
        return self.current is None and self._incoming is None and not self._queue

    @property
    def is_done(self) -> bool:
        """Idle, and the last answer is in the hands of the system: a slow reader takes it when it can."""
        return self.is_idle and not self.transport.get_write_buffer_size()

    def _advance(self) -> None:
        """Begin with the requests that wait, one after the other."""
        if self._advancing:  # an answer of our own ended at once: the loop below goes on with it
            return
        self._advancing = True
        try:
            while self.current is None and self._queue and not self.transport.is_closing():
                self.current = self._queue.popleft()
                self.relay.begin(self.current)
        finally:
            self._advancing = False
        if not self._queue and not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def _close(self, *, linger: bool) -> None:
        rest, self._ending = self._queue, True
        while rest:
            self.relay.abandon(rest.popleft())
        if linger and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
            if not self._reading:
                self.transport.resume_reading()
            asyncio.get_running_loop().call_later(LINGER_S, self.transport.abort)
        else:
            self.transport.close()

    # What is refused

    def _refuse(self, status: int, message: str, code: str, *, retry_after_s: int | None = None) -> None:
        """Answer the request that is being read, in its turn, and read no other."""
        if self._ending:
            return
        self._ending = True
        whole = answers.refusal(status, message, code=code, close=True, retry_after_s=retry_after_s)
        if incoming := self._incoming:
            self._incoming = None
            whole = answers.without_body(whole) if incoming.method == b"HEAD" else whole
            self.relay.abandon(incoming)
        self._queue.append(Exchange(self, answer=whole))
        self._advance()

    def _refuse_long_body(self) -> None:
        limit = self.relay.settings.max_body_bytes
        self._refuse(413, f"the body is longer than {limit} bytes", "body_too_long")

    def _break(self, exc: Exception) -> None:
        if not self._ending:
            self.relay.metrics.broken_requests += 1
            self._refuse(400, f"this is not HTTP/1.1: {exc}", "bad_http")

    def _meet_expectation(self, exchange: Exchange) -> None:
        if self._expects != b"100-continue":
            self._refuse(417, "the front meets no expectation but 100-continue", "unknown_expectation")
        elif exchange.says_length and not exchange.is_old and self.current is None and not self._queue:
            self.transport.write(answers.CONTINUE)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Serve as HTTP/1.1 who offered HTTP/2 (RFC 9110, section 7.8); the parser has stopped before the body."""
        exchange = self._incoming
        if exchange is None or self._ending:
            return
        line = b"%b %b HTTP/1.1\r\n" % (exchange.method, exchange.target)
        framing = b""
        if exchange.says_length:
            framing = b"content-length: %d\r\n" % self._length if self._length else b"transfer-encoding: chunked\r\n"
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((line, *exchange.headers, framing, b"\r\n", rest)))

    def _await_head(self) -> None:
        self._head_done, self._head_bytes, self._length, self._hosts = False, 0, 0, 0
        self._expects = self._upgrade = b""
        self._connection: list[bytes] = []
