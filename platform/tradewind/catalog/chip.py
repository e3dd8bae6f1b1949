"""What a chip can do: dense peaks, memory, link and power, as its sources state them. Unknown figures are None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ChipKind = Literal["gpu", "tpu", "asic", "cpu"]
Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4"]
"""Number formats, of weights or of the operands of a matrix product."""

BITS: Mapping[Precision, int] = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "int4": 4}


@dataclass(frozen=True)
class Chip:
    name: str
    vendor: str
    kind: ChipKind
    memory_bytes: int | None
    flops: Mapping[Precision, float]
    """Dense peaks, in operations a second, by number format."""
    memory_bytes_per_s: float | None
    link: str
    """What joins the chips of one machine, like `NVLink4`; empty where that is not known."""
    link_bytes_per_s: float | None
    """Of that link, for one chip and one direction."""
    power_w: float | None
    """Thermal design power."""
    runtime: str
    """`cuda`, `rocm`, `xla`, `neuron`, `hpu`, `cann`, or `cpu`: what software it takes."""
    supports: frozenset[str]
    price_usd: float | None
    source: str
    note: str = ""
    price_source: str = ""
