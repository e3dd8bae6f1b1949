"""Requests between clients and replicas that come, go and die."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import free_port
from tests.serving.front.servers import RunningFront, Server, ask, get, running_front, running_server, wait_until


@pytest.fixture
def other() -> Iterator[Server]:
    with running_server() as running:
        yield running


def test_stream_passes_as_it_comes(front: RunningFront) -> None:
    with front.raw(get("/stream?n=3&each_s=0.2")) as client:
        client.until(b"data: 0\n\n")
        assert b"data: 1\n\n" not in client.buffer
        client.until(b"data: [DONE]\n\n")
        client.until(b"0\r\n\r\n")
        client.send(ask("/echo", b"next"))
        assert json.loads(client.answer()[2])["body"] == "next"


def test_long_answer_arrives_whole_at_a_client_that_reads_slowly(front: RunningFront) -> None:
    size = 50_000_000
    with front.raw(get(f"/long?bytes={size}", "connection: close")) as client:
        client.until(b"\r\n\r\n")
        wait_until(lambda: front.get("/replicas")[0]["open"] == 1)
        assert client.rest().count(b"x") >= size


def test_client_that_reads_nothing_is_given_up(server: Server) -> None:
    with running_front(server, stalled_s=0.3) as front, front.raw(get("/long?bytes=50000000")) as client:
        client.until(b"\r\n\r\n")
        wait_until(lambda: front.get("/replicas")[0]["open"] == 0)
        with pytest.raises((ConnectionError, EOFError)):
            client.until(b"\r\n0\r\n\r\n")


def test_client_that_goes_away_stops_its_replica(front: RunningFront, server: Server) -> None:
    before = server.get("/state")["gone"]
    with front.raw(get("/stream?n=1000&each_s=0.01")) as client:
        client.until(b"data: 1\n\n")
    wait_until(lambda: server.get("/state")["gone"] == before + 1)
    assert front.get("/replicas")[0]["open"] == 0
    assert front.metric("tradewind_front_clients_gone_total") == 1


def test_client_that_goes_away_before_the_answer_frees_its_place(front: RunningFront) -> None:
    with front.raw(get("/wait?s=30")):
        wait_until(lambda: front.get("/replicas")[0]["open"] == 1)
    wait_until(lambda: front.get("/replicas")[0]["open"] == 0)


def test_killed_replica_ends_its_stream_with_an_error_event(other: Server) -> None:
    with running_front(other) as front, front.raw(get("/stream?n=1000")) as client:
        client.until(b"data: 2\n\n")
        other.kill()
        client.until(b"data: {")
        event = json.loads(b"{" + client.until(b"\n\n"))
        assert event["error"]["code"] == "replica_lost"
        assert other.name in event["error"]["message"]
        client.until(b"\r\n0\r\n\r\n")
        client.send(get("/health"))
        assert client.answer()[0] == 200
        assert front.metric("tradewind_front_lost_answers_total") == 1


def test_killed_replica_cuts_an_answer_that_is_no_stream(other: Server) -> None:
    with running_front(other) as front, front.raw(get("/long?bytes=400000000")) as client:
        client.until(b"\r\n\r\n")
        other.kill()
        assert not client.rest().endswith(b"\r\n0\r\n\r\n")


def test_request_whose_replica_dies_before_it_answers_is_asked_elsewhere(server: Server, other: Server) -> None:
    with running_front(other) as front, front.raw(get("/wait?s=1")) as client:
        wait_until(lambda: other.get("/state")["asked"] >= 2)
        wait_until(lambda: front.get("/replicas")[0]["open"] == 1)
        front.report(server)
        other.kill()
        status, _, body = client.answer()
    assert (status, json.loads(body)["port"]) == (200, server.port)


def test_request_that_two_replicas_died_of_is_asked_no_more(other: Server) -> None:
    with running_server() as two, running_front(other) as front, front.raw(get("/wait?s=30")) as client:
        wait_until(lambda: front.get("/replicas")[0]["open"] == 1)
        front.report(two)
        other.kill()
        wait_until(lambda: {row["replica"]: row["open"] for row in front.get("/replicas")}[two.name] == 1)
        wait_until(lambda: two.get("/state")["asked"] >= 3)
        two.kill()
        status, _, body = client.answer()
    assert (status, json.loads(body)["error"]["code"]) == (502, "replica_lost")


def test_replica_that_refuses_connections_is_passed_over_until_it_reports(server: Server, other: Server) -> None:
    with running_front(server, other) as front:
        other.kill()
        assert {front.get("/echo")["port"] for _ in range(20)} == {server.port}
        assert {row["replica"]: row["refused"] for row in front.get("/replicas")}[other.name]
        front.report(other)
        assert not {row["replica"]: row["refused"] for row in front.get("/replicas")}[other.name]


def test_connection_that_the_replica_closed_meanwhile_costs_no_request(server: Server) -> None:
    """A replica that answers and closes without a word, as one whose idle time has run out does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closer = Server(listener.getsockname()[1], server.process)
        thread = threading.Thread(target=_answer_and_close, args=(listener, 3))
        thread.start()
        with running_front(closer) as own:
            for _ in range(3):
                with own.raw(get("/x")) as client:
                    assert client.answer()[0] == 200
            assert own.metric("tradewind_front_retries_total") == 2
        thread.join()


