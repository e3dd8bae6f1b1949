"""Fixed ports of Ray, so that a firewall can name them: most of them listen on every interface of a machine.

Measured with Ray 2.60 on 2026-11-21: 10001 collides with Ray's client server, which takes it on workers too.
"""

from __future__ import annotations

GCS, DASHBOARD, CLIENT = 6379, 8265, 10010
OBJECTS = 10002
FIRST_WORKER, LAST_WORKER = 10100, 10999
"""One for each process of a node."""

NODE_FLAGS = (
    f"--object-manager-port={OBJECTS}",
    "--dashboard-agent-listen-port=10003",
    "--dashboard-agent-grpc-port=10004",
    "--runtime-env-agent-port=10005",
    "--metrics-export-port=10006",
    "--node-manager-port=10007",
    f"--min-worker-port={FIRST_WORKER}",
    f"--max-worker-port={LAST_WORKER}",
)
HEAD_FLAGS = (
    f"--port={GCS}",
    "--dashboard-host=127.0.0.1",
    f"--dashboard-port={DASHBOARD}",
    f"--ray-client-server-port={CLIENT}",
)
