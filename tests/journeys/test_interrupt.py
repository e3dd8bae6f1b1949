"""Ctrl-C at any step of the demo: no process of ours stays, and what was written is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

import tradewind as tw

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("after", "datasets", "runs"),
    [("1  dataset", 0, 0), ("start Ray:", 1, 1), ("4  serving", 1, 1)],
)
def test_an_interrupted_demo_leaves_no_process_and_loses_nothing(
    after: str, datasets: int, runs: int, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("w") as sink:
        demo = subprocess.Popen(
            [sys.executable, "-m", "tradewind", "demo", "-w", str(tmp_path / "workspace"), "--training-time", "2"],
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_hear_interrupts,
        )
    _wait_for(after, output, demo)
    time.sleep(1.0)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to everyone in the foreground
    assert demo.wait(60) == 130, output.read_text()
    assert "everything written so far is kept" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert _left_behind(demo.pid) == []
    assert list(Path(tempfile.gettempdir()).glob(f"tw-ray-{demo.pid}-*")) == []

    workspace = tw.Workspace(str(tmp_path / "workspace"))
    found = list(workspace.datasets.list())
    assert len(found) >= datasets
    for dataset in found:
        workspace.datasets.get(f"{dataset.name}@{dataset.version}").verify()
    statuses = [run.status for run in workspace.runs.list()]
    assert len(statuses) >= runs
    assert "running" not in statuses
    assert not any(endpoint.is_up for endpoint in workspace.endpoints.list())


def _hear_interrupts() -> None:
    """Tests that a shell runs in its background are deaf to Ctrl-C, and so would be what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for(text: str, output: Path, demo: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 150
    while text not in output.read_text():
        assert demo.poll() is None, output.read_text()
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.05)


def _left_behind(session: int) -> list[str]:
    """Processes of the demo's session, or that name its Ray's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if os.getsid(process.pid) == session or f"tw-ray-{session}-" in words:
                found.append(words)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found
