"""Faults of what runs where: heads that are taken away or paid for nothing, candidates that are not alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradewind.catalog import Instance, load_catalog
from tradewind.clusters.lint.part import NodeConfig, Part
from tradewind.clusters.lint.rule import Fault
from tradewind.clusters.lint.spending import is_spot
from tradewind.specs.document import Where


def spot_head(part: Part) -> Iterator[Fault]:
    for config in part.node_configs:
        if config.node_type == part.head_type and is_spot(config):
            yield config.where, "the head is a spot machine: when it is taken, the whole cluster is lost"


def head_with_chips(part: Part) -> Iterator[Fault]:
    """A head without work pays accelerators for nothing, one with work is brought down by it."""
    resources = part.get("available_node_types", part.head_type, "resources") or {}
    if resources.get("GPU"):
        yield ("available_node_types", part.head_type, "resources"), f"the head has {resources['GPU']} GPUs"
    for config in part.node_configs:
        if config.node_type != part.head_type:
            continue
        instance = machine(config)
        if instance and instance.chips:
            yield config.where, f"the head is a {instance.name}, which has {instance.chips}× {instance.chip}"
        elif config.values.get("guestAccelerators"):
            yield (*config.where, "guestAccelerators"), "the head has accelerators"


def working_head(part: Part) -> Iterator[Fault]:
    if part.head_type and part.get("available_node_types", part.head_type, "resources", "CPU") != 0:
        yield ("available_node_types", part.head_type), "tasks run on the head, and can bring it down"


def unlike_candidates(part: Part) -> Iterator[Fault]:
    """Ray schedules by what the type promises; a machine that has less fails later, one without its chips always."""
    for name, node_type in part.node_types.items():
        promised = node_type.get("resources") or {}
        configs = [config for config in part.node_configs if config.node_type == name]
        yield from _unlike_words(part, name)
        known = [(config, found) for config in configs if (found := machine(config))]
        for config, found in known:
            missing = _missing(promised, found)
            if missing and name != part.head_type:
                yield config.where, f"{config.name or found.name} has {missing}, and {name!r} promises {promised}"


def no_sentinel(part: Part) -> Iterator[Fault]:
    """Spot machines whose notice nobody hears."""
    starts = part.commands("worker_start_ray_commands")
    spot = any(is_spot(config) for config in part.node_configs)
    if spot and not any("tradewind.clusters.sentinel" in command for _, command in starts):
        yield ("worker_start_ray_commands",), "spot machines are used, and nothing hears when one will be taken"


def machine(config: NodeConfig) -> Instance | None:
    """Its type, where the catalogue knows it."""
    parameters = config.values.get("azure_arm_parameters") or {}
    name = config.values.get("InstanceType") or config.values.get("machineType") or parameters.get("vmSize") or ""
    return load_catalog().instances.get((config.cloud, str(name).rpartition("/")[2]))


def _unlike_words(part: Part, name: str) -> Iterator[Fault]:
    """Candidates that state resources of their own."""
    where: Where = ("available_node_types", name, "node_config", "candidates")
    found = part.get(*where)
    stated = (
        [(index, one) for index, one in enumerate(found) if one.get("resources")] if isinstance(found, list) else []
    )
    for index, one in stated[1:]:
        first = stated[0][1]
        if one["resources"] != first["resources"]:
            words = f"{first['name']} has {first['resources']}, and {one['name']} has {one['resources']}"
            yield (*where, index), f"candidates of {name!r} differ: {words}"


def _missing(promised: dict[str, Any], instance: Instance) -> str:
    """What the machine has less of than is promised, or other accelerators."""
    chips = instance.chips or 0
    if promised.get("GPU", 0) != chips:
        return f"{chips} accelerators"
    if instance.vcpus is not None and promised.get("CPU", 0) > instance.vcpus:
        return f"{instance.vcpus:g} CPUs"
    if instance.memory_bytes is not None and promised.get("memory", 0) > instance.memory_bytes:
        return f"{instance.memory_bytes} bytes of memory"
    return ""
