"""Runs whose workers are killed, whose store breaks, or that cannot start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

import tradewind as tw
from tests.journeys.conftest import Journey, small_dataset, small_run
from tradewind.errors import CapacityError, IntegrityError, RunError
from tradewind.training import Run, prove

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_replaced_and_the_run_goes_on_from_its_checkpoint(journey: Journey) -> None:
    run = journey.workspace.train(small_run(journey.dataset.reference, max_steps=300, checkpoint_every_s=1))
    checkpoint = _wait_for_checkpoint(run)
    os.kill(_worker_pids()[1], signal.SIGKILL)
    run.wait()
    end, metrics = run.end, run.metrics()
    assert end is not None
    assert end.restarts == 1
    assert [row.step for row in metrics] == list(range(1, 301))
    assert metrics[-1].tokens == 300 * 8 * 64
    attempts = [row.attempt for row in metrics]
    resumed_at = next(index for index, attempt in enumerate(attempts) if attempt != attempts[0])
    assert resumed_at >= checkpoint
    proof = prove(run)
    assert (proof.restarts, proof.samples) == (1, 300 * 8)


def test_an_error_in_a_worker_is_told_with_its_cause_and_rank(journey: Journey) -> None:
    run = journey.workspace.train(small_run(journey.dataset.reference, max_failures=0))
    folder = journey.workspace.store.local_path(f"runs/{run.name}")
    assert folder is not None
    (folder / "checkpoints").write_text("in the way")
    with pytest.raises(RunError, match="checkpoints") as caught:
        run.wait()
    assert caught.value.failures
    assert all("Error: " in text and "checkpoints" in text for text in caught.value.failures.values())
    assert run.status == "failed"
    assert run.record.id in [row.subject for row in journey.workspace.usage() if row.activity == "training"]


def test_a_damaged_shard_is_found_before_anything_starts(tmp_path: Path) -> None:
    workspace = tw.Workspace(str(tmp_path))
    shard = workspace.datasets.add(small_dataset()).record.splits["train"].shards[0]
    path = tmp_path / shard.key
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(IntegrityError, match=r"dataset shelf@1.*bytes instead of"):
        workspace.train(small_run("shelf@1"))
    assert list(workspace.runs.list()) == []


def test_a_run_that_does_not_fit_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    workspace = tw.Workspace(str(tmp_path))
    workspace.datasets.add(small_dataset())
    with pytest.raises(CapacityError, match=r"needs about [0-9.]+ TiB of memory, and [0-9.]+ .iB are free here"):
        workspace.train(small_run("shelf@1", model={"hidden": 2**16, "layers": 64, "heads": 64}))
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
