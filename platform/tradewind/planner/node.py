"""A machine as the planner sees it: equal chips, and the links between them. Placement and price do not matter here."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.catalog.chip import Chip


@dataclass(frozen=True)
class Node:
    chip: Chip
    """For a machine without accelerators, its processors as one chip of kind `cpu`."""
    chips: int
    memory_bytes: int | None
    network_bytes_per_s: float | None
    """To other machines, in one direction, for the whole machine."""
    rdma: bool
