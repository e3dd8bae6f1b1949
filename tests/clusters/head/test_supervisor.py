from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clusters.head.small_head import SmallHead, small_head, until
from tradewind.clusters.head.process import Started
from tradewind.clusters.head.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S, Pause, Waiting


@pytest.fixture
def head(tmp_path: Path) -> Iterator[SmallHead]:
    with small_head(tmp_path) as head:
        yield head


def test_process_that_dies_is_started_again_beside_the_others(head: SmallHead) -> None:
    assert head.start() == 0
    old, raylet = head.get("gcs_server"), head.get("raylet")
    old.kill()
    assert until(lambda: (new := head.find("gcs_server")) and new != old)
    assert (head.get("raylet"), head.starts) == (raylet, 1)
    assert head.get("gcs_server").cmdline() == [str(head.folder / "gcs_server"), "-f", "/dev/null", "--"]


def test_head_is_new_when_its_raylet_has_died(head: SmallHead) -> None:
    assert head.start() == 0
    raylet, gcs = head.get("raylet"), head.get("gcs_server")
    raylet.kill()
    assert until(lambda: (new := head.find("raylet")) and new != raylet)
    assert head.starts == 2
    assert not gcs.is_running()


def test_start_that_fails_later_is_tried_again(head: SmallHead) -> None:
    assert head.start() == 0
    (head.folder / "broken").touch()
    raylet = head.get("raylet")
    raylet.kill()
    assert until(lambda: head.starts >= 2)
    (head.folder / "broken").unlink()
    assert until(lambda: (new := head.find("raylet")) and new != raylet)


@pytest.mark.parametrize("name", ["raylet", "supervisor"])
def test_what_is_stopped_on_purpose_stays_stopped(name: str, head: SmallHead) -> None:
    assert head.start() == 0
    supervisor = head.supervisor
    (supervisor if name == "supervisor" else head.get(name)).terminate()
    assert until(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE)
    assert (head.find("raylet"), head.find("gcs_server"), head.starts) == (None, None, 1)


def test_process_that_cannot_be_started_again_is_tried_until_it_can(head: SmallHead) -> None:
    assert head.start() == 0
    old, moved = head.get("gcs_server"), head.folder / "moved"
    (head.folder / "gcs_server").rename(moved)
    old.kill()
    assert until(lambda: "gcs_server cannot be started again" in (head.state / "log").read_text())
    moved.rename(head.folder / "gcs_server")
    assert until(lambda: head.find("gcs_server"))
    assert head.starts == 1


def test_process_that_dies_often_delays_no_other() -> None:
    waiting, often, once = Waiting(), Started("dashboard", ("dashboard",), {}), Started("gcs_server", ("gcs",), {})
    for _ in range(9):
        waiting.add(often)
    waiting.add(once)
    assert waiting.due() == []
    assert waiting.until is not None
    assert waiting.until - time.monotonic() <= FIRST_PAUSE_S


def test_pause_grows_while_restarts_follow_each_other() -> None:
    pause = Pause()
    pauses = [pause.next_s() for _ in range(9)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    pause.last -= 2 * SETTLED_S
    assert pause.next_s() == FIRST_PAUSE_S


def test_all_is_killed_with_the_raylet_while_another_process_waits_for_its_turn(head: SmallHead) -> None:
    assert head.start() == 0
    known = {head.get("gcs_server")}
    for _ in range(3):
        head.get("gcs_server").kill()
        assert until(lambda: (new := head.find("gcs_server")) and new not in known)
        known.add(head.get("gcs_server"))
    head.get("gcs_server").kill()
    monitor = head.get("monitor.py")
    head.get("raylet").kill()
    assert until(lambda: not monitor.is_running(), timeout_s=3)


@pytest.mark.parametrize("words", [["--autoscaling-config=/tide.yaml"], ["--autoscaling-config", "/tide.yaml"]])
def test_autoscaler_is_started_after_the_raylet(words: list[str], head: SmallHead) -> None:
    assert head.start(*words) == 0
    assert head.get("monitor.py").cmdline()[-1] == "--autoscaling-config=/tide.yaml"
    assert head.get("log_monitor.py").cmdline()[-1] == "--"
    assert head.get("monitor.py").create_time() >= head.get("raylet").create_time()
    assert "autoscaling" not in (head.folder / "starts").read_text()
