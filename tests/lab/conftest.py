"""A laptop, a network and clouds of this machine's own: what tests of whole clusters share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tradewind.testing.clouds.hosts import Hosts, missing_programs, start_hosts
from tradewind.testing.clouds.image import image_available, image_folder, image_path
from tradewind.testing.clouds.network import Network, start_network


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """The test itself is in it, so that what it starts and asks is."""
    if missing := missing_programs():
        pytest.skip(f"hosts need {', '.join(missing)}")
    with start_network("10.77.0.0/16") as network, network.inside():
        yield network


@pytest.fixture(scope="module")
def hosts(network: Network) -> Iterator[Hosts]:
    if not image_available():
        pytest.skip(f"nothing is installed for hosts in {image_folder()}; .ci/servers does that")
    environment = {
        "PATH": image_path(),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_agent_register_timeout_ms": "120000",  # on two processors, several hosts start Ray at once
        "PYTHONUNBUFFERED": "1",
    }
    with start_hosts(network, visible=[image_folder()], environment=environment) as hosts:
        yield hosts
