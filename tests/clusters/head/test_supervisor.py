from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clusters.head.small_head import SmallHead, small_head, until
from tradewind.clusters.head.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pause


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
    assert head.get("gcs_server").cmdline() == [str(head.folder / "gcs_server"), "1000"]


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


def test_pause_grows_while_restarts_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    pause = Pause()
    for _ in range(8):
        pause.wait()
    pause.last -= 3600
    pause.wait()
    assert slept == [*sorted(slept[:-1]), FIRST_PAUSE_S]
    assert slept[-2] == LONGEST_PAUSE_S
