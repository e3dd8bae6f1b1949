"""The ports of Ray on every node of a cluster, in one place: for `ray start`, and for the firewall.

Ray chooses most of its ports at random, which no firewall can follow. 10001 stays free, because every node's raylet
takes it to be the client server's (measured, Ray 2.60). The workers' ports are one for each worker process.
"""

from __future__ import annotations

GCS = 6379
DASHBOARD = 8265
CLIENT_SERVER = 10010
AUTOSCALER_METRICS, DASHBOARD_METRICS = 44217, 44227
"""Of the head, on every interface; Ray has no flag for them."""
NODE = {
    "object-manager-port": 10002,
    "dashboard-agent-listen-port": 10003,
    "dashboard-agent-grpc-port": 10004,
    "runtime-env-agent-port": 10005,
    "metrics-export-port": 10006,
    "node-manager-port": 10007,
}
"""Flags of `ray start` on every node."""
HEAD = {"port": GCS, "dashboard-port": DASHBOARD, "ray-client-server-port": CLIENT_SERVER}
"""Further flags on the head."""
WORKERS = range(10100, 11000)
"""Of worker processes: 900 on a node."""


def start_flags(*, head: bool) -> str:
    """The flags of `ray start` that fix every port, as one line."""
    flags = {**NODE, "min-worker-port": WORKERS.start, "max-worker-port": WORKERS.stop - 1, **(HEAD if head else {})}
    return " ".join(f"--{name}={port}" for name, port in flags.items())


def closed_ports() -> list[str]:
    """Every port on which Ray may listen, as nftables writes a set: single ones, and the workers' as a range."""
    single = sorted([*NODE.values(), *HEAD.values(), AUTOSCALER_METRICS, DASHBOARD_METRICS])
    return [*map(str, single), f"{WORKERS.start}-{WORKERS.stop - 1}"]
