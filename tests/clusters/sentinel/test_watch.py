"""The sentinel as a process, against a real Ray of two nodes. What it took is printed, not asserted."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clusters.sentinel.services import Service, start_aws
from tradewind.clusters.notices import RUN, Notice, current
from tradewind.clusters.sentinel.raylet import find_raylets
from tradewind.clusters.sentinel.watch import Ending

TIMEOUT_S = 60
SENTINEL = [sys.executable, "-m", "tradewind.clusters.sentinel"]
NOTICE = [sys.executable, "-m", "tradewind", "chaos", "notice"]


@dataclass
class Ray:
    """The Ray of `two_nodes.py`."""

    process: subprocess.Popen[str]
    address: str
    head: dict[str, Any]
    worker: dict[str, Any]

    def ask(self, question: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def has_worker(self) -> bool:
        return self.worker["id"] in self.ask("alive")


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """With a short name, because Ray makes sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="twd-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, ray_folder: Path) -> Iterator[Ray]:
    (ray_folder / "ray").mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(ray_folder))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    command = [sys.executable, str(Path(__file__).with_name("two_nodes.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Ray(process, **json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(TIMEOUT_S)


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUN, str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def service() -> Iterator[Service]:
    with start_aws() as started:
        yield started


@contextmanager
def sentinel(log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file, subprocess.Popen([*SENTINEL, *options], stderr=file) as process:
        try:
            until(lambda: b"watching" in log.read_bytes())
            yield process
        finally:
            process.kill()
            print(log.read_text())


def until(holds: Callable[[], object]) -> float:
    """Unix seconds when it first holds."""
    end = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return time.time()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def interruption(*, in_s: float) -> dict[str, dict[str, str]]:
    when = datetime.fromtimestamp(time.time() + in_s, UTC)
    return {"instance-action": {"action": "terminate", "time": when.strftime("%Y-%m-%dT%H:%M:%SZ")}}


@pytest.mark.slow
def test_notice_drains_the_node_and_the_deadline_ends_it(ray: Ray, service: Service, tmp_path: Path) -> None:
    pid = ray.worker["pid"]
    options = ("--cloud", "aws", "--metadata", service.url, "--raylet", str(pid), "--address", ray.address)
    with sentinel(tmp_path / "log", *options) as process:
        resident_bytes = psutil.Process(process.pid).memory_info().rss
        told = time.time()
        service.set(**interruption(in_s=12))
        heard = until(current)
        drained = until(lambda: ray.worker["id"] in ray.ask("draining"))
        notice = current()
        assert notice is not None
        assert notice.kind == "preemption"
        assert notice.deadline_unix_s is not None
        assert not ray.ask("new task")
        assert ray.ask("actor") == "water"
        gone = until(lambda: not ray.has_worker())
        assert ray.head["id"] in ray.ask("alive")
        until(lambda: not is_running(pid))
        assert ray.ask("actor") == "gone"
    print(f"a sentinel of {resident_bytes / 2**20:.0f} MiB")
    print(f"heard after {heard - told:.2f} s, drained after {drained - told:.2f} s")
    print(f"the head knows the node to be gone {gone - notice.deadline_unix_s:.2f} s after the deadline")


@pytest.mark.slow
def test_sentinel_that_is_killed_takes_up_where_it_was(ray: Ray, service: Service, tmp_path: Path) -> None:
    options = ("--cloud", "aws", "--metadata", service.url, "--raylet", str(ray.worker["pid"]))
    service.set(**interruption(in_s=15))
    with sentinel(tmp_path / "first", *options):
        until(current)
    notice = current()
    service.values.clear()  # and from now on the metadata service answers no more
    with sentinel(tmp_path / "second", *options):
        until(lambda: not ray.has_worker())
    assert current() == notice


@pytest.mark.slow
def test_head_is_told_of_but_neither_drained_nor_ended(ray: Ray, tmp_path: Path) -> None:
    with sentinel(tmp_path / "log", "--cloud", "none", "--raylet", str(ray.head["pid"])):
        assert subprocess.run([*NOTICE, "1s"]).returncode == 0
        until(lambda: (found := current()) and found.remaining_s() == 0)
        until(lambda: not (tmp_path / "run" / "drill.json").exists())
    assert is_running(ray.head["pid"])
    assert set(ray.ask("alive")) == {ray.head["id"], ray.worker["id"]}
    assert ray.ask("draining") == {}


@pytest.mark.slow
def test_nodes_are_found_by_their_head_and_by_their_process(ray: Ray) -> None:
    found = {raylet.node_id: raylet.is_head for raylet in find_raylets(address=ray.address)}
    assert found == {ray.head["id"]: True, ray.worker["id"]: False}
    (worker,) = find_raylets(pid=ray.worker["pid"])
    assert worker.node_id == ray.worker["id"]
    assert find_raylets(address="127.0.0.1:1") == []


def test_deadline_stays_where_it_was_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    notice = Notice(reason="spot", deadline_unix_s=now + 60, kind="preemption", source="aws")
    ending = Ending(notice, find=list)
    for shift_s in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda shift_s=shift_s: now + shift_s)
        ending.advance()
        assert not ending.is_done


def test_deadline_that_is_past_ends_at_once() -> None:
    notice = Notice(reason="spot", deadline_unix_s=time.time() - 1, kind="preemption", source="aws")
    ending = Ending(notice, find=list)
    assert ending.pause_s() == 0
    ending.advance()
    assert ending.is_done


def test_drill_needs_a_sentinel(tmp_path: Path) -> None:
    done = subprocess.run([*NOTICE, "30s"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no sentinel runs here" in done.stderr
    assert current() is None


def test_damaged_files_are_survived(run_folder: Path, tmp_path: Path) -> None:
    run_folder.mkdir()
    for name in ("notice.json", "drill.json"):
        (run_folder / name).write_text("{")
    with sentinel(tmp_path / "log", "--cloud", "none", "--raylet", str(os.getpid())):
        assert subprocess.run([*NOTICE, "10min"]).returncode == 0
        until(current)


def test_second_sentinel_is_refused(tmp_path: Path) -> None:
    with sentinel(tmp_path / "log", "--cloud", "none", "--raylet", str(os.getpid())):
        done = subprocess.run([*SENTINEL, "--cloud", "none"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "runs here already" in done.stderr


def test_drill_is_carried_out_and_can_be_called_off(tmp_path: Path) -> None:
    with sentinel(tmp_path / "log", "--cloud", "none", "--raylet", str(os.getpid())):
        assert subprocess.run([*NOTICE, "10min"]).returncode == 0
        until(lambda: (found := current()) and found.source == "drill")
        assert subprocess.run([*NOTICE, "--withdraw"]).returncode == 0
        assert current() is None


def test_missing_metadata_service_is_survived(service: Service, tmp_path: Path) -> None:
    with start_aws() as gone:
        url = gone.url
    log = tmp_path / "log"
    with sentinel(log, "--cloud", "aws", "--metadata", url, "--raylet", str(os.getpid())) as process:
        until(lambda: b"gets no answer" in log.read_bytes())
        assert process.poll() is None


def test_recommendation_is_announced_and_withdrawn_with_its_cause(service: Service, tmp_path: Path) -> None:
    with sentinel(tmp_path / "log", "--cloud", "aws", "--metadata", service.url, "--raylet", str(os.getpid())):
        service.set(rebalance={"noticeTime": "2026-11-26T08:22:00Z"})
        until(lambda: (found := current()) and found.kind == "rebalance")
        del service.values["rebalance"]
        until(lambda: current() is None)
