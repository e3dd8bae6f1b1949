"""Faults that Ray takes without a word: providers and keys that its second autoscaler does not look at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tradewind.clusters.lint.part import Part
from tradewind.clusters.lint.rule import Fault
from tradewind.errors import did_you_mean

KEYS = (
    "cluster_name", "max_workers", "upscaling_speed", "idle_timeout_minutes", "provider", "auth", "docker",
    "available_node_types", "head_node_type", "file_mounts", "cluster_synced_files", "file_mounts_sync_continuously",
    "rsync_exclude", "rsync_filter", "metadata", "initialization_commands", "setup_commands", "head_setup_commands",
    "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands", "no_restart", "head_node",
    "worker_nodes", "min_workers",
)  # fmt: skip
"""Of `ray-schema.json` in Ray 2.60, and those that Ray drops before it looks there."""
TYPE_KEYS = (
    "resources", "node_config", "min_workers", "max_workers", "idle_timeout_s", "priority", "labels", "docker",
    "initialization_commands", "worker_setup_commands",
)  # fmt: skip


def local_provider(part: Part) -> Iterator[Fault]:
    """The second autoscaler, Ray's default since 2.50, never starts a worker of it: measured with Ray 2.60."""
    if part.provider == "local":
        yield ("provider", "type"), "type local starts no workers under Ray's second autoscaler, and says nothing"


def legacy_nodes(part: Part) -> Iterator[Fault]:
    for key in ("head_node", "worker_nodes"):
        if part.get(key):
            yield (key,), f"{key} is ignored where there are available_node_types, and translated where there are none"


def ignored_keys(part: Part) -> Iterator[Fault]:
    if part.get("min_workers") is not None:
        yield ("min_workers",), "min_workers of the whole cluster is dropped"
    for name, node_type in part.node_types.items():
        most, here = part.get("max_workers"), node_type.get("max_workers")
        if isinstance(most, int) and isinstance(here, int) and here > most:
            where = ("available_node_types", name, "max_workers")
            yield where, f"{here} of {name!r} are over max_workers {most} of the whole cluster, which holds"


def unknown_keys(part: Part) -> Iterator[Fault]:
    """Ray refuses the file, with the whole schema as its message."""
    for key in part.values:
        if key not in KEYS:
            yield (str(key),), f"Ray knows no key {key!r}{did_you_mean(str(key), KEYS)}"
    for name, node_type in part.node_types.items():
        for key in node_type:
            if key not in TYPE_KEYS:
                where = ("available_node_types", name, str(key))
                yield where, f"Ray knows no key {key!r} of a node type{did_you_mean(str(key), TYPE_KEYS)}"


def missing_head(part: Part) -> Iterator[Fault]:
    if part.node_types and part.head_type not in part.node_types:
        known = did_you_mean(part.head_type, part.node_types)
        yield ("head_node_type",), f"no node type named {part.head_type!r}{known}"


def unknown_backend(part: Part) -> Iterator[Fault]:
    for name in part.node_types:
        where = ("available_node_types", name, "node_config", "candidates")
        found = part.get(*where)
        for index, one in enumerate(found if isinstance(found, list) else []):
            backend = str(one.get("backend"))
            if backend not in part.backends:
                yield (*where, index), f"no backend named {backend!r}{did_you_mean(backend, part.backends)}"


def short_heartbeat(part: Part) -> Iterator[Fault]:
    """Over the internet, a minute without an answer is not yet the end of a machine."""
    if part.networks < 2:
        return
    for where, command in part.commands("head_start_ray_commands"):
        if "ray start" in command and not re.search(r"RAY_health_check_failure_threshold=([7-9]|\d\d)", command):
            yield where, "a node counts as dead after 64 s without an answer (measured), and does not come back"
