"""The whole life of a cluster on Amazon EC2, with Ray's own `ray up`, real SSH and real Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.journey import LAPTOP, Cluster, live, settings
from tradewind.testing.clouds.ec2 import Ec2, start_ec2
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture
def ec2(network: Network, hosts: Hosts) -> Iterator[Ec2]:
    with start_ec2({"us-west-2": "10.77.16.0/20"}, address=network.gateway) as ec2:
        with follow(hosts, ec2, environment=ec2.environment):
            yield ec2


@pytest.fixture
def laptop(hosts: Hosts, ec2: Ec2) -> Host:
    return hosts.boot(LAPTOP, environment=ec2.environment)


def test_cluster_grows_on_spot_machines_for_a_task_and_leaves_nothing(ec2: Ec2, laptop: Host, hosts: Hosts) -> None:
    spot = {"InstanceType": "m5.large", "InstanceMarketOptions": {"MarketType": "spot"}}
    cluster = Cluster(
        laptop,
        settings(
            {"type": "aws", "region": "us-west-2", "use_internal_ips": True, "cache_stopped_nodes": False},
            head={"InstanceType": "m5.large"},
            worker=spot,
        ),
    )
    live(cluster, ec2, hosts)
