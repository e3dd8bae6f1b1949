"""Specs of clusters for the tests of rendering, small and changed in one place."""

from __future__ import annotations

from typing import Any

from tradewind.catalog import load_catalog
from tradewind.clusters.render import Blueprint, blueprint
from tradewind.specs import ClusterSpec

AWS, GCP, AZURE, SITE = "aws/us-west-2", "gcp/us-central1", "azure/eastus", "onprem/berlin"
HEADS: dict[str, dict[str, str]] = {
    AWS: {"place": AWS, "machine": "m7i.large"},
    GCP: {"place": GCP, "machine": "e2-standard-4"},
    AZURE: {"place": AZURE, "machine": "Standard_D2s_v5"},
    SITE: {"place": SITE, "host": "10.0.0.10"},
}
SITES = {"berlin": {"hosts": ["10.0.0.11", "10.0.0.12"], "cpus": 8, "memory": "32GiB"}}
KEY = {"ssh_key": "~/.ssh/harbour", "aws_key_pair": "harbour"}
CPUS = {AWS: "m6i.2xlarge", GCP: "n2-standard-8", AZURE: "Standard_D8s_v5"}
L4S = {AWS: "g6.xlarge", GCP: "g2-standard-4"}


def candidate(place: str, machine: str = "", market: str = "on_demand", **values: Any) -> dict[str, Any]:
    """Of a machine type, or of a chip."""
    if place.startswith("onprem/"):
        return {"place": place}
    named = {"machine": machine or CPUS[place]} if "chip" not in values else {}
    return {"place": place, **named, "market": market, **values}


def group(*candidates: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"candidates": list(candidates), **values}


def spec(head: str = AWS, **values: Any) -> ClusterSpec:
    """With one group of processors beside the head, unless other groups are given."""
    groups = values.pop("groups", {"cpu": group(candidate(head))})
    whole = {"name": "harbour", "head": HEADS[head], "groups": groups, "gcp_project": "acme-ml", "sites": SITES, **KEY}
    return ClusterSpec.of(**{**whole, **values})


def made(head: str = AWS, **values: Any) -> Blueprint:
    return blueprint(spec(head, **values), load_catalog())
