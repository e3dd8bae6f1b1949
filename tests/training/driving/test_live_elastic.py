"""A run that shrinks with its cluster and grows with it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


@pytest.mark.timeout(450)
def test_run_goes_on_with_what_is_left_and_takes_what_comes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.driving.elastic_run", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "TRADEWIND_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sizes"] == [2, 1, 2]
    assert found["whole"]
    assert found["samples"] == 4 * found["steps"]
    assert found["racks"] == [["r1", "r2"], ["r2", "r10"]], "ranks follow the labels of the nodes"
    exported = found["exported"]
    assert (exported["workers"], exported["restarts"]) == (2, 2)
    assert exported["tokens_total"] == 4 * 16 * exported["steps_total"] > 0
    assert 0 < exported["steps_total"] < exported["step"], "counters begin anew with the workers, gauges do not"
    assert exported["loss"] > 0
    assert {"learning_rate", "grad_norm", "tokens_per_second", "memory_bytes", "step_seconds_total"} <= set(exported)
    assert "mfu_ratio" not in exported, "a processor has no known peak"
