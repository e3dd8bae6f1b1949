"""What can be tried of the local Ray without starting it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.clusters import RaySession
from tradewind.clusters.local import PREFIX, PRELOAD, _preloading, _short_folder, _sweep
from tradewind.clusters.machine import usable_cpus


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files whose name is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="tw", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


def test_folders_of_dead_sessions_are_removed_and_no_others(short: Path) -> None:
    dead = short / f"{PREFIX}{dead_pid()}-abc"
    kept = [short / name for name in (f"{PREFIX}{os.getpid()}-abc", f"{PREFIX}notes", f"{PREFIX}", "ray", "tw-model-x")]
    for folder in [dead, *kept]:
        (folder / "session").mkdir(parents=True)
    _sweep()
    assert not dead.exists()
    assert all((folder / "session").is_dir() for folder in kept)


def test_temporary_folder_is_used_unless_its_name_is_too_long_for_a_socket(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _short_folder() == str(short)
    monkeypatch.setattr(tempfile, "tempdir", str(short / ("deep" * 10)))
    assert _short_folder() == "/tmp"


def test_workers_share_the_processors_of_an_own_ray(tmp_path: Path) -> None:
    own, theirs = RaySession(tmp_path), RaySession()
    assert (own.is_own, theirs.is_own) == (True, False)
    assert own.cpus_per_worker(1) == usable_cpus()
    assert own.cpus_per_worker(usable_cpus() * 3) == 1
    assert theirs.cpus_per_worker(1) == 1


def test_closing_the_connection_to_a_cluster_touches_nothing() -> None:
    session = RaySession()
    session.close()
    session.close()
    assert not session.is_own


def test_ray_is_told_what_to_preload_only_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRELOAD, raising=False)
    with _preloading("tradewind.serving.preload"):
        assert os.environ[PRELOAD] == "tradewind.serving.preload"
    assert PRELOAD not in os.environ


def test_what_the_user_has_ray_preload_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD, "numpy")
    with _preloading("tradewind.serving.preload"):
        assert os.environ[PRELOAD] == "numpy"
    assert os.environ[PRELOAD] == "numpy"
