"""How a head and its workers are started, as lines of a cluster's YAML."""

from __future__ import annotations

from tradewind.clusters.overlay.environment import RECONNECT_S

RECONNECT = {"RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_S)}
"""For `ray start` on workers. The head keeps Ray's 60 s: if its GCS does not come back alone, all of the head does."""


def supervised(start: str, *, python: str = "python") -> str:
    """The shell line that starts a head by `start`, returns when it is up, and starts again what dies of it."""
    return f"{python} -m tradewind.clusters.head {start}"
