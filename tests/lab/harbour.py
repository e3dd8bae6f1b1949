"""One cluster over own hosts, two regions of Amazon and Google, joined by the overlay alone; and what is seen of it.

Each place is a network of its own. From outside, hosts answer SSH and nothing else, and the head WireGuard too.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.journey import DEMAND, IDLE_MINUTES, LAPTOP, Cluster, environment_of
from tradewind.catalog import load_catalog
from tradewind.clusters.hybrid.journal import Journal
from tradewind.clusters.render import blueprint, render
from tradewind.records import Decision, Launch
from tradewind.specs import ClusterSpec
from tradewind.testing.clouds.ec2 import Ec2, start_ec2
from tradewind.testing.clouds.gce import Gce, start_gce
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import Machine, follow
from tradewind.testing.clouds.metadata import Metadata, start_metadata
from tradewind.testing.clouds.network import Network

SPEC = Path(__file__).with_name("harbour.spec.yaml")
HEAD, OWN = "10.77.0.10", "10.77.0.11"
PLACES = {"quay": "10.77.0.0/20", "west": "10.77.16.0/20", "east": "10.77.32.0/20", "google": "10.77.64.0/20"}
"""Addresses of each place. The cloud of a machine is known by its address, too."""

PASSES = ("tcp dport 22", f"ip daddr {HEAD} udp dport 51820")
SENTINEL_LOG = Path("/tmp/tradewind-sentinel-0.log")
HURRIES = {
    "RAY_health_check_failure_threshold=10": "RAY_health_check_failure_threshold=3",
    '"grpc_client_keepalive_timeout_ms":100000': '"grpc_client_keepalive_timeout_ms":20000',
    "-m tradewind.clusters.sentinel;": "-m tradewind.clusters.sentinel --cloud $CLOUD;",
}
"""What a lab is in a hurry with, and what a host without firmware cannot find out."""


@dataclass
class Harbour:
    cluster: Cluster
    hosts: Hosts
    ec2: Ec2
    gce: Gce
    metadata: Metadata

    @property
    def head(self) -> Host:
        return self.hosts.running[HEAD]

    def machines(self) -> list[Machine]:
        return [*self.ec2.machines(), *self.gce.machines()]

    def machine(self, host: Host) -> Machine:
        return next(machine for machine in self.machines() if machine.address == host.address)

    def at(self, place: str) -> list[Host]:
        """The hosts of one place."""
        return [host for host in list(self.hosts.running.values()) if is_in(host.name, place)]

    def working(self, place: str) -> list[Host]:
        return [host for host in self.at(place) if any("ray::work" in line for line in host.processes())]

    def submit(self, name: str, entrypoint: str, *options: str) -> None:
        """Submit a job to Ray on the head, where `demand.py` is, and do not wait for it."""
        self.head.path("demand.py").write_text(DEMAND.read_text())
        self.on_head(
            f"ray job submit {DASHBOARD} --no-wait --submission-id {name} {shlex.join(options)} -- {entrypoint}"
        )

    def jobs(self) -> dict[str, str]:
        """Status by name, of those that were submitted; nothing when the head does not answer."""
        done = self.head.run(f"python -c {shlex.quote(JOBS)}", timeout_s=60)
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        return found

    def on_head(self, command: str) -> str:
        done = self.head.run(f"cd && {command}", timeout_s=90)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    @property
    def journal(self) -> Journal:
        """A copy of what the head has written so far."""
        copy = self.hosts.folder / "journal"
        if (written := self.head.path(".tradewind-cluster/clusters")).exists():
            shutil.copytree(written, copy / "clusters", dirs_exist_ok=True)
        return Journal("harbour", str(copy))

    def launches(self) -> list[Launch]:
        log = self.journal.launches
        return [log.read(number) for number in log.numbers(after=0)]

    def decisions(self) -> list[Decision]:
        log = self.journal.decisions
        return [log.read(number) for number in log.numbers(after=0)]


DASHBOARD = "--address http://127.0.0.1:8265"
JOBS = """
import json
from ray.job_submission import JobSubmissionClient
jobs = JobSubmissionClient("http://127.0.0.1:8265").list_jobs()
print(json.dumps({job.submission_id: job.status for job in jobs if job.submission_id}))
"""


def is_in(host: str, place: str) -> bool:
    """By the name of the host, which is its address in another form."""
    address = host.removeprefix("ip-").replace("-", ".")
    return ipaddress.ip_address(address) in ipaddress.ip_network(PLACES[place])


@contextmanager
def start_harbour(network: Network, hosts: Hosts) -> Iterator[Harbour]:
    """The clouds, a laptop and two own hosts; the cluster is not up yet."""
    regions = {"us-west-2": PLACES["west"], "us-east-1": PLACES["east"]}
    with (
        start_metadata() as metadata,
        start_ec2(regions, address=network.gateway) as ec2,
        start_gce(PLACES["google"], address=network.gateway) as gce,
        follow(hosts, ec2, environment=worker(ec2, "aws"), on_boot=known_to(metadata, "aws")),
        follow(hosts, gce, environment=worker(gce, "gcp"), on_boot=known_to(metadata, "gcp")),
    ):
        laptop = hosts.boot(LAPTOP, environment=environment_of(ec2, gce))
        key = hosts.make_key(laptop.path(".ssh/harbour"))
        hosts.boot(HEAD, keys=[key], environment=head(ec2, gce))
        hosts.boot(OWN, keys=[key], environment={**environment_of(), "CLOUD": "none"})
        laptop.run("ray get-auth-token --generate")
        yield Harbour(Cluster(laptop, settings()), hosts, ec2, gce, metadata)


def worker(cloud: Ec2 | Gce, name: str) -> dict[str, str]:
    return {**environment_of(cloud), "CLOUD": name}


def head(*clouds: Ec2 | Gce) -> dict[str, str]:
    return {**environment_of(*clouds), "CLOUD": "none", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}


def known_to(metadata: Metadata, cloud: str) -> Any:
    def on_boot(machine: Machine) -> None:
        metadata.forget(machine.address)
        metadata.clouds[machine.address] = cloud

    return on_boot


def settings() -> dict[str, Any]:
    """What is rendered, with a resource for each group, so that a task can ask for one.

    And with one processor each, since Ray starts a process for every one that it is told of.
    """
    spec = ClusterSpec.load(SPEC)
    (text,) = render(blueprint(spec, load_catalog()), name="harbour").values()
    for rendered, hurried in HURRIES.items():
        assert rendered in text
        text = text.replace(rendered, hurried)
    found: dict[str, Any] = yaml.safe_load(text)
    for name in spec.groups:
        found["available_node_types"][name]["resources"] |= {"CPU": 1, name: 1}
    found["provider"]["cluster"]["cooldown_s"] = 10
    return {**found, "idle_timeout_minutes": IDLE_MINUTES, "upscaling_speed": 10.0}
