"""Requests find the replicas that have their model, and share themselves out by what each can carry."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import free_port
from tests.serving.front.servers import RunningFront, Server, ask, running_front, running_server
from tradewind.registry import Models
from tradewind.serving.front import Front, FrontSettings
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.replica import ReplicaPlan, Running
from tradewind.serving.report import ReplicaReport
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store

OLD, NEW = ("pilot@1", "pilot"), ("pilot@2", "pilot")


@pytest.fixture(scope="module")
def other() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def both(server: Server, other: Server) -> Iterator[RunningFront]:
    """Two versions behind one front, as while a new one comes."""
    with running_front() as front:
        front.report(server, models=OLD)
        front.report(other, models=NEW)
        yield front


def asked(front: RunningFront, body: bytes) -> tuple[int, Any]:
    with front.raw(ask("/echo", body)) as client:
        status, _, answer = client.answer()
    return status, json.loads(answer)


def ports(front: RunningFront, body: bytes, times: int = 12) -> set[int]:
    answers = [asked(front, body) for _ in range(times)]
    assert {status for status, _ in answers} == {200}
    return {answer["port"] for _, answer in answers}


def test_request_goes_to_a_replica_that_has_its_model(both: RunningFront, server: Server, other: Server) -> None:
    assert ports(both, b'{"model": "pilot@1"}') == {server.port}
    assert ports(both, b'{"prompt": "say \\"model\\": \\"pilot@1\\"", "model": "pilot@2"}') == {other.port}
    assert ports(both, b'{"model": "pilot"}') == {server.port, other.port}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"prompt": "x"}', b'{"model": 7}', b"\xff\xfe", b"[" * 100_000])
def test_body_that_names_no_model_is_for_a_replica_to_judge(
    both: RunningFront, server: Server, other: Server, body: bytes
) -> None:
    assert ports(both, body, times=6) <= {server.port, other.port}


def test_model_that_nobody_has_is_answered_with_the_names(both: RunningFront) -> None:
    status, answer = asked(both, b'{"model": "pilto@1"}')
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    message = answer["error"]["message"]
    assert message == "no model named 'pilto@1' is served here (did you mean 'pilot@1'?)"


def test_equal_replicas_are_asked_without_reading_what_names_their_model(server: Server) -> None:
    with running_front() as front:
        front.report(server, models=OLD)
        assert asked(front, b'not even JSON, with "pilot" in it')[0] == 200
        assert asked(front, b'{"model": "pilot@1"}')[0] == 200
        assert asked(front, rb'{"model": "\u0070ilot"}')[0] == 200
        assert asked(front, b'{"model": "tide"}')[0] == 404


def test_replica_that_does_not_say_what_it_has_gets_everything(server: Server) -> None:
    with running_front(server) as front:
        assert asked(front, b'{"model": "tide"}')[0] == 200


def test_held_request_for_a_model_that_does_not_come_is_answered(server: Server) -> None:
    with running_front() as front, front.raw(ask("/echo", b'{"model": "tide"}')) as client:
        front.report(server, models=OLD)
        assert client.answer()[0] == 404


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path))
    files: dict[str, bytes | Path] = {"config.json": b"{}"}
    Models(store).add("pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={})
    return store


class Line:
    """How a replica reaches a front in the same process, from a thread of its own."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def report(self, report: ReplicaReport) -> None:
        asyncio.run(self._front.report(report))

    def leave(self, replica: str) -> None:
        asyncio.run(self._front.leave(replica))


def replica(store: Store, front: Front, name: str, *, share: float, each_s: float) -> Running:
    """A full chip: each token of each answer that runs costs it the same time."""
    law = {"each_s": each_s, "each_more_s": each_s}
    spec = ServeSpec.of(name="chat", model="pilot", engine="echo", engine_settings=law)
    plan = ReplicaPlan(spec, store, ModelFiles.of(store, spec.model))
    return Running(plan, name=name, front=Line(front), share=share)


@pytest.mark.slow
def test_shares_of_a_mixed_pool_are_those_of_its_capacities(store: Store) -> None:
    """A chip of a third of the pace gets a third of the other's requests: its fuller neighbour is as slow for each."""
    front = Front(FrontSettings(port=free_port()))
    laws = {"fast": (1.0, 0.003), "slow": (1 / 3, 0.009)}
    pool = {name: replica(store, front, name, share=share, each_s=each_s) for name, (share, each_s) in laws.items()}
    url = f"http://127.0.0.1:{front.port}/v1/completions"
    body = {"model": "pilot", "prompt": "the quay", "max_tokens": 10}
    try:
        with httpx.Client(timeout=60) as client, ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: client.post(url, json=body).status_code, range(160)))
        made = Counter({name: running.engine.load().tokens_out for name, running in pool.items()})
    finally:
        for running in pool.values():
            running.drain(5)
        front.stop()
    assert set(answers) == {200}
    assert made.total() == 1600
    assert 0.65 < made["fast"] / made.total() < 0.85
