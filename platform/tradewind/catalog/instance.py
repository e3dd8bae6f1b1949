"""A machine type of a cloud: its chips, processors, memory and network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Instance:
    cloud: str
    name: str
    chip: str
    """Name of its accelerator, empty for a machine without one."""
    chips: int | None
    """Whole accelerators; 0 without one, None for a share of one or where sources differ."""
    vcpus: float | None
    memory_bytes: int | None
    local_disk_bytes: int | None
    network_bytes_per_s: float | None
    """To other machines, in one direction."""
    rdma: str
    """`efa:N`, `roce`, `yes`, `no`, or empty where that is not known."""
    source: str
    note: str = ""
    power_w: float | None = None
    """Of the whole machine under load, where its owner states it."""
