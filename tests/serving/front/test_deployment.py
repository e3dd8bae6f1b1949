from __future__ import annotations

import asyncio
import socket

import pytest

from tests.serving.front.servers import RunningFront, Server, ask, running_front, wait_until
from tradewind.errors import SpecError
from tradewind.serving.front import Front, FrontSettings


def test_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SpecError, match=f"cannot listen at 127.0.0.1:{port}"):
            Front(FrontSettings(port=port))


def test_address_of_another_machine_is_said() -> None:
    with pytest.raises(SpecError, match=r"cannot listen at 192\.0\.2\.1"):
        Front(FrontSettings(host="192.0.2.1", port=0))


def test_signals_are_what_replicas_reported(front: RunningFront, server: Server) -> None:
    front.report(server, running=3, tokens_in_flight=70, kv_use=0.5)
    signals = asyncio.run(front.front.signals())
    assert [(one.replica, one.running, one.tokens_in_flight, one.kv_use) for one in signals.replicas] == [
        (server.name, 3, 70, 0.5)
    ]
    front.leave(server)
    assert asyncio.run(front.front.signals()).replicas == ()


def test_what_arrives_while_no_replica_is_ready_is_counted() -> None:
    with running_front() as front, front.raw(ask("/echo")):
        wait_until(lambda: asyncio.run(front.front.signals()).queued == 1)
        assert asyncio.run(front.front.signals()).arrivals_per_s > 0


def test_health_is_checked_until_the_front_stops(front: RunningFront) -> None:
    asyncio.run(front.front.check_health())
    front.front.stop()
    front.front.stop()


def test_address_tells_the_real_port(front: RunningFront) -> None:
    host, port = front.front.address()
    assert host == "127.0.0.1"
    assert port > 0
