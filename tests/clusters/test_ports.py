from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.clusters.ports import CLIENT_SERVER, DASHBOARD, GCS, HEAD, NODE, WORKERS, closed_ports, start_flags

SINGLE = [*NODE.values(), *HEAD.values()]


def test_no_two_parts_of_ray_share_a_port() -> None:
    assert len(set(SINGLE)) == len(SINGLE)
    assert not {*SINGLE} & {*WORKERS}


def test_port_that_every_raylet_takes_to_be_the_client_servers_is_free() -> None:
    assert 10001 not in {*SINGLE, *WORKERS}


def test_ports_are_below_those_that_linux_gives_out() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(*SINGLE, WORKERS.stop) <= min(first, 32768)


@pytest.mark.parametrize("head", [True, False])
def test_flags_are_those_of_ray_start(head: bool) -> None:
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    flags = dict(word.split("=") for word in start_flags(head=head).split())
    assert flags.keys() <= known
    assert ("--port" in flags) == head


def test_every_port_of_the_flags_is_closed() -> None:
    closed = set(closed_ports())
    assert {str(port) for port in (GCS, DASHBOARD, CLIENT_SERVER, *NODE.values())} <= closed
    assert f"{WORKERS.start}-{WORKERS.stop - 1}" in closed
