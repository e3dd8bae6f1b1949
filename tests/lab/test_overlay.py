"""A real Ray of three hosts in three networks, joined by the overlay and by nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.journey import wait_until
from tests.lab.networks import HEAD, WORKERS, make_small, missing, outage, reaches, start_networks
from tradewind.clusters.overlay import Overlay, head_environment, labels_flag, wait_command, worker_environment
from tradewind.clusters.overlay.network import MTU
from tradewind.clusters.ports import GCS, NODE, closed_ports, start_flags
from tradewind.testing.clouds.hosts import Host, Hosts, start_hosts

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)
ENVIRONMENT = {
    "PATH": f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "PYTHONPATH": str(ROOT),
}
OVERLAY = Overlay(subnet="10.99.0.0/24", endpoint=HEAD)
SSH = 22
OUTAGE_S = float(os.environ.get("OUTAGE_S", "30"))
"""`OUTAGE_S=90` measures what the health checks are set for."""
HUB = f'Hub(Overlay(subnet="{OVERLAY.subnet}", endpoint="{HEAD}"))'
IMPORTS = "import sys; from tradewind.clusters.overlay import Hub, Overlay, cloud_init"
ADMIT = f'{IMPORTS}; print(cloud_init({HUB}.admit(sys.argv[1]), site=sys.argv[1]), end="")'
DISMISS = f"{IMPORTS}; print({HUB}.dismiss(sys.argv[1]))"
WORK = ROOT / "tests" / "lab" / "overlay_work.py"


@pytest.fixture(scope="module")
def joined() -> Iterator[dict[str, Host]]:
    """Hosts by name, of which each has its end of the tunnel."""
    if lack := missing():
        pytest.skip(f"these networks need {lack}")
    with start_networks() as network, start_hosts(network, visible=[ROOT], environment=ENVIRONMENT) as hosts:
        start = time.monotonic()
        head = hosts.boot(HEAD)
        say(head, f"python -m tradewind.clusters.overlay hub --subnet {OVERLAY.subnet} --endpoint {HEAD}")
        there = {"head": head, **{name: boot(hosts, head, name) for name in WORKERS}}
        make_small(WORKERS["worker-2"])
        for name in WORKERS:
            until(partial(answers, there[name], OVERLAY.head_address))
        print(f"three tunnels after {time.monotonic() - start:.1f} s")
        yield there


def boot(hosts: Hosts, head: Host, name: str) -> Host:
    return hosts.boot(WORKERS[name], user_data=admit(head, name))


def admit(head: Host, name: str) -> str:
    return say(head, f"python -c {shlex.quote(ADMIT)} {name}")


@pytest.fixture(scope="module")
def cluster(joined: dict[str, Host]) -> dict[str, Host]:
    """Ray on each of them, with a token."""
    token = secrets.token_hex(32)
    for host in joined.values():
        say(host, f"install -D -m 600 /dev/stdin ~/.ray/auth_token <<<{token}")
    start_ray(joined["head"], "head", OVERLAY.head_address)
    for number, name in enumerate(WORKERS, 2):
        say(joined[name], wait_command(OVERLAY, timeout_s=30))
        start_ray(joined[name], name, f"10.99.0.{number}")
    return joined


def start_ray(host: Host, name: str, address: str) -> None:
    head = name == "head"
    environment = head_environment() if head else worker_environment()
    words = " ".join(f"{key}={value}" for key, value in environment.items())
    role = f"--head --dashboard-host={address} --num-cpus=0" if head else f"--address={OVERLAY.head_address}:{GCS}"
    flags = f"{start_flags(head=head)} --node-ip-address={address} --object-store-memory=200000000"
    own = "" if head else f"--num-cpus=1 {labels_flag()}"
    say(host, f"{words} ray start {role} {own} --resources='{json.dumps({name: 1})}' {flags}", timeout_s=180)


def say(host: Host, command: str, *, timeout_s: float = 60) -> str:
    done = host.run(command, timeout_s=timeout_s)
    assert done.returncode == 0, f"{host.name}: {command}: {done.stdout}{done.stderr}"
    return done.stdout


def until(holds: Callable[[], object]) -> float:
    return wait_until(holds, "what a test waits for", timeout_s=60)


def answers(host: Host, address: str) -> bool:
    """Whether somebody is there: a port on which nothing listens is refused, and of nobody comes no word."""
    return "refused" in host.run(f"timeout 1.5 bash -c 'exec 3<>/dev/tcp/{address}/9'").stderr


def work(head: Host, word: str) -> Any:
    said = say(head, f"python {WORK} {word}", timeout_s=300)
    return json.loads(said.strip().splitlines()[-1])


def test_networks_reach_each_other_through_the_tunnel_alone(joined: dict[str, Host]) -> None:
    worker, other = (joined[name] for name in WORKERS)
    assert not answers(worker, other.address)
    assert answers(worker, OVERLAY.head_address)
    assert answers(worker, "10.99.0.3")


def test_waiting_says_what_is_missing(joined: dict[str, Host]) -> None:
    wait = "bash /etc/tradewind/overlay/wait.sh"
    said = joined["worker-1"].run(f"{wait} {OVERLAY.head_address} 1 1")
    assert "nothing listens on its port 1 after 1 s" in said.stderr
    said = joined["worker-1"].run(f"{wait} 10.99.0.77 1 1")
    assert "does not answer through wg0" in said.stderr


def test_tunnel_is_of_the_size_that_passes_everywhere(joined: dict[str, Host]) -> None:
    assert f"mtu {MTU} " in say(joined["worker-1"], "ip link show wg0")


def test_tasks_actors_and_collectives_work_across(cluster: dict[str, Host]) -> None:
    found = work(cluster["head"], "meet")
    assert found["hosts"] == [cluster[name].name for name in WORKERS]
    assert found["counts"] == [1, 2, 1, 2]
    assert found["sums"] == [[3.0, 3.0]] * 2


def test_group_stays_inside_one_site(cluster: dict[str, Host]) -> None:
    found = work(cluster["head"], "place")
    assert found["sites"] == list(WORKERS)
    assert len(set(found["group"])) == 1
    assert not found["met"]


def test_large_transfers_pass_where_packets_are_small_and_nobody_says_so(cluster: dict[str, Host]) -> None:
    took = work(cluster["head"], "carry")
    assert took.keys() == set(WORKERS)
    print({name: f"{20 / seconds:.0f} MB/s" for name, seconds in took.items()})


def test_rays_ports_are_closed_to_everybody_outside(cluster: dict[str, Host]) -> None:
    ports = [int(port) for port in closed_ports() if port.isdigit()]
    assert {GCS, *NODE.values()} <= listening(cluster["head"])
    assert [port for port in ports if reaches(HEAD, port)] == []
    assert [port for port in NODE.values() if reaches(WORKERS["worker-1"], port)] == []


@pytest.mark.parametrize("name", ["head", "worker-1"])
def test_every_port_that_ray_listens_on_is_closed(cluster: dict[str, Host], name: str) -> None:
    assert {port for port in listening(cluster[name]) if not is_closed(port)} == {SSH}


def listening(host: Host) -> set[int]:
    """TCP ports that are not of the loopback alone."""
    found = set()
    for line in say(host, "ss --listening --tcp --numeric --no-header").splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if not re.match(r"127\.|\[::1\]", address):
            found.add(int(port))
    return found


def is_closed(port: int) -> bool:
    ranges = [text.partition("-")[::2] for text in closed_ports()]
    return any(int(first) <= port <= int(last or first) for first, last in ranges)


def test_outage_is_survived(cluster: dict[str, Host]) -> None:
    command = cluster["head"].inside("bash", "--login", "-c", f"python {WORK} outlast")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        with outage():
            time.sleep(OUTAGE_S)
        process.stdin.write("over\n")
        process.stdin.close()
        found = json.loads(process.stdout.read().strip().splitlines()[-1])
    assert (found["count"], found["host"]) == (1, cluster["worker-1"].name)
    assert found["alive"] == ["10.99.0.1", "10.99.0.2", "10.99.0.3"]
    print(f"the actor answered {found['answered_s']:.1f} s after an outage of {OUTAGE_S:g} s")


def test_tunnel_that_dies_is_brought_up_again(cluster: dict[str, Host]) -> None:
    worker = cluster["worker-2"]
    say(worker, "ip link delete wg0")
    took_s = until(lambda: answers(worker, OVERLAY.head_address))
    print(f"the tunnel was up again after {took_s:.1f} s")


def test_hub_that_starts_again_knows_its_peers(cluster: dict[str, Host]) -> None:
    say(cluster["head"], "ip link delete wg0")
    took_s = until(lambda: answers(cluster["worker-1"], OVERLAY.head_address))
    print(f"the hub was reached again after {took_s:.1f} s")


def test_dismissed_node_is_heard_no_more_and_the_others_are(cluster: dict[str, Host]) -> None:
    head = cluster["head"]
    assert say(head, f"python -c {shlex.quote(DISMISS)} worker-2") == "True\n"
    assert not answers(cluster["worker-2"], OVERLAY.head_address)
    assert answers(cluster["worker-1"], OVERLAY.head_address)
    assert "10.99.0.4/24" in admit(head, "worker-2"), "an address comes back as late as can be"
