"""A cluster of real Ray on this machine with a token: a supervised head with an autoscaler, and workers beside it.

Whatever connects to it is a program of its own: Ray settles how it logs in when it is first imported, and a driver that
is connected dies with the head's raylet.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.clusters.head.small_head import until
from tests.conftest import free_port
from tradewind.clusters.head.command import RECONNECT

RAY = str(Path(sys.executable).parent / "ray")
NODE_PORTS = (
    "object-manager-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
    "metrics-export-port", "node-manager-port",
)  # fmt: skip
TOKEN = "a" * 64
ANSWER = "the answer is "
SLOWEST_S = 240
"""For a start of Ray on a machine that is busy with other tests."""
_given: set[int] = set()
AUTOSCALER = """
cluster_name: harbour
provider: {{type: external, module: tests.clusters.head.site_provider.SiteProvider, folder: {folder}}}
auth: {{ssh_user: nobody}}
max_workers: 2
available_node_types:
  head: {{resources: {{CPU: 0}}, node_config: {{}}, min_workers: 0, max_workers: 0}}
  worker: {{resources: {{CPU: 1, wide: 4}}, node_config: {{}}, min_workers: 0, max_workers: 2}}
head_node_type: head
idle_timeout_minutes: 60
upscaling_speed: 1.0
file_mounts: {{}}
cluster_synced_files: []
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: [ray start]
worker_start_ray_commands: [ray start]
docker: {{}}
rsync_exclude: []
rsync_filter: []
file_mounts_sync_continuously: false
"""


@dataclass
class Cluster:
    folder: Path
    port: int = field(default_factory=lambda: _new_port())
    dashboard: int = field(default_factory=lambda: _new_port())
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.folder), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        slow = {"RAY_agent_register_timeout_ms": "120000"}  # three nodes start on few processors
        return {**os.environ, **own, **slow, **RECONNECT, "PYTHONPATH": str(Path(__file__).parents[3])}

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.folder / ".tradewind-cluster/head/lock").read_text()))

    def start_head(self) -> None:
        """Ray takes the raylets of workers on the same machine for a head that runs, so it must forget the address."""
        temp = self.folder / "head"
        forget = f'rm -f {temp}/ray_current_cluster; exec "$@"'
        (self.folder / "hosts").write_text("head\n")
        (self.folder / "autoscaler.yaml").write_text(AUTOSCALER.format(folder=self.folder))
        ports = [f"--port={self.port}", f"--dashboard-port={self.dashboard}", *_ports("ray-client-server-port")]
        scaling = f"--autoscaling-config={self.folder}/autoscaler.yaml"
        start = [RAY, "start", "--head", "--num-cpus=0", *ports, *_node_flags(temp), scaling]
        command = [sys.executable, "-m", "tradewind.clusters.head", "sh", "-c", forget, "sh", *start]
        environment = {**self.environment, **_instance("head", "head"), "RAY_enable_autoscaler_v2": "1"}
        subprocess.run(command, env=environment, timeout=SLOWEST_S, check=True)

    def add_worker(self, resource: str) -> None:
        """With four of that resource, and one processor. Ray gives itself 30 s to start; then it is started again."""
        flags = ["--block", "--num-cpus=1", f'--resources={{"{resource}": 4}}', *_node_flags(self.folder / resource)]
        command = ["sh", "-c", 'until "$@"; do sleep 1; done', "sh", RAY, "start", f"--address={self.address}", *flags]
        environment = {**self.environment, **_instance(resource, "worker")}
        self.workers.append(subprocess.Popen(command, env=environment, start_new_session=True))

    def lease(self, resource: str) -> None:
        """The provider knows the worker from now on. Before Ray runs there, the autoscaler would log in to start it."""
        with (self.folder / "hosts").open("a") as hosts:
            hosts.write(f"{resource}\n")

    def asked_of_provider(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

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
        """What a program leaves as `answer`, through JSON. It finds itself connected to Ray, which also prints."""
        intro = f'import json, time, ray\nray.init({self.address!r}, namespace="n", log_to_driver=False)\n'
        outro = f"\nprint({ANSWER!r} + json.dumps(answer), flush=True)"
        done = subprocess.run(
            [sys.executable, "-c", intro + program + outro],
            env=self.environment, timeout=SLOWEST_S, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (answer,) = (line for line in done.stdout.splitlines() if line.startswith(ANSWER))
        return json.loads(answer.removeprefix(ANSWER))

    def submit(self, name: str, entrypoint: str, **resources: float) -> None:
        self._post({"submission_id": name, "entrypoint": entrypoint, "entrypoint_resources": resources or None})

    def statuses(self) -> dict[str, str]:
        """Of submitted jobs, by name; none while the dashboard does not answer."""
        try:
            return {job["submission_id"]: job["status"] for job in self._post(None) if job["submission_id"]}
        except urllib.error.URLError:
            return {}

    def _post(self, job: dict[str, Any] | None) -> Any:
        """To Ray's interface for jobs, or ask it for all of them."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dashboard}/api/jobs/",
            data=json.dumps(job).encode() if job else None,
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=SLOWEST_S) as answer:
            return json.load(answer)

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
    (folder / ".ray/auth_token").write_text(TOKEN)
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


def _instance(node: str, kind: str) -> dict[str, str]:
    """What Ray's installer says to `ray start`, so that the autoscaler knows a node for a machine of its provider."""
    return {"RAY_CLOUD_INSTANCE_ID": node, "RAY_NODE_TYPE_NAME": kind}


def _ports(*names: str) -> list[str]:
    return [f"--{name}={_new_port()}" for name in names]


def _new_port() -> int:
    """A free port that was given to nobody yet: the machine gives the same twice while nobody listens on it."""
    port = next(port for port in iter(free_port, None) if port not in _given)
    _given.add(port)
    return port
