from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tradewind.clusters.doctor.machine import check_cache, check_clock


def remembered(folder: Path, cluster: str, *, hours: float) -> Path:
    """What `ray up` has left behind some hours ago."""
    path = folder / f"ray-config-{cluster}"
    path.write_text(json.dumps({"_version": 1, "config": {"cluster_name": cluster}}))
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    return path


def test_old_bootstrap_of_this_cluster_is_a_problem(tmp_path: Path) -> None:
    path = remembered(tmp_path, "harbour", hours=30)
    remembered(tmp_path, "other", hours=30)
    found = check_cache("harbour", tmp_path)
    assert (found.state, found.said) == ("problem", "1 of 30 h ago: networks and keys of then are used")
    assert str(path) in found.fix


def test_bootstrap_of_just_now_is_all_right(tmp_path: Path) -> None:
    remembered(tmp_path, "harbour", hours=0.1)
    (tmp_path / "ray-config-broken").write_text("{")
    assert check_cache("harbour", tmp_path).state == "ok"


@pytest.mark.parametrize(("said", "state"), [("yes", "ok"), ("no", "problem"), ("", "unknown")])
def test_clock_is_right_if_the_system_says_so(
    said: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\necho {said}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert check_clock().state == state


def test_without_the_program_nobody_can_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_clock().state == "unknown"
