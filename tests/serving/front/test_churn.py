"""Many requests while replicas come, drain and die."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving.front.servers import RunningFront, Server, running_front, running_server, wait_until

CLIENTS = 8
STREAM = "/stream?n=5&each_s=0.004"


@pytest.mark.slow
def test_no_request_fails_while_replicas_drain() -> None:
    with _churned(_drain) as outcomes:
        assert outcomes.keys() == {"whole"}


@pytest.mark.slow
def test_only_streams_that_had_begun_fail_when_replicas_are_killed() -> None:
    with _churned(_kill) as outcomes:
        assert outcomes.keys() <= {"whole", "error event"}
        assert outcomes["error event"] <= CLIENTS * 4


@contextlib.contextmanager
def _churned(end: Callable[[RunningFront, Server], None]) -> Iterator[Counter[str]]:
    """What became of the requests of some clients while three of four replicas end, one after the other."""
    with contextlib.ExitStack() as stack, running_front() as front:
        servers = [stack.enter_context(running_server()) for _ in range(4)]
        alive = set(range(len(servers)))
        over = threading.Event()
        reporter = threading.Thread(target=_report, args=(front, servers, alive, over))
        reporter.start()
        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                futures = [pool.submit(_ask_often, front.port, over) for _ in range(CLIENTS)]
                for number in range(3):
                    time.sleep(0.7)
                    alive.discard(number)
                    end(front, servers[number])
                time.sleep(0.5)
                over.set()
                outcomes = sum((future.result() for future in futures), Counter[str]())
        finally:
            over.set()
            reporter.join()
        assert outcomes["whole"] > 100
        yield outcomes


def _report(front: RunningFront, servers: list[Server], alive: set[int], over: threading.Event) -> None:
    while not over.wait(0.1):
        for number in tuple(alive):
            front.report(servers[number])


def _ask_often(port: int, over: threading.Event) -> Counter[str]:
    found: Counter[str] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not over.is_set():
        connection.request("GET", STREAM)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            found[str(answer.status)] += 1
        elif body.endswith(b"data: [DONE]\n\n"):
            found["whole"] += 1
        else:
            found["error event" if json.loads(body.split(b"data: ")[-1])["error"] else "torn"] += 1
    connection.close()
    return found


def _drain(front: RunningFront, server: Server) -> None:
    """As a replica does it: closed to new requests, told to the front only later, ended when it has nothing left."""
    server.get("/drain")
    time.sleep(0.1)
    front.report(server, "draining")
    server.process.send_signal(signal.SIGTERM)
    server.process.wait()
    front.leave(server)


def _kill(front: RunningFront, server: Server) -> None:
    server.kill()
    wait_until(lambda: server.process.returncode is not None)
