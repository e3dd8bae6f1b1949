"""Runs whose workers are killed, whose store breaks, or that cannot start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

import tradewind as tw
from tests.journeys.conftest import small_dataset, small_run
from tradewind.clusters import machine
from tradewind.errors import CapacityError, IntegrityError, RunError
from tradewind.training import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path) -> tw.Workspace:
    made = tw.Workspace(str(tmp_path / "workspace"))
    made.datasets.add(small_dataset())
    return made


def test_a_killed_worker_is_replaced_and_the_run_goes_on_from_its_checkpoint(workspace: tw.Workspace) -> None:
    with workspace:
        run = workspace.train(small_run("shelf@1", max_steps=400, checkpoint_every_s=1))
        checkpoint = _wait_for_checkpoint(run)
        os.kill(_worker_pids()[1], signal.SIGKILL)
        run.wait()
    end, metrics = run.end, run.metrics()
    assert end is not None
    assert end.restarts == 1
    assert [row.step for row in metrics] == list(range(1, 401))
    assert metrics[-1].tokens == 400 * 8 * 64
    attempts = [row.attempt for row in metrics]
    resumed_at = next(index for index, attempt in enumerate(attempts) if attempt != attempts[0])
    assert resumed_at >= checkpoint


def test_an_error_in_a_worker_is_told_with_its_cause_and_rank(workspace: tw.Workspace, tmp_path: Path) -> None:
    with workspace:
        run = workspace.train(small_run("shelf@1", max_failures=0))
        (tmp_path / "workspace" / "runs" / run.name / "checkpoints").write_text("in the way")
        with pytest.raises(RunError, match="checkpoints") as caught:
            run.wait()
    assert caught.value.failures
    assert all("StorageError" in text for text in caught.value.failures.values())
    assert run.status == "failed"
    assert [row.subject for row in workspace.usage() if row.activity == "training"] == [run.record.id]


def test_a_damaged_shard_is_found_before_anything_starts(workspace: tw.Workspace, tmp_path: Path) -> None:
    shard = next(iter(workspace.datasets.get("shelf").record.splits["train"].shards))
    path = tmp_path / "workspace" / shard.key
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(IntegrityError, match=r"dataset shelf@1.*bytes instead of"):
        workspace.train(small_run("shelf@1"))
    assert list(workspace.runs.list()) == []


def test_a_run_that_does_not_fit_is_refused_with_what_it_needs(
    workspace: tw.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.memory_free, "__code__", (lambda: 10**9).__code__)
    with pytest.raises(CapacityError, match=r"needs about .* GiB of memory, and 953.7 MiB are free"):
        workspace.train(small_run("shelf@1"))
    assert list(workspace.runs.list()) == []


def _wait_for_checkpoint(run: Run) -> int:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if run.checkpoints:
            return run.checkpoints[-1].step
        time.sleep(0.05)
    raise AssertionError("no checkpoint in two minutes")


def _worker_pids() -> list[int]:
    """The training workers below this process, by the name that Ray gives them."""
    found = [child.pid for child in psutil.Process().children(recursive=True) if "RayTrainWorker" in _title(child)]
    assert len(found) == 2
    return sorted(found)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