def _answer_and_close(listener: socket.socket, times: int) -> None:
    for _ in range(times):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            connection.recv(65536)  # the next request is read, and not answered


def test_draining_replica_gets_nothing_new_and_ends_what_it_has(server: Server, other: Server) -> None:
    with running_front(other) as front, front.raw(get("/stream?n=40&each_s=0.02")) as client:
        client.until(b"data: 0\n\n")
        front.report(server)
        front.report(other, "draining")
        assert {front.get("/echo")["port"] for _ in range(10)} == {server.port}
        assert client.until(b"0\r\n\r\n").count(b"data:") == 40


def test_replica_that_says_503_and_closes_is_passed_over(server: Server, other: Server) -> None:
    with running_front(server, other) as front:
        other.get("/drain")
        assert {front.get("/echo")["port"] for _ in range(20)} == {server.port}


def test_request_is_held_until_a_replica_is_ready(server: Server) -> None:
    with running_front() as front, front.raw(ask("/echo", b"patient")) as client:
        wait_until(lambda: front.metric("tradewind_front_held") == 1)
        front.report(server, "starting")
        assert front.metric("tradewind_front_held") == 1
        front.report(server)
        assert json.loads(client.answer()[2])["body"] == "patient"


def test_request_is_not_held_longer_than_was_promised() -> None:
    with running_front(first_answer_s=0.1) as front, front.raw(ask("/echo")) as client:
        status, headers, body = client.answer()
        assert (status, json.loads(body)["error"]["code"]) == (503, "no_replica")
        assert int(headers["retry-after"]) >= 1


def test_no_more_than_the_queue_is_held() -> None:
    with running_front(queue=1) as front, front.raw(ask("/echo")):
        wait_until(lambda: front.metric("tradewind_front_held") == 1)
        with front.raw(ask("/echo")) as second:
            status, headers, _ = second.answer()
            assert (status, headers["retry-after"]) == (429, "1")


def test_held_client_that_goes_away_leaves_the_queue() -> None:
    with running_front() as front:
        with front.raw(ask("/echo")):
            wait_until(lambda: front.metric("tradewind_front_held") == 1)
        wait_until(lambda: front.metric("tradewind_front_held") == 0)


def test_silent_replica_is_taken_out(server: Server) -> None:
    with running_front(server) as front:
        assert front.get("/health")["ready"] == 1
        wait_until(lambda: front.get("/health")["ready"] == 0)


def test_requests_go_by_capacity(server: Server, other: Server) -> None:
    with running_front() as front, ThreadPoolExecutor(16) as pool:
        front.report(server, capacity=3000)
        front.report(other, capacity=1000)
        ports = list(pool.map(lambda _: front.get("/wait?s=0.5")["port"], range(16)))
    assert ports.count(server.port) == 12


def test_answer_that_is_no_http_is_a_bad_gateway() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=_speak_nonsense, args=(listener,))
        thread.start()
        with running_front() as front, front.raw() as client:
            front.report(_Liar(port))
            client.send(get("/x"))
            assert client.answer()[0] == 502
        thread.join()


class _Liar(Server):
    def __init__(self, port: int) -> None:
        self.port = port


def _speak_nonsense(listener: socket.socket) -> None:
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"220 smtp.example.com ESMTP\r\n")


def test_stop_lets_a_stream_end_and_refuses_what_comes(server: Server) -> None:
    with running_front(server) as front, front.raw(get("/stream?n=30&each_s=0.02")) as client:
        client.until(b"data: 0\n\n")
        stopper = threading.Thread(target=front.front.stop)
        stopper.start()
        assert client.until(b"0\r\n\r\n").count(b"data:") == 30
        stopper.join()
        with pytest.raises(ConnectionRefusedError):
            front.raw()


def test_stop_ends_at_its_deadline(server: Server) -> None:
    with running_front(server, drain_s=0.2) as front, front.raw(get("/wait?s=30")) as client:
        wait_until(lambda: front.get("/replicas")[0]["open"] == 1)
        front.front.stop()
        with pytest.raises((ConnectionError, EOFError)):
            client.answer()


def test_metrics_are_what_prometheus_reads(front: RunningFront) -> None:
    for _ in range(3):
        front.get("/echo")
    assert front.metric("tradewind_front_answers_total") == 3
    assert front.metric("tradewind_front_first_byte_seconds_count") == 3
    assert front.metric("tradewind_front_replica_open") == 0
