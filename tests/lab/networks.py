"""Networks that cannot reach each other: a head with a public address, and workers behind a NAT.

    head 203.0.113.10 ─ internet, NAT ─┬─ worker-1 10.1.0.10
                                       └─ worker-2 10.2.0.10

The way to worker-2 carries 1400 bytes and says nothing of what it drops.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tradewind.testing.clouds.hosts import missing_programs
from tradewind.testing.clouds.network import BRIDGE, Network, start_network

HEAD = "203.0.113.10"
WORKERS = {"worker-1": "10.1.0.10", "worker-2": "10.2.0.10"}
PARTS = ("203.0.113.0/24", "10.1.0.0/24", "10.2.0.0/24")
SMALL_MTU = 1400
NAT = f"table ip nat {{ chain out {{ type nat hook postrouting priority 100; ip daddr {HEAD} masquerade; }}; }}"
NOTHING_PASSES = "table ip outage { chain through { type filter hook forward priority -1; policy drop; }; }"


def missing() -> str:
    """What these networks need and is not here."""
    programs = [name for name in ("nft", "wg", "wireguard-go") if not shutil.which(name)]
    return ", ".join([*missing_programs(), *programs])


@contextmanager
def start_networks() -> Iterator[Network]:
    """The block is in the internet."""
    with start_network(PARTS[0], parts=PARTS, passes=[f"ip daddr {HEAD}"]) as network, network.inside():
        sh(f"nft '{NAT}'")
        yield network


def make_small(address: str) -> None:
    """Let the cable of a host carry less than both of its ends believe."""
    cable = "h" + "".join(f"{int(part):02x}" for part in address.split("."))
    sh(f"ip link set {cable} mtu {SMALL_MTU} && ip link set {BRIDGE} mtu 1500")


@contextmanager
def outage() -> Iterator[None]:
    """No packet passes between the networks while the block runs."""
    sh(f"nft '{NOTHING_PASSES}'")
    try:
        yield
    finally:
        sh("nft delete table ip outage")


def reaches(address: str, port: int) -> bool:
    """Whether a TCP connection is made from the internet, past any tunnel."""
    probe = ["timeout", "1.5", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def sh(command: str) -> None:
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
