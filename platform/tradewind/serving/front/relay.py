"""From clients to replicas: which replica takes a request, what waits, what is asked again, what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import asdict

from tradewind.errors import RunError, did_you_mean
from tradewind.serving.front import answers
from tradewind.serving.front.board import Board, BoardSignals, Seat
from tradewind.serving.front.client import ClientConnection
from tradewind.serving.front.exchange import Exchange
from tradewind.serving.front.metrics import Metrics, exposition
from tradewind.serving.front.settings import FrontSettings
from tradewind.serving.front.targets import tokens_said, watch
from tradewind.serving.front.upstream import ReplicaConnection
from tradewind.serving.metering import Served
from tradewind.serving.report import ReplicaReport

TICK_S = 0.5
BACKLOG = 4096
MOST_ATTEMPTS = 2
"""A request whose replica died before it answered is asked once more: it may be what kills them."""
log = logging.getLogger(__name__)


class Relay:
    """One endpoint's HTTP/1.1 door, on the running event loop."""

    def __init__(self, settings: FrontSettings) -> None:
        self.settings = settings
        self.board = Board(targets=settings.targets)
        self.on_answered: Callable[[Served], None] | None = None
        """Told of each request that a target has answered."""
        self._lost_tokens = (0, 0)
        """Answered by targets that are off the board."""
        self._watchers: list[asyncio.Task[None]] = []
        self.metrics = Metrics()
        self.clients: set[ClientConnection] = set()
        self.held: dict[Exchange, None] = {}
        """Requests for which no replica is ready, the oldest first."""
        self.bodies_bytes = 0
        self.stopping = False
        self._idle: dict[Seat, list[ReplicaConnection]] = {}
        self._busy: set[ReplicaConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._own: dict[bytes, Callable[[], bytes]] = {
            b"/health": self._health,
            b"/replicas": self._replicas,
            b"/metrics": self._metrics,
        }

    async def start(self) -> int:
        """Listen, and give the port. Raises OSError where nothing can listen."""
        loop = asyncio.get_running_loop()
        self.now = loop.time
        settings = self.settings
        self._server = await loop.create_server(
            lambda: ClientConnection(self), settings.host, settings.port, backlog=BACKLOG
        )
        self._ticks = loop.create_task(self._tick_for_ever())
        self._watchers = [loop.create_task(watch(self.board, url, self.report)) for url in settings.targets]
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Take no more requests, let answers that have begun end within `drain_s`, then close everything."""
        self.stopping = True
        self._server.close()
        for exchange in list(self.held):
            self._give(exchange, answers.refusal(503, "the endpoint is stopping", code="stopping", close=True))
        end = self.now() + self.settings.drain_s
        while self.now() < end and not all(client.is_done for client in self.clients):
            await asyncio.sleep(0.02)
        self._ticks.cancel()
        for watcher in self._watchers:
            watcher.cancel()
        for client in list(self.clients):
            if client.is_idle:
                client.transport.close()
            else:
                client.transport.abort()
        for idle in self._idle.values():
            for connection in idle:
                connection.transport.abort()
        await asyncio.sleep(0)

    def check(self) -> None:
        """Raises RunError when the front no longer watches its replicas."""
        if self._ticks.done() and not self.stopping:
            raise RunError(f"the front's watch over its replicas has ended: {self._ticks.exception()}")

    # What replicas tell

    def report(self, report: ReplicaReport) -> None:
        self.board.report(report)
        self._send_held()

    def want(self, replicas: int) -> None:
        self.board.want(replicas)
        self._send_held()

    def leave(self, replica: str) -> None:
        self.board.leave(replica)

    def signals(self) -> BoardSignals:
        return self.board.signals(queued=len(self.held))

    # A request's way

    def begin(self, exchange: Exchange) -> None:
        """Answer a request that is its client's turn."""
        if exchange.answer is not None:
            self._give(exchange, exchange.answer)
        elif (own := self._own.get(exchange.target)) and exchange.method in (b"GET", b"HEAD"):
            self._give(exchange, own())
        else:
            self.board.arrivals.total += 1
            self.send(exchange)

    def send(self, exchange: Exchange) -> None:
        """Ask the least loaded replica that has the model, or hold the request until there is one."""
        model = exchange.model() if self.board.must_read(exchange.body) else None
        if model is not None and model not in self.board.names:
            self._give(exchange, answers.refusal(404, _no_model(model, self.board.names), code="model_not_found"))
            return
        seat = self.board.choose(exchange.avoid, model=model)
        if seat is None:
            self._hold(exchange)
            return
        seat.open += 1
        exchange.seat = seat
        if connection := self._take(seat, fresh=exchange.avoid is not None):
            self._busy.add(connection)
            connection.send(exchange)
        else:
            task = asyncio.get_running_loop().create_task(self._connect(exchange, seat))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def died(self, exchange: Exchange, seat: Seat) -> None:
        """The replica closed the connection before it answered: ask once more, another one where there is one.

        One that drains closes connections that wait for a request, and may do so just as one comes: that is no attempt.
        """
        exchange.attempts += not seat.is_leaving
        exchange.avoid = seat
        if exchange.client is None:
            return
        if exchange.attempts >= MOST_ATTEMPTS:
            message = "two replicas, one after the other, died before they answered this request"
            self._give(exchange, answers.refusal(502, message, code="replica_lost"))
            return
        self.metrics.retries += 1
        self.send(exchange)

    def refused(self, exchange: Exchange, seat: Seat) -> None:
        """The replica takes no requests now: another one gets it, and this one none until it reports again."""
        self.board.take_out(seat)
        exchange.avoid = seat
        if exchange.client is not None:
            self.metrics.retries += 1
            self.send(exchange)

    def abandon(self, exchange: Exchange) -> None:
        """The client is gone: nobody waits for the answer."""
        exchange.client = None
        self.release(exchange)
        self._let_go(exchange)
        if exchange.answer is None and exchange.arrived_at:
            self.metrics.clients_gone += 1
        if upstream := exchange.upstream:
            exchange.upstream = None
            upstream.drop()
            self.leave_seat(exchange)

    def release(self, exchange: Exchange) -> None:
        """Forget the body: the request will not be asked again."""
        self.bodies_bytes -= exchange.size
        exchange.size, exchange.body = 0, []

    def answered(self, exchange: Exchange, seat: Seat, tail: bytes, status: int, *, whole: bool) -> None:
        """Count what a target has answered by what the end of the answer says."""
        if status < 400:
            seat.answered_tokens = _sum(seat.answered_tokens, tokens_said(tail))
            if self.on_answered and exchange.method == b"POST":
                began = exchange.arrived_at
                self.on_answered(Served(began, self.now() - began, whole and exchange.client is not None))

    @property
    def answered_tokens(self) -> tuple[int, int]:
        """In and out, of all targets since the start."""
        return _sum(self._lost_tokens, *(seat.answered_tokens for seat in self.board.seats.values()))

    def leave_seat(self, exchange: Exchange) -> None:
        if exchange.seat is not None:
            exchange.seat.open -= 1
            exchange.seat = None

    def put_back(self, connection: ReplicaConnection) -> None:
        """A connection whose answer is complete waits for the next request."""
        self._busy.discard(connection)
        connection.idle_since = self.now()
        self._idle.setdefault(connection.seat, []).append(connection)

    def closed(self, connection: ReplicaConnection) -> None:
        self._busy.discard(connection)

    def saw_first_byte(self, exchange: Exchange, status: int) -> None:
        self.metrics.saw_first_byte(status, self.now() - exchange.arrived_at)

    # Connections

    def _take(self, seat: Seat, *, fresh: bool) -> ReplicaConnection | None:
        """The connection that was used last, unless it has waited so long that the replica may be closing it."""
        idle = self._idle.get(seat)
        oldest = self.now() - self.settings.replica_idle_s
        while idle and not fresh:
            connection = idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, exchange: Exchange, seat: Seat) -> None:
        try:
            async with asyncio.timeout(self.settings.connect_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: ReplicaConnection(self, seat), seat.host, seat.port
                )
        except (OSError, TimeoutError) as exc:
            log.warning("replica %s refuses connections: %s", seat.report.replica, exc)
            self.leave_seat(exchange)
            self.refused(exchange, seat)
            return
        if exchange.client is None:
            self.leave_seat(exchange)
            self.put_back(connection)
        elif not connection.is_open:  # accepted by a port that closed right after: nothing was asked yet
            self.leave_seat(exchange)
            self.refused(exchange, seat)
        else:
            self._busy.add(connection)
            connection.send(exchange)

    # Requests that wait

    def _hold(self, exchange: Exchange) -> None:
        settings = self.settings
        waits_s = exchange.arrived_at + settings.first_answer_s - self.now()
        if self.stopping or waits_s <= 0:
            self._give_up(exchange)
        elif len(self.held) >= settings.queue:
            message = f"{settings.queue} requests wait for a replica already"
            self._give(exchange, answers.refusal(429, message, code="queue_full", retry_after_s=1))
        else:
            self.held[exchange] = None
            exchange.timer = asyncio.get_running_loop().call_later(waits_s, self._give_up, exchange)

    def _send_held(self) -> None:
        while self.held and self.board.choose():
            exchange = next(iter(self.held))
            self._let_go(exchange)
            self.send(exchange)

    def _give_up(self, exchange: Exchange) -> None:
        message = f"no replica became ready within {self.settings.first_answer_s:g} s"
        self._give(exchange, answers.refusal(503, message, code="no_replica", retry_after_s=5))

    def _let_go(self, exchange: Exchange) -> None:
        self.held.pop(exchange, None)
        if exchange.timer:
            exchange.timer.cancel()
            exchange.timer = None

    # Answers of our own

    def _give(self, exchange: Exchange, whole: bytes) -> None:
        self._let_go(exchange)
        self.release(exchange)
        client = exchange.client
        if client is None:
            return
        if (status := int(whole[9:12])) >= 400:  # the front's own pages are not the endpoint's answers
            self.metrics.answers[status] += 1
        if exchange.method == b"HEAD":
            whole = answers.without_body(whole)
        client.transport.write(whole)
        client.finished(keep=b"\r\nconnection: close\r\n" not in whole)

    def _health(self) -> bytes:
        status = {"status": "stopping" if self.stopping else "ok", "ready": len(self.board.ready())}
        return answers.answer(503 if self.stopping else 200, json.dumps(status).encode())

    def _replicas(self) -> bytes:
        now = self.now()
        return answers.data(
            [
                {
                    **asdict(seat.report),
                    "status": "spare" if seat in self.board.spares else seat.report.status,
                    "open": seat.open,
                    "refused": seat.refused,
                    "silent_s": round(now - seat.heard_at, 2),
                }
                for seat in self.board.seats.values()
            ]
        )

    def _metrics(self) -> bytes:
        return answers.answer(200, exposition(self), kind="text/plain; version=1.0.0; charset=utf-8")

    # What happens by itself

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick()

    def _tick(self) -> None:
        for seat in self.board.expire():
            log.warning("replica %s is lost: it has been silent too long", seat.report.replica)
            self._lost_tokens = _sum(self._lost_tokens, seat.answered_tokens)
            for connection in [connection for connection in self._busy if connection.seat is seat]:
                connection.fail()
        self._close_idle_replicas()
        self._close_idle_clients()

    def _close_idle_replicas(self) -> None:
        oldest = self.now() - self.settings.replica_idle_s
        for seat, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_since <= oldest:
                    connection.transport.abort()
            self._idle[seat] = [connection for connection in idle if connection.is_open]
            if not self._idle[seat]:
                del self._idle[seat]

    def _close_idle_clients(self) -> None:
        now, settings = self.now(), self.settings
        for client in list(self.clients):
            if client.paused_at is not None and now - client.paused_at > settings.stalled_s:
                client.transport.abort()
            elif client.current is None:
                limit = settings.idle_s if client.is_idle else settings.stalled_s
                if now - client.heard_at > limit:
                    client.transport.close()


def _sum(*tokens: tuple[int, int]) -> tuple[int, int]:
    return sum(one for one, _ in tokens), sum(other for _, other in tokens)


def _no_model(model: str, names: tuple[str, ...]) -> str:
    return f"no model named {model!r} is served here{did_you_mean(model, names)}"
