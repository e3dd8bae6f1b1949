"""Requests that come to a replica at the worst moments of its drain: raw sockets that behave as it would then."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.serving.front.servers import RawClient, RunningFront, Server, ask, running_front
from tradewind.serving.front import FrontSettings
from tradewind.serving.front.relay import Relay

Meet = Callable[[socket.socket], None]
"""What becomes of one connection."""
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
SMALL = b"{}"
LARGE = b"x" * 20_000_000
"""More bytes than the system keeps for a connection: they are still being written when the answer comes."""


class StandIn(Server):
    """A port that meets its connections one after the other, and each after the last as that."""

    def __init__(self, *meets: Meet) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.met = 0
        self._meets = meets
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                meet = self._meets[min(self.met, len(self._meets) - 1)]
                self.met += 1
                meet(connection)


def read(connection: socket.socket) -> None:
    """A whole request."""
    length = 0
    with connection.makefile("rb") as file:
        while (line := file.readline().lower()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        file.read(length)


def answer(connection: socket.socket) -> None:
    read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmade")


def begin(connection: socket.socket) -> None:
    """As one that is killed between the head of an answer and its body, which uvicorn writes one after the other."""
    read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nma")


def refuse(connection: socket.socket) -> None:
    """As a closed gate does, which reads no body: what is unread makes the system reset the connection."""
    connection.recv(1000)
    connection.sendall(REFUSAL)


def reset(connection: socket.socket) -> None:
    """As the system does with connections that nobody has accepted when their port closes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def fronted(*stand_ins: StandIn) -> Iterator[RunningFront]:
    """A front that has heard of them, each less to its liking than the one before."""
    with ExitStack() as stack:
        front = stack.enter_context(running_front())
        for number, one in enumerate(stand_ins):
            stack.enter_context(one)
            front.report(one, tokens_in_flight=number * 1000)
        yield front


def made(client: RawClient) -> bool:
    status, _, body = client.answer()
    return (status, body) == (200, b"made")


def ends(front: RunningFront, name: Callable[[], StandIn]) -> Meet:
    """The replica says that it drains, and closes a connection on which a request has just come."""

    def meet(connection: socket.socket) -> None:
        read(connection)
        front.report(name(), "draining")

    return meet


def test_request_that_meets_two_replicas_at_the_end_of_their_drains_is_asked_a_third_time() -> None:
    with running_front() as front, ExitStack() as stack:
        first: StandIn = StandIn(ends(front, lambda: first))
        second: StandIn = StandIn(ends(front, lambda: second))
        third = StandIn(answer)
        for number, one in enumerate((first, second, third)):
            stack.enter_context(one)
            front.report(one, tokens_in_flight=number * 1000)
        with front.raw(ask("/v1/completions", SMALL)) as client:
            assert made(client)
        assert (first.met, second.met, third.met) == (1, 1, 1)


def test_kept_connection_that_closes_as_a_request_comes_costs_nothing_and_the_next_is_fresh() -> None:
    """Both have an idle connection to the front when they close all that are idle."""

    def answer_and_close(connection: socket.socket) -> None:
        answer(connection)
        read(connection)

    with fronted(StandIn(answer_and_close, answer), StandIn(answer_and_close, answer)) as front:
        for _ in range(4):
            with front.raw(ask("/v1/completions", SMALL)) as client:
                assert made(client)


def test_port_that_accepts_and_resets_costs_no_request() -> None:
    with fronted(StandIn(reset), StandIn(answer)) as front:
        for _ in range(5):
            with front.raw(ask("/v1/completions", SMALL)) as client:
                assert made(client)


def test_replicas_that_refuse_before_the_front_has_heard_are_passed_over_however_many() -> None:
    with fronted(*(StandIn(refuse) for _ in range(4)), StandIn(answer)) as front:
        with front.raw(ask("/v1/completions", SMALL)) as client:
            assert made(client)
        assert front.metric("tradewind_front_retries_total") == 4


def test_refusal_is_heard_although_the_request_is_not_read_to_its_end() -> None:
    stand_ins = [*(StandIn(refuse) for _ in range(4)), StandIn(answer)]
    with fronted(*stand_ins) as front, front.raw(ask("/v1/completions", LARGE)) as client:
        assert made(client)


def test_request_waits_where_all_replicas_drain_until_another_is_ready() -> None:
    body = ask("/v1/completions", SMALL)
    with StandIn(answer) as new, fronted(StandIn(refuse), StandIn(refuse)) as front, front.raw(body) as client:
        front.report(new)
        assert made(client)


def test_whole_answer_that_breaks_off_is_asked_for_again() -> None:
    with fronted(StandIn(begin), StandIn(answer)) as front, front.raw(ask("/v1/completions", SMALL)) as client:
        assert made(client)


def test_front_that_stops_stays_until_a_slow_reader_has_its_answer() -> None:
    rest = b"x" * 20_000_000

    async def run() -> None:
        relay = Relay(FrontSettings(port=0))
        reader, writer = await asyncio.open_connection("127.0.0.1", await relay.start())
        while not relay.clients:
            await asyncio.sleep(0)
        next(iter(relay.clients)).transport.write(rest)
        stopping = asyncio.create_task(relay.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        assert await reader.readexactly(len(rest)) == rest
        await stopping
        writer.close()
        await writer.wait_closed()

    asyncio.run(run())
