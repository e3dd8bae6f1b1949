"""HTTP/1.1 as clients speak it, well and badly."""

from __future__ import annotations

import json

import pytest

from tests.serving.front.servers import RunningFront, ask, get, running_front, wait_until
from tests.serving.front.servers import Server as Replica


def test_method_target_headers_and_body_arrive(front: RunningFront) -> None:
    with front.raw(ask("/a/b?c=d%20e", b"body", "X-One: two", method="PATCH")) as client:
        status, _, body = client.answer()
    told = json.loads(body)
    assert (status, told["method"], told["target"], told["body"]) == (200, "PATCH", "/a/b?c=d%20e", "body")
    assert told["headers"]["x-one"] == "two"
    assert told["headers"]["host"] == "front"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "PROPFIND"])
def test_each_method_is_passed_on(front: RunningFront, method: str) -> None:
    with front.raw(f"{method} /echo HTTP/1.1\r\nhost: a\r\n\r\n".encode()) as client:
        assert json.loads(client.answer()[2])["method"] == method


def test_chunked_request_arrives_whole_and_its_trailers_do_not(front: RunningFront) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-late\r\n\r\n"
    with front.raw(head + b"3\r\nabc\r\n2;name=value\r\nde\r\n0\r\nx-late: 1\r\n\r\n") as client:
        told = json.loads(client.answer()[2])
    assert told["body"] == "abcde"
    assert told["headers"]["content-length"] == "5"
    assert not {"transfer-encoding", "trailer", "x-late"} & told["headers"].keys()


def test_request_may_come_byte_by_byte(front: RunningFront) -> None:
    with front.raw() as client:
        for byte in ask("/echo", b"slow", "x-name: value"):
            client.send(bytes([byte]))
        told = json.loads(client.answer()[2])
    assert (told["body"], told["headers"]["x-name"]) == ("slow", "value")


def test_connection_serves_many_requests(front: RunningFront) -> None:
    with front.raw() as client:
        for number in range(20):
            client.send(ask("/echo", b"%d" % number))
            assert json.loads(client.answer()[2])["body"] == str(number)


def test_pipelined_requests_are_answered_in_order(front: RunningFront) -> None:
    slow, own, broken = get("/wait?s=0.2"), get("/health"), b"NONSENSE\r\n\r\n"
    with front.raw(slow + own + ask("/echo", b"third") + broken) as client:
        assert "port" in json.loads(client.answer()[2])
        assert json.loads(client.answer()[2])["status"] == "ok"
        assert json.loads(client.answer()[2])["body"] == "third"
        assert client.answer()[0] == 400
        assert client.rest() == b""


def test_thousand_pipelined_requests_are_answered(front: RunningFront) -> None:
    with front.raw(get("/health") * 1000 + ask("/echo", b"last", "connection: close")) as client:
        for _ in range(1000):
            assert client.answer()[0] == 200
        assert json.loads(client.answer()[2])["body"] == "last"
        assert client.rest() == b""


def test_connection_close_is_honoured_and_not_passed_on(front: RunningFront) -> None:
    with front.raw(get("/echo", "connection: close, X-Mine", "x-mine: 1", "keep-alive: timeout=3")) as client:
        told = json.loads(client.answer()[2])
        assert client.rest() == b""
    assert not {"connection", "x-mine", "keep-alive"} & told["headers"].keys()


