"""A cluster of real Ray on this machine with a token: a supervised head, and workers that are processes of their own.

Whatever asks it something is a program of its own, as on the machine of a user. Ray settles how it logs in when it is
first imported, and a driver that is connected dies with the head's raylet.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.clusters.head.small_head import until
from tests.conftest import free_port

RAY = str(Path(sys.executable).parent / "ray")
NODE_PORTS = (
    "object-manager-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
    "metrics-export-port", "node-manager-port",
)  # fmt: skip
SLOWEST_S = 240
"""For a start of Ray on a machine that is busy with other tests."""


@dataclass
class Cluster:
    folder: Path
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.folder), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        return {**os.environ, **own, "RAY_gcs_rpc_server_reconnect_timeout_s": "600"}

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.folder / ".tradewind-cluster/head/lock").read_text()))

    def start_head(self) -> None:
        """Ray takes the raylets of workers on the same machine for a head that runs, so it must forget the address."""
        temp = self.folder / "head"
        forget = f'rm -f {temp}/ray_current_cluster; exec "$@"'
        flags = [f"--port={self.port}", f"--dashboard-port={self.dashboard}", *_ports("ray-client-server-port")]
        start = [RAY, "start", "--head", "--num-cpus=0", *flags, *_node_flags(temp)]
        command = [sys.executable, "-m", "tradewind.clusters.head", "sh", "-c", forget, "sh", *start]
        subprocess.run(command, env=self.environment, timeout=SLOWEST_S, check=True)

    def add_worker(self, resource: str) -> None:
        """With four of that resource, and one processor."""
        flags = ["--block", "--num-cpus=1", f'--resources={{"{resource}": 4}}', *_node_flags(self.folder / resource)]
        command = [RAY, "start", f"--address={self.address}", *flags]
        self.workers.append(subprocess.Popen(command, env=self.environment, start_new_session=True))

    @property
    def address(self) -> str:
        words = self.process("raylet").cmdline()
        return next(word.partition("=")[2] for word in words if word.startswith("--gcs-address="))

    def process(self, name: str) -> psutil.Process:
        """The process of the head that has this name now."""
        found: list[psutil.Process] = []

        def look() -> bool:
            with suppress(psutil.NoSuchProcess):
                found[:] = [one for one in self.supervisor.children() if one.name() == name]
            return bool(found)

        assert until(look, timeout_s=SLOWEST_S), f"no {name} runs"
        return found[0]

    def kill_head(self) -> None:
        """All of it at once, but for the supervisor."""
        for process in self.supervisor.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ask(self, program: str) -> Any:
        """What a program prints last, as JSON. It finds `jobs`, a client for jobs, and Ray connected once both answer."""
        intro = f"""
import json, time, ray
from ray.job_submission import JobSubmissionClient
while not ray.is_initialized():
    try:
        ray.init({self.address!r}, namespace="n", log_to_driver=False)
        jobs = JobSubmissionClient("http://127.0.0.1:{self.dashboard}")
    except ConnectionError:
        ray.shutdown()
"""
        words = [sys.executable, "-c", intro + program]
        done = subprocess.run(
            words, env=self.environment, timeout=SLOWEST_S, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def statuses(self) -> dict[str, str]:
        """Of submitted jobs, by name."""
        found = self.ask("print(json.dumps({job.submission_id: job.status.value for job in jobs.list_jobs()}))")
        return {name: status for name, status in found.items() if name != "null"}

    def until(self, **statuses: str) -> None:
        assert until(lambda: statuses.items() <= self.statuses().items(), timeout_s=SLOWEST_S), self.statuses()

    def end(self) -> None:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            self.supervisor.terminate()
            self.supervisor.wait(30)
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(30)


@contextmanager
def real_cluster(folder: Path) -> Iterator[Cluster]:
    (folder / ".ray").mkdir()
    (folder / ".ray/auth_token").write_text("a" * 64)
    (folder / ".ray/auth_token").chmod(0o600)
    cluster = Cluster(folder)
    try:
        cluster.start_head()
        cluster.add_worker("wide")
        yield cluster
    finally:
        cluster.end()


def _node_flags(temp: Path) -> list[str]:
    small = ["--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"]
    return [f"--temp-dir={temp}", *small, *_ports(*NODE_PORTS)]


def _ports(*names: str) -> list[str]:
    return [f"--{name}={free_port()}" for name in names]
