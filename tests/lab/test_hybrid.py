"""One Ray cluster over own hosts, two regions of Amazon and Google, and what it must survive.

The tests share one cluster and run in their order: each begins where the one before has ended.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.journey import LAPTOP, START, Cluster, environment_of, wait_until
from tradewind.clusters.hybrid.journal import Journal
from tradewind.records import Decision, Launch
from tradewind.testing.clouds.ec2 import Ec2, start_ec2
from tradewind.testing.clouds.gce import Gce, start_gce
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import Machine, follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

HEAD, OWN = "10.77.0.10", "10.77.0.11"
BLOCKS = {"west": "10.77.16.0/20", "east": "10.77.32.0/20", "google": "10.77.64.0/20"}
"""Addresses of each place."""


@dataclass
class Harbour:
    cluster: Cluster
    hosts: Hosts
    ec2: Ec2
    gce: Gce

    def machines(self) -> list[Machine]:
        return [*self.ec2.machines(), *self.gce.machines()]

    def at(self, place: str) -> list[Host]:
        """The hosts of one place."""
        return [host for host in list(self.hosts.running.values()) if is_in(host.name, place)]

    def is_working(self, place: str) -> bool:
        return any("ray::work" in line for host in self.at(place) for line in host.processes())

    @property
    def journal(self) -> Journal:
        """A copy of what the head has written so far."""
        copy = self.hosts.folder / "journal"
        shutil.copytree(self.hosts.running[HEAD].path(".tradewind-cluster"), copy, dirs_exist_ok=True)
        return Journal("harbour", str(copy))

    def launches(self) -> list[Launch]:
        log = self.journal.launches
        return [log.read(number) for number in log.numbers(after=0)]

    def decisions(self) -> list[Decision]:
        log = self.journal.decisions
        return [log.read(number) for number in log.numbers(after=0)]


def is_in(host: str, place: str) -> bool:
    """By the name of the host, which is its address in another form."""
    address = host.removeprefix("ip-").replace("-", ".")
    return ipaddress.ip_address(address) in ipaddress.ip_network(BLOCKS[place])


@pytest.fixture(scope="module")
def harbour(network: Network, hosts: Hosts) -> Iterator[Harbour]:
    regions = {"us-west-2": BLOCKS["west"], "us-east-1": BLOCKS["east"]}
    with (
        start_ec2(regions, address=network.gateway) as ec2,
        start_gce(BLOCKS["google"], address=network.gateway) as gce,
        follow(hosts, ec2, environment=environment_of(ec2)),
        follow(hosts, gce, environment=environment_of(gce)),
    ):
        credentials = environment_of(ec2, gce)
        laptop = hosts.boot(LAPTOP, environment=credentials)
        key = hosts.make_key(laptop.path(".ssh/harbour"))
        hosts.boot(HEAD, keys=[key], environment=credentials)
        hosts.boot(OWN, keys=[key], environment=environment_of())
        yield Harbour(Cluster(laptop, settings()), hosts, ec2, gce)


def settings() -> dict[str, Any]:
    rented = {"cache_stopped_nodes": False, "use_internal_ips": True, "ssh_user": "ubuntu"}
    return {
        "cluster_name": "harbour",
        "max_workers": 8,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 10.0,
        "provider": {
            "type": "external",
            "module": "tradewind.clusters.hybrid.HybridNodeProvider",
            "use_internal_ips": True,
            "cache_stopped_nodes": False,
            "cluster": {"owner": "acme", "ttl_s": 3600, "max_usd_per_hour": 5, "cooldown_s": 10, "workspace": ""},
            "backends": {
                "quay": {"type": "static", "ssh_user": "ubuntu", "hosts": [HEAD, OWN], "head": HEAD},
                "west": {"type": "aws", "region": "us-west-2", **rented},
                "east": {"type": "aws", "region": "us-east-1", **rented},
                "google": {
                    "type": "gcp",
                    "region": "us-west1",
                    "availability_zone": "us-west1-a",
                    "project_id": "harbour",
                    **rented,
                },
            },
        },
        "auth": {"ssh_user": "ubuntu", "ssh_private_key": "~/.ssh/harbour"},
        "available_node_types": {
            "head": size_class("head", 0, own(0.0)),
            "own": size_class("own", 1, own(0.0)),
            "west": size_class("west", 1, amazon("west", "m5.large", 0.03)),
            "google": size_class("google", 1, google(0.04)),
            "spot": size_class("spot", 2, amazon("west", "m5.xlarge", 0.06), amazon("east", "m5.xlarge", 0.07)),
        },
        "head_node_type": "head",
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [
            "ray stop",
            "AUTOSCALER_UPDATE_INTERVAL_S=1 ray start --head --port=6379 --include-dashboard=false"
            f" --autoscaling-config=~/ray_bootstrap_config.yaml {START}",
        ],
        "worker_start_ray_commands": ["ray stop", f"ray start --address=$RAY_HEAD_IP:6379 {START}"],
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "docker": {},
    }


def size_class(name: str, most: int, *candidates: dict[str, Any]) -> dict[str, Any]:
    resources = {"CPU": 0} if name == "head" else {"CPU": 1, name: 1}
    node = {"candidates": list(candidates)}
    return {"resources": resources, "min_workers": 0, "max_workers": most, "node_config": node}


def own(usd: float) -> dict[str, Any]:
    return {"name": "quay", "backend": "quay", "market": "owned", "usd_per_hour": usd, "node_config": {}}


def amazon(backend: str, machine: str, usd: float) -> dict[str, Any]:
    node = {"InstanceType": machine, "InstanceMarketOptions": {"MarketType": "spot"}}
    return candidate(f"{backend}-{machine.replace('.', '-')}", backend, usd, node)


def google(usd: float) -> dict[str, Any]:
    disks = [{"boot": True, "autoDelete": True, "initializeParams": {"diskSizeGb": 50, "sourceImage": "debian-12"}}]
    node = {"machineType": "n2-standard-2", "disks": disks, "scheduling": {"provisioningModel": "SPOT"}}
    return candidate("google-n2-standard-2", "google", usd, node)


def candidate(name: str, backend: str, usd: float, node: dict[str, Any]) -> dict[str, Any]:
    prices = {"usd_per_hour": usd, "on_demand_usd_per_hour": 3 * usd}
    return {"name": name, "backend": backend, "market": "spot", **prices, "node_config": node}


def test_one_job_runs_on_own_hosts_and_in_three_places_of_two_clouds(harbour: Harbour) -> None:
    """With the cheapest place sold out, which costs less than half a second."""
    harbour.ec2.weather.sold_out.add("us-west-2 m5.xlarge spot")
    harbour.ec2.announce()
    harbour.cluster.up()
    assert harbour.machines() == []
    done_by = harbour.cluster.ask({"own": 1, "west": 1, "google": 1, "spot": 1})
    assert done_by["own"] == [harbour.hosts.running[OWN].name]
    for name, place in (("west", "west"), ("google", "google"), ("spot", "east")):
        assert is_in(done_by[name][0], place)
    launch = next(launch for launch in harbour.launches() if launch.node_type == "spot")
    assert [(attempt.backend, attempt.outcome) for attempt in launch.attempts] == [
        ("west", "sold_out"),
        ("east", "launched"),
    ]
    harbour.cluster.seconds["failover"] = launch.seconds


def test_workers_that_are_idle_end_in_all_clouds(harbour: Harbour) -> None:
    wait_until(lambda: not harbour.machines(), "idle machines end", timeout_s=180)


def test_no_task_is_lost_when_a_spot_machine_is_taken_while_it_works(harbour: Harbour) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(harbour.cluster.ask, {"spot": 8}, hold_s=2.0)
        wait_until(lambda: harbour.is_working("east"), "a task runs in the east", timeout_s=240)
        taken = next(machine for machine in harbour.machines() if machine.place == "us-east-1")
        harbour.ec2.interrupt(taken)
        done_by = asked.result()["spot"]
    assert len(done_by) == 8
    assert set(done_by) - {f"ip-{taken.address.replace('.', '-')}"}


def test_machines_of_a_cloud_that_does_not_answer_are_kept(harbour: Harbour) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(harbour.cluster.ask, {"google": 2}, hold_s=15.0)
        wait_until(lambda: harbour.is_working("google"), "a task runs at Google", timeout_s=240)
        (before,) = harbour.at("google")
        harbour.gce.weather.is_down = True
        try:
            done_by = asked.result()
        finally:
            harbour.gce.weather.is_down = False
    assert done_by == {"google": [before.name] * 2}


def test_machine_whose_launch_got_no_answer_is_ended(harbour: Harbour) -> None:
    """The west makes it, answers with an error and is silent then, so that the east is asked instead."""
    wait_until(lambda: not harbour.machines(), "idle machines end", timeout_s=180)
    weather = harbour.ec2.weather
    weather.sold_out.clear()
    weather.lost_launches, weather.silence_s = 1, 8.0
    harbour.ec2.announce()
    done_by = harbour.cluster.ask({"spot": 1})
    assert is_in(done_by["spot"][0], "east")
    wait_until(lambda: [each for each in harbour.decisions() if each.action == "sweep"], "a sweep", timeout_s=180)
    wait_until(lambda: not harbour.machines(), "all machines end", timeout_s=180)


def test_nothing_is_left(harbour: Harbour) -> None:
    harbour.cluster.down()
    assert harbour.machines() == []
    wait_until(lambda: set(harbour.hosts.running) == {LAPTOP, HEAD, OWN}, "rented hosts end", timeout_s=30)
    for address in (HEAD, OWN):
        assert not [line for line in harbour.hosts.running[address].processes() if "ray/" in line]
    harbour.cluster.publish("hybrid")
