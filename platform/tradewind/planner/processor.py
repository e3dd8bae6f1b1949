"""The processors of a machine as one chip, for work without accelerators."""

from __future__ import annotations

from tradewind.catalog.chip import Chip
from tradewind.ledger.meter import BUSY_WATTS_PER_CPU

FLOPS_PER_VCPU = 64e9
"""Peak of one virtual processor in fp32. Measured with torch 2.13 on two virtual processors of an AMD EPYC with AVX2:
each reached 68 to 77 GFLOP/s in products of 256³ to 2048³. Most virtual processors of clouds are half a core, and reach
about half of that: 60 % of this figure."""

MEMORY_BYTES_PER_S_PER_VCPU = 4e9
"""Measured on the same machine while others worked on it: reading 256 MiB at 8.2 to 9.1 GB/s with two processors. A
server of 96 cores and 461 GB/s (AMD EPYC 9004, 12 channels of DDR5-4800) has 2.4 GB/s for each of its 192 threads."""


def processor_chip(vcpus: float, memory_bytes: int | None) -> Chip:
    """All processors of a machine as one chip of kind `cpu`, with the machine's memory. Estimated; fp32 alone.

    bf16 is left out on purpose: where processors have no instructions for it, torch 2.13 reaches 1 GFLOP/s.
    """
    return Chip(
        name="processors",
        vendor="",
        kind="cpu",
        memory_bytes=memory_bytes,
        flops={"fp32": vcpus * FLOPS_PER_VCPU},
        memory_bytes_per_s=vcpus * MEMORY_BYTES_PER_S_PER_VCPU,
        link="",
        link_bytes_per_s=None,
        power_w=vcpus * BUSY_WATTS_PER_CPU,
        runtime="cpu",
        supports=frozenset({"fp32"}),
        price_usd=None,
        source="measured on two virtual processors of an AMD EPYC, torch 2.13",
        note="estimated for every other processor",
    )
