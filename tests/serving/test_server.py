from __future__ import annotations

import socket
import threading
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.conftest import free_port
from tradewind.errors import CapacityError, RunError
from tradewind.serving.server import LEAST_S, Server, bind

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

LONG = 30_000_000
"""More bytes than the system keeps for a connection."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": threading.current_thread().name.encode()})
    else:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})


async def stillborn(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no model"})


def test_app_answers_from_a_thread_of_its_own_until_it_is_stopped() -> None:
    server = Server(app, bind("127.0.0.1"))
    server.start()
    with urllib.request.urlopen(server.url) as answer:
        assert answer.read() == b"tradewind-http"
    url = server.url
    server.stop()
    assert not server.is_alive
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


async def long_winded(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LONG)]})
        await send({"type": "http.response.body", "body": b"x" * LONG})
    else:
        await app(scope, receive, send)


def test_answer_that_its_reader_has_not_taken_yet_keeps_the_server_as_long_as_was_said() -> None:
    server = Server(long_winded, bind("127.0.0.1"))
    server.start()
    with urllib.request.urlopen(server.url) as answer:
        stopping = threading.Thread(target=server.stop, args=(30,))
        stopping.start()
        stopping.join(LEAST_S + 0.5)
        assert stopping.is_alive()
        assert len(answer.read()) == LONG
    stopping.join()


def test_app_that_does_not_start_is_an_error() -> None:
    server = Server(stillborn, bind("127.0.0.1"))
    with pytest.raises(RunError, match="the HTTP server ended at its start"):
        server.start()
    server.stop()


def test_first_free_port_of_a_range_is_taken() -> None:
    first = free_port()
    with bind("127.0.0.1", (first, first)) as taken:
        taken.listen()
        with bind("127.0.0.1", (first, first + 20)) as listener:
            assert first < listener.getsockname()[1] <= first + 20
        with pytest.raises(CapacityError, match=f"cannot listen on ports {first} to {first} on 127.0.0.1"):
            bind("127.0.0.1", (first, first))


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_address_of_the_sixth_version_is_bracketed() -> None:
    try:
        listener = bind("::1")
    except CapacityError:
        pytest.skip("the loopback of this machine has no IPv6")
    server = Server(app, listener)
    assert server.url.startswith("http://[::1]:")
    listener.close()
