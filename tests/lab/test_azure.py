"""Ray's own Azure provider and its `ray up`, against a stand-in for Azure Resource Manager that boots real hosts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.journey import LAPTOP, Cluster, environment_of, live, rendered
from tradewind.testing.clouds.arm import Arm, start_arm
from tradewind.testing.clouds.hosts import Host, Hosts
from tradewind.testing.clouds.image import image_available, image_folder
from tradewind.testing.clouds.machine import follow
from tradewind.testing.clouds.network import Network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LIFE = Path(__file__).with_name("azure_life.py")


@pytest.fixture
def arm(network: Network) -> Iterator[Arm]:
    with start_arm("10.77.80.0/20", address=network.gateway) as arm:
        yield arm


@pytest.fixture
def laptop(hosts: Hosts, arm: Arm) -> Iterator[Host]:
    with follow(hosts, arm, environment=environment_of(arm)):
        yield hosts.boot(LAPTOP, environment=environment_of(arm))


def azure() -> dict[str, Any]:
    """Without the subscription, it would be asked of Azure's command line."""
    return rendered("azure", subscription_id="lab")


def test_provider_makes_lists_tags_and_deletes_machines_and_what_belongs_to_them(arm: Arm, tmp_path: Path) -> None:
    if not image_available():
        pytest.skip(f"Azure's libraries are not in {image_folder()}; .ci/servers puts them there")
    arm.weather.sold_out.add("eastus Standard_SoldOut spot")
    done = subprocess.run(
        [image_folder() / "bin" / "python", LIFE],
        input=json.dumps(azure()),
        env={**os.environ, **environment_of(arm), "HOME": str(tmp_path)},
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
    assert found["understood"] == "sold_out"
    assert found["failed"], "a machine that was never allocated is kept by Azure and listed by Ray"
    assert found["left"] == arm.machines() == []
    assert found["remains"] == ["microsoft.network/networkinterfaces", "microsoft.network/publicipaddresses"]
    assert found["swept"], "what is left is found and ended by the sweep"
    assert found["in_use"] == found["others"] == []
    assert arm.subscription.resources == {}


def test_cluster_grows_on_spot_machines_for_a_task_and_leaves_nothing(arm: Arm, laptop: Host, hosts: Hosts) -> None:
    live(Cluster(laptop, azure()), arm, hosts, resource="accelerator_type:T4")
    assert arm.subscription.resources == {}
