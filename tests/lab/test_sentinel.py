"""The line that Ray's start commands have, on a host of its own, with EC2's metadata service at its real address."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.networks import PYTHON, ROOT, Host, is_possible, single_host, until
from tradewind.clusters.sentinel.command import start_command

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(is_possible()), reason=is_possible() or "possible"),
]
START = start_command(cloud="aws", python=str(PYTHON))
SERVER = str(ROOT / "tests" / "lab" / "metadata_server.py")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with single_host() as host:
        host.run("ip", "address", "add", "169.254.169.254/32", "dev", "lo")
        host.start(str(PYTHON), SERVER, log=tmp_path / "metadata")
        yield host


def sentinels(host: Host) -> list[str]:
    """Their processes, as the host counts."""
    lines = host.run("ps", "-eo", "pid,args", "--no-headers").splitlines()
    return [
        line.split()[0] for line in lines if line.split()[1:4] == [str(PYTHON), "-m", "tradewind.clusters.sentinel"]
    ]


def notice(host: Host) -> dict[str, object] | None:
    text = host.run("cat", "/run/tradewind/notice.json", check=False)
    return json.loads(text) if text.startswith("{") else None


def test_line_returns_at_once_and_starts_one_sentinel(host: Host) -> None:
    for _ in range(3):
        host.run("bash", "-c", START, timeout_s=10)
    until(lambda: sentinels(host))
    until(lambda: "watching" in log(host))
    assert len(sentinels(host)) == 1


def test_killed_sentinel_is_started_again(host: Host) -> None:
    host.run("bash", "-c", START)
    until(lambda: log(host).count("watching") == 1)
    (first,) = sentinels(host)
    host.run("kill", "-KILL", first)
    took_s = until(lambda: log(host).count("watching") == 2)
    assert sentinels(host) != [first]
    print(f"watching again after {took_s:.1f} s")


def test_notice_from_the_real_address_is_told_to_other_users(host: Host) -> None:
    host.run("bash", "-c", START)
    until(lambda: "watching" in log(host))
    host.run("touch", "/tmp/interrupt")
    told = time.time()
    until(lambda: notice(host))
    print(f"told after {time.time() - told:.1f} s")
    found = notice(host)
    assert found is not None
    assert (found["kind"], found["source"]) == ("preemption", "aws")
    said = host.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", "/run/tradewind/notice.json")
    assert json.loads(said) == found


def log(host: Host) -> str:
    return host.run("cat", "/tmp/tradewind-sentinel-0.log", check=False)
