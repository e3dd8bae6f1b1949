"""A network of a lab's own on this machine: a network namespace with one bridge, to which hosts are plugged in.

The namespace has no name and no way out. It lives as long as a thread, a process or an open file holds it, so nothing
of it is left even when the program is killed, and addresses in it cannot meet those of the machine. It needs root and
`ip` of iproute2.

    with start_network("10.77.0.0/16") as network, network.inside():
        ...  # sockets and child processes made here are on the bridge, at network.gateway
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tradewind.errors import AuthError, CapacityError, NotFoundError

CLONE_NEWNET = 0x40000000
"""`linux/sched.h`."""

THREAD_NAMESPACE = "/proc/thread-self/ns/net"
BRIDGE = "bridge0"
METADATA_ADDRESS = "169.254.169.254"
"""Where Amazon, Google and Azure all answer a machine that asks about itself."""


@dataclass(frozen=True)
class Network:
    subnet: ipaddress.IPv4Network
    namespace: int
    """An open file that holds it."""

    @property
    def gateway(self) -> str:
        """The first address, where servers of the block inside can listen."""
        return str(self.subnet.network_address + 1)

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
        cable = f"h{int(ipaddress.IPv4Address(address)):08x}"
        with self.inside():
            _ip(f"link add {cable} type veth peer name eth0 netns {process}", f"link set {cable} master {BRIDGE} up")
        peer = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with Network(self.subnet, peer).inside():
            _ip(
                "link set lo up",
                f"addr add {address}/{self.subnet.prefixlen} dev eth0",
                "link set eth0 up",
                f"route add default via {self.gateway}",
            )
        os.close(peer)


@contextmanager
def start_network(subnet: str = "10.77.0.0/16") -> Iterator[Network]:
    """Raises AuthError without root, NotFoundError without `ip`."""
    if os.geteuid() != 0:
        raise AuthError("a network of its own needs root", hint="run it as root, in a container for instance")
    if shutil.which("ip") is None:
        raise NotFoundError("there is no `ip` on this machine", hint="apt-get install iproute2")
    network = Network(ipaddress.IPv4Network(subnet), _new_namespace())
    try:
        with network.inside():
            _ip(
                "link set lo up",
                f"link add {BRIDGE} type bridge",
                f"addr add {network.gateway}/{network.subnet.prefixlen} dev {BRIDGE}",
                f"addr add {METADATA_ADDRESS}/32 dev {BRIDGE}",
                f"link set {BRIDGE} up",
            )
        yield network
    finally:
        os.close(network.namespace)


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
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        raise CapacityError(f"ip could not do {'; '.join(commands)}: {done.stderr.strip()}", hint="see `ip link`")
