"""All machines of a cluster in one backend, whether Ray knows them or not: by the tag that only this cluster's carry.

Ray's providers list what has Ray's own tag and runs. A stopped machine costs its disk, and one that lost Ray's tag is
never seen again; both are counted here. Asked is the cloud that the provider of Ray has already been connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tradewind.clusters.hybrid.backend import Backend
from tradewind.clusters.hybrid.tags import CLUSTER, Carried, label


@dataclass(frozen=True)
class Counted:
    native: str
    tags: Mapping[str, str]
    listed: bool
    """Whether Ray's provider lists it."""
    failed: bool = False
    """Whether the cloud has given up to make it. Azure keeps such a machine, and Ray lists it."""

    @property
    def carried(self) -> Carried:
        return Carried(self.tags)


def count(backend: Backend, cluster: str) -> list[Counted]:
    """Raises whatever the cloud's SDK raises."""
    listed = set(backend.provider.non_terminated_nodes({}))
    found = _COUNTS[backend.kind](backend.provider, cluster)
    failed = _failed(backend.provider) if backend.kind == "azure" else frozenset()
    return [Counted(native, tags, native in listed, native in failed) for native, tags in found.items()]


Tags = dict[str, dict[str, str]]


def _aws(provider: Any, cluster: str) -> Tags:
    states = ["pending", "running", "stopping", "stopped"]
    filters = [
        {"Name": f"tag:{CLUSTER}", "Values": sorted({cluster, label(cluster)})},
        {"Name": "instance-state-name", "Values": states},
    ]
    found = provider.ec2.instances.filter(Filters=filters)
    return {instance.id: {tag["Key"]: tag["Value"] for tag in instance.tags or ()} for instance in found}


def _gcp(provider: Any, cluster: str) -> Tags:
    settings = provider.provider_config
    found: Tags = {}
    for resource in provider.resources.values():
        if not hasattr(resource.resource, "instances"):  # TPU nodes are listed by another interface, by Ray's tag alone
            continue
        request = resource.resource.instances().list(
            project=settings["project_id"],
            zone=settings["availability_zone"],
            filter=f"labels.{CLUSTER} = {label(cluster)}",
        )
        while request is not None:
            answer = request.execute(http=resource.get_new_authorized_http(resource.resource._http))
            found |= {item["name"]: dict(item.get("labels", {})) for item in answer.get("items", [])}
            request = resource.resource.instances().list_next(request, answer)
    return found


def _azure(provider: Any, cluster: str) -> Tags:
    group = provider.provider_config["resource_group"]
    machines = provider.compute_client.virtual_machines.list(resource_group_name=group)
    tags = {machine.name: dict(machine.tags or {}) for machine in machines}
    return {name: carried for name, carried in tags.items() if carried.get(CLUSTER) in (cluster, label(cluster))}


def _failed(provider: Any) -> frozenset[str]:
    """Machines that have no power state, since they were never allocated, when Azure no longer tries."""
    group = provider.provider_config["resource_group"]
    machines = provider.compute_client.virtual_machines.list(resource_group_name=group)
    failed = {machine.name for machine in machines if machine.provisioning_state == "Failed"}
    return frozenset(name for name in failed if not provider.cached_nodes.get(name, {}).get("status"))


def _static(provider: Any, cluster: str) -> Tags:  # noqa: ARG001 - the hosts are this cluster's own
    return {host: provider.node_tags(host) for host in provider.non_terminated_nodes({})}


_COUNTS: Mapping[str, Callable[[Any, str], Tags]] = {"aws": _aws, "gcp": _gcp, "azure": _azure, "static": _static}
