"""A run that loses workers, is stopped and goes on, on a real Ray."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest

from tests.journeys.conftest import Journey, small_run
from tradewind.errors import RunError, SpecError
from tradewind.training import Run, prove
from tradewind.training.driving.kill import choose, kill
from tradewind.training.logs import LogReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PATIENCE_S = 240.0


def test_run_goes_on_after_kills_and_after_it_was_stopped(journey: Journey) -> None:
    run = journey.workspace.train(small_run(journey.dataset.reference, max_steps=400, checkpoint_every_s=1))
    _wait(lambda: len(run.checkpoints) > 0)
    first = run.files.workers()
    assert first is not None
    assert [worker.rank for worker in first.workers] == [0, 1]
    assert kill(choose(run, rank=1))
    _wait(lambda: run.files.workers() != first and len(run.metrics()) > 5 and run.restarts() == 1)

    run.stop()
    with pytest.raises(RunError, match="stopped on request"):
        run.wait()
    stopped_at = run.checkpoints[-1].step
    assert (run.status, run.metrics()[-1].step) == ("stopped", stopped_at), "the last step is in the last checkpoint"
    assert stopped_at < 400
    assert not any(psutil.pid_exists(worker.pid) and _is_worker(worker.pid) for worker in first.workers)

    again = journey.workspace.resume(run).wait()
    assert [row.step for row in again.metrics()] == list(range(1, 401))
    assert prove(again).samples == 400 * 8
    with pytest.raises(SpecError, match="is finished"):
        journey.workspace.resume(again)
    _check_log(again)


def _check_log(run: Run) -> None:
    """It tells of each start and of what was lost, by whom."""
    lines = [line for line in LogReader(run.files).new() if line.who == "driver"]
    starts = [line.text for line in lines if "2 workers have started on" in line.text]
    assert len(starts) == 3
    assert any("rank 1" in line.text and "the workers start again" in line.text for line in lines)


def _wait(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def _is_worker(pid: int) -> bool:
    return "RayTrainWorker" in " ".join(psutil.Process(pid).cmdline())
