"""A real Ray of three hosts in three networks, joined by the overlay and by nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.networks import HEAD, PYTHON, ROOT, Host, Networks, is_possible, networks, until
from tradewind.clusters.overlay import Overlay, head_environment, labels_flag, wait_command, worker_environment
from tradewind.clusters.overlay.network import MTU
from tradewind.clusters.ports import GCS, NODE, closed_ports, start_flags

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(is_possible()), reason=is_possible() or "possible"),
]

OVERLAY = Overlay(subnet="10.99.0.0/24", endpoint=HEAD)
OUTAGE_S = float(os.environ.get("OUTAGE_S", "30"))
"""`OUTAGE_S=90` measures what the health checks are set for."""
WORKERS = ("worker-1", "worker-2")
HUB = f'Hub(Overlay(subnet="{OVERLAY.subnet}", endpoint="{HEAD}"))'
IMPORTS = "import sys; from tradewind.clusters.overlay import Hub, Overlay, cloud_init"
ADMIT = f'{IMPORTS}; print(cloud_init({HUB}.admit(sys.argv[1]), site=sys.argv[1]), end="")'
DISMISS = f"{IMPORTS}; print({HUB}.dismiss(sys.argv[1]))"
WORK = str(ROOT / "tests" / "lab" / "overlay_work.py")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("overlay")


@pytest.fixture(scope="module")
def joined(logs: Path) -> Iterator[Networks]:
    """Hosts of which each has its end of the tunnel."""
    with networks() as there:
        head = there["head"]
        start = time.monotonic()
        hub = ("-m", "tradewind.clusters.overlay", "hub", "--subnet", OVERLAY.subnet, "--endpoint", HEAD)
        head.run(str(PYTHON), *hub)
        head.supervise("tradewind-tunnel.service", logs / "head")
        until(lambda: "wg0 is up" in (logs / "head").read_text())
        for name in WORKERS:
            there[name].boot(head.run(str(PYTHON), "-c", ADMIT, name), logs / name)
        for name in WORKERS:
            until(partial(answers, there[name], OVERLAY.head_address))
        print(f"three tunnels after {time.monotonic() - start:.1f} s")
        yield there


@pytest.fixture(scope="module")
def cluster(joined: Networks) -> Networks:
    """Ray on each of them, with a token."""
    token = secrets.token_hex(32)
    for host in joined.hosts.values():
        host.write("/tmp/home/.ray/auth_token", token, "0600")
    start_ray(joined["head"], OVERLAY.head_address, head=True)
    for number, name in enumerate(WORKERS, 2):
        joined[name].run("bash", "-c", wait_command(OVERLAY, timeout_s=30), timeout_s=40)
        start_ray(joined[name], f"10.99.0.{number}", head=False)
    return joined


def start_ray(host: Host, address: str, *, head: bool) -> None:
    environment = head_environment() if head else worker_environment()
    words = " ".join(f"{key}={value}" for key, value in environment.items())
    role = f"--head --dashboard-host={address} --num-cpus=0" if head else f"--address={OVERLAY.head_address}:{GCS}"
    resources = json.dumps({host.name: 1})
    flags = (
        f"{start_flags(head=head)} --node-ip-address={address} --object-store-memory=200000000 --disable-usage-stats"
    )
    own = "" if head else f"--num-cpus=1 {labels_flag()}"
    host.run("bash", "-c", f"{words} ray start {role} {own} --resources='{resources}' {flags}", timeout_s=180)


def answers(host: Host, address: str) -> bool:
    """Whether somebody is there: a port on which nothing listens is refused, and of nobody comes no word."""
    return "refused" in host.run("timeout", "1.5", "bash", "-c", f"exec 3<>/dev/tcp/{address}/9", check=False)


def work(head: Host, word: str) -> Any:
    said = head.run("env", "RAY_AUTH_MODE=token", str(PYTHON), WORK, word, timeout_s=300)
    return json.loads(said.strip().splitlines()[-1])


def test_networks_reach_each_other_through_the_tunnel_alone(joined: Networks) -> None:
    worker, other = (joined[name] for name in WORKERS)
    assert not answers(worker, other.address)
    assert answers(worker, OVERLAY.head_address)
    assert answers(worker, "10.99.0.3")


def test_waiting_says_what_is_missing(joined: Networks) -> None:
    wait = ("bash", "/etc/tradewind/overlay/wait.sh")
    said = joined["worker-1"].run(*wait, OVERLAY.head_address, "1", "1", check=False)
    assert "nothing listens on its port 1 after 1 s" in said
    said = joined["worker-1"].run(*wait, "10.99.0.77", "1", "1", check=False)
    assert "does not answer through wg0" in said


def test_tunnel_is_of_the_size_that_passes_everywhere(joined: Networks) -> None:
    assert f"mtu {MTU} " in joined["worker-1"].run("ip", "link", "show", "wg0")


def test_tasks_actors_and_collectives_work_across(cluster: Networks) -> None:
    found = work(cluster["head"], "meet")
    assert found["hosts"] == list(WORKERS)
    assert found["counts"] == [1, 2, 1, 2]
    assert found["sums"] == [[3.0, 3.0]] * 2


def test_group_stays_inside_one_site(cluster: Networks) -> None:
    found = work(cluster["head"], "place")
    assert found["sites"] == list(WORKERS)
    assert len(set(found["group"])) == 1
    assert not found["met"]


def test_large_transfers_pass_where_packets_are_small_and_nobody_says_so(cluster: Networks) -> None:
    took = work(cluster["head"], "carry")
    assert took.keys() == set(WORKERS)
    print({name: f"{20 / seconds:.0f} MB/s" for name, seconds in took.items()})


def test_rays_ports_are_closed_to_everybody_outside(cluster: Networks) -> None:
    ports = [int(port) for port in closed_ports() if port.isdigit()]
    assert {GCS, *NODE.values()} <= listening(cluster["head"])
    assert [port for port in ports if cluster.reaches("internet", HEAD, port)] == []
    assert [port for port in NODE.values() if cluster.reaches("gate-1", cluster["worker-1"].address, port)] == []


@pytest.mark.parametrize("name", ["head", "worker-1"])
def test_every_port_that_ray_listens_on_is_closed(cluster: Networks, name: str) -> None:
    assert {port for port in listening(cluster[name]) if not is_closed(port)} == set()


def listening(host: Host) -> set[int]:
    """TCP ports that are not of the loopback alone."""
    found = set()
    for line in host.run("ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if not re.match(r"127\.|\[::1\]", address):
            found.add(int(port))
    return found


def is_closed(port: int) -> bool:
    ranges = [text.partition("-")[::2] for text in closed_ports()]
    return any(int(first) <= port <= int(last or first) for first, last in ranges)


def test_outage_is_survived(cluster: Networks) -> None:
    command = cluster["head"].inside("env", "RAY_AUTH_MODE=token", str(PYTHON), WORK, "outlast")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        with cluster.outage():
            time.sleep(OUTAGE_S)
        process.stdin.write("over\n")
        process.stdin.close()
        found = json.loads(process.stdout.read().strip().splitlines()[-1])
    assert (found["count"], found["host"]) == (1, "worker-1")
    assert found["alive"] == ["10.99.0.1", "10.99.0.2", "10.99.0.3"]
    print(f"the actor answered {found['answered_s']:.1f} s after an outage of {OUTAGE_S:g} s")


def test_tunnel_that_dies_is_brought_up_again(cluster: Networks) -> None:
    worker = cluster["worker-2"]
    worker.run("ip", "link", "delete", "wg0")
    took_s = until(lambda: answers(worker, OVERLAY.head_address))
    print(f"the tunnel was up again after {took_s:.1f} s")


def test_hub_that_starts_again_knows_its_peers(cluster: Networks) -> None:
    cluster["head"].run("ip", "link", "delete", "wg0")
    took_s = until(lambda: answers(cluster["worker-1"], OVERLAY.head_address))
    print(f"the hub was reached again after {took_s:.1f} s")


def test_dismissed_node_is_heard_no_more_and_the_others_are(cluster: Networks) -> None:
    head = cluster["head"]
    assert head.run(str(PYTHON), "-c", DISMISS, "worker-2") == "True\n"
    assert not answers(cluster["worker-2"], OVERLAY.head_address)
    assert answers(cluster["worker-1"], OVERLAY.head_address)
    assert "10.99.0.4/24" in head.run(str(PYTHON), "-c", ADMIT, "worker-2"), "an address comes back as late as can be"
