"""A network of a lab's own on this machine: a network namespace with one bridge, to which hosts are plugged in.

The namespace has no name and no way out. It lives as long as a thread, a process or an open file holds it, so nothing
of it is left even when the program is killed, and addresses in it cannot meet those of the machine. It needs root and
`ip` of iproute2.

    with start_network("10.77.0.0/16") as network, network.inside():
        ...  # sockets and child processes made here are on the bridge, at network.gateway

Parts of it can be networks of their own, between which nothing passes but what is named:

    start_network("10.77.0.0/16", parts=["10.77.0.0/20", "10.77.16.0/20"], passes=["tcp dport 22"])
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradewind.errors import AuthError, CapacityError, NotFoundError

CLONE_NEWNET = 0x40000000
"""`linux/sched.h`."""

THREAD_NAMESPACE = "/proc/thread-self/ns/net"
BRIDGE = "bridge0"
BRIDGE_MAC = "02:00:00:00:00:01"
"""A bridge without one of its own takes the lowest of its ports', and another when that port goes. Who has asked for
the old one hears nothing until it asks again: up to 69 s (measured)."""

FORWARDING = {"ip_forward": "1", "conf/all/send_redirects": "0", f"conf/{BRIDGE}/send_redirects": "0"}
"""Between parts, by this machine alone: all of them are on one bridge, and no host may learn of that."""

METADATA_ADDRESS = "169.254.169.254"
"""Where Amazon, Google and Azure all answer a machine that asks about itself."""


@dataclass(frozen=True)
class Network:
    subnet: ipaddress.IPv4Network
    namespace: int
    """An open file that holds it."""
    parts: tuple[ipaddress.IPv4Network, ...] = ()

    @property
    def gateway(self) -> str:
        """The first address, where servers of the block inside can listen."""
        return _first(self.subnet)

    def part(self, address: str) -> ipaddress.IPv4Network:
        """The part in which an address is; all of the network where it is in none."""
        near = ipaddress.IPv4Address(address)
        return next((part for part in self.parts if near in part), self.subnet)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and the threads and processes that it starts in the block, be in this network."""
        before = os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        _call("setns", self.namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", before, CLONE_NEWNET)
            os.close(before)

    def plug_in(self, process: int, address: str) -> None:
        """Give the network namespace of a process an `eth0` on the bridge, with this address and a route."""
        part = self.part(address)
        number = f"{int(ipaddress.IPv4Address(address)):08x}"
        # The same for each host that has the address, since others remember it.
        mac = ":".join(("02:01", *(number[place : place + 2] for place in range(0, 8, 2))))
        with self.inside():
            _ip(
                f"link add h{number} type veth peer name eth0 address {mac} netns {process}",
                f"link set h{number} master {BRIDGE} up",
            )
        peer = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with Network(self.subnet, peer).inside():
            _ip(
                "link set lo up",
                f"addr add {address}/{part.prefixlen} dev eth0",
                "link set eth0 up",
                f"route add default via {_first(part)}",
            )
        os.close(peer)


@contextmanager
def start_network(
    subnet: str = "10.77.0.0/16", *, parts: Sequence[str] = (), passes: Sequence[str] = ()
) -> Iterator[Network]:
    """`passes` are conditions of nftables on packets from one part to another; answers pass as well.

    Raises AuthError without root, NotFoundError without `ip`.
    """
    if os.geteuid() != 0:
        raise AuthError("a network of its own needs root", hint="run it as root, in a container for instance")
    if shutil.which("ip") is None:
        raise NotFoundError("there is no `ip` on this machine", hint="apt-get install iproute2")
    whole = ipaddress.IPv4Network(subnet)
    network = Network(whole, _new_namespace(), tuple(map(ipaddress.IPv4Network, parts)))
    try:
        with network.inside():
            _ip(
                "link set lo up",
                f"link add {BRIDGE} address {BRIDGE_MAC} type bridge",
                *(f"addr add {_first(part)}/{part.prefixlen} dev {BRIDGE}" for part in network.parts or [whole]),
                f"addr add {METADATA_ADDRESS}/32 dev {BRIDGE}",
                f"link set {BRIDGE} up",
            )
            if parts:
                _separate(network.parts, passes)
        yield network
    finally:
        os.close(network.namespace)


def _separate(parts: Sequence[ipaddress.IPv4Network], passes: Sequence[str]) -> None:
    """Where the kernel filters bridges too, it asks the same rules inside a part."""
    for name, value in FORWARDING.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    inside = [f"ip saddr {part} ip daddr {part}" for part in parts]
    accepted = "".join(f"{condition} accept; " for condition in ("ct state established,related", *inside, *passes))
    rules = f"table ip parts {{ chain through {{ type filter hook forward priority 0; policy drop; {accepted}}}; }}"
    _run(["nft", "-f", "-"], rules)


def _first(subnet: ipaddress.IPv4Network) -> str:
    return str(subnet.network_address + 1)


def _new_namespace() -> int:
    before = os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    _call("unshare", CLONE_NEWNET)
    try:
        return os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        _call("setns", before, CLONE_NEWNET)
        os.close(before)


def _call(name: str, *arguments: int) -> None:
    """`os.setns` and `os.unshare` are there from Python 3.12 on."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise CapacityError(
            f"{name} was refused: {os.strerror(number)}", hint="namespaces need root and a Linux kernel"
        )


def _ip(*commands: str) -> None:
    _run(["ip", "-batch", "-"], "\n".join(commands))


def _run(program: list[str], text: str) -> None:
    done = subprocess.run(program, input=text, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CapacityError(f"{program[0]} could not do {text}: {done.stderr.strip()}", hint=f"see `man {program[0]}`")
