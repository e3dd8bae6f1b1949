"""How long the processes of a cluster hold on to a node that says nothing.

The head's health checks give a node up after a minute or two, but a process of Ray that waits for an answer from there
goes by its own connection. By Ray's defaults it asks for a sign of life after 300 s, and waits 120 s for it: so a task
that was running on a machine that was taken without a goodbye started again elsewhere only after 7 minutes, although
the head had known for 6 of them (measured with Ray 2.60: one connection in two).
"""

from __future__ import annotations

import json

PING_S = 15
"""Without an answer to a call for so long, a process asks for a sign of life. Servers put up with as many as they are
told that clients send (`ray::rpc::GrpcServer::Run` of Ray), so all of a cluster must be told the same."""

NEAR_S, FAR_S = 50, 100
"""Until it gives up: with `PING_S` as long as the head takes, with 5 failed checks in one network and 10 across
several. So outages of 90 s between networks are outlasted."""


def outage_flag(*, far: bool) -> str:
    """For `ray start --head`, which passes it on to every process of the cluster, drivers too."""
    values = {
        "grpc_client_keepalive_time_ms": 1000 * PING_S,
        "grpc_client_keepalive_timeout_ms": 1000 * (FAR_S if far else NEAR_S),
    }
    return f"--system-config='{json.dumps(values, separators=(',', ':'))}'"
