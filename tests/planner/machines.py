"""Machines as the planner sees them, with what a test needs of them."""

from __future__ import annotations

from tradewind.catalog import Chip, ChipKind, Precision
from tradewind.planner import Node

GIB = 2**30


def chip(name: str, gib: float | None, *precisions: Precision, kind: ChipKind = "gpu", vendor: str = "nvidia") -> Chip:
    return Chip(
        name=name,
        vendor=vendor,
        kind=kind,
        memory_bytes=None if gib is None else int(gib * GIB),
        flops=dict.fromkeys(precisions or ("bf16", "fp8", "int8"), 1e15),
        memory_bytes_per_s=3e12,
        link="NVLink4",
        link_bytes_per_s=450e9,
        power_w=700.0,
        runtime="cuda",
        supports=frozenset(),
        price_usd=None,
        source="a test",
    )


def node(on: Chip, chips: int = 8, *, memory_gib: float = 2048) -> Node:
    return Node(on, chips, int(memory_gib * GIB), 400e9, rdma=True)


A100 = node(chip("A100-SXM-80GB", 80, "bf16", "int8"))
H100 = node(chip("H100-SXM", 80))
H200 = node(chip("H200-SXM", 141))
B200 = node(chip("B200-SXM", 180))
MI300X = node(chip("MI300X", 192, vendor="amd"))
PROCESSORS = node(chip("processors", None, "fp32", kind="cpu", vendor="intel"), 0, memory_gib=64)
