"""What a machine offers to Ray: processors, memory and accelerators, as the words that Ray and its scheduler use."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tradewind.catalog import Chip
from tradewind.units import format_bytes

RAY_MEMORY_SHARE = 0.7
"""Of a machine's memory, what Ray gives to tasks: `DEFAULT_OBJECT_STORE_MEMORY_PROPORTION` in ray_constants of Ray
2.60 keeps 0.3 for objects. Whole gigabytes are promised."""


@dataclass(frozen=True)
class Resources:
    cpus: int
    memory_bytes: int
    chip: str = ""
    chips: int = 0

    def promised(self, cpus: int | None, memory_bytes: int | None) -> Resources:
        """The same with less of what is promised, so that unlike machines are alike to Ray."""
        return replace(self, cpus=cpus or self.cpus, memory_bytes=memory_bytes or self.memory_bytes)

    def covers(self, other: Resources) -> bool:
        enough = self.cpus >= other.cpus and self.memory_bytes >= other.memory_bytes
        return enough and (self.chip, self.chips) == (other.chip, other.chips)

    def to_ray(self) -> dict[str, int]:
        """As `resources` of a node type."""
        found = {"CPU": self.cpus, "memory": int(self.memory_bytes * RAY_MEMORY_SHARE / 1e9) * 10**9}
        if self.chips:
            found |= {"GPU": self.chips, f"accelerator_type:{accelerator_type(self.chip)}": 1}
        return found

    def __str__(self) -> str:
        chips = f", {self.chips}× {self.chip}" if self.chips else ""
        return f"{self.cpus} CPUs, {format_bytes(self.memory_bytes)}{chips}"


def accelerator_type(chip: str) -> str:
    """`H100-SXM` → `H100`: the name that Ray finds on the machine, by `ray.util.accelerators` of Ray 2.60."""
    if chip.startswith("MI"):
        return f"AMD-Instinct-{chip}-OAM"
    return re.sub(r"-(SXM|PCIe|NVL).*", "", chip)


def is_gpu(chip: Chip | None) -> bool:
    return chip is None or chip.kind == "gpu"
