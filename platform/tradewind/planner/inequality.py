"""Why something cannot be: a need that is more than what there is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Inequality:
    """`need ≤ have` should hold, and does not. Both in `unit`; without one, something is simply not there."""

    what: str
    need: float = 1.0
    have: float = 0.0
    unit: str = ""

    @property
    def excess(self) -> float:
        """How many times too little there is, at least 1: what the nearest misses are ordered by."""
        return self.need / self.have if self.have > 0 else math.inf

    def __str__(self) -> str:
        """`memory of a chip: 93.1 GiB > 80 GiB`."""
        if not self.unit:
            return self.what
        return f"{self.what}: {self.need:.4g} {self.unit} > {self.have:.4g} {self.unit}"
