"""On which market's machines the replicas of an endpoint lie: the base on those that stay, the burst on spot."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.clusters.overlay.node_files import MARKET
from tradewind.errors import CapacityError
from tradewind.serving.hosts import CPU, Host
from tradewind.specs import ServeSpec

SPOT = "spot"
STAYS, MAY_GO = f"!{SPOT}", SPOT
"""As selectors of Ray. A node without the label stays."""


def burst_of(spec: ServeSpec) -> str | None:
    """What is asked of the machines of the replicas beyond the base; None for any."""
    return MAY_GO if spec.burst == "spot" else None


def need_markets(spec: ServeSpec, hosts: Sequence[Host]) -> None:
    """Raises CapacityError when no machine is of a market that the spec asks for.

    What the autoscaler starts may be of any: Ray does not say which labels it will have.
    """
    spot = [host.labels.get(MARKET) == SPOT for host in hosts if host.labels and host.resources.get(CPU, 0) >= 1]
    is_open = any(not host.labels for host in hosts)
    if spec.base and all(spot) and not is_open:
        raise CapacityError(
            f"the base of {spec.name!r} is to lie on machines that stay, and this Ray has none but spot",
            hint="start others, or leave base out",
        )
    if spec.burst == "spot" and spec.most_replicas > spec.base and not any(spot) and not is_open:
        raise CapacityError(
            f"replicas of {spec.name!r} are to lie on spot machines, and this Ray has none",
            hint=f"start nodes with --labels {MARKET}={SPOT}, or leave burst out",
        )
