"""Ending a worker on purpose: the right one, and nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.training.test_run import GONE, NAME, begin
from tradewind.clusters import notices
from tradewind.errors import NotFoundError
from tradewind.records import RunWorker, RunWorkers
from tradewind.storage import Store, open_store
from tradewind.training.driving.kill import TITLE, announce, choose, kill, withdraw


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


def worker(rank: int, pid: int = 7) -> RunWorker:
    return RunWorker(rank=rank, host=socket.gethostname(), address="127.0.0.1", node="ab", pid=pid)


def record(store: Store, name: str, *workers: RunWorker) -> None:
    store.put(f"runs/{NAME}/workers/{name}.json", RunWorkers(run=NAME, workers=workers).to_json())


def test_worker_of_a_rank_is_that_of_the_newest_group(store: Store) -> None:
    run = begin(store)
    record(store, "20260101-1", worker(0, 1), worker(1, 2))
    record(store, "20260101-2", worker(0, 3), worker(1, 4))
    assert choose(run, 1).pid == 4
    assert choose(run).pid in (3, 4)


def test_rank_that_is_not_there_is_refused(store: Store) -> None:
    run = begin(store)
    with pytest.raises(NotFoundError, match="has no workers: it is running"):
        choose(run)
    record(store, "20260101-1", worker(0))
    with pytest.raises(NotFoundError, match="has no rank 3"):
        choose(run, 3)


def test_run_that_does_not_run_has_no_workers(store: Store) -> None:
    run = begin(store, process=GONE)
    record(store, "20260101-1", worker(0))
    with pytest.raises(NotFoundError, match="it is stopped"):
        choose(run, 0)


def test_worker_is_killed_and_is_gone_the_second_time() -> None:
    program = [sys.executable, "-c", "import time; time.sleep(60)", TITLE]
    with subprocess.Popen(program) as process:
        there = worker(0, process.pid)
        assert kill(there)
        assert process.wait(10) == -9
    assert not kill(there)


def test_process_that_is_no_worker_is_left_alone() -> None:
    assert not kill(worker(0, os.getpid()))


def test_warning_is_a_notice_of_the_machine_until_it_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notices.RUN, str(tmp_path))
    announce(worker(0), notice_s=30)
    found = notices.current()
    assert found is not None
    assert found.deadline_unix_s == pytest.approx(time.time() + 30, abs=5)
    withdraw(worker(0))
    assert notices.current() is None
