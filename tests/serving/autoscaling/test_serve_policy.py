from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import tradewind as tw
from tests.conftest import free_port
from tradewind.registry import Models
from tradewind.serving import Endpoint
from tradewind.serving.autoscaling.history import decisions_of, read_windows, windows_of
from tradewind.serving.autoscaling.replay import repeat
from tradewind.serving.autoscaling.serve_policy import settings_of, signals_from
from tradewind.serving.front.board import BoardSignals
from tradewind.serving.report import ReplicaReport

URL = "http://127.0.0.1:1"


def test_replicas_that_have_not_reported_yet_are_starting() -> None:
    reports = (
        ReplicaReport("a", URL, "ready", 2048.0, running=2, waiting=1, tokens_in_flight=700, ttft_p95_s=0.2),
        ReplicaReport("b", URL, "draining", 2048.0),
    )
    board = BoardSignals(1000.2, reports, 3, 0.5, 90.0)
    signals = signals_from(board, time_s=1000.0, target=3, capacity=2048.0)
    assert [one.status for one in signals.replicas] == ["ready", "draining", "starting", "starting"]
    assert (signals.requests, signals.waiting, signals.tokens_in_flight) == (6, 4, 700)
    assert (signals.queued, signals.arrivals_per_s, signals.tokens_per_s) == (3, 0.5, 90.0)
    assert {one.capacity for one in signals.replicas} == {2048.0}


def test_more_replicas_than_asked_for_are_not_starting() -> None:
    board = BoardSignals(0.0, tuple(ReplicaReport(name, URL, "ready", 1.0) for name in "abc"), 0, 0.0, 0.0)
    assert signals_from(board, time_s=0.0, target=1, capacity=1.0).starting == 0


def test_replicas_that_start_to_be_spare_are_none_that_the_policy_waits_for() -> None:
    reports = tuple(ReplicaReport(name, URL, "starting" if name > "b" else "ready", 1.0) for name in "abcd")
    board = BoardSignals(0.0, reports, 0, 0.0, 0.0)
    assert [signals_from(board, time_s=0.0, target=target, capacity=1.0).starting for target in (2, 3, 5)] == [0, 1, 3]


def test_profile_and_concurrency_become_settings_of_the_policy() -> None:
    def settings(**values: Any) -> dict[str, float]:
        return settings_of(tw.ServeSpec.of(name="chat", model="pilot", max_concurrency=6, **values))

    room = {name: settings(scaling={}, profile=name)["room"] for name in ("latency", "balanced", "throughput")}
    assert room["latency"] > room["balanced"] > room["throughput"]
    assert settings(scaling={})["slots"] == 6
    assert settings(scaling={"policy": "classic"}) == {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tw.Workspace]:
    with tw.Workspace(str(tmp_path_factory.mktemp("workspace"))) as place:
        files: dict[str, bytes | Path] = {"config.json": b"{}"}
        Models(place.store).add(
            "pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={}
        )
        yield place


@pytest.fixture
def endpoint(place: tw.Workspace, request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """An endpoint of one or two replicas with two slots each, on a real Ray Serve; `param` are kept warm."""
    scaling = {"max": 2, "target_tokens": 40, "down_after_s": 2, "cool_down_s": 2, "cold_start_s": 2}
    engine = {"engine": "echo", "engine_settings": {"each_s": 0.02}, "max_concurrency": 2}
    warm = getattr(request, "param", 0)
    name = "warm" if warm else "chat"
    wish = {"name": name, "model": "pilot", "scaling": scaling | {"warm": warm}, "port": free_port(), **engine}
    found = place.serve(tw.ServeSpec.of(**wish))
    yield found
    found.stop()


def ask(endpoint: Endpoint, until: threading.Event) -> None:
    body = {"model": "pilot", "prompt": "the quay", "max_tokens": 20}
    while not until.is_set():
        httpx.post(f"{endpoint.url}/v1/completions", json=body, timeout=60).raise_for_status()


def wait_for(what: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", [1], indirect=True)
def test_warm_replica_takes_requests_when_it_is_wanted_and_another_comes_for_it(endpoint: Endpoint) -> None:
    def names(status: str) -> list[str]:
        return [one["replica"] for one in endpoint.replicas() if one["status"] == status]

    wait_for(lambda: (len(names("ready")), len(names("spare"))) == (1, 1))
    spare = names("spare")
    over = threading.Event()
    clients = [threading.Thread(target=ask, args=(endpoint, over)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_for(lambda: len(names("ready")) == 2)
        assert set(spare) <= set(names("ready"))
        wait_for(lambda: len(names("spare")) == 1)
    finally:
        over.set()
        for client in clients:
            client.join()
    wait_for(lambda: (len(names("ready")), len(names("spare")), len(endpoint.replicas())) == (1, 1, 2))
    decisions = list(decisions_of(endpoint.store, "warm").all())
    assert [(one.before, one.target) for one in decisions[:2]] == [(1, 2), (2, 1)]


@pytest.mark.slow
def test_load_brings_a_replica_and_its_end_takes_it_and_both_are_recorded(endpoint: Endpoint) -> None:
    def ready() -> int:
        return sum(one["status"] == "ready" for one in endpoint.replicas())

    over = threading.Event()
    clients = [threading.Thread(target=ask, args=(endpoint, over)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_for(lambda: ready() == 2)
    finally:
        over.set()
        for client in clients:
            client.join()
    wait_for(lambda: ready() == 1)
    decisions = list(decisions_of(endpoint.store, "chat").all())
    assert [(one.before, one.target) for one in decisions[:2]] == [(1, 2), (2, 1)]
    assert decisions[0].policy == "tokens"
    assert decisions[0].inputs["tokens_in_flight"] > 0
    wait_for(lambda: windows_of(endpoint.store, "chat").numbers(), timeout_s=90)
    same, looks = repeat(read_windows(endpoint.store, "chat"))
    assert same == looks > 20
