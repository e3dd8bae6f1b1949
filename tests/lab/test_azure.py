"""Ray's own Azure provider and its `ray up`, against a stand-in for Azure Resource Manager that boots real hosts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.journey import LAPTOP, Cluster, live, settings
from tradewind.testing.clouds.arm import Arm, start_arm
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.image import image_available, image_folder
from tradewind.testing.clouds.machine import follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

LIFE = Path(__file__).with_name("azure_life.py")
IMAGE = {"imagePublisher": "canonical", "imageOffer": "ubuntu-24_04-lts", "imageSku": "server", "imageVersion": "latest"}


@pytest.fixture
def arm(network: Network) -> Iterator[Arm]:
    with start_arm("10.77.80.0/20", address=network.gateway) as arm:
        yield arm


@pytest.fixture
def laptop(hosts: Hosts, arm: Arm) -> Iterator[Host]:
    with follow(hosts, arm, environment=arm.environment):
        yield hosts.boot(LAPTOP, environment=arm.environment)


def azure_settings() -> dict[str, Any]:
    head = {"vmSize": "Standard_D2s_v5", **IMAGE}
    return settings(
        {
            "type": "azure",
            "location": "westus2",
            "resource_group": "harbour",
            "subscription_id": "lab",
            "use_internal_ips": True,
            "cache_stopped_nodes": False,
        },
        head={"azure_arm_parameters": head},
        worker={"azure_arm_parameters": {**head, "priority": "Spot"}},
    )


def test_provider_makes_lists_tags_and_deletes_machines_and_what_belongs_to_them(arm: Arm, tmp_path: Path) -> None:
    if not image_available():
        pytest.skip(f"Azure's libraries are not in {image_folder()}; .ci/servers puts them there")
    arm.weather.sold_out.add("westus2 Standard_SoldOut spot")
    done = subprocess.run(
        [image_folder() / "bin" / "python", LIFE],
        input=json.dumps(azure_settings()),
        env={**os.environ, **arm.environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.split("FOUND", 1)[1])
    assert len(found["created"]) == len(set(found["addresses"])) == 2
    assert found["running"] == [True, True]
    assert found["tagged"] == found["created"][:1]
    assert "AllocationFailed" in found["refusal"]
    assert found["left"] == arm.machines() == []


def test_machine_that_was_sold_out_leaves_its_interface_as_on_azure(arm: Arm, tmp_path: Path) -> None:
    """Nothing of Ray's removes it: whoever sweeps Azure must look for more than machines."""
    test_provider_makes_lists_tags_and_deletes_machines_and_what_belongs_to_them(arm, tmp_path)
    left = [resource["type"] for resource in arm.subscription.resources.values()]
    assert left == ["Microsoft.Network/networkInterfaces"]


def test_cluster_grows_on_spot_machines_for_a_task_and_leaves_nothing(arm: Arm, laptop: Host, hosts: Hosts) -> None:
    live(Cluster(laptop, azure_settings()), arm, hosts)
    assert arm.subscription.resources == {}
