from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tradewind.testing.faults import ERRORS, PASSING, Fault, FaultProxy, Plan, start_faults
from tradewind.testing.gcs import Gcs, start_gcs


@pytest.fixture
def server() -> Iterator[Gcs]:
    with start_gcs("harbour") as running:
        yield running


@pytest.fixture
def proxy(server: Gcs) -> Iterator[FaultProxy]:
    with start_faults(server.endpoint) as running:
        yield running


def ask(proxy: FaultProxy, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=5)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_a_plan_everything_goes_through(proxy: FaultProxy) -> None:
    assert ask(proxy, "PUT", "/harbour/a", b"12345")[0] == 200
    assert ask(proxy, "GET", "/harbour/a") == (200, b"12345")
    assert ask(proxy, "HEAD", "/harbour/a") == (200, b"")
    assert dict(proxy.seen) == {"none": 3}
    assert proxy.requests == [("PUT", "/harbour/a"), ("GET", "/harbour/a"), ("HEAD", "/harbour/a")]


@pytest.mark.parametrize("fault", ["500", "503", "429", "409"])
def test_refused_request_never_reaches_the_server(proxy: FaultProxy, server: Gcs, fault: Fault) -> None:
    proxy.inject(fault)
    status, body = ask(proxy, "PUT", "/harbour/a", b"12345")
    assert (status, ERRORS[fault][1] in body.decode()) == (int(fault), True)
    assert ask(proxy, "GET", "/harbour/a")[0] == 404


def test_reset_comes_before_the_server_and_lost_after_it(proxy: FaultProxy) -> None:
    for fault, status in (("reset", 404), ("lost", 200)):
        proxy.inject(fault)  # type: ignore[arg-type]
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(proxy, "PUT", "/harbour/a", b"12345")
        assert ask(proxy, "GET", "/harbour/a")[0] == status


def test_answer_replaced_by_an_error_was_applied(proxy: FaultProxy) -> None:
    proxy.inject("lost-500")
    assert ask(proxy, "PUT", "/harbour/a", b"12345")[0] == 500
    assert ask(proxy, "GET", "/harbour/a") == (200, b"12345")


def test_truncated_body_is_shorter_than_promised(proxy: FaultProxy) -> None:
    ask(proxy, "PUT", "/harbour/a", b"1234567890")
    proxy.inject("truncated")
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(proxy, "GET", "/harbour/a")
    assert caught.value.partial == b"12345"


def test_flipped_bit_keeps_the_length(proxy: FaultProxy) -> None:
    ask(proxy, "PUT", "/harbour/a", b"12345")
    proxy.inject("flipped", when=lambda method, path: method == "GET" and path.endswith("/a"))
    assert ask(proxy, "GET", "/harbour/none")[0] == 404
    assert ask(proxy, "GET", "/harbour/a") == (200, b"02345")
    assert ask(proxy, "GET", "/harbour/a") == (200, b"12345")


def test_slow_answer_waits(server: Gcs) -> None:
    with start_faults(server.endpoint, Plan(slow_s=0.2)) as proxy:
        proxy.inject("slow")
        began = time.monotonic()
        assert ask(proxy, "GET", "/harbour/a")[0] == 404
        assert time.monotonic() - began >= 0.2


def test_unknown_fault_is_refused(proxy: FaultProxy) -> None:
    with pytest.raises(ValueError, match="no fault named 'flood'"):
        proxy.inject("flood")  # type: ignore[arg-type]


def test_plan_depends_on_the_request_and_the_seed_alone() -> None:
    requests = [f"GET /harbour/{number}" for number in range(500)]
    plan = Plan(seed=1, share=0.3)
    chosen = [plan.choose(request, 0) for request in requests]
    assert chosen == [plan.choose(request, 0) for request in requests]
    assert chosen != [Plan(seed=2, share=0.3).choose(request, 0) for request in requests]
    assert {fault for fault in chosen if fault} == set(PASSING)
    assert 100 < sum(fault is not None for fault in chosen) < 200


def test_request_that_is_asked_often_goes_through() -> None:
    plan = Plan(seed=1, share=1.0, most_in_a_row=3)
    assert [plan.choose("GET /a", asked) is None for asked in range(8)] == [False, False, False, True] * 2


def test_silent_damage_is_never_planned() -> None:
    assert "flipped" not in PASSING
