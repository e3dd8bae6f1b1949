"""The line that Ray's start commands have, on a host of its own, with EC2's metadata service at its real address."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.journey import wait_until
from tradewind.clusters.sentinel.command import start_command
from tradewind.testing.clouds.hosts import Host, start_hosts
from tradewind.testing.clouds.metadata import Metadata, start_metadata
from tradewind.testing.clouds.network import Network

pytestmark = pytest.mark.lab
ADDRESS = "10.77.0.10"
PYTHON = sys.executable
START = start_command(cloud="aws", python=PYTHON)


@pytest.fixture
def metadata(network: Network) -> Iterator[Metadata]:
    with start_metadata() as metadata:
        metadata.clouds[ADDRESS] = "aws"
        yield metadata


@pytest.fixture
def host(network: Network, metadata: Metadata) -> Iterator[Host]:
    path = f"{Path(PYTHON).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with start_hosts(network, visible=[Path(PYTHON).parents[1]], environment={"PATH": path}) as hosts:
        yield hosts.boot(ADDRESS)


def sentinels(host: Host) -> list[str]:
    """Their processes, as the host counts."""
    lines = host.run("ps -eo pid,args --no-headers").stdout.splitlines()
    return [line.split()[0] for line in lines if line.split()[1:4] == [PYTHON, "-m", "tradewind.clusters.sentinel"]]


def notice(host: Host) -> dict[str, object] | None:
    text = host.run("cat /run/tradewind/notice.json").stdout
    return json.loads(text) if text else None


def log(host: Host) -> str:
    return host.run("cat /tmp/tradewind-sentinel-0.log").stdout


def test_line_returns_at_once_and_starts_one_sentinel(host: Host) -> None:
    for _ in range(3):
        assert host.run(START, timeout_s=10).returncode == 0
    wait_until(lambda: "watching" in log(host), "it watches", timeout_s=60)
    assert len(sentinels(host)) == 1


def test_killed_sentinel_is_started_again(host: Host) -> None:
    host.run(START)
    wait_until(lambda: log(host).count("watching") == 1, "it watches", timeout_s=60)
    (first,) = sentinels(host)
    host.run(f"kill -KILL {first}")
    took_s = wait_until(lambda: log(host).count("watching") == 2, "another one watches", timeout_s=60)
    assert sentinels(host) != [first]
    print(f"watching again after {took_s:.1f} s")


def test_notice_from_the_real_address_is_told_to_other_users(host: Host, metadata: Metadata) -> None:
    host.run(START)
    wait_until(lambda: "watching" in log(host), "it watches", timeout_s=60)
    metadata.warn(ADDRESS, 120)
    told = time.time()
    wait_until(lambda: notice(host), "a notice", timeout_s=60)
    print(f"told after {time.time() - told:.1f} s")
    found = notice(host)
    assert found is not None
    assert (found["kind"], found["source"]) == ("preemption", "aws")
    said = host.run("setpriv --reuid=65534 --regid=65534 --clear-groups cat /run/tradewind/notice.json")
    assert json.loads(said.stdout) == found
