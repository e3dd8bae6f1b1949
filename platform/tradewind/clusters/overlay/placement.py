"""Keeping a collective inside one site, so that its traffic never goes through the tunnel.

Every node says in its label `site` where it is: the name of its backend. Between sites the tunnel carries Ray's own
messages. Datasets and checkpoints go between object storage and the machine that needs them, not from node to node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tradewind.clusters.overlay.node_files import LABELS, SITE
from tradewind.errors import CapacityError

NODE = "ray.io/node-id"
Strategy = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]


def labels_flag() -> str:
    """For `ray start`: the labels of this node, where it has any."""
    return f"$(test -f {LABELS} && echo --labels-file={LABELS})"


def same_site_placement(strategy: Strategy = "PACK") -> dict[str, Any]:
    """Arguments of `ray.util.placement_group` that put all bundles into one site, whichever has room.

    The group waits while no site has room for all of it (measured, Ray 2.60). `strategy` is for the nodes in the site.
    """
    return {"topology_strategy": {SITE: "STRICT_PACK", NODE: strategy}}


def site_selector(site: str) -> dict[str, str]:
    """A `label_selector` for Ray Train's `ScalingConfig`, for tasks and for actors, which know no topology."""
    return {SITE: site}


def site_with_room(nodes: Iterable[Mapping[str, Any]], workers: int, resources: Mapping[str, float]) -> str:
    """The site that can hold that many workers with the most to spare, from `ray.nodes()`.

    It goes by what nodes have, not by what is free now. Raises CapacityError when no single site is large enough.
    """
    room = Counter[str]()
    for node in nodes:
        if node["Alive"] and SITE in node["Labels"]:
            room[node["Labels"][SITE]] += _fits(node["Resources"], resources)
    site, most = max(room.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    if most < workers:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(room.items())) or "no node names its site"
        raise CapacityError(f"no site has room for {workers} workers of one collective: {listed}")
    return site


def _fits(has: Mapping[str, float], wants: Mapping[str, float]) -> int:
    return min((int(has.get(name, 0) // amount) for name, amount in wants.items() if amount), default=0)
