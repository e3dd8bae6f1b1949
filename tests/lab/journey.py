"""A cluster as a person uses it from a laptop: `ray up`, a job, `ray down`; and how long each took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import tradewind
from tradewind.testing.clouds.arm import Arm
from tradewind.testing.clouds.ec2 import Ec2
from tradewind.testing.clouds.gce import Gce
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.image import seconds_path
from tradewind.testing.clouds.machine import Cloud
from tradewind.testing.clouds.redirect import REDIRECT

HOUSE = Path(tradewind.__file__).parents[1]
CONFIGS = Path(__file__).parents[2] / "cluster_configs"
LAPTOP = "10.77.0.2"
DEMAND = Path(__file__).with_name("demand.py")
UP_TIMEOUT_S = 240.0
IDLE_MINUTES = 0.1
POLL_S = 0.2


def environment_of(*clouds: Ec2 | Gce | Arm) -> dict[str, str]:
    """What leads a host to these clouds, and to the code that is tested."""
    found = {name: value for cloud in clouds for name, value in cloud.environment.items()}
    return {**found, "PYTHONPATH": f"{REDIRECT}:{HOUSE}"}


@dataclass
class Cluster:
    laptop: Host
    settings: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    """What took how long when it was done first, by name; measured on this machine."""

    def up(self) -> None:
        """A second time where the machine is so busy that Ray does not start within the 30 s that it gives itself."""
        self.laptop.path("cluster.yaml").write_text(yaml.safe_dump(self.settings, sort_keys=False))
        command = "ray up --yes --no-config-cache cluster.yaml"
        self._timed("up", f"{command} || {command}", UP_TIMEOUT_S)

    def ask(self, tasks: dict[str, int], *, hold_s: float = 0.0, timeout_s: float = 400) -> dict[str, list[str]]:
        """Run tasks that need a resource each, and wait for them. Gives the names of the hosts that did them."""
        self.laptop.path("demand.py").write_text(DEMAND.read_text())
        wanted = ",".join(f"{resource}={count}" for resource, count in tasks.items())
        command = f"ray submit cluster.yaml demand.py {wanted} {hold_s} {timeout_s}"
        said = self._timed("ask", command, timeout_s + 30)
        answer = answer_in(said)
        self.seconds.setdefault("demand to first task", round(answer["first_s"], 2))
        if sum(tasks.values()) == 1:
            self.seconds.setdefault("demand to result", round(answer["took_s"] - hold_s, 2))
        hosts: dict[str, list[str]] = answer["hosts"]
        return hosts

    def down(self) -> None:
        self._timed("down", "ray down --yes cluster.yaml", 180)

    def publish(self, name: str) -> None:
        """Put what took how long where `benchmarks/clusters.py` finds it."""
        path = seconds_path()
        told = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**told, name: self.seconds}, indent=1))

    def _timed(self, name: str, command: str, timeout_s: float) -> str:
        began = time.monotonic()
        done = self.laptop.run(f"cd && {command}", timeout_s=timeout_s)
        self.seconds.setdefault(name, round(time.monotonic() - began, 2))
        assert done.returncode == 0, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-9000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout


def answer_in(text: str) -> dict[str, Any]:
    """What `demand.py` has said."""
    answer: dict[str, Any] = json.loads(text.split("ANSWER", 1)[1].splitlines()[0])
    return answer


def rendered(name: str, **provider: str) -> dict[str, Any]:
    """A file of `cluster_configs/` as it is, but that workers end after 6 s without work."""
    settings = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return {**settings, "provider": {**settings["provider"], **provider}, "idle_timeout_minutes": IDLE_MINUTES}


def live(cluster: Cluster, cloud: Cloud, hosts: Hosts, *, resource: str) -> None:
    """The whole life of a cluster on one cloud, after which nothing may be left."""
    cluster.laptop.run("ray get-auth-token --generate")
    cluster.up()
    assert [machine.market for machine in cloud.machines()] == ["on_demand"]
    done_by = cluster.ask({resource: 1})
    worker = next(machine for machine in cloud.machines() if machine.market == "spot")
    assert done_by == {resource: [hosts.running[worker.address].name]}
    waited_s = wait_until(lambda: len(cloud.machines()) == 1, "the idle worker ends", timeout_s=120)
    cluster.seconds["result to worker gone"] = round(waited_s, 2)
    cluster.down()
    assert cloud.machines() == []
    wait_until(lambda: set(hosts.running) == {cluster.laptop.address}, "the hosts end", timeout_s=30)
    cluster.publish(cluster.settings["provider"]["type"])


def wait_until(is_so: Callable[[], object], what: str, *, timeout_s: float) -> float:
    """Seconds until it was so. A test that waits longer fails."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(POLL_S)
    return time.monotonic() - began
