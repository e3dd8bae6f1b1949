"""What a cloud itself says of a machine, for those that carry no tags of ours: those of a file for one cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tradewind.catalog import load_catalog
from tradewind.clusters.hybrid.backend import Backend

CLOUDS: Mapping[str, str] = {"aws": "aws", "gcp": "gcp", "azure": "azure"}


@dataclass(frozen=True)
class Seen:
    machine: str = ""
    market: str = ""
    place: str = ""
    since: float | None = None
    """Unix seconds."""


def look(backend: Backend, native: str) -> Seen:
    """From what the provider of Ray has listed last; asks no cloud."""
    reader = _READERS.get(backend.kind)
    node = getattr(backend.provider, "cached_nodes", {}).get(native)
    return Seen() if reader is None or node is None else reader(node)


def list_price(cloud: str, seen: Seen) -> float | None:
    """Dollars an hour by the catalogue; None where it has no such offer."""
    offers = load_catalog().offers(cloud=cloud)
    fit = (
        offer.usd_per_hour for offer in offers
        if offer.instance.name == seen.machine and offer.market == seen.market
        and seen.place.startswith(offer.region.name)
    )  # fmt: skip
    return min(fit, default=None)


def _aws(node: Any) -> Seen:
    market = "spot" if node.instance_lifecycle == "spot" else "on_demand"
    return Seen(node.instance_type, market, node.placement["AvailabilityZone"], node.launch_time.timestamp())


def _gcp(node: Any) -> Seen:
    scheduling = node.get("scheduling", {})
    spot = scheduling.get("provisioningModel") == "SPOT" or scheduling.get("preemptible", False)
    made = node.get("creationTimestamp")
    return Seen(
        machine=node.get("machineType", "").rpartition("/")[2],
        market="spot" if spot else "on_demand",
        place=node.get("zone", "").rpartition("/")[2],
        since=datetime.fromisoformat(made).timestamp() if made else None,
    )


_READERS: Mapping[str, Callable[[Any], Seen]] = {"aws": _aws, "gcp": _gcp}
