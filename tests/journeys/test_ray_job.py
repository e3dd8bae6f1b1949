"""`ray job submit --working-dir .` from the root of the repository, on a real Ray cluster that is not ours."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import tradewind as tw
from tests.conftest import free_port
from tests.journeys.conftest import small_dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TOKEN = secrets.token_hex(32)
RAY = Path(sys.executable).parent / "ray"
WHERE_FROM = """
import sys
sys.path.insert(0, 'platform')
import ray
from tradewind.clusters import connect
connect()
print('driver', __import__('tradewind').__file__)
print('worker', ray.get(ray.remote(lambda: __import__('tradewind').__file__).remote()))
"""


@dataclass(frozen=True)
class Cluster:
    dashboard: str
    workspace: Path

    def submit(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a job; a cluster that has only just started may ask to be called again."""
        end = time.monotonic() + 60
        while True:
            done = subprocess.run(
                [str(RAY), "job", "submit", "--address", self.dashboard, "--working-dir", ".", "--", *command],
                cwd=ROOT,
                env=_environment(self.workspace),
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            if "No available agent" not in done.stderr or time.monotonic() > end:
                return done
            time.sleep(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    workspace = tmp_path_factory.mktemp("shared")
    with tempfile.TemporaryDirectory(prefix="tw-job-", ignore_cleanup_errors=True) as folder:
        dashboard = free_port()
        command = [str(RAY), "start", "--head", "--block", "--num-cpus=4", f"--temp-dir={folder}", "--port=0"]
        names = ("ray-client-server", "dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export")
        ports = [f"--dashboard-port={dashboard}", *(f"--{name}-port={free_port()}" for name in names)]
        with (workspace / "ray.log").open("w") as log:
            head = subprocess.Popen(
                [*command, *ports], env=_environment(workspace), stdout=log, stderr=log, start_new_session=True
            )
        try:
            _wait_for(f"http://127.0.0.1:{dashboard}/api/jobs/", head, workspace / "ray.log")
            yield Cluster(f"http://127.0.0.1:{dashboard}", workspace)
        finally:
            processes = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
            head.terminate()
            _, alive = psutil.wait_procs(processes, timeout=5)
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            head.wait(10)


def test_drivers_and_workers_of_a_job_use_the_code_that_was_submitted(cluster: Cluster) -> None:
    done = cluster.submit("python", "-c", WHERE_FROM)
    places = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("driver ", "worker ")))
    assert places.keys() == {"driver", "worker"}, done.stdout + done.stderr
    assert not any(path.startswith(str(ROOT)) for path in places.values())


def test_a_submitted_job_trains_into_the_shared_workspace(cluster: Cluster) -> None:
    with tw.Workspace(str(cluster.workspace)) as workspace:
        workspace.datasets.add(small_dataset("pystdlib"))
        done = cluster.submit("python", "jobs/train.py", "jobs/tiny.train.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        run = workspace.runs.get("last")
        assert run.status == "finished"
        assert run.metrics()[-1].step == 20


def test_a_submitted_job_reads_text_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    with tw.Workspace(str(tmp_path)) as workspace:
        here = workspace.datasets.add(tw.DatasetSpec.load(ROOT / "jobs" / "pystdlib.dataset.yaml"))
    done = cluster.submit("python", "jobs/prepare.py", "jobs/pystdlib.dataset.yaml", "--on", "ray")
    assert done.returncode == 0, done.stdout + done.stderr
    with tw.Workspace(str(cluster.workspace)) as workspace:
        assert workspace.datasets.get("pystdlib").record.splits == here.record.splits


def _environment(workspace: Path) -> dict[str, str]:
    """The environment of a machine of its own: another Ray's token and address are not in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **kept,
        "PATH": f"{RAY.parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "TRADEWIND_WORKSPACE": str(workspace),
    }


def _wait_for(url: str, head: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert head.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:  # it answers, and wants the token
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(log.read_text())
