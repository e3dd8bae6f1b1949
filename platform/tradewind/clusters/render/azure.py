"""Azure, as Ray's own provider launches it: parameters of its template `azure-vm-template.json`."""

from __future__ import annotations

from typing import Any

from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.images import image_of
from tradewind.clusters.render.tags import tags
from tradewind.errors import SpecError

DISK_GB = 100
NOTES = (
    "Without subscription_id, `ray up` takes the default subscription of `az`; the doctor says which.",
    "Ray makes a network whose security group opens port 22 alone.",
    "Azure does not end machines by itself: those past tradewind-ttl-s are ended by `tw cluster sweep`.",
)


def provider(cluster: Blueprint, region: str, zone: str) -> dict[str, Any]:
    spec = cluster.spec
    found: dict[str, Any] = {
        "type": "azure",
        "location": region,
        "availability_zone": zone or "auto",
        "resource_group": spec.azure_resource_group or f"tradewind-{spec.name}",
    }
    if spec.azure_subscription:
        found["subscription_id"] = spec.azure_subscription
    group_tags = {key: value for key, value in tags(cluster, cluster.head).items() if key != "tradewind-candidate"}
    return found | {"cache_stopped_nodes": False, "tags": group_tags}


def node_config(cluster: Blueprint, candidate: Candidate) -> dict[str, Any]:
    """Raises SpecError for an image that is not written as Azure names them."""
    parameters = {"vmSize": candidate.machine, **image(image_of(cluster.spec.images, "azure", candidate.region))}
    parameters["osDiskSize"] = DISK_GB
    if candidate.is_spot:
        highest = round(candidate.max_usd_per_hour, 5)
        parameters |= {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": highest}}
    return {"azure_arm_parameters": parameters, "tags": tags(cluster, candidate)}


def image(name: str) -> dict[str, Any]:
    if name.startswith("/"):
        return {"imageId": name}
    parts = name.split(":")
    if len(parts) != 4:
        hint = "write publisher:offer:sku:version, or the id of an image"
        raise SpecError(f"images: {name!r} is no image of azure", hint=hint)
    return dict(zip(("imagePublisher", "imageOffer", "imageSku", "imageVersion"), parts, strict=True))
