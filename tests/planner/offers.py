"""Offers for tests: machines with figures that are easy to reckon with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tradewind.catalog import Chip, Instance, Market, Offer, Region

GIB = 2**30
TODAY = datetime.now(UTC).date()


def region(cloud: str = "aws", name: str = "us-east-1", **changes: Any) -> Region:
    values: dict[str, Any] = {
        "cloud": cloud, "name": name, "title": name, "country": "US", "latitude": 39.0, "longitude": -77.0,
        "carbon_g_per_kwh": 400.0, "carbon_year": "2023", "carbon_source": "test", "pue": 1.2, "pue_source": "test",
        "source": "test",
    }  # fmt: skip
    return Region(**values | changes)


def chip(name: str = "H100-SXM", **changes: Any) -> Chip:
    values: dict[str, Any] = {
        "name": name, "vendor": "nvidia", "kind": "gpu", "memory_bytes": 80 * GIB,
        "flops": {"bf16": 989e12, "fp8": 1979e12}, "memory_bytes_per_s": 3.35e12, "link": "NVLink4",
        "link_bytes_per_s": 450e9, "power_w": 700.0, "runtime": "cuda", "supports": frozenset({"bf16", "fp8"}),
        "price_usd": None, "source": "test",
    }  # fmt: skip
    return Chip(**values | changes)


def offer(
    usd: float = 40.0,
    *,
    market: Market = "on_demand",
    of: Chip | None = None,
    chips: int = 8,
    where: Region | None = None,
    instance: str = "eight",
    **changes: Any,
) -> Offer:
    of = of or chip()
    machine = Instance(
        cloud=(where or region()).cloud, name=instance, chip=of.name, chips=chips, vcpus=96, memory_bytes=1024 * GIB,
        local_disk_bytes=None, network_bytes_per_s=50e9, rdma="efa:32", source="test",
    )  # fmt: skip
    values: dict[str, Any] = {
        "instance": machine, "chip": of, "region": where or region(), "zone": "", "market": market,
        "usd_per_hour": usd, "on_demand_usd_per_hour": 40.0, "as_of": TODAY, "source": "test",
    }  # fmt: skip
    return Offer(**values | changes)


def plain_offer(usd: float = 0.4, *, vcpus: float = 8, **changes: Any) -> Offer:
    """A machine without accelerators."""
    machine = Instance(
        cloud="aws", name="plain", chip="", chips=0, vcpus=vcpus, memory_bytes=32 * GIB, local_disk_bytes=None,
        network_bytes_per_s=1e9, rdma="", source="test",
    )  # fmt: skip
    values: dict[str, Any] = {
        "instance": machine, "chip": None, "region": region(), "zone": "", "market": "on_demand", "usd_per_hour": usd,
        "on_demand_usd_per_hour": usd, "as_of": TODAY, "source": "test",
    }  # fmt: skip
    return Offer(**values | changes)
