from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.clusters.head.small_head import small_head, until


def test_command_returns_when_the_head_is_up_and_says_where_it_keeps_its_state(tmp_path: Path) -> None:
    with small_head(tmp_path) as head:
        assert head.start() == 0
        environment = head.get("raylet").environ()
        assert environment["RAY_gcs_storage"] == "rocksdb"
        assert environment["RAY_gcs_storage_path"] == str(head.state / "state")
        assert head.state.stat().st_mode & 0o777 == 0o700


def test_command_fails_when_no_head_comes_up_and_leaves_nothing_running(tmp_path: Path) -> None:
    with small_head(tmp_path) as head:
        (tmp_path / "broken").touch()
        assert head.start() == 1
        assert until(lambda: not head.find("raylet"))


def test_command_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tradewind.clusters.head", "/nowhere/ray", "start"]
    done = subprocess.run(command, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "'/nowhere/ray' cannot be run" in line


def test_head_that_nothing_would_scale_does_not_start(tmp_path: Path) -> None:
    with small_head(tmp_path) as head:
        (tmp_path / "no-monitor.py").touch()
        assert head.start("--autoscaling-config=/tide.yaml") == 1
        assert until(lambda: not head.find("raylet"))


def test_head_can_be_started_while_the_one_before_is_being_stopped(tmp_path: Path) -> None:
    with small_head(tmp_path) as head:
        assert head.start() == 0
        raylet = head.get("raylet")
        raylet.terminate()
        assert head.start() == 0
        assert head.get("raylet") != raylet


def test_log_says_what_died(tmp_path: Path) -> None:
    with small_head(tmp_path) as head:
        assert head.start() == 0
        head.get("gcs_server").kill()
        assert until(lambda: "gcs_server ended with -9" in (head.state / "log").read_text())
