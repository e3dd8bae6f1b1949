"""The whole life of a cluster on Amazon EC2, as `cluster_configs/aws.yaml` describes it.

Ray's own `ray up`, real SSH and real Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.journey import LAPTOP, Cluster, environment_of, live, rendered
from tradewind.testing.clouds.ec2 import Ec2, start_ec2
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ec2(network: Network, hosts: Hosts) -> Iterator[Ec2]:
    with (
        start_ec2({"us-west-2": "10.77.16.0/20"}, address=network.gateway) as ec2,
        follow(hosts, ec2, environment=environment_of(ec2)),
    ):
        yield ec2


@pytest.fixture(scope="module")
def laptop(hosts: Hosts, ec2: Ec2) -> Host:
    return hosts.boot(LAPTOP, environment=environment_of(ec2))


def test_cluster_grows_on_spot_machines_for_a_task_and_leaves_nothing(ec2: Ec2, laptop: Host, hosts: Hosts) -> None:
    live(Cluster(laptop, rendered("aws")), ec2, hosts, resource="accelerator_type:L4")
