"""Nodes of the cluster that will not stay."""

from __future__ import annotations

import ray._private.state


def draining() -> dict[str, float | None]:
    """Ids of the nodes that Ray drains, with the moment in unix seconds at which each goes, where that is known."""
    found: dict[str, int] = ray._private.state.state.get_draining_nodes()
    return {node: deadline_ms / 1000 if deadline_ms else None for node, deadline_ms in found.items()}
