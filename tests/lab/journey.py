"""A cluster as a person uses it from a laptop: `ray up`, a job, `ray down`; and how long each took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import Cloud

LAPTOP = "10.77.0.2"
DEMAND = Path(__file__).with_name("demand.py")
START = "--object-store-memory=100000000 --disable-usage-stats"
UP_TIMEOUT_S = 150.0
POLL_S = 0.2


@dataclass
class Cluster:
    laptop: Host
    settings: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    """What took how long, by name; measured on this machine."""

    def up(self) -> None:
        self.laptop.path("cluster.yaml").write_text(yaml.safe_dump(self.settings, sort_keys=False))
        self._timed("up", "ray up --yes --no-config-cache cluster.yaml", UP_TIMEOUT_S)

    def ask(self, tasks: int, *, resource: str, hold_s: float = 1.0, timeout_s: float = 120) -> dict[str, Any]:
        """Run tasks that need a resource, on workers that do not exist yet. Gives what `demand.py` prints."""
        self.laptop.path("demand.py").write_text(DEMAND.read_text())
        command = f"ray submit cluster.yaml demand.py {tasks} {resource} {hold_s} {timeout_s}"
        said = self._timed("ask", command, timeout_s + 30)
        answer: dict[str, Any] = json.loads(said.split("ANSWER", 1)[1].splitlines()[0])
        self.seconds["demand to task"] = answer["seconds"]
        return answer

    def down(self) -> None:
        self._timed("down", "ray down --yes cluster.yaml", 90)

    def _timed(self, name: str, command: str, timeout_s: float) -> str:
        began = time.monotonic()
        done = self.laptop.run(f"cd && {command}", timeout_s=timeout_s)
        self.seconds[name] = round(time.monotonic() - began, 2)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def settings(provider: dict[str, Any], *, head: dict[str, Any], worker: dict[str, Any]) -> dict[str, Any]:
    """The least that makes a cluster of a head and up to two workers of one type, `spot`."""
    return {
        "cluster_name": "harbour",
        "max_workers": 2,
        "idle_timeout_minutes": 0.1,
        "provider": provider,
        "auth": {"ssh_user": "ubuntu"},
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "node_config": head},
            "spot": {"min_workers": 0, "max_workers": 2, "resources": {"CPU": 2, "spot": 1}, "node_config": worker},
        },
        "head_node_type": "head",
        "setup_commands": [],
        "head_setup_commands": [],
        "head_start_ray_commands": [
            "ray stop",
            "AUTOSCALER_UPDATE_INTERVAL_S=1 ray start --head --port=6379 --include-dashboard=false"
            f" --autoscaling-config=~/ray_bootstrap_config.yaml {START}",
        ],
        "worker_start_ray_commands": ["ray stop", f"ray start --address=$RAY_HEAD_IP:6379 {START}"],
    }


def live(cluster: Cluster, cloud: Cloud, hosts: Hosts) -> None:
    """The whole life of a cluster on one cloud, after which nothing may be left."""
    cluster.up()
    assert [machine.market for machine in cloud.machines()] == ["on_demand"]
    answer = cluster.ask(1, resource="spot")
    worker = next(machine for machine in cloud.machines() if machine.market == "spot")
    assert answer["hosts"] == [hosts.running[worker.address].name]
    cluster.seconds["idle to gone"] = wait_until(lambda: len(cloud.machines()) == 1, "the idle worker ends", timeout_s=60)
    cluster.down()
    assert cloud.machines() == []
    wait_until(lambda: set(hosts.running) == {cluster.laptop.address}, "the hosts end", timeout_s=5)


def wait_until(is_so: Callable[[], object], what: str, *, timeout_s: float) -> float:
    """Seconds until it was so. A test that waits longer fails."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(POLL_S)
    return time.monotonic() - began
