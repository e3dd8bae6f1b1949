"""What Ray and its collectives are told by the environment, and commands for the YAML of a cluster."""

from __future__ import annotations

from pathlib import Path

from tradewind.clusters.overlay.hub import FOLDER
from tradewind.clusters.overlay.network import INTERFACE, Overlay
from tradewind.clusters.ports import GCS

HEALTH_CHECK_FAILURES = 10
"""The head gives a node up after so many failed checks, each of 3 s and a time-out of 10 s. Ray's 5 are 65 s (measured:
64 s); 10 outlast 90 s. A spot machine that is really gone is known much earlier: its sentinel says goodbye."""
RECONNECT_S = 600
"""How long a raylet looks for a head that does not answer; Ray's 60 s end every worker of a head that starts again."""
ROUTES = Path("/proc/net/route")


def head_environment() -> dict[str, str]:
    """For `ray start --head`."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_health_check_failure_threshold": str(HEALTH_CHECK_FAILURES),
        **collective_environment(INTERFACE),
    }


def worker_environment() -> dict[str, str]:
    """For `ray start` on a worker."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_S),
        **collective_environment(INTERFACE),
    }


def collective_environment(interface: str) -> dict[str, str]:
    """Which interface gloo and NCCL take. Without it gloo takes the hostname's address, which others cannot reach.

    The tunnel is always right and never fast: workers reach each other through the head. A collective that stays inside
    one site is told `site_interface()` in its own runtime environment.
    """
    return {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}


def site_interface(routes: Path = ROUTES) -> str:
    """The interface by which this machine reaches its own network: that of the default route, else the tunnel's.

    https://docs.kernel.org/networking/proc_net_route.html: the destination is the second column, in hexadecimal.
    """
    for line in routes.read_text().splitlines()[1:]:
        interface, destination, *_ = line.split()
        if destination == "00000000" and interface != INTERFACE:
            return interface
    return INTERFACE


def wait_command(overlay: Overlay, *, timeout_s: int = 120) -> str:
    """A shell line that ends when Ray's head answers through the tunnel, or fails and says what is missing."""
    return f"bash {FOLDER}/wait.sh {overlay.head_address} {GCS} {timeout_s}"
