"""By which network ranks speak with each other: told to gloo and NCCL before the process group starts.

Both guess without it: gloo takes the address of the host's name, which on many machines is 127.0.1.1 or cannot be
reached, and NCCL the first interface that is up, docker0 among them. What the user has set is never changed.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tradewind.clusters.overlay import INTERFACE
from tradewind.errors import SpecError

INFINIBAND = Path("/sys/class/infiniband")
SOCKET_THREADS = {"NCCL_SOCKET_NTHREADS": "4", "NCCL_NSOCKS_PERTHREAD": "4"}
"""More streams where one does not fill the wire; NCCL's default is one thread with one socket, and their product may be
64. https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-socket-nthreads (read 2026-11)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """Variables to set in this process, and a line for the log that says what was chosen and why."""

    environment: dict[str, str]
    said: str


def use_network(master: str, *, cuda: bool) -> None:
    """Set in this process what gloo and NCCL are to use. Raises SpecError where `master` cannot be reached."""
    overlay = INTERFACE if interface_to(master) == INTERFACE else None
    network = choose_network(master, environment=os.environ, cuda=cuda, overlay=overlay)
    os.environ.update(network.environment)
    log.info("%s", network.said)


def choose_network(
    master: str,
    *,
    environment: Mapping[str, str],
    cuda: bool,
    overlay: str | None = None,
    infiniband: Path = INFINIBAND,
) -> Network:
    """What gloo, and with `cuda` NCCL, should use to reach the host `master`.

    `overlay` is the interface of a tunnel that joins machines of several networks; ranks then speak through it and
    nothing else, and InfiniBand is off, since it does not reach the other networks. Without it, theirs is the interface
    by which this machine reaches `master`. Raises SpecError where there is no such interface.
    """
    interface, why = _interface(master, overlay)
    wanted = {"GLOO_SOCKET_IFNAME": interface}
    if cuda:
        adapters = [] if overlay else active_adapters(infiniband)
        wanted |= _nccl(interface, adapters, overlay=overlay is not None)
        why += f"; NCCL over {', '.join(adapters)}" if adapters else "; NCCL over sockets where NVLink does not reach"
    kept = {name: environment[name] for name in wanted if environment.get(name)}
    said = f"ranks speak over {interface}, {why}"
    if kept:
        said += "; kept as set: " + ", ".join(f"{name}={value}" for name, value in sorted(kept.items()))
    return Network({name: value for name, value in wanted.items() if name not in kept}, said)


def interface_to(master: str) -> str:
    """The interface that packets to `master` leave by. Nothing is sent: a datagram socket is only bound to a route."""
    try:
        family, _, _, _, address = socket.getaddrinfo(master, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            mine = probe.getsockname()[0]
    except OSError as error:
        raise SpecError(
            f"no route from this machine to {master!r}: {error}", hint="check MASTER_ADDR, or GLOO_SOCKET_IFNAME"
        ) from error
    for name, addresses in psutil.net_if_addrs().items():
        if any(found.family == family and found.address.split("%")[0] == mine for found in addresses):
            return str(name)
    raise SpecError(f"no interface of this machine has {mine}, by which it reaches {master!r}")


def active_adapters(infiniband: Path = INFINIBAND) -> list[str]:
    """InfiniBand and RoCE adapters with a port that is up, as Linux lists them.

    https://www.kernel.org/doc/Documentation/ABI/stable/sysfs-class-infiniband: a port's state is "4: ACTIVE".
    """
    ports = sorted(infiniband.glob("*/ports/*/state"))
    return sorted({port.parents[2].name for port in ports if "ACTIVE" in port.read_text()})


def _interface(master: str, overlay: str | None) -> tuple[str, str]:
    if overlay is None:
        return interface_to(master), f"by which this machine reaches {master}"
    if overlay not in psutil.net_if_addrs():
        known = ", ".join(sorted(psutil.net_if_addrs()))
        raise SpecError(f"no interface {overlay!r} on this machine (known: {known})", hint="is the tunnel up?")
    return overlay, "the tunnel that joins their networks"


def _nccl(interface: str, adapters: list[str], *, overlay: bool) -> dict[str, str]:
    """`=` takes a name as it is; without it `eth1` would also mean `eth10`. Adapters NCCL chooses itself, by PCIe."""
    wanted = {"NCCL_SOCKET_IFNAME": f"={interface}"}
    if overlay:
        wanted["NCCL_IB_DISABLE"] = "1"
    return wanted if adapters or interface == "lo" else {**wanted, **SOCKET_THREADS}
