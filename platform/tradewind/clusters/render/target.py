"""Which file a spec becomes: Ray's own provider where all machines are in one region of one cloud, else ours."""

from __future__ import annotations

from tradewind.clusters.render import aws, azure, gcp, hybrid
from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.launcher import head_type, launcher_file, single_types
from tradewind.specs.cluster import ONPREM


def render(cluster: Blueprint, *, name: str) -> dict[str, str]:
    """Text by file name. `name` is what the spec is called without `.spec.yaml`."""
    if cluster.spec.kubernetes:
        from tradewind.clusters.render import kuberay

        return kuberay.files(cluster, name=name)
    return {f"{name}.yaml": _launcher(cluster, name)}


def is_single(cluster: Blueprint) -> bool:
    """Whether one of Ray's own providers can launch all of it."""
    if len(cluster.places) > 1 or cluster.clouds[0] == ONPREM:
        return False
    return cluster.clouds[0] != "gcp" or len({one.zone for one in cluster.candidates}) == 1


def _launcher(cluster: Blueprint, name: str) -> str:
    notes: tuple[str, ...]
    if not is_single(cluster) or cluster.spec.overlay:
        notes = hybrid.NOTES if cluster.spec.overlay or len(cluster.clouds) == 1 else (*hybrid.NOTES, *hybrid.OPEN_NOTE)
        types = hybrid.node_types(cluster)
        return launcher_file(cluster, hybrid.provider(cluster), types, name=name, notes=notes)
    head = cluster.head
    zones = sorted({one.zone for one in cluster.candidates if one.zone})
    if head.cloud == "aws":
        found, make, notes = aws.provider(head.region, zones), aws.node_config, aws.NOTES
    elif head.cloud == "gcp":
        found, make, notes = gcp.provider(cluster, head.region, head.zone), gcp.node_config, gcp.NOTES
    else:
        found, make, notes = azure.provider(cluster, head.region, ",".join(zones)), azure.node_config, azure.NOTES
    types = [head_type(cluster, make), *single_types(cluster, make)]
    return launcher_file(cluster, found, types, name=name, notes=notes)
