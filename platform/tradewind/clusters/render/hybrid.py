"""The provider of tradewind: one cluster over several clouds and sites, each group with candidates in price order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tradewind.clusters.render import aws, azure, gcp
from tradewind.clusters.render.blueprint import Blueprint, Group
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.launcher import HEAD, left_out
from tradewind.clusters.render.node_type import NodeType
from tradewind.errors import SpecError
from tradewind.specs.cluster import ONPREM

PROVIDER = "tradewind.clusters.hybrid.HybridNodeProvider"
COOLDOWN_S = 60
"""How long a candidate that was sold out is left alone."""

NOTES = (
    "Of the candidates of a group the first that can be had is launched; a sold-out one is left alone for a minute.",
    "`ray up` and the head need the package tradewind, and the head credentials of every cloud that it launches in.",
)
OPEN_NOTE = (
    "Without `overlay` in the spec, machines of all places have to reach each other already, over a network that",
    "nobody else can listen to.",
)


def provider(cluster: Blueprint) -> dict[str, Any]:
    spec = cluster.spec
    found: dict[str, Any] = {
        "type": "external",
        "module": PROVIDER,
        "use_internal_ips": True,
        "cache_stopped_nodes": False,
        "cluster": {
            "owner": spec.tagged_owner,
            "ttl_s": round(spec.ttl_s),
            "max_usd_per_hour": spec.max_usd_per_hour,
            "cooldown_s": COOLDOWN_S,
            "workspace": spec.workspace,
        },
        "backends": {backend_of(one): backend(cluster, one) for one in cluster.candidates},
    }
    if spec.overlay:
        overlay = spec.overlay
        found["overlay"] = {"subnet": overlay.subnet, "port": overlay.port, "endpoint": overlay.endpoint}
    return found


def backend_of(candidate: Candidate) -> str:
    """One for each region, since Ray's providers know one; on GCP for each zone."""
    zone = candidate.zone if candidate.cloud == "gcp" else ""
    return f"{candidate.cloud}-{zone or candidate.region}" if candidate.cloud != ONPREM else candidate.region


def backend(cluster: Blueprint, candidate: Candidate) -> dict[str, Any]:
    return BACKENDS[candidate.cloud](cluster, candidate)


def node_types(cluster: Blueprint) -> list[NodeType]:
    """The head's first. Raises SpecError for machines of a cloud without a key that opens them."""
    if not cluster.spec.ssh_key and set(cluster.clouds) - {ONPREM}:
        hint = "name its file; one key opens the machines of all places: ssh_key: ~/.ssh/…"
        raise SpecError("ssh_key is missing, and machines of several places are one cluster", hint=hint)
    head = cluster.head
    words = f"{head.machine or cluster.spec.head.host} in {head.place}: {head.price_words()}"
    first = NodeType(HEAD, (words,), {"CPU": 0}, {"candidates": [entry(cluster, head)]}, 0, 0)
    return [first, *(_type(cluster, group) for group in cluster.groups)]


def _type(cluster: Blueprint, group: Group) -> NodeType:
    comments = (*(f"{one.name}: {one.price_words()}" for one in group.candidates), *left_out(group))
    config = {"candidates": [entry(cluster, one) for one in group.candidates]}
    most = min(group.max, cluster.max_workers)
    labels = {"tradewind-group": group.name}
    return NodeType(group.name, comments, group.resources.to_ray(), config, group.min, most, labels)


def entry(cluster: Blueprint, one: Candidate) -> dict[str, Any]:
    """A candidate, as the provider takes it."""
    return {
        "name": one.name,
        "backend": backend_of(one),
        "market": one.market,
        "usd_per_hour": round(one.usd_per_hour, 6),
        "on_demand_usd_per_hour": round(one.on_demand_usd_per_hour, 6),
        "node_config": NODE_CONFIGS[one.cloud](cluster, one),
    }


def _aws(cluster: Blueprint, one: Candidate) -> dict[str, Any]:
    return aws.provider(one.region, [one.zone] if one.zone else []) | _login(cluster, one)


def _gcp(cluster: Blueprint, one: Candidate) -> dict[str, Any]:
    return gcp.provider(cluster, one.region, one.zone) | _login(cluster, one)


def _azure(cluster: Blueprint, one: Candidate) -> dict[str, Any]:
    return azure.provider(cluster, one.region, one.zone) | _login(cluster, one)


def _login(cluster: Blueprint, one: Candidate) -> dict[str, Any]:
    """Machines of another network are reached at the address that the internet knows."""
    near = (one.cloud, one.region) == (cluster.head.cloud, cluster.head.region)
    return {"ssh_user": cluster.spec.ssh_user, "ssh_ip": "internal" if near else "external"}


def _static(cluster: Blueprint, one: Candidate) -> dict[str, Any]:
    site = cluster.spec.sites[one.region]
    head = cluster.spec.head
    here = head.host if head.place == one.place else ""
    hosts = [*([here] if here and here not in site.hosts else []), *site.hosts]
    return {"type": "static", "ssh_user": site.ssh_user, "hosts": hosts, **({"head": here} if here else {})}


def _nothing(_cluster: Blueprint, _one: Candidate) -> dict[str, Any]:
    return {}


Make = Callable[[Blueprint, Candidate], dict[str, Any]]
BACKENDS: Mapping[str, Make] = {"aws": _aws, "gcp": _gcp, "azure": _azure, ONPREM: _static}
NODE_CONFIGS: Mapping[str, Make] = {
    "aws": aws.node_config,
    "gcp": gcp.node_config,
    "azure": azure.node_config,
    ONPREM: _nothing,
}
