"""The whole life of a cluster on Google Compute Engine, as `cluster_configs/gcp.yaml` describes it.

Ray's own `ray up`, real SSH and real Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.journey import LAPTOP, Cluster, environment_of, live, rendered
from tradewind.testing.clouds.gce import Gce, start_gce
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.machine import follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def gce(network: Network, hosts: Hosts) -> Iterator[Gce]:
    with (
        start_gce("10.77.64.0/20", address=network.gateway) as gce,
        follow(hosts, gce, environment=environment_of(gce)),
    ):
        yield gce


@pytest.fixture(scope="module")
def laptop(hosts: Hosts, gce: Gce) -> Host:
    return hosts.boot(LAPTOP, environment=environment_of(gce))


def test_cluster_grows_on_spot_machines_for_a_task_and_leaves_nothing(gce: Gce, laptop: Host, hosts: Hosts) -> None:
    live(Cluster(laptop, rendered("gcp")), gce, hosts, resource="accelerator_type:L4")
