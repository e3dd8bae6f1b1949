"""What can be wrong with an endpoint before anything starts: names, and room in the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tradewind.engines import ENGINES
from tradewind.errors import CapacityError
from tradewind.serving.autoscaling import Limits, policy
from tradewind.specs import ServeSpec

GPU = "GPU"
MANY = 64
"""Nodes of a kind without a bound are counted as so many."""


def check_names(spec: ServeSpec) -> None:
    """Raises NotFoundError with the nearest name for an engine or a policy that there is none of, else SpecError."""
    ENGINES[spec.engine]
    if spec.scaling:
        policy(spec.scaling.policy, Limits.of(spec.scaling))


def check_room(spec: ServeSpec) -> None:
    """Raises CapacityError when no replica could ever start in the Ray that this process is connected to."""
    if spec.chips:
        need_chips(spec, [*_nodes(), *_kinds()])


def need_chips(spec: ServeSpec, nodes: Sequence[Mapping[str, float]]) -> None:
    """`nodes` are resources by name, of nodes that are there and of those that the autoscaler may start.

    Raises CapacityError when a replica's accelerators are not among them.
    """
    room = [int(node.get(GPU, 0)) for node in nodes]
    most, total, wanted = max(room, default=0), sum(room), spec.chips
    needs = f"a replica of {spec.name!r} needs {wanted} accelerator{'s' if wanted > 1 else ''}"
    if not total:
        hint = "set RAY_ADDRESS to a cluster with some, or serve without: chips_per_replica: 0"
        raise CapacityError(f"{needs}, and this Ray has none and starts no machine that has", hint=hint)
    if spec.parallel.pipeline == 1 and most < wanted:
        hint = "divide the replica over machines: parallel.pipeline"
        raise CapacityError(f"{needs} in one machine, and the largest has {most}", hint=hint)
    if total < wanted:
        hint = "add machines, or divide the replica over fewer chips"
        raise CapacityError(f"{needs}, and all machines together have {total}", hint=hint)


def _nodes() -> Iterator[Mapping[str, float]]:
    import ray

    return (node["Resources"] for node in ray.nodes() if node["Alive"])  # type: ignore[no-untyped-call]


def _kinds() -> Iterator[Mapping[str, float]]:
    """Each node that the autoscaler may start, as often as it may. Ray has no public door to its configuration."""
    from ray._private.state import state

    config = state.get_cluster_config()
    for group in config.node_group_configs if config else ():
        count = group.max_count if group.max_count > 0 else MANY
        yield from (group.resources for _ in range(min(count, MANY)))
