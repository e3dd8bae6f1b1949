"""A replica without Ray: a real engine, a real port, the ledger of a real store."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx
import pytest

from tradewind.clusters.notices import Notice
from tradewind.errors import IntegrityError, RunError, SpecError
from tradewind.ledger import Ledger
from tradewind.registry import Models
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.replica import ReplicaPlan, Running, capacity_of, settings_of
from tradewind.serving.report import ReplicaReport
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store

BODY = {"model": "pilot@prod", "prompt": "the quay", "max_tokens": 5, "temperature": 0}


@dataclass
class Board:
    """What a front would know."""

    reports: list[ReplicaReport] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def report(self, report: ReplicaReport) -> None:
        self.reports.append(report)

    def leave(self, replica: str) -> None:
        self.left.append(replica)

    @property
    def statuses(self) -> list[str]:
        """Each status once, in its order."""
        return list(dict.fromkeys(report.status for report in self.reports))


class Unreachable(Board):
    def report(self, report: ReplicaReport) -> None:
        raise ConnectionError("no front")

    def leave(self, replica: str) -> None:
        raise ConnectionError("no front")


@pytest.fixture
def store(tiny_model: Path, tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    models = Models(store)
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    models.add("pilot", files, parents=(), family="llama", parameters=1, context=64, heldout_loss=None, card={})
    models.promote("pilot", alias="prod")
    return store


def plan(store: Store, **changes: Any) -> ReplicaPlan:
    values = {"name": "chat", "model": "pilot@prod", "engine": "echo", "drain_s": 10} | changes
    spec = ServeSpec.of(**values)
    return ReplicaPlan(spec, store, ModelFiles.of(store, spec.model), team="pilots")


@contextmanager
def running(store: Store, board: Board | None = None, **changes: Any) -> Iterator[Running]:
    replica = Running(plan(store, **changes), name="r1", front=board or Board())
    try:
        yield replica
    finally:
        replica.drain(0)


def ask(replica: Running, **changes: Any) -> dict[str, Any]:
    answer = httpx.post(f"{replica.url}/v1/completions", json=BODY | changes, timeout=30)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def wait_for(what: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_transformers_answer_for_the_model_by_version_alias_and_name(store: Store) -> None:
    with running(store, engine="transformers") as replica:
        answers = [ask(replica, model=name) for name in ("pilot@prod", "pilot@1", "pilot")]
    assert {answer["model"] for answer in answers} == {"pilot@1"}
    assert len({answer["choices"][0]["text"] for answer in answers}) == 1
    assert {"fetch", "engine", "first_token"} <= set(replica.phases)


def test_what_was_served_is_in_the_ledger_when_the_replica_ends(store: Store) -> None:
    with running(store) as replica:
        usage = [ask(replica)["usage"] for _ in range(2)]
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            ask(replica, model="other")
    rows = Ledger(store).rows()
    assert {(row.activity, row.subject, row.model, row.team) for row in rows} == {
        ("serving", "endpoint:chat", "pilot@1", "pilots")
    }
    assert sum(row.requests for row in rows) == 2
    assert sum(row.tokens_in for row in rows) == sum(one["prompt_tokens"] for one in usage)
    assert sum(row.tokens_out for row in rows) == sum(one["completion_tokens"] for one in usage)


def test_replica_that_served_nothing_has_held_its_machine_all_the_same(store: Store) -> None:
    with running(store):
        pass
    (row,) = Ledger(store).rows()
    assert (row.requests, row.used_s, row.productive_s) == (0, 0, 0)
    assert row.allocated_s > 0


def test_damaged_model_does_not_start_and_leaves_the_board(store: Store) -> None:
    board = Board()
    made = plan(store)
    key = Models(store).get("pilot").record.files["model.safetensors"].key
    store.put(key, b"")
    with pytest.raises(IntegrityError, match=f"model pilot@1.*{key}"):
        Running(made, name="r1", front=board)
    assert (board.reports, board.left) == ([], ["r1"])


def test_knob_that_the_engine_does_not_have_is_refused(store: Store) -> None:
    with pytest.raises(SpecError, match=r"first_s"):
        Running(plan(store, engine_settings={"frist_s": 1}), name="r1", front=Board())


def test_board_hears_of_a_replica_from_its_start_to_its_end(store: Store) -> None:
    board = Board()
    with running(store, board, engine_settings={"start_s": 0.7}) as replica:
        wait_for(lambda: len(board.reports) > 2)
    assert board.statuses == ["starting", "ready", "draining"]
    assert {report.url for report in board.reports} == {replica.url}
    assert board.reports[0].models == ("pilot@1", "pilot@prod", "pilot")
    assert board.left == ["r1"]


def test_replica_without_a_front_answers_all_the_same(store: Store) -> None:
    with running(store, Unreachable()) as replica:
        assert ask(replica)["choices"][0]["finish_reason"] == "length"


def test_replica_tells_of_itself_at_its_own_port(store: Store) -> None:
    with running(store) as replica:
        ask(replica)
        wait_for(lambda: not replica.gate.open)
        told = json.load(urllib.request.urlopen(f"{replica.url}/replica"))
        assert (told["replica"], told["status"], told["tokens_out"], told["open"]) == ("r1", "ready", 5, 0)
        assert told["context"] == 8192
        replica.check()


def test_drain_refuses_new_work_and_lets_streams_end(store: Store) -> None:
    board = Board()
    with running(store, board, engine_settings={"each_s": 0.02}) as replica:
        stream = httpx.stream("POST", f"{replica.url}/v1/completions", json=BODY | {"max_tokens": 40, "stream": True})
        with stream as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            done: list[bool] = []
            draining = threading.Thread(target=lambda: done.append(replica.drain(10)))
            draining.start()
            wait_for(lambda: replica.gate.is_closed)
            with pytest.raises(HTTPError, match="503"):
                urllib.request.urlopen(f"{replica.url}/v1/completions", data=b"{}")
            assert board.reports[-1].status == "draining"
            with pytest.raises(RunError, match="replica r1 drains"):
                replica.check()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        draining.join()
        assert done == [True]
        with pytest.raises(RunError, match="replica r1 was drained"):
            replica.check()
    assert sum(row.tokens_out for row in Ledger(store).rows()) == 40


def test_drain_ends_at_its_deadline_and_says_so(store: Store) -> None:
    with running(store, engine_settings={"first_s": 30}) as replica:
        asking = threading.Thread(target=lambda: httpx.post(f"{replica.url}/v1/completions", json=BODY, timeout=60))
        asking.start()
        wait_for(lambda: replica.gate.open)
        assert not replica.drain(0.05)
        asking.join()


def test_second_drain_finds_nothing_to_do(store: Store) -> None:
    with running(store) as replica:
        assert replica.drain(10)
        assert replica.drain(10)


def test_notice_of_a_machine_that_ends_drains_and_one_of_a_rebalance_does_not(store: Store) -> None:
    board = Board()
    with running(store, board) as replica:
        replica.noticed(Notice(reason="likelier to go", deadline_unix_s=None, kind="rebalance", source="test"))
        assert replica.status == "ready"
        replica.noticed(Notice(reason="spot", deadline_unix_s=time.time() + 30, kind="preemption", source="test"))
        assert replica.status == "draining"
        assert board.left == ["r1"]


def test_more_than_the_queue_holds_is_refused(store: Store) -> None:
    with running(store, engine_settings={"first_s": 5}, max_concurrency=1, queue=1) as replica:
        asking = [
            threading.Thread(target=lambda: httpx.post(f"{replica.url}/v1/completions", json=BODY, timeout=60))
            for _ in range(2)
        ]
        for one in asking:
            one.start()
        wait_for(lambda: replica.gate.open == 2)
        with pytest.raises(httpx.HTTPStatusError, match="429"):
            ask(replica)
        replica.drain(0)
        for one in asking:
            one.join()


def test_model_that_is_a_folder_is_called_by_the_name_of_the_endpoint(store: Store, tiny_model: Path) -> None:
    with running(store, model=str(tiny_model)) as replica:
        assert ask(replica, model="chat")["model"] == "chat"


def test_engine_is_told_what_the_spec_says(store: Store) -> None:
    made = plan(store, profile="latency", parallel={"tensor": 2, "expert": True}, engine_settings={"first_s": 1})
    settings = settings_of(made, {})
    assert (settings.profile, settings.tensor, settings.pipeline, settings.expert) == ("latency", 2, 1, True)
    assert settings.more == {"first_s": 1}
    assert settings.max_concurrency == made.spec.slots == 16


def test_replica_on_a_slower_chip_reports_its_share_of_the_capacity(store: Store) -> None:
    board = Board()
    replica = Running(plan(store, scaling={"target_tokens": 900}), name="r1", front=board, share=0.25)
    replica.drain(0)
    assert {report.capacity for report in board.reports} == {225}


def test_capacity_is_what_the_spec_says_or_full_slots_of_its_traffic(store: Store) -> None:
    assert capacity_of(plan(store, scaling={"target_tokens": 900}).spec) == 900
    traffic = {"tokens_in": 100, "tokens_out": 50}
    assert capacity_of(plan(store, max_concurrency=4, traffic=traffic).spec) == 600