def test_head_has_no_body_and_the_connection_goes_on(front: RunningFront) -> None:
    with front.raw(b"HEAD /echo HTTP/1.1\r\nhost: a\r\n\r\nHEAD /health HTTP/1.1\r\nhost: a\r\n\r\n") as client:
        head = client.until(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"content-length" in head
        assert b" 200 " in client.until(b"\r\n\r\n")
        client.send(ask("/echo", b"after"))
        assert json.loads(client.answer()[2])["body"] == "after"


@pytest.mark.parametrize("code", [204, 304])
def test_answer_without_a_body_ends_at_its_head(front: RunningFront, code: int) -> None:
    with front.raw(get(f"/status?code={code}") + get("/echo")) as client:
        assert f" {code} ".encode() in client.until(b"\r\n\r\n")
        while client.buffer.startswith(b"0\r\n\r\n"):  # pragma: no cover
            pytest.fail("a body came")
        assert client.answer()[0] == 200


def test_expectation_is_met_before_the_body_comes(front: RunningFront) -> None:
    with front.raw(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n") as client:
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        told = json.loads(client.answer()[2])
    assert told["body"] == "body"
    assert "expect" not in told["headers"]


def test_client_of_http_1_0_gets_no_chunks(front: RunningFront) -> None:
    with front.raw(b"GET /stream?n=3 HTTP/1.0\r\n\r\n") as client:
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: [DONE]\n\n"


def test_offer_of_http_2_is_passed_over_and_the_body_arrives(front: RunningFront) -> None:
    offer = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")
    with front.raw(ask("/echo", b"kept", *offer)) as client:
        told = json.loads(client.answer()[2])
        client.send(ask("/echo", b"next"))
        assert json.loads(client.answer()[2])["body"] == "next"
    assert told["body"] == "kept"
    assert not {"upgrade", "http2-settings", "connection"} & told["headers"].keys()


def test_target_in_absolute_form_becomes_a_path(front: RunningFront) -> None:
    with front.raw(get("http://somewhere:80/echo?x=1")) as client:
        assert json.loads(client.answer()[2])["target"] == "/echo?x=1"


WEBSOCKET = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-key: eA==", "sec-websocket-version: 13")
REFUSED = {
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no host": (b"GET /echo HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /echo HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "length and chunks": (
        b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
    "negative length": (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
    "folded header": (b"GET /echo HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", 400),
    "space before the colon": (b"GET /echo HTTP/1.1\r\nhost: a\r\nx : 1\r\n\r\n", 400),
    "nul in a header": (b"GET /echo HTTP/1.1\r\nhost: a\r\nx: \x00\r\n\r\n", 400),
    "bad chunk": (b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    "other encoding": (b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "tunnel": (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    "websocket": (get("/echo", *WEBSOCKET), 501),
    "other expectation": (ask("/echo", b"", "expect: tea"), 417),
    "endless header": (b"GET /echo HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 400_000, 431),
    "endless target": (b"GET /" + b"y" * 400_000, 431),
    "announced body too long": (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n", 413),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_gets_its_status_and_a_closed_connection(front: RunningFront, name: str) -> None:
    data, expected = REFUSED[name]
    with front.raw(data) as client:
        status, headers, body = client.answer()
        assert client.rest() == b""
    assert (status, headers["connection"]) == (expected, "close")
    assert json.loads(body)["error"]["message"]
    assert front.get("/echo")["method"] == "GET"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_of_100_mb_is_refused_and_its_client_reads_why(front: RunningFront, is_chunked: bool) -> None:
    part = b"x" * 1_000_000
    framing = b"transfer-encoding: chunked" if is_chunked else b"content-length: 100000000"
    with front.raw(b"POST /echo HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n\r\n") as client:
        for _ in range(100):
            client.send(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
        assert client.answer()[0] == 413
    wait_until(lambda: front.get("/replicas")[0]["open"] == 0)


def test_body_of_30_mb_arrives(front: RunningFront) -> None:
    with front.raw(ask("/echo", b"x" * 30_000_000)) as client:
        assert json.loads(client.answer()[2])["size"] == 30_000_000


def test_all_bodies_together_are_bounded(server: Replica) -> None:
    with running_front(server, max_bodies_bytes=1000) as front, front.raw(ask("/echo", b"x" * 2000)) as client:
        assert client.answer()[0] == 503
        assert front.get("/echo")["size"] == 0


def test_slow_head_is_not_waited_for_without_end(server: Replica) -> None:
    with running_front(server, stalled_s=0.2) as front, front.raw(b"GET /echo HT") as client:
        assert client.rest() == b""


def test_idle_connection_is_closed(server: Replica) -> None:
    with running_front(server, idle_s=0.2) as front, front.raw(get("/echo")) as client:
        assert client.answer()[0] == 200
        assert client.rest() == b""
