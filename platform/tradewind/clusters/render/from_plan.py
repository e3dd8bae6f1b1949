"""A cluster for a placement of a plan: its machines, on demand too where the plan takes spot ones, and a head."""

from __future__ import annotations

import math

from tradewind.catalog import Catalog, Offer
from tradewind.clusters.render.images import is_arm
from tradewind.clusters.render.pricing import CLOUDS
from tradewind.errors import NotFoundError, SpecError
from tradewind.records import Placement, PlanRecord
from tradewind.specs import ClusterSpec

HEAD_CPUS, HEAD_MEMORY_BYTES = 2, 8 * 10**9
LONGER = 1.5
"""How much longer than predicted machines may live."""
LONGEST_NAME = 40
"""Names of machines have the cluster's in them."""


def of_placement(placement: Placement, record: PlanRecord, catalog: Catalog) -> ClusterSpec:
    """The spec of a cluster. Raises SpecError for a placement that nobody launches, NotFoundError where no head is."""
    if placement.cloud not in CLOUDS:
        hint = "write a cluster spec with `sites`: which hosts they are is not in a plan"
        raise SpecError(f"plan {record.plan}: machines of {placement.cloud} are not launched", hint=hint)
    place = "/".join(part for part in (placement.cloud, placement.region, placement.zone) if part)
    markets = ("spot", "on_demand") if placement.market == "spot" else ("on_demand",)
    head = _head(placement, catalog)
    dearest = max(placement.usd_per_machine_hour, _on_demand(placement, catalog))
    return ClusterSpec.of(
        name=record.plan[:LONGEST_NAME].rstrip("-._"),
        head={"place": place, "machine": head.instance.name},
        groups={
            "work": {
                "candidates": [{"place": place, "machine": placement.instance, "market": market} for market in markets],
                "max": placement.machines,
            }
        },
        ttl_s=max(3600.0, math.ceil(LONGER * placement.hours.high) * 3600.0),
        max_usd_per_hour=float(math.ceil(head.usd_per_hour + placement.machines * dearest)),
    )


def _head(placement: Placement, catalog: Catalog) -> Offer:
    """The cheapest machine of the place that is enough for a head."""
    for offer in catalog.offers(cloud=placement.cloud, region=placement.region, market="on_demand"):
        enough = (offer.instance.vcpus or 0) >= HEAD_CPUS and (offer.instance.memory_bytes or 0) >= HEAD_MEMORY_BYTES
        if enough and not offer.chips and not offer.zone and not is_arm(placement.cloud, offer.instance.name):
            return offer
    where = f"{placement.cloud}/{placement.region}"
    raise NotFoundError(f"no machine for a head has a price in {where}", hint="write a cluster spec by hand")


def _on_demand(placement: Placement, catalog: Catalog) -> float:
    same = catalog.offers(cloud=placement.cloud, region=placement.region, market="on_demand")
    return max((offer.usd_per_hour for offer in same if offer.instance.name == placement.instance), default=0.0)
