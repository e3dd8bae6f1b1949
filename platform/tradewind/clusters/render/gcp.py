"""Compute Engine, as Ray's own provider launches it: the body of `instances.insert`."""

from __future__ import annotations

from typing import Any

from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.images import image_of
from tradewind.clusters.render.tags import tags
from tradewind.errors import SpecError

DISK_GB = 100
NOTES = (
    "The default network of a project opens port 22 and, inside, everything; no port of Ray is open to others.",
    "GCP has no highest price for spot machines: their price stays below that on demand.",
)


def provider(cluster: Blueprint, region: str, zone: str) -> dict[str, Any]:
    """Raises SpecError for a spec that names no project."""
    project = cluster.spec.gcp_project
    if not project:
        raise SpecError("machines of gcp need a project", hint="name it: gcp_project: …")
    return {
        "type": "gcp",
        "region": region,
        "availability_zone": zone or first_zone(region),
        "project_id": project,
        "cache_stopped_nodes": False,
    }


def first_zone(region: str) -> str:
    """Ray launches in one zone. Not every region has a zone `a`; then the spec has to say which."""
    return f"{region}-{'b' if region in ('us-east1', 'europe-west1') else 'a'}"


def node_config(cluster: Blueprint, candidate: Candidate) -> dict[str, Any]:
    disk = {"diskSizeGb": DISK_GB, "sourceImage": image_of(cluster.spec.images, "gcp", candidate.region)}
    return {
        "machineType": candidate.machine,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}],
        "labels": tags(cluster, candidate),
        "scheduling": scheduling(candidate, cluster.spec.ttl_s),
    }


def scheduling(candidate: Candidate, ttl_s: float) -> dict[str, Any]:
    """How the machine is bought, and that it is deleted when its time is up. One with a GPU cannot be moved."""
    wish: dict[str, Any] = {"maxRunDuration": {"seconds": round(ttl_s)}, "instanceTerminationAction": "DELETE"}
    if candidate.is_spot:
        return {"provisioningModel": "SPOT", "automaticRestart": False, "onHostMaintenance": "TERMINATE", **wish}
    moved = "TERMINATE" if candidate.resources.chips else "MIGRATE"
    return {"provisioningModel": "STANDARD", "automaticRestart": False, "onHostMaintenance": moved, **wish}
