"""The whole life of a cluster on Google Compute Engine, with Ray's own `ray up`, real SSH and real Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.journey import LAPTOP, Cluster, live, settings
from tradewind.testing.clouds.gce import Gce, start_gce
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture
def gce(network: Network, hosts: Hosts) -> Iterator[Gce]:
    with start_gce("10.77.64.0/20", address=network.gateway) as gce:
        with follow(hosts, gce, environment=gce.environment):
            yield gce


@pytest.fixture
def laptop(hosts: Hosts, gce: Gce) -> Host:
    return hosts.boot(LAPTOP, environment=gce.environment)


def test_cluster_grows_on_spot_machines_for_a_task_and_leaves_nothing(gce: Gce, laptop: Host, hosts: Hosts) -> None:
    disks = [{"boot": True, "autoDelete": True, "initializeParams": {"diskSizeGb": 50, "sourceImage": "debian-12"}}]
    head = {"machineType": "n2-standard-2", "disks": disks}
    cluster = Cluster(
        laptop,
        settings(
            {
                "type": "gcp",
                "region": "us-west1",
                "availability_zone": "us-west1-a",
                "project_id": "harbour",
                "use_internal_ips": True,
                "cache_stopped_nodes": False,
            },
            head=head,
            worker={**head, "scheduling": [{"preemptible": True}]},
        ),
    )
    live(cluster, gce, hosts)
