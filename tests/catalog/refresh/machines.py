"""Machine types for tests of prices: what a price API is asked about."""

from __future__ import annotations

from tradewind.catalog.instance import Instance

GIB = 2**30


def machine(
    cloud: str,
    name: str,
    *,
    chip: str = "",
    chips: int | None = 0,
    vcpus: float | None = None,
    memory_gib: float | None = None,
    local_disk_bytes: int | None = None,
) -> Instance:
    memory_bytes = round(memory_gib * GIB) if memory_gib is not None else None
    return Instance(cloud, name, chip, chips, vcpus, memory_bytes, local_disk_bytes, None, "", "a test")
