"""What is to move, and where to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tradewind.errors import SpecError
from tradewind.planner.ownership.hours import Month

BANDWIDTH_BYTES_PER_S = 10e9 / 8
"""10 Gbit/s, an assumption: what one well-connected machine moves between clouds."""


@dataclass(frozen=True)
class Wish:
    """Clouds by name; regions and machines are chosen where they are not given."""

    source: str
    target: str
    source_region: str | None = None
    target_region: str | None = None
    gpu: str | None = None
    instance: str | None = None
    target_instance: str | None = None
    nodes: int = 1
    data_bytes: int = 0
    bandwidth_bytes_per_s: float = BANDWIDTH_BYTES_PER_S
    team: int = 3
    month: Month = "730h"


def checked(wish: Wish) -> Wish:
    """The wish with clouds as they are written. Raises SpecError for sizes that cannot be."""
    if wish.nodes < 1 or wish.data_bytes < 0 or not 0 < wish.bandwidth_bytes_per_s < math.inf:
        raise SpecError(
            f"{wish.nodes} machines, {wish.data_bytes} bytes at {wish.bandwidth_bytes_per_s:g} bytes/s cannot move",
            hint="at least one machine, no fewer than 0 bytes, and a bandwidth above 0",
        )
    return replace(wish, source=wish.source.casefold(), target=wish.target.casefold())
