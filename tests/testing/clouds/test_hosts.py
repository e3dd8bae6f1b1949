"""Hosts that are namespaces of this machine: what they see, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.errors import CapacityError
from tradewind.testing.clouds.hosts import Host, Hosts, missing_programs, start_hosts
from tradewind.testing.clouds.machine import Machine, follow
from tradewind.testing.clouds.network import BRIDGE, BRIDGE_MAC, start_network

pytestmark = pytest.mark.lab

A, B = "10.77.0.10", "10.77.0.11"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if missing := missing_programs():
        pytest.skip(f"hosts need {', '.join(missing)}")
    with start_network() as network, network.inside(), start_hosts(network) as hosts:
        yield hosts


def interfaces() -> list[str]:
    said = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in said.splitlines()]


def namespaces() -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(process))
        except OSError:
            continue
    return found


def log_in(hosts: Hosts, address: str, user: str, command: str) -> str:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectionAttempts=20"]
    flags = [word for option in options for word in ("-o", option)]
    key = hosts.folder / "key"
    done = subprocess.run(["ssh", "-i", key, *flags, f"{user}@{address}", command], capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("user", ["root", "ubuntu", "ec2-user", "azureuser"])
def test_owner_of_the_key_logs_in_by_each_name_that_clouds_give(hosts: Hosts, user: str) -> None:
    host = hosts.boot(A, keys=[hosts.make_key(hosts.folder / "key")])
    end = time.monotonic() + 10
    while not (said := log_in(hosts, A, user, "hostname; pwd")) and time.monotonic() < end:
        time.sleep(0.1)
    assert said.split() == [host.name, "/run/home"]


def test_hosts_reach_each_other_and_share_neither_files_nor_processes(hosts: Hosts) -> None:
    one, other = hosts.boot(A), hosts.boot(B)
    one.run("sleep 1000 & touch /tmp/mine /dev/shm/mine ~/mine")
    assert "mine" not in other.run("ls /tmp /dev/shm ~").stdout
    assert not any("sleep 1000" in line for line in other.processes())
    assert other.run(f"timeout 5 bash -c 'until (exec 3<>/dev/tcp/{A}/22); do sleep 0.1; done'").returncode == 0


def test_machine_sees_none_of_it(hosts: Hosts) -> None:
    hosts.boot(A).run("touch /tmp/mine-alone")
    assert not Path("/tmp/mine-alone").exists()
    assert not Path("/run/home").exists()


def test_environment_is_what_the_host_was_given(hosts: Hosts) -> None:
    hosts.environment["PLACE"] = "it's here"
    assert hosts.boot(A, environment={"SIZE": "2"}).run("echo $PLACE $SIZE").stdout == "it's here 2\n"


def test_files_go_in_and_come_out(hosts: Hosts) -> None:
    host = hosts.boot(A)
    host.path("note").write_text("hello")
    assert host.run("cat ~/note").stdout == "hello"


def test_command_that_takes_too_long_is_ended(hosts: Hosts) -> None:
    assert hosts.boot(A).run("sleep 60", timeout_s=0.2).returncode == 124


def test_orphans_leave_the_table_of_processes(hosts: Hosts) -> None:
    host = hosts.boot(A)
    host.run("(sleep 0.1 &) ; true")
    time.sleep(1.5)
    assert not any("sleep 0.1" in line or "defunct" in line for line in host.processes())


def test_killed_host_leaves_nothing(hosts: Hosts) -> None:
    before = interfaces()
    host: Host = hosts.boot(A)
    own = os.readlink(f"/proc/{host.pid}/ns/net")
    host.run("sleep 1000 &")
    hosts.kill(A)
    assert not host.is_alive
    assert own not in namespaces()
    end = time.monotonic() + 5  # the kernel takes the network apart after the last process
    while interfaces() != before and time.monotonic() < end:
        time.sleep(0.05)
    assert interfaces() == before
    assert hosts.boot(A).is_alive


def test_address_of_the_bridge_stays_when_hosts_come_and_go(hosts: Hosts) -> None:
    """Else all hosts that have asked for it hear nothing for a minute."""
    hosts.boot(A)
    hosts.boot(B)
    hosts.kill(A)
    said = subprocess.run(["ip", "-brief", "link", "show", BRIDGE], capture_output=True, text=True, check=True).stdout
    assert BRIDGE_MAC in said


def test_user_data_is_carried_out_and_units_run_on(hosts: Hosts) -> None:
    unit = "[Service]\nExecStart=/bin/bash -c 'echo run >>/run/told; sleep 0.1'\nExecStartPost=/bin/true\n"
    files = [{"path": "/etc/systemd/system/told.service", "permissions": "0644", "content": unit}]
    document = {"write_files": files, "runcmd": [["systemctl", "enable", "--now", "told.service"]]}
    host = hosts.boot(A, user_data=f"#cloud-config\n{json.dumps(document)}")
    wait_for_lines(host, 2)
    host.run("systemctl disable --now told.service; rm /run/told; sleep 3")
    assert host.run("cat /run/told").returncode == 1
    assert not Path("/etc/systemd/system/told.service").exists()


def wait_for_lines(host: Host, count: int) -> None:
    end = time.monotonic() + 20
    while len(host.run("cat /run/told").stdout.splitlines()) < count:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_between_parts_of_a_network_passes_what_is_named_alone() -> None:
    if missing := missing_programs():
        pytest.skip(f"hosts need {', '.join(missing)}")
    parts, passes = ["10.77.0.0/20", "10.77.16.0/20"], ["ip saddr 10.77.0.0/20 tcp dport 22"]
    with start_network(parts=parts, passes=passes) as network, network.inside(), start_hosts(network) as hosts:
        near, far, next_to_it = (hosts.boot(address) for address in (A, "10.77.16.5", "10.77.16.6"))
        assert reaches(near, far)
        assert reaches(far, next_to_it)
        assert not reaches(far, near)


def reaches(one: Host, other: Host) -> bool:
    """Whether SSH answers; a server that is not there yet refuses, and is asked again."""
    ask = f"until (exec 3<>/dev/tcp/{other.address}/22) 2>/dev/null; do sleep 0.1; done"
    return one.run(f"timeout 3 bash -c '{ask}'").returncode == 0


def test_address_has_one_host(hosts: Hosts) -> None:
    hosts.boot(A)
    with pytest.raises(CapacityError, match="taken"):
        hosts.boot(A)


def test_machine_has_its_network_back_afterwards() -> None:
    before = interfaces()
    with start_network() as network:
        with network.inside():
            assert "bridge0" in interfaces()
        assert interfaces() == before


class Rented:
    def __init__(self) -> None:
        self.held: list[Machine] = []

    def machines(self) -> list[Machine]:
        return list(self.held)


def test_hosts_follow_the_machines_of_a_cloud(hosts: Hosts) -> None:
    cloud, booted = Rented(), []
    with follow(hosts, cloud, on_boot=lambda machine: booted.append(machine.id)):
        cloud.held = [
            Machine("a", A, "m5.large", "spot", "us-west-2"),
            Machine("b", B, "m5.large", "spot", "us-west-2"),
        ]
        wait_for(hosts, {A, B})
        cloud.held = [cloud.held[1]]
        wait_for(hosts, {B})
    assert hosts.running == {}
    assert booted == ["a", "b"]


def wait_for(hosts: Hosts, addresses: set[str]) -> None:
    end = time.monotonic() + 10
    while set(hosts.running) != addresses:
        assert time.monotonic() < end
        time.sleep(0.05)
