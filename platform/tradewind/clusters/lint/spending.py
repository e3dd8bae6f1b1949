"""Faults that cost money: machines without a limit, an end, an owner or a highest price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradewind.clusters.lint.part import CLOUDS, NodeConfig, Part
from tradewind.clusters.lint.rule import Fault


def no_limit(part: Part) -> Iterator[Fault]:
    if part.get("max_workers") is None:
        yield (), "max_workers is missing: Ray's default decides how many machines there may be"


def no_price_limit(part: Part) -> Iterator[Fault]:
    """Spot prices on AWS and Azure, which take a highest price; on several clouds the limit of the whole."""
    for config in part.node_configs:
        if config.cloud == "aws" and is_spot(config):
            options = config.values["InstanceMarketOptions"].get("SpotOptions") or {}
            if "MaxPrice" not in options:
                yield (*config.where, "InstanceMarketOptions"), "spot machines of any price are taken: no MaxPrice"
        if config.cloud == "azure" and is_spot(config):
            profile = config.values["azure_arm_parameters"].get("billingProfile") or {}
            if profile.get("maxPrice", -1) == -1:
                yield (*config.where, "azure_arm_parameters"), "spot machines of any price are taken: no maxPrice"
    if part.backends and not part.get("provider", "cluster", "max_usd_per_hour"):
        yield ("provider", "cluster"), "no max_usd_per_hour"


def no_idle_timeout(part: Part) -> Iterator[Fault]:
    if part.get("idle_timeout_minutes") is None:
        yield (), "idle_timeout_minutes is missing: Ray's default decides how long idle machines stay"


def kept_when_stopped(part: Part) -> Iterator[Fault]:
    if part.provider in CLOUDS and part.get("provider", "cache_stopped_nodes") is not False:
        yield ("provider",), "machines that are not needed are stopped, not ended, and their disks are paid for"
    for name, backend in part.backends.items():
        if backend.get("type") in CLOUDS and backend.get("cache_stopped_nodes") is not False:
            yield (
                ("provider", "backends", name),
                f"machines of {name} are stopped, not ended, and their disks are paid for",
            )


def no_tags(part: Part) -> Iterator[Fault]:
    """Somebody who finds a machine must see whose it is and when it may be ended."""
    if part.backends:
        missing = [key for key in ("owner", "ttl_s") if not part.get("provider", "cluster", key)]
        if missing:
            yield ("provider", "cluster"), f"machines are not tagged: no {' and no '.join(missing)}"
        return
    for config in part.node_configs:
        if config.cloud in CLOUDS:
            found = " ".join(_tags(config)).lower()
            missing = [what for what, words in _WANTED.items() if not any(word in found for word in words)]
            if missing:
                yield (
                    config.where,
                    f"machines of {config.node_type!r} have no tag with {' and none with '.join(missing)}",
                )


def is_spot(config: NodeConfig) -> bool:
    """Whether a machine can be taken away."""
    values = config.values
    if config.cloud == "aws":
        return (values.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
    if config.cloud == "azure":
        return str((values.get("azure_arm_parameters") or {}).get("priority", "")).lower() in ("spot", "low")
    scheduling = values.get("scheduling") or {}
    every = scheduling if isinstance(scheduling, list) else [scheduling]
    return any(one.get("preemptible") or one.get("provisioningModel") == "SPOT" for one in every)


_WANTED = {"its owner": ("owner",), "its end": ("ttl", "expire")}


def _tags(config: NodeConfig) -> list[str]:
    values: Any = config.values
    if config.cloud == "aws":
        specs = values.get("TagSpecifications") or []
        return [
            str(tag.get("Key"))
            for one in specs
            for tag in one.get("Tags") or []
            if one.get("ResourceType") == "instance"
        ]
    return [str(key) for key in values.get("labels" if config.cloud == "gcp" else "tags") or {}]
