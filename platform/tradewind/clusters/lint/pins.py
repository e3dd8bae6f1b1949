"""Faults that make two days, or two machines, differ: images, wheels and versions that move on by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tradewind.clusters.lint.part import CLOUDS, NodeConfig, Part
from tradewind.clusters.lint.rule import Fault
from tradewind.specs.document import Where

SETUPS = ("setup_commands", "head_setup_commands", "worker_setup_commands")
_NIGHTLY = re.compile(r"ray-wheels/(latest|master)|ray-\d\.0\.0\.dev0|--pre\b|ray_nightly")
_RAY = re.compile(r"""\bpip3? install\b[^;&|]*?["' ](ray(?:\[[^\]]*\])?)(?=["'\s;]|$)(?!\s*@)""")


def moving_image(part: Part) -> Iterator[Fault]:
    for key in ("image", "head_image", "worker_image"):
        if name := part.get("docker", key):
            yield from _container(("docker", key), str(name))
    for config in part.node_configs:
        yield from _machine_image(config)


def moving_ray(part: Part) -> Iterator[Fault]:
    for key in SETUPS:
        for where, command in part.commands(key):
            if found := _NIGHTLY.search(command):
                yield where, f"a nightly wheel of Ray is installed ({found[0]})"
            elif found := _RAY.search(command):
                yield where, f"{found[1]} is installed in whichever version is newest"
    if part.provider in CLOUDS and part.get("setup_commands") is None:
        yield ("provider",), "setup_commands is missing, and Ray's default installs a nightly wheel"


def moving_container(where: Where, name: str) -> Iterator[Fault]:
    """Of Kubernetes or of Docker."""
    yield from _container(where, name)


def _container(where: Where, name: str) -> Iterator[Fault]:
    _, _, last = name.rpartition("/")
    if "@sha256:" in name:
        return
    tag = last.partition(":")[2]
    if not tag:
        yield where, f"image {name} has no tag, which means the newest"
    elif re.search(r"(^|[-._])(latest|nightly)($|[-._])", tag):
        yield where, f"image {name} moves on by itself"


def _machine_image(config: NodeConfig) -> Iterator[Fault]:
    values, where = config.values, config.where
    if config.cloud == "aws":
        name = str(values.get("ImageId", ""))
        if not name or name == "latest_dlami":
            yield where, "no ImageId, and Ray takes an image of Ubuntu 18.04" if not name else "latest_dlami moves on"
        elif "/latest/" in name or "/current/" in name:
            yield (*where, "ImageId"), f"image {name} moves on by itself"
    elif config.cloud == "gcp":
        yield from _families(values, where)
    elif config.cloud == "azure":
        version = (values.get("azure_arm_parameters") or {}).get("imageVersion")
        if version == "latest":
            yield (*where, "azure_arm_parameters", "imageVersion"), "imageVersion latest moves on by itself"


def _families(values: Any, where: Where) -> Iterator[Fault]:
    for index, disk in enumerate(values.get("disks") or []):
        source = str((disk.get("initializeParams") or {}).get("sourceImage", ""))
        if "/family/" in source:
            yield (*where, "disks", index), f"image family {source} moves on by itself"
